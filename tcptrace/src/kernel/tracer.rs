//! A running tracer: the attached program, its ring buffer, its counters.

use std::{io, os::fd::AsFd as _, time::Duration};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, ProgramError, TracePoint},
};
use aya_log::EbpfLogger;
use tcptrace_ebpf::{config::Config, record::Counters};
use tokio::io::unix::AsyncFd;
use zerocopy::FromBytes as _;

use super::{
    calls::{CallMemory, TrackedCalls},
    error::{self, LoadError},
    load::{self, Backend, HostTypes},
    misses::Misses,
};
use crate::model::connection_filter::{KernelFilter, TooManyRules};

/// What is to be traced and how much memory the kernel side may take.
#[derive(Clone, Debug)]
pub(crate) struct TracerOptions {
    /// Forced backend; `None` takes the better one the host can run.
    pub backend: Option<Backend>,
    /// Which transitions.
    pub filter: KernelFilter,
    /// Time every state, not just those of the filter.
    pub track_all_states: bool,
    /// Size of the ring buffer in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Sockets whose state is kept by the tracepoint backend.
    pub max_sockets: u32,
    /// Which calls on sockets to remember, with their stacks.
    pub calls: TrackedCalls,
    /// The reader is woken at most once in this time (4 s at most); records that come meanwhile wait for its next look.
    pub wakeup_interval: Duration,
    /// Zero: each transition says which task ran, in which cgroup the socket is and which error is
    /// pending. Otherwise it leaves out the cgroup, and has the rest only when it ends a state of the
    /// filter that lasted at least this long.
    pub details_after: Duration,
}

/// After a burst, each process has one opener kept on each CPU in this time. Keeping one costs about a
/// microsecond; the rest are counted.
const OPENER_INTERVAL_NS: u32 = 10_000_000;

impl TracerOptions {
    /// The options in the terms of the programs. Knows nothing of the host's kernel yet.
    pub(super) fn config(&self) -> Result<Config, TooManyRules> {
        Ok(Config {
            filter: self.filter.rules()?,
            track_all_states: u32::from(self.track_all_states),
            wakeup_interval_ns: u32::try_from(self.wakeup_interval.as_nanos()).unwrap_or(u32::MAX),
            details_after_ns: u64::try_from(self.details_after.as_nanos()).unwrap_or(u64::MAX),
            opener_interval_ns: if self.calls.openers { OPENER_INTERVAL_NS } else { 0 },
            track_eof_reads: u32::from(self.calls.eof_reads),
            ..Config::NOTHING
        })
    }
}

/// What the kernel side counted, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Transitions that found no room in the ring buffer, or that the kernel left the program out of.
    pub lost: u64,
    /// Sockets that found no room in a table, so that a dwell time or a caller is unknown.
    pub untracked: u64,
    /// Sockets opened beyond what is kept of their process's openers.
    pub openers_skipped: u64,
}

/// The attached kernel side. Dropping it detaches everything.
pub(crate) struct Tracer {
    backend: Backend,
    ring: AsyncFd<RingBuf<MapData>>,
    counters: PerCpuArray<MapData, [u8; size_of::<Counters>()]>,
    misses: Misses,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    calls: Option<CallMemory>,
    /// Holds the program and its attachment.
    _object: Ebpf,
}

impl Tracer {
    /// Loads and attaches. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// When the host lacks something that the chosen backend needs; the message names the remedy.
    pub(crate) fn start(options: &TracerOptions) -> Result<Self, LoadError> {
        let types = HostTypes::read();
        let (backend, types) = match (options.backend, types) {
            (Some(Backend::Btf), types) => (Backend::Btf, Some(types?)),
            (Some(Backend::Tracepoint), types) => (Backend::Tracepoint, types.ok()),
            (None, Ok(types)) => (Backend::Btf, Some(types)),
            (None, Err(error)) => {
                log::warn!("{error}: falling back to the classic tracepoint");
                (Backend::Tracepoint, None)
            }
        };
        let mut object = load::object(backend, types.as_ref(), options)?;
        let attached = Self::attach(&mut object, backend, types.as_ref());
        let (backend, object, misses) = match (attached, options.backend) {
            (Ok(misses), _) => (backend, object, misses),
            // The helper or the hook is missing: the classic tracepoint needs neither.
            (Err(error), None) if backend == Backend::Btf => {
                log::warn!("{error}: falling back to the classic tracepoint");
                let mut object = load::object(Backend::Tracepoint, types.as_ref(), options)?;
                let misses = Self::attach(&mut object, Backend::Tracepoint, types.as_ref())?;
                (Backend::Tracepoint, object, misses)
            }
            (Err(error), _) => return Err(error),
        };
        Self::open(backend, object, misses, options.calls)
    }

