//! Runs the tracer's plan: attaches the program, and reads its records and counters. `plan` decides what
//! runs; nothing here interprets a record.

use std::{io, os::fd::AsFd as _};

use aya::{
    Btf, Ebpf,
    maps::{MapData, PerCpuArray},
    programs::{BtfTracePoint, ProgramError, RawTracePoint, TracePoint},
};
use aya_log::EbpfLogger;
use tcptrace_ebpf::{
    config::{Config, FormatOffsets, KernelOffsets, ReceiveOffsets, RegisterOffsets},
    record::Counters,
};
use tokio::io::unix::AsyncFd;
use zerocopy::FromBytes as _;

use super::{
    arrivals::Arrivals,
    calls::{self, CallMemory},
    error::{self, LoadError},
    load,
    misses::{Classic, Misses, Recursions},
    options::{Backend, TracerOptions, Transport},
    plan::{self, RefusedPlan, TracePlan, TraceRequest, Warning},
    records::{CallStreams, OpenStreams, Records},
    streams::Streams,
    support::{Support, Trial},
};
use crate::host::clock::Clocks;

/// What pthread_self() points to begins this much below the thread pointer at most: 0 where it is that itself. On aarch64
/// glibc has `struct pthread` there (`THREAD_SELF` of sysdeps/aarch64/nptl/tls.h), of some 2 KiB, and musl one of less.
const THREAD_HEAD_BYTES: u32 = if cfg!(target_arch = "aarch64") { 4096 } else { 0 };

/// The counters of the kernel side, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Transitions that found no room, or no buffer of their CPU.
    pub lost_for_room: u64,
    /// Transitions for which the kernel skipped the program.
    pub skipped: u64,
    /// Sockets that found no room in a table: a dwell time or a caller is unknown.
    pub untracked: u64,
    /// Sockets opened beyond the budget of their process: their openers are not kept.
    pub openers_skipped: u64,
    /// Stacks that were not copied.
    pub stacks_dropped: u64,
}

/// The running kernel side. Dropping it detaches all programs.
pub(crate) struct Tracer {
    backend: Backend,
    records: AsyncFd<Records>,
    /// `None` where each arrival in CLOSE_WAIT is a record.
    arrivals: Option<Arrivals>,
    counters: PerCpuArray<MapData, [u8; size_of::<Counters>()]>,
    misses: Misses,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    calls: Option<CallMemory>,
    /// Holds the programs and their attachments.
    object: Ebpf,
}

/// A program that runs, and the object that holds it and its maps.
pub(super) struct Attached {
    /// Dropping it detaches the program.
    pub object: Ebpf,
    streams: OpenStreams,
    misses: Misses,
}

