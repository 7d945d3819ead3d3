//! The BPF object of the iterators over `iter/task_file` (kernel/bpf/task_iter.c, Linux 5.8). The one here
//! visits every descriptor of every process that refers to a TCP socket in a wanted state, in all network
//! and pid namespaces, in one pass. It never stops a pass early and keeps nothing between passes.

#![no_std]
#![no_main]

mod pids;
mod probe;
mod queues;
mod settings;
mod target;
mod typed;
mod waiters;

use aya_ebpf::{
    bindings::{seq_file, task_struct},
    btf_maps::Array,
    helpers::generated::{bpf_get_socket_cookie, bpf_seq_write, bpf_skc_to_tcp_sock, bpf_sock_from_file},
    macros::btf_map,
};
use tcptrace_ebpf::{
    filter,
    record::{HolderRecord, WITH_LISTENER_COOKIES},
};

use crate::{
    settings::{IPPROTO_MPTCP, IPPROTO_TCP, is_absent, kernel},
    typed::AF_INET6,
};

/// `include/linux/socket.h`
const AF_INET: u16 = 2;

/// `include/net/tcp_states.h`
const FIN_WAIT1: u8 = 4;
/// `include/net/tcp_states.h`
const FIN_WAIT2: u8 = 5;
/// `include/net/tcp_states.h`
const CLOSE: u8 = 7;
/// `include/net/tcp_states.h`
const CLOSE_WAIT: u8 = 8;
/// `include/net/tcp_states.h`
const LISTEN: u8 = 10;

/// One entry: bit *n* set = visit sockets in state *n*. User space sets it before each pass.
#[btf_map]
static HOLDER_STATES: Array<u32, 1> = Array::new();

/// `struct bpf_iter__task_file` of kernel/bpf/task_iter.c.
#[repr(C)]
struct TaskFile {
    meta: *const IteratorMeta,
    task: *const task_struct,
    fd: u32,
    file: *const u8,
}

/// The part of `struct bpf_iter_meta` of include/linux/bpf.h that is used.
#[repr(C)]
struct IteratorMeta {
    seq: *mut seq_file,
}

/// Writes a [`HolderRecord`] for the descriptor at hand, if it refers to a wanted socket.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn holders(context: *const TaskFile) -> i32 {
    // SAFETY: the kernel passes a context of this layout, whose pointers the verifier knows.
    unsafe { visit(&*context) };
    0
}

/// What only TCP sockets tell: whether the socket has been connected, the sequence number of
/// [`HolderRecord::fin_sequence`], and the local port in network byte order.
///
/// # Safety
/// The verifier has to know `sock` as a `struct sock`.
#[inline(always)]
unsafe fn of_tcp(sock: *const u8, state: u8, rport: u16) -> (u8, u32, u16) {
    // SAFETY: the helper checks that the socket is a TCP one; the offsets are those of the members named.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(sock.cast_mut().cast()).cast::<u8>().cast_const();
        if tcp.is_null() {
            return (0, 0, 0);
        }
        let expected = typed::load::<u32>(tcp, kernel!(tcp_rcv_nxt));
        let fin_sequence = match state {
            CLOSE_WAIT => expected,
            FIN_WAIT1 | FIN_WAIT2 => typed::load(tcp, kernel!(tcp_snd_nxt)),
            _ => 0,
        };
        // connect(2) with AF_UNSPEC ends a connection and leaves no port of the peer (`tcp_disconnect`): such a socket
        // waits for the next connection, as a new one does.
        let was_connected = u8::from(expected != 0 && rport != 0);
        // The kernel clears `skc_num` at the end of a connection, but not `inet_sport`.
        (was_connected, fin_sequence, typed::load(tcp, kernel!(inet_sport)))
    }
}

/// Whether the peer of a socket in CLOSE_WAIT has acknowledged something since its FIN.
///
/// `snd_wl1` is the sequence number of the last segment that updated the send window. The FIN and the
/// segments before it have sequence numbers below `rcv_nxt`. A later acknowledgment has `rcv_nxt` itself,
/// and always updates the window, because its sequence number is new (`tcp_may_update_window` of
/// net/ipv4/tcp_input.c).
///
/// # Safety
/// The verifier has to know `sock` as a `struct sock`.
#[inline(always)]
unsafe fn has_answered_since_fin(sock: *const u8) -> bool {
    // SAFETY: the helper checks that the socket is a TCP one; the offsets are those of the members named.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(sock.cast_mut().cast()).cast::<u8>().cast_const();
        !tcp.is_null()
            && typed::load::<u32>(tcp, kernel!(tcp_snd_wl1)) == typed::load::<u32>(tcp, kernel!(tcp_rcv_nxt))
    }
}

