//! The options of live commands: `leaks`, `trace` and `time-wait`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{
    outputs::{KeepingArguments, OutputArguments},
    values,
    watch::WatchOptions,
};
use crate::{
    kernel::{Backend, TracerOptions, TrackedCalls, Transport},
    model::criteria::Criteria,
    output::options::OutputOptions,
};

/// What options are headed by that nearly nobody needs.
pub(crate) const RARE: &str = "Rarely needed";

/// The way into the kernel.
#[derive(Debug, Args)]
#[command(next_help_heading = RARE)]
pub(crate) struct Kernel {
    /// Force a way into the kernel [default: btf where the host has it]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// How records get from the kernel to tcptrace
    #[arg(long, value_enum, default_value_t)]
    transport: TransportChoice,
    /// Room for records between kernel and tcptrace (64K to 1G; rounded up to a power of two). The CPUs share it with
    /// --transport perf: each has a power of two in pages, and 64K at least [default: 16M for trace, else 4M]
    #[arg(long, value_name = "BYTES", value_parser = values::ring_bytes)]
    ring_size: Option<u32>,
}

/// How records get to user space.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum TransportChoice {
    /// By ring buffers where the kernel has them (Linux 5.8)
    #[default]
    Auto,
    /// By ring buffers, which all CPUs share
    Ring,
    /// By a buffer for each CPU (perf event arrays): costs more, and is full sooner when all happens on one CPU
    Perf,
}

/// How a live session is run and kept.
#[derive(Debug, Args)]
pub(crate) struct Running {
    /// Stop by itself after this time (30s, 5m, 1h)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub duration: Option<Duration>,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    keeping: KeepingArguments,
}

/// How sockets in CLOSE_WAIT are followed.
#[derive(Debug, Args)]
pub(crate) struct Watching {
    /// A socket counts as stuck after this long in CLOSE_WAIT
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub older_than: Duration,
    /// Do not watch who opens sockets, and from which line of code; costs less on a busy host
    #[arg(long)]
    pub no_stacks: bool,
    /// Watch who reads the end of file, when, and at which line of code; costs every receive call on
    /// the host a little (Linux 6.3 with BTF)
    #[arg(long)]
    pub deep: bool,
    /// Bytes of the stack that are copied for each call watched, so that callers without frame pointers
    /// are found: up to 16K; 0 walks by frame pointers only
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = values::stack_bytes)]
    pub stack_bytes: u32,
}

impl Running {
    /// Where the records go.
    pub(crate) fn outputs(&self) -> Result<OutputOptions, String> {
        self.output.resolve_kept(&self.keeping)
    }
}

impl Watching {
    /// What has to be watched for it.
    pub(crate) fn calls(&self) -> TrackedCalls {
        TrackedCalls { openers: !self.no_stacks, eof_reads: self.deep, stack_bytes: self.stack_bytes }
    }

    /// What the options mean.
    pub(crate) fn options(max_sockets: u32) -> WatchOptions {
        WatchOptions { max_sockets: max_sockets as usize }
    }
}

impl Kernel {
    /// What the options mean for a session that traces these transitions of at most `max_sockets` sockets. The ring has
    /// `ring_bytes` unless another size was typed.
    pub(crate) fn tracer(&self, criteria: Criteria, ring_bytes: u32, max_sockets: u32) -> TracerOptions {
        let Self { backend, transport, ring_size } = self;
        TracerOptions {
            backend: *backend,
            transport: match transport {
                TransportChoice::Auto => None,
                TransportChoice::Ring => Some(Transport::Ring),
                TransportChoice::Perf => Some(Transport::Perf),
            },
            criteria,
            track_all_states: false,
            calls: TrackedCalls::default(),
            ring_bytes: ring_size.unwrap_or(ring_bytes),
            max_sockets,
            wakes_soon: false,
            details_after: Duration::ZERO,
            told_after: Duration::ZERO,
            report_over: false,
        }
    }
}