/// Loads the object that the plan names, and attaches its main program. `None` when the kernel refuses,
/// which is a fact in `support` then.
pub(super) fn attach(
    support: &mut Support,
    plan: &TracePlan,
    options: &TracerOptions,
    config: &Config,
    clocks: &Clocks,
) -> Option<Attached> {
    let types = support.types();
    let format = match plan.backend {
        Backend::Btf => FormatOffsets::UNUSED,
        Backend::Tracepoint => load::transition_layout(support)?,
    };
    let receive = if plan.receive { load::receive_layout(support)? } else { ReceiveOffsets::UNUSED };
    let kernel = types.as_ref().map_or(KernelOffsets::UNKNOWN, |types| types.offsets);
    let pid_namespace = support.pid_namespaces.translated_into();
    // The registers of a task are found by its type.
    let registers = if types.is_some() { RegisterOffsets::OF_THIS_MACHINE } else { RegisterOffsets::UNUSED };
    // Elsewhere stacks are walked by frame pointers only.
    let stacks = plan.stacks && registers != RegisterOffsets::UNUSED;
    let config = Config {
        kernel,
        format,
        receive,
        pid_namespace,
        registers,
        thread_head_bytes: THREAD_HEAD_BYTES,
        ..*config
    };
    let ways = (plan.backend, plan.transport);
    let load = |config: &Config| object(ways, config, options, clocks);
    let attach = |object: &mut Ebpf| match (plan.backend, types.as_deref()) {
        (Backend::Btf, Some(types)) => attach_typed(object, &types.hooks.tracepoint()?),
        (Backend::Btf, None) => Err(error::missing()),
        (Backend::Tracepoint, _) => attach_classic(object),
    };
    let whole = Reads { stacks, python: plan.python, kernel: true };
    let mut refusals = Vec::new();
    let mut attached = None;
    for reads in whole.and_less(plan.backend) {
        let (mut object, streams) =
            support.transport(plan.transport).record(load(&reads.applied_to(&config)))?;
        match attach(&mut object) {
            Ok(misses) => {
                attached = Some((reads, Attached { object, streams, misses }));
                break;
            }
            Err(error) => refusals.push(error),
        }
    }
    let trial = match plan.backend {
        Backend::Btf => &mut support.typed_tracepoint,
        Backend::Tracepoint => &mut support.classic_tracepoint,
    };
    let Some((reads, attached)) = attached else {
        // What was left out in the end is not the reason.
        return trial.record(refusals.pop().map_or_else(|| Err(error::missing()), Err));
    };
    *trial = Trial::Works(());
    for (trial, is_wanted, works) in [
        (&mut support.stack_copies, whole.stacks, reads.stacks),
        (&mut support.python_frames, whole.python, reads.python),
    ] {
        if is_wanted {
            let refusal = refusals.first().filter(|_| !works).cloned();
            trial.record(refusal.map_or(Ok(()), Err));
        }
    }
    Some(attached)
}

/// Loads an object, and opens the streams of its records.
fn object(
    ways: (Backend, Transport),
    config: &Config,
    options: &TracerOptions,
    clocks: &Clocks,
) -> Result<(Ebpf, OpenStreams), LoadError> {
    let streams = Streams::of(options, config);
    let mut object = load::tracer(ways, &streams, config, options)?;
    let open = OpenStreams::open(&mut object, &streams, ways.1, clocks)?;
    Ok((object, open))
}

/// Tries a transport, by the object whose maps every kernel may have.
pub(super) fn try_transport(
    support: &mut Support,
    transport: Transport,
    options: &TracerOptions,
    config: &Config,
    clocks: &Clocks,
) {
    let opened = object((Backend::Tracepoint, transport), config, options, clocks);
    support.transport(transport).record(opened);
}

/// What a program reads.
#[derive(Clone, Copy)]
struct Reads {
    /// Of a call: the user's stack.
    stacks: bool,
    /// Of a call: the frames of Python, PHP and Ruby.
    python: bool,
    /// The kernel's memory at addresses without a type.
    kernel: bool,
}

impl Reads {
    /// All that is wanted, then less and less, for kernels whose verifier refuses it: they have fewer helpers
    /// (`bpf_task_pt_regs` is of Linux 5.15), allow fewer instructions, or are locked down. The classic tracepoint is
    /// nothing without the kernel's memory.
    fn and_less(self, backend: Backend) -> impl Iterator<Item = Self> {
        [
            (true, true, true),
            (true, false, true),
            (false, true, true),
            (false, false, true),
            (false, false, false),
        ]
        .into_iter()
        .map(|(stacks, python, kernel)| Self { stacks, python, kernel })
        .filter(move |less| {
            (self.stacks || !less.stacks)
                && (self.python || !less.python)
                && (less.kernel || backend == Backend::Btf)
        })
    }

