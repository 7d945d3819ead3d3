//! The BPF object of the preferred backend: the typed tracepoint (`tp_btf`) with per-socket state in
//! socket-local storage. Needs Linux 5.12 with BTF. Reads sockets; `transition` decides what to report.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arrivals;
mod atomic;
mod budgets;
mod calls;
mod captures;
mod end_of_file;
mod interpreter;
mod openers;
mod pids;
mod probe;
mod settings;
mod slots;
mod target;
mod transition;
mod transport;
mod typed;

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::SkStorage,
    helpers::generated::{
        bpf_get_current_task_btf, bpf_get_socket_cookie, bpf_sk_storage_get, bpf_skc_to_tcp_sock,
    },
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use tcptrace_ebpf::{
    filter::Endpoints,
    record::{AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP, Sixteen, mapped},
};

use crate::{
    settings::{config, is_absent, kernel},
    transition::{CLOSE, LISTEN, SocketState, Source, Task},
    transport::log_warning,
};

/// The state of sockets whose slot is taken; the kernel frees it with the socket.
#[btf_map]
static SOCKETS: SkStorage<SocketState> = SkStorage::new();

/// Whether a TCP socket is one path of an MPTCP connection. The application holds the connection, which has
/// transitions of its own.
///
/// # Safety
/// The verifier has to know `tcp` as a `struct tcp_sock`.
#[inline(always)]
unsafe fn is_mptcp_subflow(tcp: *const u8) -> bool {
    // SAFETY: the caller promises a `struct tcp_sock`; the offset is that of the member named.
    !is_absent(kernel!(tcp_is_mptcp)) && unsafe { typed::load::<u8>(tcp, kernel!(tcp_is_mptcp)) } != 0
}

/// The socket at hand, as the typed tracepoint hands it over.
struct Typed<'a> {
    context: &'a BtfTracePointContext,
    sock: *const u8,
    /// The same address, typed `tcp_sock` for the verifier, which does not trust it; null for an MPTCP connection.
    tcp: *const u8,
    /// The socket starts or stops listening.
    listens: bool,
}

impl Typed<'_> {
    /// The `struct sock` to follow pointers of. Linux 6.2 and later trust `sock`, and for each pointer that is read from
    /// what they trust, their verifier looks through the names of all types of the kernel: a millisecond each
    /// (`btf_nested_type_is_trusted` of kernel/bpf/btf.c).
    #[inline(always)]
    fn untrusted(&self) -> *const u8 {
        // `tcp` begins with a `struct sock`.
        if self.tcp.is_null() { self.sock } else { self.tcp }
    }

    /// Whether pointers are better followed through the helper: an MPTCP connection has only what is trusted.
    #[inline(always)]
    fn is_probed(&self) -> bool {
        self.tcp.is_null() && config!(probe_reads) != 0
    }

    /// The storage of the socket; null when it has none, or when there is no memory for one.
    #[inline(always)]
    fn storage(&self, flags: u32) -> *mut SocketState {
        // SAFETY: the helper takes this map and a `struct sock` that the verifier knows.
        unsafe {
            bpf_sk_storage_get(
                (&raw const SOCKETS).cast_mut().cast(),
                self.sock.cast_mut().cast(),
                core::ptr::null_mut(),
                u64::from(flags),
            )
        }
        .cast()
    }
}

/// Local address, remote address and remote port (host byte order) of a `struct sock`.
///
/// # Safety
/// The verifier has to know `sock` as a `struct sock`.
#[inline(always)]
unsafe fn addresses(sock: *const u8) -> (Sixteen, Sixteen, u16) {
    // SAFETY: the caller promises a `struct sock`; each offset is that of the member named.
    unsafe {
        let rport = u16::from_be(typed::load::<u16>(sock, kernel!(sock_dport)));
        // `skc_v6_*` is absent in a kernel without IPv6.
        if typed::load::<u16>(sock, kernel!(sock_family)) == AF_INET6 && !is_absent(kernel!(sock_v6_daddr)) {
            let (laddr, raddr) = typed::addresses_v6(sock);
            (laddr, raddr, rport)
        } else {
            let (laddr, raddr) = (kernel!(sock_rcv_saddr), kernel!(sock_daddr));
            (mapped(typed::load(sock, laddr)), mapped(typed::load(sock, raddr)), rport)
        }
    }
}