    fn attach(object: &mut Ebpf, backend: Backend, types: Option<&HostTypes>) -> Result<Misses, LoadError> {
        let refused = |error: ProgramError| LoadError::refused("attach to sock:inet_sock_set_state", &error);
        match (backend, types) {
            (Backend::Btf, Some(types)) => {
                let program = object.program_mut("transition_btf").ok_or_else(error::missing)?;
                let program: &mut BtfTracePoint = program.try_into().map_err(refused)?;
                program.load("inet_sock_set_state", &types.btf).map_err(refused)?;
                program.attach().map_err(refused)?;
                Ok(Misses::of(program.fd().map_err(refused)?.as_fd()))
            }
            _ => {
                let program = object.program_mut("transition_tracepoint").ok_or_else(error::missing)?;
                let program: &mut TracePoint = program.try_into().map_err(refused)?;
                program.load().map_err(refused)?;
                program.attach("sock", "inet_sock_set_state").map_err(refused)?;
                Ok(Misses::of(program.fd().map_err(refused)?.as_fd()))
            }
        }
    }

    fn open(
        backend: Backend,
        mut object: Ebpf,
        misses: Misses,
        tracked: TrackedCalls,
    ) -> Result<Self, LoadError> {
        let ring = RingBuf::try_from(object.take_map("EVENTS").ok_or_else(error::missing)?)
            .map_err(|error| LoadError::refused("open the ring buffer", &error))?;
        let counters = PerCpuArray::try_from(object.take_map("COUNTERS").ok_or_else(error::missing)?)
            .map_err(|error| LoadError::refused("open the counters", &error))?;
        // SAFETY: the descriptor is owned by the value that is registered, and is not closed before it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, tokio::io::Interest::READABLE) }
            .map_err(|error| LoadError::refused("wait for the ring buffer", &io::Error::from(error)))?;
        let logger = EbpfLogger::init(&mut object)
            .inspect_err(|error| log::debug!("warnings of the kernel side cannot be shown: {error}"))
            .ok();
        let calls = if tracked.any() { Some(CallMemory::open(&mut object, tracked)?) } else { None };
        Ok(Self { backend, ring, counters, misses, logger, calls, _object: object })
    }

    /// Hands out the memory of calls, once; `None` when none are tracked.
    pub(crate) fn take_calls(&mut self) -> Option<CallMemory> {
        self.calls.take()
    }

    /// Which way into the kernel was taken.
    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// Waits until the kernel side says that there are records. It says so for the first one after a
    /// quiet time only: call [`Tracer::drain`] at least every 100 ms too.
    ///
    /// # Errors
    /// When the runtime can no longer wait for the descriptor.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.ring.readable().await?.clear_ready();
        Ok(())
    }

    /// Hands up to `limit` records to `visit`, each as the bytes that the kernel side wrote. Returns how
    /// many there were.
    pub(crate) fn drain(&mut self, limit: usize, mut visit: impl FnMut(&[u8])) -> usize {
        let ring = self.ring.get_mut();
        let mut count = 0;
        while count < limit {
            let Some(record) = ring.next() else { break };
            visit(&record);
            count += 1;
        }
        count
    }

    /// What the kernel side counted so far. Passes on its rare warnings too.
    pub(crate) fn counted(&mut self) -> Counted {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        let mut total = Counted { lost: self.misses.count(), ..Counted::default() };
        match self.counters.get(&0, 0) {
            Ok(values) => {
                for value in values.iter() {
                    if let Ok(counters) = Counters::read_from_bytes(value) {
                        total.lost += counters.lost;
                        total.untracked += counters.untracked;
                        total.openers_skipped +=
                            counters.openers.iter().map(|budget| budget.skipped).sum::<u64>();
                    }
                }
            }
            Err(error) => log::warn!("cannot read the kernel side's counters: {error}"),
        }
        total
    }
}