impl TaskFile {
    /// The socket behind the descriptor; null when the file is none.
    ///
    /// # Safety
    /// `self` has to be the context that the kernel passed.
    #[inline(always)]
    unsafe fn sock(&self) -> *const u8 {
        if self.task.is_null() || self.file.is_null() {
            return core::ptr::null();
        }
        // SAFETY: the pointer comes from the iterator's context, and the offset is that of the member
        // named; the verifier checks the type.
        unsafe {
            let socket = bpf_sock_from_file(self.file.cast_mut().cast()).cast::<u8>().cast_const();
            if socket.is_null() { socket } else { typed::follow(socket, kernel!(socket_sk)) }
        }
    }

    /// The process (thread group id) in the reader's pid namespace.
    ///
    /// # Safety
    /// The same as for [`TaskFile::sock`].
    #[inline(always)]
    unsafe fn pid(&self) -> u32 {
        let task = self.task.cast::<u8>();
        // The pointer was loaded again, and the verifier does not know that `sock` checked it.
        if task.is_null() {
            return 0;
        }
        // SAFETY: the offset is that of the member named.
        pids::of_process(task as u64, unsafe { typed::load(task, kernel!(task_tgid)) })
    }

    /// Writes a record to the reader of the pass.
    ///
    /// # Safety
    /// The same as for [`TaskFile::sock`]; `T` must have no padding.
    #[inline(always)]
    unsafe fn write<T>(&self, record: &T) {
        // SAFETY: the record is initialised memory of the size given.
        unsafe {
            bpf_seq_write(
                (*self.meta).seq,
                core::ptr::from_ref(record).cast_mut().cast(),
                size_of::<T>() as u32,
            );
        }
    }
}

/// Writes the record of a descriptor, if it refers to a wanted socket.
///
/// # Safety
/// `context` has to be the context that the kernel passed.
#[inline(always)]
unsafe fn visit(context: &TaskFile) {
    // SAFETY: the pointers come from the iterator's context, and the offsets are those of the members
    // named; the verifier checks the types.
    unsafe {
        let sock = context.sock();
        if sock.is_null() {
            return;
        }
        let state = typed::load::<u8>(sock, kernel!(sock_state));
        let Some(wanted) = HOLDER_STATES.get(0) else { return };
        if (1u32 << (u32::from(state) & 31)) & *wanted == 0 {
            return;
        }
        let family = typed::load::<u16>(sock, kernel!(sock_family));
        let protocol = typed::load::<u16>(sock, kernel!(sock_protocol));
        if (family != AF_INET && family != AF_INET6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
        {
            return;
        }
        let (mut laddr, mut raddr, rport) = typed::addresses(sock);
        if filter::is_link_local(laddr) || filter::is_link_local(raddr) {
            let interface = typed::interface(sock);
            (laddr, raddr) = (filter::on_interface(laddr, interface), filter::on_interface(raddr, interface));
        }
        // Asking an MPTCP listener for its cookie makes one, which the kernel copies to every connection
        // that the listener accepts (mptcp_sk_clone_init() of net/mptcp/protocol.c).
        let mut cookie = 0;
        if protocol == IPPROTO_TCP || state != LISTEN || *wanted & WITH_LISTENER_COOKIES != 0 {
            cookie = bpf_get_socket_cookie(sock.cast_mut().cast());
        } else if !is_absent(kernel!(sock_cookie)) {
            cookie = typed::load(sock, kernel!(sock_cookie));
        }
        let is_address = cookie == 0;
        if is_address {
            cookie = sock as u64;
        }
        let (was_connected, fin_sequence, sport) = of_tcp(sock, state, rport);
        let record = HolderRecord {
            cookie,
            laddr,
            raddr,
            netns: typed::netns(sock),
            pid: context.pid(),
            fd: context.fd,
            lport: if state == CLOSE { u16::from_be(sport) } else { typed::load(sock, kernel!(sock_num)) },
            rport,
            state,
            mptcp: u8::from(protocol == IPPROTO_MPTCP),
            answered_since_fin: u8::from(state == CLOSE_WAIT && has_answered_since_fin(sock)),
            has_backlog: u8::from(
                state == LISTEN && typed::load::<u32>(sock, kernel!(sock_ack_backlog)) != 0,
            ),
            is_address: u8::from(is_address),
            was_connected,
            error: typed::load::<u32>(sock, kernel!(sock_error)) as u16,
            fin_sequence,
            padding: 0,
        };
        context.write(&record);
    }
}