impl Source for Typed<'_> {
    type Context = BtfTracePointContext;

    #[inline(always)]
    fn context(&self) -> &BtfTracePointContext {
        self.context
    }

    #[inline(always)]
    fn sock(&self) -> u64 {
        self.sock as u64
    }

    #[inline(always)]
    fn endpoints(&self) -> Endpoints {
        // SAFETY: `sock` is the tracepoint's argument, which the verifier knows as a `struct sock`.
        let (laddr, raddr, rport) = unsafe { addresses(self.sock) };
        // The kernel has cleared `skc_num` before the transition to CLOSE, but not `inet_sport`.
        let lport = if !self.tcp.is_null() {
            // SAFETY: `tcp` is a `tcp_sock`, which begins with an `inet_sock`.
            u16::from_be(unsafe { typed::load::<u16>(self.tcp, kernel!(inet_sport)) })
        } else if config!(probe_reads) != 0 {
            u16::from_be(probe::read(self.sock as u64, kernel!(inet_sport)))
        } else {
            // SAFETY: `sock` is the tracepoint's argument, which the verifier knows as a `struct sock`.
            unsafe { typed::load(self.sock, kernel!(sock_num)) }
        };
        Endpoints { laddr, raddr, lport, rport }
    }

    #[inline(always)]
    fn is_mptcp(&self) -> bool {
        self.tcp.is_null()
    }

    #[inline(always)]
    fn key(&self, is_being_made: bool) -> u64 {
        // Asking an MPTCP listener for its cookie makes one, which the kernel copies to every connection
        // that the listener accepts (mptcp_sk_clone_init() of net/mptcp/protocol.c).
        if is_being_made || (self.tcp.is_null() && self.listens) {
            return 0;
        }
        // SAFETY: the helper takes a `struct sock` that the verifier knows.
        unsafe { bpf_get_socket_cookie(self.sock.cast_mut().cast()) }
    }

    #[inline(always)]
    fn cookie(&self, key: u64) -> u64 {
        key
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: `sock` is the tracepoint's argument, which the verifier knows as a `struct sock`.
        unsafe { typed::interface(self.sock) }
    }

    #[inline(always)]
    fn netns(&self) -> u32 {
        if self.is_probed() {
            return probe::read(probe::read(self.sock(), kernel!(sock_net)), kernel!(net_inum));
        }
        // SAFETY: the verifier knows each structure that is followed; the offset is that of the member named.
        unsafe { typed::inode(typed::follow(self.untrusted(), kernel!(sock_net))) }
    }

    #[inline(always)]
    fn cgroup_id(&self) -> u64 {
        if is_absent(kernel!(sock_cgroup)) || is_absent(kernel!(cgroup_kn)) || is_absent(kernel!(kernfs_id)) {
            return 0;
        }
        if self.is_probed() {
            let cgroup = probe::read(self.sock(), kernel!(sock_cgroup));
            return probe::read(probe::read(cgroup, kernel!(cgroup_kn)), kernel!(kernfs_id));
        }
        // SAFETY: the verifier knows each structure that is followed; each offset is that of the member named.
        unsafe {
            let cgroup = typed::follow(self.untrusted(), kernel!(sock_cgroup));
            typed::load(typed::follow(cgroup, kernel!(cgroup_kn)), kernel!(kernfs_id))
        }
    }

    #[inline(always)]
    fn has_file(&self) -> bool {
        // SAFETY: the verifier knows it as a `struct sock`; the offset is that of the member named.
        !unsafe { typed::follow(self.untrusted(), kernel!(sock_socket)) }.is_null()
    }

    #[inline(always)]
    fn has_open_file(&self) -> bool {
        // Not followed by type: this is read of few sockets, and each type costs at load.
        config!(probe_reads) != 0 && transition::has_open_file(self.sock())
    }

    #[inline(always)]
    fn error(&self) -> Option<u32> {
        // SAFETY: `sock` is the tracepoint's argument, which the verifier knows as a `struct sock`.
        Some(unsafe { typed::load(self.sock, kernel!(sock_error)) })
    }

    #[inline(always)]
    fn task(&self) -> Task {
        // Loads cost a fraction of the helpers that return the same.
        // SAFETY: the verifier knows the current task as a `task_struct`; the name is sixteen bytes.
        unsafe {
            let task = bpf_get_current_task_btf().cast::<u8>().cast_const();
            let comm = kernel!(task_comm);
            Task {
                tgid: typed::load(task, kernel!(task_tgid)),
                pid: typed::load(task, kernel!(task_pid)),
                comm: [typed::load(task, comm), typed::load(task, comm + size_of::<u64>())],
                flags: typed::load(task, kernel!(task_flags)),
            }
        }
    }

    #[inline(always)]
    fn state(&self) -> *mut SocketState {
        self.storage(0)
    }

    #[inline(always)]
    fn keep(&self) -> *mut SocketState {
        self.storage(BPF_SK_STORAGE_GET_F_CREATE)
    }

    #[inline(always)]
    fn forget(&self) {}

    #[inline(always)]
    fn warn_untracked(&self) {
        log_warning!(self.context, "no memory for a socket's state: its dwell times are unknown");
    }
}

/// The typed tracepoint: `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn transition_btf(context: BtfTracePointContext) -> i32 {
    let old: i32 = context.arg(1);
    let new: i32 = context.arg(2);
    // The verifier knows the pointer's type only when the pointer comes straight from the context.
    // SAFETY: argument 0 of this tracepoint is a pointer.
    let sock = unsafe { *context.as_ptr().cast::<*const u8>() };
    if !transition::is_wanted(sock as u64, old, new) {
        return 0;
    }
    // SAFETY: `sock` is a `struct sock`, the offset that of its member.
    let protocol = unsafe { typed::load::<u16>(sock, kernel!(sock_protocol)) };
    let tcp = match protocol {
        IPPROTO_TCP => {
            // SAFETY: the helper takes a socket that the verifier knows.
            let tcp = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut().cast()) }.cast::<u8>().cast_const();
            if tcp.is_null() {
                return 0;
            }
            // SAFETY: the helper returned `tcp`, so the verifier knows it as a `tcp_sock`.
            if unsafe { is_mptcp_subflow(tcp) } {
                return 0;
            }
            tcp
        }
        IPPROTO_MPTCP => core::ptr::null(),
        _ => return 0,
    };
    let listens = new == i32::from(LISTEN) || (old == i32::from(LISTEN) && new == i32::from(CLOSE));
    transition::observe(&Typed { context: &context, sock, tcp, listens }, old as u8, new as u8);
    0
}
