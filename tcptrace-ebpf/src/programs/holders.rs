//! The BPF object of the iterators over `iter/task_file` (kernel/bpf/task_iter.c, Linux 5.8). The one here
//! visits every descriptor of every process that refers to a TCP socket in a wanted state, in all network
//! and pid namespaces, in one pass. It never stops a pass early and keeps nothing between passes.

#![no_std]
#![no_main]

mod pids;
mod pointer;
mod probe;
mod queues;
mod running;
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
use tcptrace_ebpf::record::{
    AF_INET, AF_INET6, HolderRecord, IPPROTO_MPTCP, IPPROTO_TCP, PROBES_WINDOW, TcpFields,
    WITH_LISTENER_COOKIES,
};

use crate::{
    pointer::Pointer,
    settings::{config, kernel},
};

/// `include/net/tcp_states.h`
const CLOSE_WAIT: u8 = 8;
/// `include/net/tcp_states.h`
const LISTEN: u8 = 10;

/// One entry: bit *n* set = visit sockets in state *n*. User space sets it before each pass.
#[btf_map]
static HOLDER_STATES: Array<u32, 1> = Array::new();

/// `struct bpf_iter__task_file` of kernel/bpf/task_iter.c. Programs copy it first: the verifier forgets what it knew of a
/// pointer that is loaded again.
#[repr(C)]
#[derive(Clone, Copy)]
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
    unsafe { visit(*context) };
    0
}

/// Reads what tells how a connection stands.
///
/// # Safety
/// The same as for [`Pointer::to_tcp`].
#[inline(always)]
unsafe fn tcp_fields(sock: *const u8) -> TcpFields {
    // SAFETY: the caller promises a `struct sock`; the offsets are those of the members named.
    unsafe {
        let tcp = Pointer::to_tcp(sock);
        if tcp.is_null() {
            return TcpFields::NONE;
        }
        TcpFields {
            rcv_nxt: tcp.load(kernel!(tcp_rcv_nxt)),
            snd_wl1: tcp.load(kernel!(tcp_snd_wl1)),
            snd_nxt: tcp.load(kernel!(tcp_snd_nxt)),
            snd_una: tcp.load(kernel!(tcp_snd_una)),
            write_seq: tcp.load(kernel!(tcp_write_seq)),
            sport: tcp.load(kernel!(inet_sport)),
            timer: tcp.load(kernel!(icsk_pending)),
            // Reads as zero where there is no bucket.
            port_reuse: tcp.follow(kernel!(icsk_bind_hash)).load(kernel!(bind_bucket_fastreuse)),
        }
    }
}

impl TaskFile {
    /// The socket behind the descriptor; null when the file is none.
    ///
    /// # Safety
    /// `self` has to be what the kernel passed.
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
    /// [`TaskFile::sock`] has found a socket.
    #[inline(always)]
    unsafe fn pid(&self) -> u32 {
        let task = self.task.cast::<u8>();
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
unsafe fn visit(context: TaskFile) {
    // SAFETY: the pointers come from the iterator's context, and the offsets are those of the members
    // named; the verifier checks the types.
    unsafe {
        let reader = Reader::of(context.meta);
        let sock = context.sock();
        if sock.is_null() {
            return;
        }
        let Some(wanted) = HOLDER_STATES.get(0) else { return };
        let family = typed::load::<u16>(sock, kernel!(sock_family));
        let protocol = typed::load::<u16>(sock, kernel!(sock_protocol));
        if (family != AF_INET && family != AF_INET6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
        {
            return;
        }
        let state = typed::load::<u8>(sock, kernel!(sock_state));
        let tcp = tcp_fields(sock);
        // One that is blocked in writing explains others, whatever its state.
        if (1u32 << (u32::from(state) & 31)) & *wanted == 0 && tcp.timer != PROBES_WINDOW {
            return;
        }
        // Asking an MPTCP listener for its cookie makes one, which the kernel copies to every connection
        // that the listener accepts (mptcp_sk_clone_init() of net/mptcp/protocol.c).
        let may_ask = protocol == IPPROTO_TCP || state != LISTEN || *wanted & WITH_LISTENER_COOKIES != 0;
        let cookie = if may_ask && config!(probe_reads) == 0 {
            bpf_get_socket_cookie(sock.cast_mut().cast())
        } else {
            typed::load(sock, kernel!(sock_cookie))
        };
        let (laddr_v6, raddr_v6) = typed::addresses_v6(sock);
        reader.write(&HolderRecord {
            cookie,
            sock: sock as u64,
            tcp,
            laddr_v6,
            raddr_v6,
            laddr: typed::load(sock, kernel!(sock_rcv_saddr)),
            raddr: typed::load(sock, kernel!(sock_daddr)),
            netns: typed::inode(typed::follow(sock, kernel!(sock_net))),
            interface: typed::interface(sock),
            backlog: typed::load(sock, kernel!(sock_ack_backlog)),
            error: typed::load(sock, kernel!(sock_error)),
            pid: context.pid(),
            fd: context.fd,
            lport: typed::load(sock, kernel!(sock_num)),
            rport: typed::load(sock, kernel!(sock_dport)),
            protocol,
            family: family as u8,
            state,
        });
    }
}
