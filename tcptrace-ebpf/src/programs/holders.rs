//! The BPF object of the iterator `iter/task_file`: every descriptor of every process that refers to a TCP socket in a wanted state,
//! in all network and pid namespaces, in one pass (kernel/bpf/task_iter.c, Linux 5.8).

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

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
        helpers::generated::{
            bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_seq_write, bpf_skc_to_tcp_sock,
            bpf_sock_from_file,
        },
        macros::btf_map,
    };
    use tcptrace_ebpf::record::HolderRecord;

    use crate::{
        settings::{Address, IPPROTO_MPTCP, IPPROTO_TCP, config, kernel},
        typed::{self, AF_INET6},
    };

    /// `include/linux/socket.h`
    const AF_INET: u16 = 2;

    /// `include/net/tcp_states.h`
    const CLOSE_WAIT: u8 = 8;
    /// `include/net/tcp_states.h`
    const LISTEN: u8 = 10;

    /// One entry: bit *n* set = sockets in state *n* are wanted. Set by user space before each pass.
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

    #[inline(always)]
    unsafe fn visit(context: &TaskFile) {
        let task = context.task.cast::<u8>();
        let file = context.file;
        if task.is_null() || file.is_null() {
            return;
        }
        // SAFETY: pointers come from the iterator's context and are followed at the offsets of members;
        // the verifier checks their types.
        unsafe {
            let socket = bpf_sock_from_file(file.cast_mut().cast()).cast::<u8>().cast_const();
            if socket.is_null() {
                return;
            }
            let sock = typed::follow(socket, kernel!(socket_sk));
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
            let record = HolderRecord {
                cookie: bpf_get_socket_cookie(sock.cast_mut().cast()),
                laddr,
                raddr,
                netns: typed::netns(sock),
                pid: typed::load(task, kernel!(task_tgid)),
                fd: context.fd,
                lport: typed::load(sock, kernel!(sock_num)),
                rport,
                state,
                mptcp: u8::from(protocol == IPPROTO_MPTCP),
                answered_since_fin: u8::from(state == CLOSE_WAIT && has_answered_since_fin(sock)),
                has_backlog: u8::from(
                    state == LISTEN && typed::load::<u32>(sock, kernel!(sock_ack_backlog)) != 0,
                ),
                is_queued: 0,
                padding: [0; 3],
            };
            write(context, &record);
            if config!(walk_queues) != 0 && state == LISTEN {
                write_queue(context, sock, record);
            }
        }
    }

    #[inline(always)]
    unsafe fn write(context: &TaskFile, record: &HolderRecord) {
        let record = core::ptr::from_ref(record).cast_mut().cast();
        // SAFETY: the sequence file is that of the pass; the record lies on this program's stack.
        unsafe { bpf_seq_write((*context.meta).seq, record, size_of::<HolderRecord>() as u32) };
    }

    /// Reads kernel memory without a typed pointer; zero when it is gone. The helper zeroes what it cannot
    /// read, so its answer needs no branch, and each branch in a loop multiplies the verifier's work.
    #[inline(always)]
    fn read<T: Copy + Default>(base: u64, offset: usize) -> T {
        let mut value = T::default();
        // SAFETY: the helper writes as many bytes as `value` has, and checks the address it reads from.
        unsafe {
            bpf_probe_read_kernel(
                (&raw mut value).cast(),
                size_of::<T>() as u32,
                (base as *const u8).add(offset).cast(),
            )
        };
        value
    }

    /// Writes the connections in CLOSE_WAIT that wait in the queue of a listener: of several listeners on
    /// one address (SO_REUSEPORT) it tells which is the one. The queue may change meanwhile: at worst one
    /// is missed, and all listeners of the address answer for it.
    #[inline(always)]
    unsafe fn write_queue(context: &TaskFile, listener: *const u8, template: HolderRecord) {
        /// Connections looked at in one queue; `net.core.somaxconn` is 4096, but each is a step for the verifier.
        const MAX_QUEUED: u32 = 128;
        let mut request = read::<u64>(listener as u64, kernel!(icsk_accept_head));
        for _ in 0..MAX_QUEUED {
            if request == 0 {
                return;
            }
            let sock = read::<u64>(request, kernel!(request_sock));
            if sock != 0 && read::<u8>(sock, kernel!(sock_state)) == CLOSE_WAIT {
                let is_v6 = read::<u16>(sock, kernel!(sock_family)) == AF_INET6;
                let address = |v6: usize, v4: usize| {
                    if is_v6 { read::<Address>(sock, v6) } else { typed::mapped(read::<u32>(sock, v4)) }
                };
                let record = HolderRecord {
                    cookie: read(sock, kernel!(sock_cookie)),
                    laddr: address(kernel!(sock_v6_rcv_saddr), kernel!(sock_rcv_saddr)),
                    raddr: address(kernel!(sock_v6_daddr), kernel!(sock_daddr)),
                    lport: read(sock, kernel!(sock_num)),
                    rport: u16::from_be(read(sock, kernel!(sock_dport))),
                    state: CLOSE_WAIT,
                    is_queued: 1,
                    ..template
                };
                // SAFETY: as in `visit`.
                unsafe { write(context, &record) };
            }
            request = read(request, kernel!(request_next));
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
