//! Opens processes and reads the small files of their threads. Proves that a process is the one that is meant by its start.

use std::{os::fd::OwnedFd, path::Path};

use rustix::fs::{CWD, Mode, openat};

use super::reader::{DIRECTORY, contents};
use crate::{
    host::{clock, stat},
    model::{
        doing::ThreadState,
        process::{Lineage, ProcessIdentity},
    },
};

/// A `stat`, a `wchan`, a `schedstat` and an `io` are shorter, and so is a `status` without hundreds of groups.
const FILE_BYTES: u64 = 4 * 1024;

/// What is wanted of a thread's `stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadStat {
    pub state: ThreadState,
    pub lineage: Lineage,
    /// Time in its own code and in the kernel, in clock ticks of 10 ms.
    pub user_ticks: u64,
    pub kernel_ticks: u64,
    /// The number of the CPU that it ran on last.
    pub processor: usize,
    start_ticks: i64,
}

/// The directory of a process; `None` when it has ended, or another one has its pid.
pub(super) fn open(proc_root: &Path, process: &ProcessIdentity) -> Option<OwnedFd> {
    let pid = process.pid.visible()?;
    let directory = openat(CWD, proc_root.join(pid.to_string()), DIRECTORY, Mode::empty()).ok()?;
    let stat = stat(&directory, "stat")?;
    process.start_ticks.is_none_or(|start| start == stat.start_ticks).then_some(directory)
}

/// The text of a file, or its beginning.
pub(super) fn text(directory: &OwnedFd, file: &str) -> Option<String> {
    let bytes = contents(directory, file, FILE_BYTES).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A `stat`, of the process or of a thread.
pub(super) fn stat(directory: &OwnedFd, file: &str) -> Option<ThreadStat> {
    parse_stat(&contents(directory, file, FILE_BYTES).ok()?)
}

/// Where a process comes from; `None` when it has ended, or is not visible.
pub(crate) fn lineage(proc_root: &Path, process: &ProcessIdentity) -> Option<Lineage> {
    Some(stat(&open(proc_root, process)?, "stat")?.lineage)
}

/// The parent is field 4, the session field 6; the times are fields 14 and 15, the start is field 22, the CPU field 39.
fn parse_stat(stat: &[u8]) -> Option<ThreadStat> {
    let fields: Vec<&str> = stat::fields(stat)?.1.take(37).collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(ThreadStat {
        state: ThreadState::from_letter(*fields.first()?.as_bytes().first()?),
        lineage: Lineage { parent: fields.get(1)?.parse().ok()?, session: fields.get(3)?.parse().ok()? },
        user_ticks: ticks(11)?,
        kernel_ticks: ticks(12)?,
        processor: fields.get(36)?.parse().ok()?,
        start_ticks: clock::start_ticks(fields.get(19)?.parse().ok()?),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_name_of_the_thread() {
        let line = b"7 (a) b) (c) D 1 7 5 0 -1 4194560 1 0 0 0 31 42 0 0 20 0 1 0 4711 0 9 \
            18446744073709551615 1 1 0 0 0 0 0 16781312 134234626 0 0 0 17 3 0 0 0 0 0";
        let ThreadStat { state, lineage, user_ticks, kernel_ticks, processor, start_ticks } =
            parse_stat(line).unwrap();
        assert_eq!(state, ThreadState::Uninterruptible);
        assert_eq!(lineage, Lineage { parent: 1, session: 5 });
        assert_eq!((user_ticks, kernel_ticks, start_ticks), (31, 42, clock::start_ticks(4711)));
        assert_eq!(processor, 3);
        assert!(parse_stat(b"7 (a) R").is_none());
    }
}
