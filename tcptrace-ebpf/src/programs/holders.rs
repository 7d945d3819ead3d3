//! The BPF object of the iterators over `iter/task_file`. Here: every descriptor of every process that refers to a TCP socket in a wanted state,
//! in all network and pid namespaces, in one pass (kernel/bpf/task_iter.c, Linux 5.8).

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod queues;
#[cfg(target_arch = "bpf")]
mod settings;
#[cfg(target_arch = "bpf")]
mod target;
#[cfg(target_arch = "bpf")]
mod typed;

#[cfg(target_arch = "bpf")]
mod object {
    use aya_ebpf::{
        bindings::{seq_file, task_struct},
        btf_maps::Array,
        helpers::generated::{bpf_get_socket_cookie, bpf_seq_write, bpf_skc_to_tcp_sock, bpf_sock_from_file},
        macros::btf_map,
    };
    use tcptrace_ebpf::record::{HolderRecord, WITH_LISTENER_COOKIES};

    use crate::{
        settings::{IPPROTO_MPTCP, IPPROTO_TCP, is_absent, kernel},
        typed::{self, AF_INET6},
    };

    /// `include/linux/socket.h`
    const AF_INET: u16 = 2;

    /// `include/net/tcp_states.h`
    const CLOSE_WAIT: u8 = 8;
    /// `include/net/tcp_states.h`
    pub const LISTEN: u8 = 10;

    /// One entry: bit *n* set = sockets in state *n* are wanted. Set by user space before each pass.
    #[btf_map]
    static HOLDER_STATES: Array<u32, 1> = Array::new();

    /// `struct bpf_iter__task_file` of kernel/bpf/task_iter.c.
    #[repr(C)]
    pub struct TaskFile {
        meta: *const IteratorMeta,
        task: *const task_struct,
        pub fd: u32,
        file: *const u8,
    }

    /// `struct bpf_iter_meta` of include/linux/bpf.h, as far as it is used.
    #[repr(C)]
    struct IteratorMeta {
        seq: *mut seq_file,
    }

    /// Writes a [`HolderRecord`] for the descriptor at hand, or nothing. Never stops the pass.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "iter/task_file")]
    extern "C" fn holders(context: *const TaskFile) -> i32 {
        // SAFETY: the kernel calls with a context of this layout, whose pointers the verifier knows.
        unsafe { visit(&*context) };
        0
    }

    /// Whether the peer of a socket in CLOSE_WAIT has answered something since its FIN.
    ///
    /// `snd_wl1` is the sequence number of the last segment that moved the send window. Of segments before
    /// the FIN and of the FIN itself it is below `rcv_nxt`; a later acknowledgment can only have
    /// `rcv_nxt` itself, and always counts as moving the window, because its sequence number is a
    /// new one (`tcp_may_update_window` of net/ipv4/tcp_input.c).
    ///
    /// # Safety
    /// `sock` has to be known to the verifier as a `struct sock`.
    #[inline(always)]
    unsafe fn has_answered_since_fin(sock: *const u8) -> bool {
        // SAFETY: the helper checks that it is a TCP socket; the offsets are those of the members named.
        unsafe {
            let tcp = bpf_skc_to_tcp_sock(sock.cast_mut().cast()).cast::<u8>().cast_const();
            !tcp.is_null()
                && typed::load::<u32>(tcp, kernel!(tcp_snd_wl1))
                    == typed::load::<u32>(tcp, kernel!(tcp_rcv_nxt))
        }
    }

    impl TaskFile {
        /// The socket that the descriptor refers to; null when it refers to none.
        ///
        /// # Safety
        /// `self` has to be the kernel's context.
        #[inline(always)]
        pub unsafe fn sock(&self) -> *const u8 {
            if self.task.is_null() || self.file.is_null() {
                return core::ptr::null();
            }
            // SAFETY: the pointer comes from the iterator's context and is followed at the offset of a
            // member; the verifier checks its type.
            unsafe {
                let socket = bpf_sock_from_file(self.file.cast_mut().cast()).cast::<u8>().cast_const();
                if socket.is_null() { socket } else { typed::follow(socket, kernel!(socket_sk)) }
            }
        }

        /// The process, by its number in the root pid namespace.
        ///
        /// # Safety
        /// As for [`TaskFile::sock`].
        #[inline(always)]
        pub unsafe fn pid(&self) -> u32 {
            let task = self.task.cast::<u8>();
            // Loaded anew, it is unknown to the verifier again.
            if task.is_null() {
                return 0;
            }
            // SAFETY: the offset is that of the member named.
            unsafe { typed::load(task, kernel!(task_tgid)) }
        }

        /// Hands a record out.
        ///
        /// # Safety
        /// As for [`TaskFile::sock`]; `T` must have no padding.
        #[inline(always)]
        pub unsafe fn write<T>(&self, record: &T) {
            // SAFETY: the record is initialised memory of that size.
            unsafe {
                bpf_seq_write(
                    (*self.meta).seq,
                    core::ptr::from_ref(record).cast_mut().cast(),
                    size_of::<T>() as u32,
                );
            }
        }
    }

    #[inline(always)]
    unsafe fn visit(context: &TaskFile) {
        // SAFETY: pointers come from the iterator's context and are followed at the offsets of members;
        // the verifier checks their types.
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
            if (family != AF_INET && family != AF_INET6)
                || (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
            {
                return;
            }
            let (laddr, raddr, rport) = typed::addresses(sock);
            // To ask a listener of MPTCP for its cookie is to give it one, and to all connections that it
            // will accept the same (mptcp_sk_clone_init() of net/mptcp/protocol.c copies it).
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
            let record = HolderRecord {
                cookie,
                laddr,
                raddr,
                netns: typed::netns(sock),
                pid: context.pid(),
                fd: context.fd,
                lport: typed::load(sock, kernel!(sock_num)),
                rport,
                state,
                mptcp: u8::from(protocol == IPPROTO_MPTCP),
                answered_since_fin: u8::from(state == CLOSE_WAIT && has_answered_since_fin(sock)),
                has_backlog: u8::from(
                    state == LISTEN && typed::load::<u32>(sock, kernel!(sock_ack_backlog)) != 0,
                ),
                is_address: u8::from(is_address),
                padding: [0; 3],
            };
            context.write(&record);
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
