//! Attaches the programs that remember calls on sockets, and reads what they remember: who opened a socket,
//! who read its end of file, and from which stacks. `plan` decides which calls.

use std::{sync::Arc, time::Duration};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, StackTraceMap},
    programs::{ProgramError, TracePoint},
};
use tcptrace_ebpf::{
    interpreter::{MOST_SCRIPT_FRAMES, ScriptFrame},
    record::{CALL_ACCEPT, CallRecord, STACK_CHUNK, StackRecord, bytes},
};
use zerocopy::FromBytes as _;

use super::{
    error::{self, LoadError},
    interpreters::{self, InterpreterProcesses, StartedPrograms},
    plan::TracePlan,
    records::{CallStreams, Records},
    support::Support,
};
use crate::{
    host::{tracefs, wakeup::Wakeup},
    model::{
        captured_stack::{CapturedFrames, CapturedStack, Registers, StackBytes},
        pid::Pid,
        socket::KernelSocket,
        task::{Call, Comm, OpenedHow, Opener, Task},
    },
};

/// How often copies are looked for in perf buffers.
const BUFFER_INTERVAL: Duration = Duration::from_millis(50);

type CallMap = HashMap<MapData, u64, [u8; size_of::<CallRecord>()]>;

/// Who made which call on a socket that nobody has closed since.
struct Remembered {
    openers: CallMap,
    openers_of_over: CallMap,
    eof_reads: CallMap,
}

impl Remembered {
    /// Whether the call that was made on a socket at this time is remembered.
    fn has(&self, socket: KernelSocket, ktime_ns: u64) -> bool {
        let Self { openers, openers_of_over, eof_reads } = self;
        [openers, eof_reads, openers_of_over]
            .into_iter()
            .any(|calls| recall(calls, socket).is_some_and(|record| record.ktime_ns == ktime_ns))
    }
}

/// The calls that the kernel side remembers. It remembers none that are not tracked.
pub(crate) struct CallMemory {
    remembered: Arc<Remembered>,
    stacks: StackTraceMap<MapData>,
    /// Whether accept() is watched, and not only connect().
    pub(crate) sees_accept: bool,
    user_stacks: Option<Box<UserStacks>>,
    interpreters: Option<Box<(InterpreterProcesses, StartedPrograms)>>,
}

/// The copies of user stacks, in the order of the calls.
pub(crate) struct UserStacks {
    records: Records,
    remembered: Arc<Remembered>,
}

impl UserStacks {
    /// Waits for copies or to be woken, for this time at most, and passes up to `limit` of them to `visit`. Passes over those of sockets that
    /// have been closed meanwhile, which most are: nobody will ask for them, and to find their callers is the dear part.
    pub(crate) fn drain(
        &mut self,
        wakeup: &Wakeup,
        at_most: Duration,
        limit: usize,
        mut visit: impl FnMut(CapturedStack),
    ) {
        let Self { records, remembered } = self;
        // The first copy after a pause wakes the reader of a ring, and nobody that of a buffer which is far from full.
        let at_most = match records {
            Records::Ring(_) => at_most,
            Records::Perf(_) => at_most.min(BUFFER_INTERVAL),
        };
        records.wait(wakeup, at_most);
        records.take(limit, |record| {
            if let Ok((record, rest)) = StackRecord::read_from_prefix(record) {
                let StackRecord { sock, ktime_ns, pid, chunks, pc, sp, fp, lr, stack_end, script } = record;
                let (frames, stack) = split(rest, script.count);
                let count = usize::try_from(u32::BITS - chunks.leading_zeros()).unwrap_or_default();
                let stack = stack.get(..count * STACK_CHUNK).unwrap_or_default();
                let socket = KernelSocket(sock);
                // Of a process that is not visible nothing can be read.
                if let Some(pid) = Pid::from_wire(pid).visible()
                    && remembered.has(socket, ktime_ns)
                {
                    visit(CapturedStack {
                        socket,
                        ktime_ns,
                        pid,
                        registers: Registers { pc, sp, fp, lr },
                        stack_end,
                        bytes: StackBytes {
                            start: sp & !(STACK_CHUNK as u64 - 1),
                            bytes: stack.to_owned(),
                            chunks,
                        },
                        script: CapturedFrames { head: script, frames: frames.to_owned() },
                    });
                }
            }
        });
    }
}

impl CallMemory {
    /// Opens the maps that the programs fill.
    pub(super) fn open(object: &mut Ebpf, streams: CallStreams, plan: &TracePlan) -> Result<Self, LoadError> {
        let CallStreams { user_stacks, started_programs } = streams;
        let refused = |error: MapError| LoadError::refused("open the memory of calls", &error);
        let mut calls = |name: &str| {
            CallMap::try_from(object.take_map(name).ok_or_else(error::missing)?).map_err(refused)
        };
        let (openers, openers_of_over) = (calls("OPENERS")?, calls("OPENERS_OF_OVER")?);
        let remembered = Arc::new(Remembered { openers, openers_of_over, eof_reads: calls("EOF_READS")? });
        let stacks = StackTraceMap::try_from(object.take_map("STACKS").ok_or_else(error::missing)?)
            .map_err(refused)?;
        let user_stacks = UserStacks { records: user_stacks, remembered: Arc::clone(&remembered) };
        let interpreters =
            if plan.python { interpreters::open(object, started_programs).map(Box::new) } else { None };
        let sees_accept = plan.accept4 || plan.accept;
        Ok(Self { remembered, stacks, sees_accept, user_stacks: Some(Box::new(user_stacks)), interpreters })
    }

