//! Who descends from whom, by /proc. It kills only descendants of the test binary.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, wait};

use super::until;

/// Makes this process the parent of whatever loses its own, so that [`end_all`] finds it.
pub(crate) fn adopt_orphans() {
    set_child_subreaper(Some(Pid::INIT)).expect("a process may adopt orphans");
}

/// The children of a process, in the order of their pids.
pub(crate) fn children(of: i32) -> Vec<i32> {
    let mut children: Vec<i32> =
        parents().into_iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| pid).collect();
    children.sort_unstable();
    children
}

/// Waits for the only child of a process, which is none of `but`.
pub(crate) fn only_child(of: i32, but: &[i32]) -> i32 {
    let others = || children(of).into_iter().filter(|pid| !but.contains(pid)).collect::<Vec<_>>();
    until(&format!("{of} has one child"), || others().len() == 1, || format!("{:?}", others()));
    others()[0]
}

/// Everything that descends from a process.
pub(crate) fn descendants(of: i32) -> Vec<i32> {
    let parents = parents();
    let is_theirs =
        |pid: i32| std::iter::successors(parents.get(&pid), |at| parents.get(at)).any(|at| *at == of);
    parents.keys().copied().filter(|pid| is_theirs(*pid)).collect()
}

/// Kills a process and its descendants; [`end_all`] waits for their end.
pub(crate) fn end_with_descendants(pid: i32) {
    let descendants = descendants(pid);
    // First whatever would start others in their place.
    for pid in std::iter::once(pid).chain(descendants) {
        send(pid, Signal::KILL);
    }
}

/// Kills every descendant of this process, and waits for its end.
pub(crate) fn end_all() {
    let of_ours = || descendants(std::process::id().cast_signed());
    let end = || {
        let ours = of_ours();
        for pid in &ours {
            send(*pid, Signal::KILL);
        }
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        ours.is_empty()
    };
    until("all processes of the scene end", end, || format!("{:?}", of_ours()));
}

/// Sends a signal; a process that has ended needs none.
pub(crate) fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a pid");
    let _it_may_have_ended = kill_process(pid, signal);
}

/// The letter of a process's state, as /proc/PID/stat has it.
pub(crate) fn state(pid: i32) -> Option<char> {
    after_name(pid)?.chars().next()
}

fn parents() -> HashMap<i32, i32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| {
        // State, then parent.
        let parent = after_name(pid)?.split(' ').nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
    .collect()
}

/// What /proc/PID/stat has behind the name, which may contain anything.
fn after_name(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}
