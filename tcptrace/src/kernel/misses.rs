//! Counts the runs that the kernel skipped: it does not run a program that is interrupted by its own hook a
//! second time on that CPU, and the event is lost. The kernel counts them (`recursion_misses`, Linux 5.12) in
//! the `fdinfo` of the program's descriptor. Nothing here prevents them.
//!
//! A host that is out of CPU time skips a few in a million transitions.

use std::{
    fs,
    os::fd::{AsRawFd as _, BorrowedFd},
    path::PathBuf,
};

/// The counter of one program.
#[derive(Debug)]
pub(crate) struct Misses {
    fdinfo: PathBuf,
}

impl Misses {
    /// The counter of the program behind this descriptor, which has to stay open.
    pub(crate) fn of(program: BorrowedFd<'_>) -> Self {
        Self { fdinfo: PathBuf::from(format!("/proc/self/fdinfo/{}", program.as_raw_fd())) }
    }

    /// Runs skipped so far; 0 where the kernel does not count them.
    pub(crate) fn count(&self) -> u64 {
        fs::read_to_string(&self.fdinfo).ok().and_then(|fdinfo| parse(&fdinfo)).unwrap_or(0)
    }
}

fn parse(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_where_the_kernel_tells_it() {
        assert_eq!(parse("prog_id:\t41\nrun_cnt:\t9\nrecursion_misses:\t4\nverified_insns:\t300\n"), Some(4));
        assert_eq!(parse("pos:\t0\nlink_type:\ttracing\n"), None);
    }
}