    /// Hands out the copies of user stacks, once.
    pub(crate) fn take_user_stacks(&mut self) -> Option<Box<UserStacks>> {
        self.user_stacks.take()
    }

    /// Hands out the table of processes that run an interpreter, once. `None` where their frames are not read.
    pub(crate) fn take_interpreters(&mut self) -> Option<Box<(InterpreterProcesses, StartedPrograms)>> {
        self.interpreters.take()
    }

    /// Who opened the socket; `None` when the kernel side did not see it. The socket must still be open: the
    /// kernel reuses the address of a closed one.
    pub(crate) fn opener(&self, socket: KernelSocket) -> Option<Opener> {
        recall(&self.remembered.openers, socket).as_ref().map(opener)
    }

    /// As [`CallMemory::opener`], of a socket whose connection is over. Only such a socket may be asked for: what is kept
    /// of another one at the same address may have outlived it.
    pub(crate) fn opener_of_over(&self, socket: KernelSocket) -> Option<Opener> {
        recall(&self.remembered.openers_of_over, socket).as_ref().map(opener)
    }

    /// Who read the end of file first; `None` when the kernel side did not see it. The socket must still be
    /// open, as for [`CallMemory::opener`].
    pub(crate) fn eof_read(&self, socket: KernelSocket) -> Option<Call> {
        recall(&self.remembered.eof_reads, socket).as_ref().map(call)
    }

    /// How often the end of file was read again after [`CallMemory::eof_read`], a second until `now_ns` (CLOCK_MONOTONIC).
    pub(crate) fn eof_reads_per_second(&self, socket: KernelSocket, now_ns: u64) -> Option<u64> {
        const SECOND: u64 = 1_000_000_000;
        let CallRecord { ktime_ns, repeated, .. } = recall(&self.remembered.eof_reads, socket)?;
        let since_ns = now_ns.checked_sub(ktime_ns).filter(|since| *since > 0)?;
        u64::try_from(u128::from(repeated) * u128::from(SECOND) / u128::from(since_ns)).ok()
    }

    /// The return addresses of a stack, innermost first; empty when the kernel side did not keep it.
    pub(crate) fn stack(&self, id: u32) -> Vec<u64> {
        let stack = self.stacks.get(&id, 0);
        stack.map(|stack| stack.frames().iter().map(|frame| frame.ip).collect()).unwrap_or_default()
    }
}

/// The frames of an interpreter that mean something, and the copy of the stack, behind the head of a record.
fn split(rest: &[u8], count: u32) -> (&[ScriptFrame], &[u8]) {
    let parts = <[ScriptFrame]>::ref_from_prefix_with_elems(rest, MOST_SCRIPT_FRAMES);
    let Ok((frames, stack)) = parts else { return (&[], &[]) };
    (frames.get(..usize::try_from(count).unwrap_or(usize::MAX)).unwrap_or_default(), stack)
}

fn recall(calls: &CallMap, socket: KernelSocket) -> Option<CallRecord> {
    CallRecord::read_from_bytes(&calls.get(&socket.0, 0).ok()?).ok()
}

fn opener(record: &CallRecord) -> Opener {
    let how = if record.call == CALL_ACCEPT { OpenedHow::Accept } else { OpenedHow::Connect };
    Opener { call: call(record), how }
}

fn call(record: &CallRecord) -> Call {
    let CallRecord { ktime_ns, pid, tid, comm, stack_id, call: _, repeated: _ } = *record;
    let task = Task { pid: Pid::from_wire(pid), tid: Pid::from_wire(tid), comm: Comm(bytes(comm)) };
    Call { task, ktime_ns, stack: u32::try_from(stack_id).ok() }
}

/// Attaches the programs for the calls that the plan watches, and records in `support` what the kernel
/// refuses.
pub(super) fn attach(object: &mut Ebpf, support: &mut Support, plan: &TracePlan) {
    let Support { tracefs, accept4, accept, receive, .. } = support;
    let accepts = "attach to the end of accept()";
    for (is_planned, trial, program, (category, hook), what) in [
        (plan.accept4, accept4, "accepted", ("syscalls", "sys_exit_accept4"), accepts),
        (plan.accept, accept, "accepted", ("syscalls", "sys_exit_accept"), accepts),
        (plan.receive, receive, "received", ("sock", "sock_recv_length"), "attach to sock:sock_recv_length"),
    ] {
        if !is_planned {
            continue;
        }
        // aya looks for tracefs itself, but does not mount it.
        tracefs.once(|| Ok(tracefs::root()?));
        let attached = match tracefs.refusal() {
            Some(error) => Err(error.clone()),
            None => attach_one(object, program, (category, hook), what),
        };
        trial.record(attached);
    }
    if plan.python {
        support.program_starts.record(interpreters::attach(object));
    }
}

/// Loads a program, unless it is, and attaches it to a classic tracepoint, given as category and name.
fn attach_one(
    object: &mut Ebpf,
    program: &str,
    (category, name): (&str, &str),
    what: &'static str,
) -> Result<(), LoadError> {
    let refused = |error: ProgramError| LoadError::refused(what, &error);
    let program = object.program_mut(program).ok_or_else(error::missing)?;
    let program: &mut TracePoint = program.try_into().map_err(refused)?;
    if program.fd().is_err() {
        program.load().map_err(refused)?;
    }
    program.attach(category, name).map_err(refused)?;
    Ok(())
}
