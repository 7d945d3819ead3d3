//! Measures how much memory the table of sockets takes.
//!
//! Fills the table with as many sockets as the argument says, half of them reported, and prints the resident size of
//! this process before and after. Reads nothing of the kernel but /proc/self/status.

#![expect(clippy::print_stdout, reason = "the measurement is this program's output")]

use std::fs;

use anyhow::{Context as _, Result};
use tcptrace::testing::{
    CloseWaitTable, Comm, Endpoints, Identity, KernelSocket, NextStep, Pid, Socket, SocketKey, State, Task,
    Transition,
};

fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kilobytes * 1024)
}

/// A socket as servers leak it: one local address, many remote ones. Cookies are out of order, as on a host
/// with several CPUs.
fn entry_to_close_wait(number: u64) -> Transition {
    let [.., a, b, c] = number.to_be_bytes();
    let remote = ([10, a, b, c], 1024 + (number % 60_000) as u16);
    let cookie = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Transition {
        key: SocketKey(cookie),
        socket: Socket {
            cookie: Some(cookie),
            netns: Some(4_026_531_840),
            endpoints: Endpoints { local: ([10, 0, 0, 1], 443).into(), remote: remote.into() },
        },
        is_mptcp: false,
        ktime_ns: number * 1_000,
        old_state: State::Established,
        new_state: State::CloseWait,
        entered_ns: None,
        oncpu: Task { pid: Pid::new(1), tid: Pid::new(1), comm: Comm::default() },
        kernel_socket: KernelSocket(0xffff_8880_0000_0000 + number * 2_048),
        cause: None,
        cgroup_id: None,
    }
}

fn main() -> Result<()> {
    let count: u64 = std::env::args().nth(1).context("usage: million COUNT")?.parse()?;
    let room = usize::try_from(count)?;
    let before = resident_bytes()?;
    let mut table = CloseWaitTable::new(Identity::Cookie, 1_000_000_000, room);
    for number in 0..count {
        table.observe(&entry_to_close_wait(number));
    }
    let filled = resident_bytes()?;
    for due in table.take_due(u64::MAX, room / 2) {
        table.settle(due.key, NextStep::Reported(0));
    }
    let after = resident_bytes()?;
    println!(
        "{}",
        serde_json::json!({
            "sockets": table.len(),
            "before_bytes": before,
            "filled_bytes": filled,
            "after_bytes": after,
        })
    );
    Ok(())
}
