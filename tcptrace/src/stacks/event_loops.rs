//! Which functions of libraries run what others have handed them, one piece after the other, on the thread that called them. Who
//! runs such a loop has not asked for what a piece does. Pure.

/// Whether a function of a library or of a runtime is such a loop, or one piece of work in it, by its name.
pub(super) fn is_loop(function: &str) -> bool {
    /// Last names: of asyncio and uvloop, trio, Twisted, libevent, libev and GLib.
    const LOOPS: [&str; 8] = [
        "run_forever",
        "run_until_complete",
        "unrolled_run",
        "mainLoop",
        "event_base_loop",
        "ev_run",
        "g_main_loop_run",
        "g_main_context_iteration",
    ];
    /// tokio polls a task that was spawned there, and what `block_on` was given elsewhere.
    const TASKS: &str = "tokio::runtime::task::";
    LOOPS.contains(&last_name(function)) || function.contains(TASKS) || is_loop_of_php(function)
}

/// Whether a method of PHP runs the loop of ReactPHP, of Amp or of Workerman.
fn is_loop_of_php(function: &str) -> bool {
    const CLASSES: [&str; 4] =
        ["React\\EventLoop\\", "Revolt\\EventLoop", "Amp\\Loop", "Workerman\\Events\\"];
    function.rsplit_once("::").is_some_and(|(class, method)| {
        matches!(method, "run" | "loop") && CLASSES.iter().any(|begin| class.starts_with(begin))
    })
}

/// Whether a function accepts connections. A loop accepts on behalf of whoever runs it.
pub(super) fn accepts(function: &str) -> bool {
    const ACCEPTS: [&str; 6] =
        ["accept", "accept4", "__accept", "__accept4", "__libc_accept", "__libc_accept4"];
    ACCEPTS.contains(&last_name(function))
}

/// `run_forever` of `BaseEventLoop.run_forever`.
fn last_name(function: &str) -> &str {
    function.rsplit('.').next().unwrap_or(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_known_by_their_names() {
        for name in [
            "BaseEventLoop.run_forever",
            "run_forever",
            "uvloop.loop.Loop.run_until_complete",
            "event_base_loop",
            "tokio::runtime::task::raw::poll::<hyper::connect, current_thread::Handle>",
            "React\\EventLoop\\StreamSelectLoop::run",
            "Revolt\\EventLoop\\Internal\\AbstractDriver::run",
            "Revolt\\EventLoop::run",
            "Workerman\\Events\\Select::loop",
        ] {
            assert!(is_loop(name), "{name}");
        }
        for name in [
            "open_ledger",
            "Handle._run",
            "tokio::runtime::runtime::Runtime::block_on",
            "Shop\\Worker::run",
            "",
        ] {
            assert!(!is_loop(name), "{name}");
        }
    }

    #[test]
    fn what_accepts_is_known_by_its_name() {
        assert!(accepts("accept4") && accepts("socket.accept") && !accepts("accept_ledger"));
    }
}
