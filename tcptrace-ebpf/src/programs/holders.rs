//! The BPF object of the iterators over `iter/task_file` (kernel/bpf/task_iter.c, Linux 5.8). The one here
//! visits every descriptor of every process that refers to a TCP socket in a wanted state, in all network
//! and pid namespaces, in one pass. It never stops a pass early and keeps nothing between passes.

#![no_std]
#![no_main]

mod pids;
mod pointer;
mod probe;
mod queues;
mod settings;
mod target;
mod typed;
mod waiters;

use aya_ebpf::{
    bindings::{seq_file, task_struct},
    btf_maps::Array,
    helpers::generated::{bpf_get_socket_cookie, bpf_seq_write, bpf_sock_from_file},
    macros::btf_map,
};
use tcptrace_ebpf::{
    filter,
    record::{
        AF_INET6, CONNECTED, CONNECTED_FROM_HERE, HolderRecord, NEVER_CONNECTED, WITH_LISTENER_COOKIES,
    },
};

use crate::{
    pointer::Pointer,
    settings::{IPPROTO_MPTCP, IPPROTO_TCP, config, kernel},
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

/// Writes a [`HolderRecord`] for the descriptor at hand, if it refers to a wanted socket or to one that is blocked in
/// writing.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn holders(context: *const TaskFile) -> i32 {
    // SAFETY: the kernel passes a context of this layout, whose pointers the verifier knows.
    unsafe { visit(&*context) };
    0
}

/// `ICSK_TIME_PROBE0` of include/net/inet_connection_sock.h: the timer of a sender whose peer has closed its window.
const PROBES_WINDOW: u8 = 3;

/// What only TCP sockets tell; zero for others.
#[derive(Clone, Copy)]
struct OfTcp {
    /// [`HolderRecord::connection`]
    connection: u8,
    /// [`HolderRecord::fin_sequence`]
    fin_sequence: u32,
    /// The local port in network byte order.
    sport: u16,
    /// [`HolderRecord::answered_since_fin`]
    answered_since_fin: u8,
    /// [`HolderRecord::blocked_bytes`]
    blocked_bytes: u32,
}

/// Reads it.
///
/// # Safety
/// The same as for [`Pointer::to_tcp`].
#[inline(always)]
unsafe fn of_tcp(sock: *const u8, state: u8) -> OfTcp {
    let mut found = OfTcp {
        connection: NEVER_CONNECTED,
        fin_sequence: 0,
        sport: 0,
        answered_since_fin: 0,
        blocked_bytes: 0,
    };
    // SAFETY: the caller promises a `struct sock`; the offsets are those of the members named.
    unsafe {
        let tcp = Pointer::to_tcp(sock);
        if tcp.is_null() {
            return found;
        }
        let expected = tcp.load::<u32>(kernel!(tcp_rcv_nxt));
        if state == CLOSE_WAIT {
            found.fin_sequence = expected;
            // `snd_wl1` is the sequence number of the last segment that updated the send window. The FIN and the segments
            // before it have sequence numbers below `rcv_nxt`. A later acknowledgment has `rcv_nxt` itself, and always
            // updates the window, because its sequence number is new (`tcp_may_update_window` of net/ipv4/tcp_input.c).
            found.answered_since_fin = u8::from(tcp.load::<u32>(kernel!(tcp_snd_wl1)) == expected);
        } else if state == FIN_WAIT1 || state == FIN_WAIT2 {
            found.fin_sequence = tcp.load(kernel!(tcp_snd_nxt));
        }
        if tcp.load::<u8>(kernel!(icsk_pending)) == PROBES_WINDOW {
            let written = tcp.load::<u32>(kernel!(tcp_write_seq));
            found.blocked_bytes = written.wrapping_sub(tcp.load(kernel!(tcp_snd_una)));
        }
        // connect(2) with AF_UNSPEC ends a connection and leaves no port of the peer (`tcp_disconnect`): such a socket
        // waits for the next connection, as a new one does.
        if expected != 0 && typed::load::<u16>(sock, kernel!(sock_dport)) != 0 {
            found.connection = CONNECTED;
            // A port that connect() chose is shared with no socket that was bound: `__inet_hash_connect` of
            // net/ipv4/inet_hashtables.c marks it so.
            let bucket = tcp.follow(kernel!(icsk_bind_hash));
            if !bucket.is_null() && bucket.load::<i8>(kernel!(bind_bucket_fastreuse)) < 0 {
                found.connection = CONNECTED_FROM_HERE;
            }
        }
        // The kernel clears `skc_num` at the end of a connection, but not `inet_sport`.
        found.sport = tcp.load(kernel!(inet_sport));
    }
    found
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
}