    fn applied_to(self, config: &Config) -> Config {
        let stack_bytes = if self.stacks { config.stack_bytes } else { 0 };
        let read_frames = if self.python { config.read_frames } else { 0 };
        Config { stack_bytes, read_frames, probe_reads: self.kernel.into(), ..*config }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes a value")]
fn refused(error: ProgramError) -> LoadError {
    LoadError::refused("attach to sock:inet_sock_set_state", &error)
}

fn attach_typed(object: &mut Ebpf, types: &Btf) -> Result<Misses, LoadError> {
    let program = object.program_mut("transition_btf").ok_or_else(error::missing)?;
    let program: &mut BtfTracePoint = program.try_into().map_err(refused)?;
    program.load("inet_sock_set_state", types).map_err(refused)?;
    program.attach().map_err(refused)?;
    Ok(Misses::Typed(Recursions::of(program.fd().map_err(refused)?.as_fd())))
}

/// Attaches the program that counts what passes first: whatever runs the other has passed it.
fn attach_classic(object: &mut Ebpf) -> Result<Misses, LoadError> {
    let counter = object.program_mut("passed_tracepoint").ok_or_else(error::missing)?;
    let counter: &mut RawTracePoint = counter.try_into().map_err(refused)?;
    counter.load().map_err(refused)?;
    counter.attach("inet_sock_set_state").map_err(refused)?;
    let uncounted = Recursions::of(counter.fd().map_err(refused)?.as_fd());
    let program = object.program_mut("transition_tracepoint").ok_or_else(error::missing)?;
    let program: &mut TracePoint = program.try_into().map_err(refused)?;
    program.load().map_err(refused)?;
    program.attach("sock", "inet_sock_set_state").map_err(refused)?;
    let passes = object.take_map("PASSES").ok_or_else(error::missing)?;
    let passes = PerCpuArray::try_from(passes);
    let counted = passes.and_then(|passes| Classic::begin(passes, uncounted));
    Ok(Misses::Classic(counted.map_err(|error| LoadError::refused("open the counters", &error))?))
}

/// The plan that the facts allow so far. Warns of what was given up before a refusal.
fn plan(support: &Support, options: &TracerOptions) -> Result<TracePlan, LoadError> {
    let TracerOptions { backend, transport, calls, .. } = *options;
    let wanted = TraceRequest { backend, transport, calls };
    plan::trace(support, wanted).map_err(|RefusedPlan { error, warnings }| {
        warn(&warnings);
        error
    })
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        log::warn!("{warning}");
    }
}

impl Tracer {
    /// Loads and attaches what the kernel accepts, and records in `support` what it refuses. Has to be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the host lacks something that nothing stands in for; the message names the remedy.
    pub(crate) fn start(
        support: &mut Support,
        options: &TracerOptions,
        clocks: &Clocks,
    ) -> Result<Self, LoadError> {
        let config = options.config()?;
        // The tracepoint backend knows more with BTF, so each backend tries it.
        support.types();
        // A plan uses nothing that is known to be refused, so each round has fewer features to try.
        let (tracer, calls) = loop {
            let plan = plan(support, options)?;
            // Without ring buffers there is no table that could be mapped.
            let arrival_ns = if plan.transport == Transport::Ring { config.arrival_ns } else { 0 };
            let config = Config { arrival_ns, ..config };
            if let Some(attached) = attach(support, &plan, options, &config, clocks) {
                break Self::open(plan.backend, attached, arrival_ns != 0)?;
            }
        };
        tracer.with_calls(calls, support, options)
    }

    fn open(
        backend: Backend,
        attached: Attached,
        keeps_arrivals: bool,
    ) -> Result<(Self, Option<CallStreams>), LoadError> {
        let Attached { mut object, streams: OpenStreams { events, calls }, misses } = attached;
        cpu_list()?;
        let counters = PerCpuArray::try_from(object.take_map("COUNTERS").ok_or_else(error::missing)?)
            .map_err(|error| LoadError::refused("open the counters", &error))?;
        // SAFETY: the registered value owns the descriptor, and closes it only when it is dropped itself.
        let records = unsafe { AsyncFd::register_with_interest(events, tokio::io::Interest::READABLE) }
            .map_err(|error| LoadError::refused("wait for records", &io::Error::from(error)))?;
        let arrivals = keeps_arrivals.then(|| Arrivals::open(&mut object)).transpose()?;
        let logger = EbpfLogger::init(&mut object)
            .inspect_err(|error| log::debug!("warnings of the kernel side cannot be shown: {error}"))
            .ok();
        Ok((Self { backend, records, arrivals, counters, misses, logger, calls: None, object }, calls))
    }

