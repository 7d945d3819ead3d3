//! Which programs run, and what they do without: pure rules over the facts in `Support`. Tries nothing and
//! prints nothing. A feature that nobody has tried yet counts as there: whoever runs the plan tries it,
//! records the outcome, and asks for another plan if the kernel refused.

use std::fmt;

use tcptrace_ebpf::config::{ABSENT, KernelOffsets};

use super::{
    error::LoadError,
    loss::{self, Lack},
    options::{Backend, HolderSource, TrackedCalls, Transport},
    support::{Support, Trial},
    types::KernelTypes,
};
use crate::host::{lockdown::Lockdown, privilege::Need};

/// What a tracer is wanted for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TraceRequest {
    /// Forced backend; `None` takes the better one.
    pub(crate) backend: Option<Backend>,
    /// Forced transport, likewise.
    pub(crate) transport: Option<Transport>,
    /// Which calls on sockets to remember.
    pub(crate) calls: TrackedCalls,
}

/// How the tracer runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether one program is attached")]
pub(crate) struct TracePlan {
    /// Which object.
    pub(crate) backend: Backend,
    /// In which of its builds.
    pub(crate) transport: Transport,
    /// Watch the end of accept4().
    pub(crate) accept4: bool,
    /// Watch the end of accept().
    pub(crate) accept: bool,
    /// Watch the end of receive calls.
    pub(crate) receive: bool,
    /// Copy user stacks at the calls.
    pub(crate) stacks: bool,
    /// Read the frames of Python, PHP and Ruby at the calls, and see which programs are started.
    pub(crate) python: bool,
    /// What the tracer does without.
    pub(crate) warnings: Vec<Warning>,
}

/// How descriptor tables are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HolderPlan {
    /// The way to the tables.
    pub(crate) source: HolderSource,
    /// Whether accept queues can be read.
    pub(crate) queues: bool,
    /// What the reader does without.
    pub(crate) warnings: Vec<Warning>,
}

/// What runs in another way than the best, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The classic tracepoint stands in for the typed one.
    ClassicTracepoint(LoadError),
    /// Perf event arrays stand in for ring buffers.
    PerfBuffers(LoadError),
    /// Nobody sees who accepts sockets by one of the two calls.
    AcceptsUnseen(LoadError),
    /// The calls are seen without what only BTF tells.
    CallsWithoutTypes(LoadError),
    /// User stacks are walked by frame pointers only.
    StacksUncopied(LoadError),
    /// The frames of Python, PHP and Ruby are not read.
    PythonUnread(LoadError),
    /// The files that processes have mapped cannot be opened.
    FilesUnread(&'static Need),
    /// Descriptor tables are read from /proc.
    TablesFromProc(LoadError),
    /// Descriptor tables are read from /proc, which shows more processes.
    IteratorSeesLess,
    /// Accept queues cannot be read.
    QueuesUnseen(LoadError),
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NO_STACKS: &str = " (--no-stacks does without)";
        let mut lacks = |lack: &Lack, option: &str, error: &LoadError| {
            write!(formatter, "{}{option}: {error}", lack.lost)?;
            if error.names_remedy() { Ok(()) } else { write!(formatter, "; it takes {}", lack.remedy) }
        };
        match self {
            Self::ClassicTracepoint(error) => lacks(&loss::TYPED_TRACEPOINT, "", error),
            Self::PerfBuffers(error) => lacks(&loss::RING_BUFFERS, "", error),
            Self::AcceptsUnseen(error) => lacks(&loss::ACCEPTS, NO_STACKS, error),
            Self::CallsWithoutTypes(LoadError::NoBtf { .. }) => {
                write!(formatter, "{}{NO_STACKS}: no BTF of this kernel", loss::TYPES.lost)
            }
            Self::CallsWithoutTypes(error) => lacks(&loss::TYPES, NO_STACKS, error),
            Self::StacksUncopied(error) => {
                lacks(&loss::STACK_COPIES, " (--stack-bytes 0 does without)", error)
            }
            Self::PythonUnread(error) => lacks(&loss::PYTHON_FRAMES, "", error),
            Self::TablesFromProc(error) => lacks(&loss::ITERATOR, "", error),
            Self::QueuesUnseen(error) => lacks(&loss::QUEUES, "", error),
            Self::FilesUnread(need) => write!(formatter, "{need}"),
            Self::IteratorSeesLess => formatter.write_str(
                "this process is in a pid namespace of its own, whose processes alone the kernel's iterator shows: descriptor tables are read from /proc, which shows more",
            ),
        }
    }
}

/// Why nothing runs, and what was given up before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedPlan {
    /// What is missing.
    pub(crate) error: LoadError,
    /// What would have run in another way.
    pub(crate) warnings: Vec<Warning>,
}

