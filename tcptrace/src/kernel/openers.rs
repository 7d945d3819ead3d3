//! The kernel side's memory of who opened which socket, and from which stack.

use aya::maps::{HashMap, MapData, StackTraceMap};
use tcptrace_ebpf::record::{OPENED_BY_ACCEPT, OpenerRecord};
use zerocopy::FromBytes as _;

use crate::transition::{Comm, KernelSocket, OpenedHow, Opener, Task};

/// Reads what the kernel side remembers.
pub struct OpenerMemory {
    openers: HashMap<MapData, u64, [u8; size_of::<OpenerRecord>()]>,
    stacks: StackTraceMap<MapData>,
}

impl OpenerMemory {
    pub(super) fn new(
        openers: HashMap<MapData, u64, [u8; size_of::<OpenerRecord>()]>,
        stacks: StackTraceMap<MapData>,
    ) -> Self {
        Self { openers, stacks }
    }

    /// Who opened the socket; `None` when nobody was seen doing it. The socket must not have been closed
    /// since: its address may be another's by then.
    pub fn opener(&self, socket: KernelSocket) -> Option<Opener> {
        let bytes = self.openers.get(&socket.0, 0).ok()?;
        let OpenerRecord { ktime_ns, pid, tid, comm, stack_id, how } =
            OpenerRecord::read_from_bytes(&bytes).ok()?;
        Some(Opener {
            task: Task { pid, tid, comm: Comm(comm) },
            how: if how == OPENED_BY_ACCEPT { OpenedHow::Accept } else { OpenedHow::Connect },
            ktime_ns,
            stack: u32::try_from(stack_id).ok(),
        })
    }

    /// The return addresses of a stack, innermost first; empty when it was not kept.
    pub fn stack(&self, id: u32) -> Vec<u64> {
        let stack = self.stacks.get(&id, 0);
        stack.map(|stack| stack.frames().iter().map(|frame| frame.ip).collect()).unwrap_or_default()
    }
}
