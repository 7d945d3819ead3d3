//! What a session asks of the kernel side, and its translation into the configuration of the programs.
//! Knows nothing of the host's kernel.

use std::{fmt, time::Duration};

use tcptrace_ebpf::config::Config;

use super::filter::{self, TooManyRules};
use crate::model::{criteria::Criteria, units::in_nanoseconds};

/// How transitions are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The typed tracepoint, with state in socket-local storage (Linux 5.12 with BTF).
    Btf,
    /// The classic tracepoint, with state in a hash map.
    Tracepoint,
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Btf => "btf",
            Self::Tracepoint => "tracepoint",
        })
    }
}

/// How records get to user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// By ring buffers, which all CPUs share (Linux 5.8).
    Ring,
    /// By perf event arrays: a buffer for each CPU.
    Perf,
}

/// How descriptor tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HolderSource {
    /// By the kernel's iterator over all tasks and files (Linux 5.11 with BTF)
    Iterator,
    /// By following the links in /proc/PID/fd, which is slower
    Proc,
}

impl HolderSource {
    /// Its name on the command line and in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Iterator => "iterator",
            Self::Proc => "proc",
        }
    }
}

/// Which calls on sockets the kernel side remembers, each with its stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrackedCalls {
    /// Those that open a socket: watches accept() on the whole host.
    pub openers: bool,
    /// The first that reads the end of file: watches every receive call on the whole host.
    pub eof_reads: bool,
    /// Bytes of the user stack to copy for each of them.
    pub stack_bytes: u32,
}

impl TrackedCalls {
    /// Whether there is anything to remember.
    pub(super) fn any(self) -> bool {
        self.openers || self.eof_reads
    }
}

/// What to trace, and how much memory the kernel side may take.
#[derive(Clone, Debug)]
pub(crate) struct TracerOptions {
    /// Forced backend; `None` takes the better one that the kernel accepts.
    pub backend: Option<Backend>,
    /// Forced transport; `None` takes ring buffers where the kernel has them.
    pub transport: Option<Transport>,
    /// Which transitions: states, family, ports and addresses. Readers of the records apply the rest.
    pub criteria: Criteria,
    /// Time every state, not just those of the filter.
    pub track_all_states: bool,
    /// Room in bytes for transitions that wait: a power of two, at least a page. Buffers of several CPUs share it.
    pub ring_bytes: u32,
    /// Sockets whose state the tracepoint backend keeps.
    pub max_sockets: u32,
    /// Which calls on sockets to remember, with their stacks.
    pub calls: TrackedCalls,
    /// Records wake the reader soon, for somebody looks at them. Else they wake it only as the ring fills: waking is dear, and
    /// it looks by itself.
    pub wakes_soon: bool,
    /// Zero: each transition names the running task, the socket's cgroup and the pending error. Otherwise it
    /// leaves out the cgroup, and has the rest only when it ends a state of the filter that lasted at least
    /// this long.
    pub details_after: Duration,
    /// Sockets that stay in CLOSE_WAIT for less leave no record, as long as somebody takes the others; zero: all do.
    pub told_after: Duration,
    /// Report connections that are ended by others while nobody has closed the socket, whatever the filter's states.
    pub report_over: bool,
}

/// Records wake the reader no more often.
const WAKEUP_INTERVAL_NS: u32 = 20_000_000;

/// After a burst, each process has one opener kept on each CPU in this time. Keeping one costs some
/// microseconds; the rest are counted.
const CALL_INTERVAL_NS: u32 = 10_000_000;

impl TracerOptions {
    /// The options in the terms of the programs.
    ///
    /// # Errors
    /// When the filter has more rules than the programs hold.
    pub(super) fn config(&self) -> Result<Config, TooManyRules> {
        Ok(Config {
            filter: filter::compile(&self.criteria)?,
            track_all_states: u32::from(self.track_all_states),
            wakeup_interval_ns: WAKEUP_INTERVAL_NS,
            wakeup_bytes: if self.wakes_soon { 0 } else { self.ring_bytes / 4 },
            details_after_ns: in_nanoseconds(self.details_after),
            track_openers: u32::from(self.calls.openers),
            call_interval_ns: CALL_INTERVAL_NS,
            track_eof_reads: u32::from(self.calls.eof_reads),
            report_over: u32::from(self.report_over),
            stack_bytes: if self.calls.any() { self.calls.stack_bytes } else { 0 },
            read_frames: u32::from(self.calls.any()),
            arrival_ns: in_nanoseconds(self.told_after),
            ..Config::NOTHING
        })
    }
}