/// How to trace.
///
/// # Errors
/// When the kernel lacks something that nothing stands in for.
pub(crate) fn trace(support: &Support, wanted: TraceRequest) -> Result<TracePlan, RefusedPlan> {
    let mut warnings = Vec::new();
    let transport = transport(support, wanted.transport, &mut warnings);
    let ways = transport.and_then(|way| Ok((backend(support, wanted.backend, &mut warnings)?, way)));
    let (backend, transport) = match ways {
        Ok(ways) => ways,
        Err(error) => return Err(RefusedPlan { error, warnings }),
    };
    if let Some(error) = eof_reads_refusal(support, wanted.calls) {
        return Err(RefusedPlan { error, warnings });
    }
    let types = support.types.refusal();
    if wanted.calls.any() {
        warnings.extend(support.privileges.lines.map(Warning::FilesUnread));
        warnings.extend(types.cloned().map(Warning::CallsWithoutTypes));
    }
    let mut uses = |is_wanted: bool, trial: &Trial, warning: fn(LoadError) -> Warning| {
        if !is_wanted || types.is_some() {
            return false;
        }
        // Of both ways to accept the same may be said.
        warnings.extend(trial.refusal().cloned().map(warning).filter(|warning| !warnings.contains(warning)));
        trial.refusal().is_none()
    };
    let TrackedCalls { openers, eof_reads, stack_bytes } = wanted.calls;
    let accept4 = uses(openers, &support.accept4, Warning::AcceptsUnseen);
    let accept = uses(openers, &support.accept, Warning::AcceptsUnseen);
    let any = wanted.calls.any();
    let stacks = uses(any && stack_bytes > 0, &support.stack_copies, Warning::StacksUncopied);
    let python = uses(any && knows_threads(support), &support.python_frames, Warning::PythonUnread);
    Ok(TracePlan { backend, transport, accept4, accept, receive: eof_reads, stacks, python, warnings })
}

/// Whether the kernel side can tell which thread of a runtime made a call, and hears of processes that begin to run one.
fn knows_threads(support: &Support) -> bool {
    let has_pointer = |types: &KernelTypes| {
        let KernelOffsets { task_fsbase, task_tp_value, .. } = types.offsets;
        task_fsbase != ABSENT || task_tp_value != ABSENT
    };
    support.types.refusal().is_none()
        && support.types.works().is_none_or(|types| has_pointer(types))
        && support.program_starts.refusal().is_none()
}

/// Ring buffers unless the kernel lacks them. Both objects have the same maps otherwise, or others that every kernel has.
fn transport(
    support: &Support,
    forced: Option<Transport>,
    warnings: &mut Vec<Warning>,
) -> Result<Transport, LoadError> {
    support.may_trace()?;
    match (forced, support.ring_buffers.refusal()) {
        (None | Some(Transport::Ring), None) => return Ok(Transport::Ring),
        (Some(Transport::Ring), Some(error)) => return Err(error.clone()),
        (None, Some(error)) => warnings.push(Warning::PerfBuffers(error.clone())),
        (Some(Transport::Perf), _) => {}
    }
    refuse(support.perf_buffers.refusal())?;
    Ok(Transport::Perf)
}

/// The typed tracepoint unless the kernel lacks what it takes: BTF, the helpers or the hook. The classic one
/// needs none of these.
fn backend(
    support: &Support,
    forced: Option<Backend>,
    warnings: &mut Vec<Warning>,
) -> Result<Backend, LoadError> {
    let typed = support.types.refusal().or(support.typed_tracepoint.refusal());
    match (forced, typed) {
        (None | Some(Backend::Btf), None) => return Ok(Backend::Btf),
        (Some(Backend::Btf), Some(error)) => return Err(explain(error, support.lockdown)),
        (None, Some(error)) => warnings.push(Warning::ClassicTracepoint(error.clone())),
        (Some(Backend::Tracepoint), _) => {}
    }
    if let Some(error) = support.tracefs.refusal() {
        return Err(LoadError::ClassicWithoutTracefs(error.to_string()));
    }
    refuse(support.transition_layout.refusal())?;
    match support.classic_tracepoint.refusal() {
        Some(error) => Err(explain(error, support.lockdown)),
        None => Ok(Backend::Tracepoint),
    }
}

/// Why reads of the end of file, if wanted, cannot be watched.
fn eof_reads_refusal(support: &Support, calls: TrackedCalls) -> Option<LoadError> {
    if !calls.eof_reads {
        return None;
    }
    let refusals = [
        support.types.refusal(),
        support.tracefs.refusal(),
        support.receive_layout.refusal(),
        support.receive.refusal(),
    ];
    let error = refusals.into_iter().flatten().next()?;
    let remedy =
        if error.names_remedy() { String::new() } else { format!("; it takes {}", loss::DEEP.remedy) };
    Some(LoadError::NoDeep(format!("{error}{remedy}")))
}

/// How to read descriptor tables.
///
/// # Errors
/// When a way is forced that the kernel does not have.
pub(crate) fn holders(support: &Support, forced: Option<HolderSource>) -> Result<HolderPlan, LoadError> {
    let refusal = support.types.refusal().or(support.iterator.refusal());
    let proc = |warnings| HolderPlan { source: HolderSource::Proc, queues: false, warnings };
    match (forced, refusal) {
        (Some(HolderSource::Proc), _) => Ok(proc(Vec::new())),
        (None, _) if support.pid_namespaces.shows_more_than_iterators() => {
            Ok(proc(vec![Warning::IteratorSeesLess]))
        }
        (Some(HolderSource::Iterator), Some(error)) => Err(error.clone()),
        (None, Some(error)) => Ok(proc(vec![Warning::TablesFromProc(error.clone())])),
        (None | Some(HolderSource::Iterator), None) => {
            let queues = support.queues.refusal();
            let warnings = queues.cloned().map(Warning::QueuesUnseen).into_iter().collect();
            Ok(HolderPlan { source: HolderSource::Iterator, queues: queues.is_none(), warnings })
        }
    }
}

fn refuse(refusal: Option<&LoadError>) -> Result<(), LoadError> {
    refusal.map_or(Ok(()), |error| Err(error.clone()))
}

/// A kernel that is locked down refuses the programs as it would unknown helpers: the reason is elsewhere.
fn explain(error: &LoadError, lockdown: Lockdown) -> LoadError {
    match error.clone() {
        LoadError::Refused { what, reason, .. } if lockdown == Lockdown::Confidentiality => {
            LoadError::Refused { what, reason, remedy: LoadError::LOCKED_DOWN }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests;
