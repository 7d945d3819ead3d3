//! The kernel's statistics of what a BPF program costs: run_time_ns and run_cnt.
//!
//! Keeping them costs time itself, so they are on only while an [`Accounting`] lives, and never during a run
//! whose speed is measured.

use anyhow::{Context, Result};
use std::fs;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Keeps the statistics on. Dropping it restores the previous setting.
pub(crate) struct Accounting {
    before: String,
}

impl Accounting {
    /// Needs Linux 5.1, which introduced the switch.
    pub(crate) fn start() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH} (root?)"))?;
        Ok(Self { before })
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.before.trim()) {
            eprintln!("cannot restore {SWITCH} to {}: {error}", self.before.trim());
        }
    }
}

/// What one program has cost since it was loaded, or between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub program: u32,
    /// As in `enum bpf_prog_type`: 5 classic tracepoint, 17 raw tracepoint, 26 tracing.
    pub kind: u32,
    pub nanoseconds: u64,
    pub runs: u64,
    /// Runs that the kernel skipped because the program was already running on that CPU. Linux 5.12 and later
    /// count them even without an [`Accounting`].
    pub nested: u64,
}

/// The programs that a process holds, by their descriptors' `fdinfo`.
pub(crate) fn of_process(pid: u32) -> Vec<Cost> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    let mut costs: Vec<Cost> = descriptors
        .flatten()
        .filter_map(|descriptor| parse(&fs::read_to_string(descriptor.path()).ok()?))
        .collect();
    costs.sort_by_key(|cost| cost.program);
    // A program may have several descriptors.
    costs.dedup_by_key(|cost| cost.program);
    costs
}

/// What was spent between two moments, the busiest program first.
pub(crate) fn between(before: &[Cost], after: Vec<Cost>) -> Vec<Cost> {
    let mut costs: Vec<Cost> = after
        .into_iter()
        .map(|mut cost| {
            if let Some(earlier) = before.iter().find(|earlier| earlier.program == cost.program) {
                cost.nanoseconds -= earlier.nanoseconds;
                cost.runs -= earlier.runs;
                cost.nested -= earlier.nested;
            }
            cost
        })
        .filter(|cost| cost.runs > 0)
        .collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.runs));
    costs
}

fn parse(fdinfo: &str) -> Option<Cost> {
    let field = |name: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    Some(Cost {
        kind: field("prog_type")?.try_into().ok()?,
        program: field("prog_id")?.try_into().ok()?,
        nanoseconds: field("run_time_ns")?,
        runs: field("run_cnt")?,
        nested: field("recursion_misses").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FDINFO: &str = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_jited:\t1\nprog_tag:\t1c0ffee\n\
                          memlock:\t4096\nprog_id:\t41\nrun_time_ns:\t9000\nrun_cnt:\t100\nrecursion_misses:\t2\n";

    #[test]
    fn a_program_is_known_by_its_descriptor_and_a_link_is_not_one() {
        let cost = Cost { program: 41, kind: 26, nanoseconds: 9000, runs: 100, nested: 2 };
        assert_eq!(parse(FDINFO), Some(cost));
        assert_eq!(parse("link_type:\ttracing\nlink_id:\t2\nprog_id:\t41\n"), None);
    }

    #[test]
    fn only_what_ran_in_between_counts_and_the_busiest_comes_first() {
        let cost = |program, nanoseconds, runs| Cost { program, kind: 26, nanoseconds, runs, nested: 0 };
        let before = [cost(1, 10, 1), cost(2, 50, 5), cost(3, 7, 7)];
        let after = vec![cost(1, 30, 2), cost(2, 950, 15), cost(3, 7, 7)];
        assert_eq!(between(&before, after), [cost(2, 900, 10), cost(1, 20, 1)]);
    }
}
