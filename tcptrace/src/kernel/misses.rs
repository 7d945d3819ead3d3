//! Counts the runs that the kernel left out: where it does not run a program because another runs on that CPU, or the same
//! one does, the event is lost. Nothing here prevents that.
//!
//! A host that is out of CPU time loses a few in a million transitions, one whose CPUs are emulated one in two hundred.

use std::{
    fs,
    os::fd::{AsRawFd as _, BorrowedFd},
    path::PathBuf,
};

use aya::maps::{MapData, MapError, PerCpuArray};
use tcptrace_ebpf::record::Passes;
use zerocopy::FromBytes as _;

/// The kernel's counter of one program: runs left out because the program would have interrupted itself
/// (`recursion_misses` in the `fdinfo` of its descriptor, Linux 5.12). Kernels that do not have it run such programs.
#[derive(Debug)]
pub(super) struct Recursions {
    fdinfo: PathBuf,
}

impl Recursions {
    /// The counter of the program behind this descriptor, which has to stay open.
    pub(super) fn of(program: BorrowedFd<'_>) -> Self {
        Self { fdinfo: PathBuf::from(format!("/proc/self/fdinfo/{}", program.as_raw_fd())) }
    }

    fn count(&self) -> u64 {
        fs::read_to_string(&self.fdinfo).ok().and_then(|fdinfo| parse(&fdinfo)).unwrap_or(0)
    }
}

fn parse(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

/// The map with [`Passes`].
type PassesMap = PerCpuArray<MapData, [u8; size_of::<Passes>()]>;

/// The counter of the program that transitions run.
pub(super) enum Misses {
    /// Of a typed tracepoint.
    Typed(Recursions),
    /// Of a classic one: what passed, less what ran. Kernels before Linux 6.7 do not tell.
    Classic(Classic),
}

/// What a classic tracepoint left out.
pub(super) struct Classic {
    passes: PassesMap,
    /// Of the program that counts what passes.
    uncounted: Recursions,
    /// What had passed when the program began to run.
    before: u64,
    /// The highest count so far.
    skipped: u64,
}

impl Classic {
    /// The counter, once both programs are attached: first the one that counts what passes, whose own counter is
    /// `uncounted`.
    pub(super) fn begin(passes: PassesMap, uncounted: Recursions) -> Result<Self, MapError> {
        let mut counter = Self { passes, uncounted, before: 0, skipped: 0 };
        // What passes meanwhile counts as before, rather than as lost.
        let ran = counter.sum(|passes| passes.ran)?;
        counter.before = counter.passed()?.saturating_sub(ran);
        Ok(counter)
    }

    fn count(&mut self) -> Result<u64, MapError> {
        // What is about to run has passed. It is found to have run the next time.
        let passed = self.passed()?;
        let ran = self.sum(|passes| passes.ran)?;
        self.skipped = self.skipped.max(passed.saturating_sub(self.before + ran));
        Ok(self.skipped)
    }

    fn passed(&self) -> Result<u64, MapError> {
        Ok(self.sum(|passes| passes.passed)? + self.uncounted.count())
    }

    fn sum(&self, field: impl Fn(&Passes) -> u64) -> Result<u64, MapError> {
        let values = self.passes.get(&0, 0)?;
        Ok(values
            .iter()
            .filter_map(|value| Passes::read_from_bytes(value).ok())
            .map(|passes| field(&passes))
            .sum())
    }
}

impl Misses {
    /// Runs left out so far.
    pub(super) fn count(&mut self) -> Result<u64, MapError> {
        match self {
            Self::Typed(recursions) => Ok(recursions.count()),
            Self::Classic(classic) => classic.count(),
        }
    }
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
