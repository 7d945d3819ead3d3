//! Who read the end of file of a socket in CLOSE_WAIT, and from where: the first read that told the
//! application that the peer is done. Attached only when it is asked for: it is passed by every receive
//! call of the host.
//!
//! An end of file that came in one read with the last data is not seen: that read returned a length.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, tracepoint},
    programs::TracePointContext,
};
use tcptrace_ebpf::record::CALL_READ;

use crate::{
    calls::{self, Calls},
    probe,
    settings::{IPPROTO_MPTCP, IPPROTO_TCP, config, kernel},
    transition::{CLOSE, CLOSE_WAIT},
};

/// `include/linux/socket.h`: look at what can be read, and leave it there.
const MSG_PEEK: u32 = 0x2;

/// The first read of the end of file. The size is set when the object is loaded.
#[btf_map]
static EOF_READS: Calls<1> = Calls::new();

/// The offset of a field of the tracepoint's record, in bytes.
macro_rules! receive {
    ($field:ident) => {
        config!(receive.$field) as usize
    };
}

/// Forgets a socket whose state becomes `new` when it is closed. When it enters CLOSE_WAIT too: a read
/// that raced with the end of an earlier socket at this address may have been remembered after it.
#[inline(always)]
pub fn forget(sock: u64, new: i32) {
    if config!(track_eof_reads) != 0 && (new == i32::from(CLOSE) || new == i32::from(CLOSE_WAIT)) {
        calls::forget(&EOF_READS, sock);
    }
}

#[inline(always)]
fn observe(context: &TracePointContext) {
    let record = context.as_ptr() as u64;
    // Nearly every call ends here: it got data, or would have had to wait.
    if probe::read::<i32>(record, receive!(ret)) != 0 {
        return;
    }
    let protocol: u16 = probe::read(record, receive!(protocol));
    let flags: u32 = probe::read(record, receive!(flags));
    if !matches!(protocol, IPPROTO_TCP | IPPROTO_MPTCP) || flags & MSG_PEEK != 0 {
        return;
    }
    let sock: u64 = probe::read(record, receive!(sk));
    if probe::read::<u8>(sock, kernel!(sock_state)) != CLOSE_WAIT || calls::is_remembered(&EOF_READS, sock) {
        return;
    }
    // A read into no buffer returns 0 as well: the FIN counts as one byte, and must be among those taken.
    let is_all_taken = protocol == IPPROTO_MPTCP
        || probe::read::<u32>(sock, kernel!(tcp_copied_seq))
            == probe::read::<u32>(sock, kernel!(tcp_rcv_nxt));
    if is_all_taken {
        // SAFETY: the helper takes no pointer.
        let now = unsafe { bpf_ktime_get_ns() };
        calls::remember(&EOF_READS, context, sock, CALL_READ, now);
    }
}

/// The end of every call that receives from a socket.
#[tracepoint(category = "sock", name = "sock_recv_length")]
pub fn received(context: TracePointContext) -> u32 {
    observe(&context);
    // 0 would hide the event from perf users.
    1
}