/// The reader of a pass.
#[derive(Clone, Copy)]
struct Reader(*mut seq_file);

impl Reader {
    /// Taken at the start of a program, once: for each way that leads to this, the verifier looks through the names of all
    /// types of the kernel, which takes a millisecond (`btf_nested_type_is_trusted` of kernel/bpf/btf.c, Linux 6.2).
    ///
    /// # Safety
    /// `meta` has to come from the context that the kernel passed.
    #[inline(always)]
    unsafe fn of(meta: *const IteratorMeta) -> Self {
        // SAFETY: the verifier knows the type of the pointer.
        Self(unsafe { (*meta).seq })
    }

    /// Writes a record.
    ///
    /// # Safety
    /// `T` must have no padding.
    #[inline(always)]
    unsafe fn write<T>(self, record: &T) {
        // SAFETY: the record is initialised memory of the size given.
        unsafe {
            bpf_seq_write(self.0, core::ptr::from_ref(record).cast_mut().cast(), size_of::<T>() as u32);
        }
    }
}

/// Writes the record of a descriptor, if it refers to a wanted socket or to one that is blocked in writing.
///
/// # Safety
/// `context` has to be the context that the kernel passed.
#[inline(always)]
unsafe fn visit(context: &TaskFile) {
    // SAFETY: the pointers come from the iterator's context, and the offsets are those of the members
    // named; the verifier checks the types.
    unsafe {
        let reader = Reader::of(context.meta);
        let sock = context.sock();
        if sock.is_null() {
            return;
        }
        let state = typed::load::<u8>(sock, kernel!(sock_state));
        let Some(wanted) = HOLDER_STATES.get(0) else { return };
        let family = typed::load::<u16>(sock, kernel!(sock_family));
        let protocol = typed::load::<u16>(sock, kernel!(sock_protocol));
        if (family != AF_INET && family != AF_INET6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
        {
            return;
        }
        let OfTcp { connection, fin_sequence, sport, answered_since_fin, blocked_bytes } =
            of_tcp(sock, state);
        // One that is blocked in writing explains others, whatever its state.
        if (1u32 << (u32::from(state) & 31)) & *wanted == 0 && blocked_bytes == 0 {
            return;
        }
        let (mut laddr, mut raddr, rport) = typed::addresses(sock);
        if filter::is_link_local(laddr) || filter::is_link_local(raddr) {
            let interface = typed::interface(sock);
            (laddr, raddr) = (filter::on_interface(laddr, interface), filter::on_interface(raddr, interface));
        }
        // Asking an MPTCP listener for its cookie makes one, which the kernel copies to every connection
        // that the listener accepts (mptcp_sk_clone_init() of net/mptcp/protocol.c).
        let may_ask = protocol == IPPROTO_TCP || state != LISTEN || *wanted & WITH_LISTENER_COOKIES != 0;
        let mut cookie = if may_ask && config!(probe_reads) == 0 {
            bpf_get_socket_cookie(sock.cast_mut().cast())
        } else {
            typed::load(sock, kernel!(sock_cookie))
        };
        let is_address = cookie == 0;
        if is_address {
            cookie = sock as u64;
        }
        let record = HolderRecord {
            cookie,
            laddr,
            raddr,
            netns: typed::inode(typed::follow(sock, kernel!(sock_net))),
            pid: context.pid(),
            fd: context.fd,
            lport: if state == CLOSE { u16::from_be(sport) } else { typed::load(sock, kernel!(sock_num)) },
            rport,
            state,
            mptcp: u8::from(protocol == IPPROTO_MPTCP),
            answered_since_fin,
            has_backlog: u8::from(
                state == LISTEN && typed::load::<u32>(sock, kernel!(sock_ack_backlog)) != 0,
            ),
            is_address: u8::from(is_address),
            connection,
            error: typed::load::<u32>(sock, kernel!(sock_error)) as u16,
            fin_sequence,
            blocked_bytes,
        };
        reader.write(&record);
    }
}
