//! Keeps who read the end of file of a socket in CLOSE_WAIT, and from which stack: the first read that
//! told the application that the peer is done; and how often that was read again. User space attaches it only on request, because every
//! receive call of the host passes it.
//!
//! It never sees an end of file that one read takes together with the last data: that read returns a
//! length.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, tracepoint},
    programs::TracePointContext,
};
use tcptrace_ebpf::record::{CALL_READ, IPPROTO_MPTCP, IPPROTO_TCP};

use crate::{
    budgets::{self, For},
    calls::{self, Calls},
    probe,
    settings::{config, kernel},
    transition::{CLOSE, CLOSE_WAIT},
};

/// `include/linux/socket.h`: copies data and leaves it in the queue.
const MSG_PEEK: u32 = 0x2;

/// The first read of the end of file of each socket. User space sets the size when it loads the object.
#[btf_map]
static EOF_READS: Calls<1> = Calls::new();

/// The offset in bytes of a field of the tracepoint's record.
macro_rules! receive {
    ($field:ident) => {
        config!(receive.$field) as usize
    };
}

/// Forgets a socket that becomes `new`, when that is CLOSE or CLOSE_WAIT. CLOSE_WAIT, because a read of an
/// earlier socket at this address may have been remembered after that socket was closed.
#[inline(always)]
pub(crate) fn forget(sock: u64, new: i32) {
    if config!(track_eof_reads) != 0 && (new == i32::from(CLOSE) || new == i32::from(CLOSE_WAIT)) {
        calls::forget(&EOF_READS, sock);
    }
}

#[inline(always)]
fn observe(context: &TracePointContext) {
    let record = context.as_ptr() as u64;
    // Nearly every call ends here: it returned data or an error.
    if probe::read::<i32>(record, receive!(ret)) != 0 {
        return;
    }
    let protocol: u16 = probe::read(record, receive!(protocol));
    let flags: u32 = probe::read(record, receive!(flags));
    if !matches!(protocol, IPPROTO_TCP | IPPROTO_MPTCP) || flags & MSG_PEEK != 0 {
        return;
    }
    let sock: u64 = probe::read(record, receive!(sk));
    if probe::read::<u8>(sock, kernel!(sock_state)) != CLOSE_WAIT || calls::repeat(&EOF_READS, sock) {
        return;
    }
    // A read into an empty buffer returns 0 as well. The FIN counts as one byte of the sequence, and
    // the application must have taken it too.
    let is_all_taken = protocol == IPPROTO_MPTCP
        || probe::read::<u32>(sock, kernel!(tcp_copied_seq))
            == probe::read::<u32>(sock, kernel!(tcp_rcv_nxt));
    if is_all_taken {
        // SAFETY: the helper takes no pointer.
        let now = unsafe { bpf_ktime_get_ns() };
        // The reads of a storm of short connections are remembered, but not all their stacks are copied.
        calls::remember(&EOF_READS, context, sock, CALL_READ, now, budgets::take(For::Reads));
    }
}

/// The end of every call that receives from a socket.
#[tracepoint(category = "sock", name = "sock_recv_length")]
fn received(context: TracePointContext) -> u32 {
    observe(&context);
    // 0 would hide the event from perf users.
    1
}
