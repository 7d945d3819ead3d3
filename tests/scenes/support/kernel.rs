//! What the kernel says, by `ss`: the sockets in CLOSE_WAIT and who holds them, without the tool.
//!
//! `place` is a process whose network namespace is meant; `None` means our own.

use std::process::Command;

/// A socket as `ss` lists it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub recv_q: u32,
    pub send_q: u32,
    /// Pids of those who have a descriptor, sorted.
    pub holders: Vec<i32>,
}

/// The sockets in CLOSE_WAIT that a filter of `ss` selects.
pub(crate) fn close_wait(place: Option<i32>, filter: &str) -> Vec<Seen> {
    seen(place, &["-Htnp", "state", "close-wait", filter])
}

/// The established connections that a filter of `ss` selects.
pub(crate) fn established(filter: &str) -> Vec<Seen> {
    seen(None, &["-Htnp", "state", "established", filter])
}

/// For how many milliseconds nothing has come or gone on any of the connections that a filter of `ss` selects; `None`
/// where there are none.
pub(crate) fn quiet_ms(filter: &str) -> Option<u64> {
    let connections = text(None, &["-HtniO", "state", "connected", "exclude", "time-wait", filter]);
    let last = |line: &str, what: &str| line.split(what).nth(1)?.split(' ').next()?.parse::<u64>().ok();
    let times = connections.lines().flat_map(|line| {
        ["lastsnd:", "lastrcv:", "lastack:"].map(|what| last(line, what)).into_iter().flatten()
    });
    times.min()
}

/// Whether the kernel lists any socket that a filter of `ss` selects, but what nobody can hold.
pub(crate) fn has_connections(place: Option<i32>, filter: &str) -> bool {
    !text(place, &["-Htn", "state", "connected", "exclude", "time-wait", filter]).trim().is_empty()
}

/// The pids that hold the listeners at a port.
pub(crate) fn listeners(place: Option<i32>, port: u16) -> Vec<i32> {
    let listeners = seen(place, &["-Htlnp", &format!("sport = :{port}")]);
    let mut pids: Vec<i32> = listeners.into_iter().flat_map(|listener| listener.holders).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Everything about the sockets, for messages.
pub(crate) fn shown(place: Option<i32>, filter: &str) -> String {
    text(place, &["-Htanpoie", filter])
}

/// Everything about all connections of these processes, and what their threads do, for messages.
pub(crate) fn shown_of(place: Option<i32>, pids: &[i32]) -> String {
    let sockets = text(place, &["-HtanpoiOe"]);
    let is_theirs = |line: &&str| pids.iter().any(|pid| line.contains(&format!("pid={pid},")));
    let mut shown: Vec<String> = sockets.lines().filter(is_theirs).map(str::to_owned).collect();
    for pid in pids {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads.map(|thread| thread.path()) {
            let read =
                |name| std::fs::read_to_string(thread.join(name)).unwrap_or_default().trim().to_owned();
            let [stat, call, schedule] = ["stat", "syscall", "schedstat"].map(read);
            shown.push(format!("{}: {stat}; syscall {call}; schedstat {schedule}", thread.display()));
        }
    }
    shown.join("\n")
}

fn seen(place: Option<i32>, arguments: &[&str]) -> Vec<Seen> {
    // The first column is the state, unless one was asked for.
    let queues = usize::from(!arguments.contains(&"state"));
    let socket = |line: &str| {
        let mut columns = line.split_whitespace().skip(queues);
        let [recv_q, send_q] = [columns.next()?, columns.next()?].map(|queue| queue.parse().ok());
        let pids = line.split("pid=").skip(1);
        let mut holders: Vec<i32> = pids.filter_map(|rest| rest.split(',').next()?.parse().ok()).collect();
        holders.sort_unstable();
        holders.dedup();
        Some(Seen { recv_q: recv_q?, send_q: send_q?, holders })
    };
    text(place, arguments).lines().filter_map(socket).collect()
}

fn text(place: Option<i32>, arguments: &[&str]) -> String {
    let mut ss = match place {
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.args(["--net", "--target", &pid.to_string(), "ss"]);
            command
        }
        None => Command::new("ss"),
    };
    let output = ss.args(arguments).output().expect("ss");
    assert!(output.status.success(), "ss {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