    /// Attaches to the calls that are tracked beyond connect(), and opens what they fill. Warns of what the
    /// tracer does without.
    fn with_calls(
        mut self,
        streams: Option<CallStreams>,
        support: &mut Support,
        options: &TracerOptions,
    ) -> Result<Self, LoadError> {
        calls::attach(&mut self.object, support, &plan(support, options)?);
        let attached = plan(support, options)?;
        warn(&attached.warnings);
        if let Some(streams) = streams {
            self.calls = Some(CallMemory::open(&mut self.object, streams, &attached)?);
        }
        Ok(self)
    }

    /// Hands out the memory of calls, once. `None` when no calls are tracked.
    pub(crate) fn take_calls(&mut self) -> Option<CallMemory> {
        self.calls.take()
    }

    /// How transitions are traced.
    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// Waits until the kernel side wakes the reader, which it does only for the first record after a quiet time:
    /// call [`Tracer::drain`] at least every 100 ms too.
    ///
    /// # Errors
    /// When the runtime cannot wait for the descriptor any more.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.records.readable().await?.clear_ready();
        Ok(())
    }

    /// Passes up to `limit` records to `visit`, each as the bytes that the kernel side wrote. Returns their
    /// number.
    pub(crate) fn drain(&mut self, limit: usize, visit: impl FnMut(&[u8])) -> usize {
        self.records.get_mut().take(limit, visit)
    }

    /// Has the kernel side keep back sockets that come into CLOSE_WAIT, or not any more.
    pub(crate) fn keep_arrivals(&mut self, is_wanted: bool) {
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.want(is_wanted);
        }
    }

    /// Passes those that are kept back, came before this time (CLOCK_MONOTONIC, nanoseconds) and are still there to `visit`,
    /// each once, as the bytes that the kernel side wrote. Returns how many have come since.
    pub(crate) fn take_arrivals(&mut self, before_ns: u64, visit: impl FnMut(&[u8])) -> usize {
        self.arrivals.as_mut().map_or(0, |arrivals| arrivals.take(before_ns, visit))
    }

    /// The counters so far. Logs the kernel side's rare warnings too.
    pub(crate) fn counted(&mut self) -> Counted {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        let mut total = Counted::default();
        match self.misses.count() {
            Ok(skipped) => total.skipped = skipped,
            Err(error) => log::warn!("cannot read the kernel side's counters: {error}"),
        }
        match self.counters.get(&0, 0) {
            Ok(values) => {
                for value in values.iter() {
                    if let Ok(counters) = Counters::read_from_bytes(value) {
                        total.lost_for_room += counters.lost;
                        total.untracked += counters.untracked;
                        total.openers_skipped += counters.openers_skipped;
                        total.stacks_dropped += counters.stacks_dropped;
                    }
                }
            }
            Err(error) => log::warn!("cannot read the kernel side's counters: {error}"),
        }
        total
    }
}

/// Checks that the kernel's list of CPUs can be read: each has counters of its own, of what was lost among others.
///
/// # Errors
/// When it cannot.
pub(crate) fn cpu_list() -> Result<(), LoadError> {
    let listed = aya::util::nr_cpus();
    listed.map(|_| ()).map_err(|(path, error)| LoadError::NoCpuList { path, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_python_are_given_up_first_then_copies_of_stacks_and_the_kernel_s_memory_last() {
        let attempts = |stacks, python, backend| -> Vec<_> {
            let whole = Reads { stacks, python, kernel: true };
            whole.and_less(backend).map(|less| (less.stacks, less.python, less.kernel)).collect()
        };
        let classic = [(true, true, true), (true, false, true), (false, true, true), (false, false, true)];
        assert_eq!(attempts(true, true, Backend::Tracepoint), classic);
        assert_eq!(attempts(true, true, Backend::Btf), [&classic[..], &[(false, false, false)]].concat());
        assert_eq!(attempts(true, false, Backend::Tracepoint), [(true, false, true), (false, false, true)]);
        assert_eq!(attempts(false, true, Backend::Tracepoint), [(false, true, true), (false, false, true)]);
        assert_eq!(attempts(false, false, Backend::Btf), [(false, false, true), (false, false, false)]);
    }
}
