//! The kernel side's memory of calls on sockets: who opened a socket, who read its end of file, and from
//! which stacks.

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, StackTraceMap},
    programs::{ProgramError, TracePoint},
};
use tcptrace_ebpf::record::{CALL_ACCEPT, CallRecord, bytes};
use zerocopy::FromBytes as _;

use super::error::{self, LoadError};
use crate::{
    host::tracefs,
    model::{
        socket::KernelSocket,
        task::{Call, Comm, OpenedHow, Opener, Task},
    },
};

/// Which calls on sockets the kernel side remembers, each with its stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrackedCalls {
    /// Those that open a socket: watches accept() on the whole host.
    pub openers: bool,
    /// The first that reads the end of file: watches every receive call on the whole host.
    pub eof_reads: bool,
}

impl TrackedCalls {
    /// Whether there is anything to remember.
    pub(super) fn any(self) -> bool {
        self.openers || self.eof_reads
    }
}

type CallMap = HashMap<MapData, u64, [u8; size_of::<CallRecord>()]>;

/// Reads what the kernel side remembers. Of calls that are not tracked it remembers none.
pub(crate) struct CallMemory {
    openers: CallMap,
    eof_reads: CallMap,
    stacks: StackTraceMap<MapData>,
}

impl CallMemory {
    /// Attaches to the calls that are tracked beyond connect(), and opens what they fill.
    pub(super) fn open(object: &mut Ebpf, tracked: TrackedCalls) -> Result<Self, LoadError> {
        let accepts =
            [("accepted_by_accept4", "sys_exit_accept4"), ("accepted_by_accept", "sys_exit_accept")];
        for (program, hook) in accepts.into_iter().filter(|_| tracked.openers) {
            if let Err(error) = attach(object, program, ("syscalls", hook), "attach to the end of accept()") {
                log::warn!("{error}: who accepted a socket stays unknown (--no-stacks does without)");
            }
        }
        if tracked.eof_reads {
            attach(object, "received", ("sock", "sock_recv_length"), "attach to sock:sock_recv_length")?;
        }
        let refused = |error: MapError| LoadError::refused("open the memory of calls", &error);
        let mut calls = |name: &str| {
            CallMap::try_from(object.take_map(name).ok_or_else(error::missing)?).map_err(refused)
        };
        let (openers, eof_reads) = (calls("OPENERS")?, calls("EOF_READS")?);
        let stacks = StackTraceMap::try_from(object.take_map("STACKS").ok_or_else(error::missing)?)
            .map_err(refused)?;
        Ok(Self { openers, eof_reads, stacks })
    }

    /// Who opened the socket; `None` when nobody was seen doing it. The socket must not have been closed
    /// since: its address may be another's by then.
    pub(crate) fn opener(&self, socket: KernelSocket) -> Option<Opener> {
        let record = recall(&self.openers, socket)?;
        let how = if record.call == CALL_ACCEPT { OpenedHow::Accept } else { OpenedHow::Connect };
        Some(Opener { call: call(&record), how })
    }

    /// Who read the end of file first; `None` when nobody was seen doing it. As for
    /// [`CallMemory::opener`], the socket must not have been closed since.
    pub(crate) fn eof_read(&self, socket: KernelSocket) -> Option<Call> {
        recall(&self.eof_reads, socket).as_ref().map(call)
    }

    /// The return addresses of a stack, innermost first; empty when it was not kept.
    pub(crate) fn stack(&self, id: u32) -> Vec<u64> {
        let stack = self.stacks.get(&id, 0);
        stack.map(|stack| stack.frames().iter().map(|frame| frame.ip).collect()).unwrap_or_default()
    }
}

fn recall(calls: &CallMap, socket: KernelSocket) -> Option<CallRecord> {
    CallRecord::read_from_bytes(&calls.get(&socket.0, 0).ok()?).ok()
}

fn call(record: &CallRecord) -> Call {
    let CallRecord { ktime_ns, pid, tid, comm, stack_id, call: _ } = *record;
    Call { task: Task { pid, tid, comm: Comm(bytes(comm)) }, ktime_ns, stack: u32::try_from(stack_id).ok() }
}

/// Loads a program and attaches it to a classic tracepoint, given as category and name.
fn attach(
    object: &mut Ebpf,
    program: &str,
    (category, name): (&str, &str),
    what: &'static str,
) -> Result<(), LoadError> {
    let refused = |error: ProgramError| LoadError::refused(what, &error);
    // aya looks for tracefs itself, but does not mount it.
    tracefs::root()?;
    let program = object.program_mut(program).ok_or_else(error::missing)?;
    let program: &mut TracePoint = program.try_into().map_err(refused)?;
    program.load().map_err(refused)?;
    program.attach(category, name).map_err(refused)?;
    Ok(())
}
