//! The BPF object of the preferred backend: the typed tracepoint (`tp_btf`) with per-socket state in
//! socket-local storage. Needs Linux 5.12 with BTF.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod calls;
#[cfg(target_arch = "bpf")]
mod end_of_file;
#[cfg(target_arch = "bpf")]
mod openers;
#[cfg(target_arch = "bpf")]
mod probe;
#[cfg(target_arch = "bpf")]
mod settings;
#[cfg(target_arch = "bpf")]
mod slots;
#[cfg(target_arch = "bpf")]
mod target;
#[cfg(target_arch = "bpf")]
mod transition;
#[cfg(target_arch = "bpf")]
mod typed;

#[cfg(target_arch = "bpf")]
mod object {
    use aya_ebpf::{
        EbpfContext as _,
        bindings::BPF_SK_STORAGE_GET_F_CREATE,
        btf_maps::SkStorage,
        helpers::{
            bpf_probe_read_kernel,
            generated::{
                bpf_get_current_task_btf, bpf_get_socket_cookie, bpf_sk_storage_get, bpf_skc_to_tcp_sock,
            },
        },
        macros::{btf_map, btf_tracepoint},
        programs::BtfTracePointContext,
    };
    use aya_log_ebpf::warn;

    use crate::typed;
    use crate::{
        settings::{IPPROTO_MPTCP, IPPROTO_TCP, is_absent, kernel},
        transition::{self, CLOSE, Cause, Endpoints, LISTEN, SocketState, Source},
    };

    /// What is kept with a socket that found its slot taken; the kernel frees it with the socket.
    #[btf_map]
    static SOCKETS: SkStorage<SocketState> = SkStorage::new();

    /// Id of the cgroup (v2) a `struct sock` belongs to; 0 when this kernel does not say.
    ///
    /// # Safety
    /// `sock` has to be known to the verifier as a `struct sock`.
    #[inline(always)]
    unsafe fn cgroup_id(sock: *const u8) -> u64 {
        if is_absent(kernel!(sock_cgroup)) || is_absent(kernel!(cgroup_kn)) || is_absent(kernel!(kernfs_id)) {
            return 0;
        }
        // SAFETY: the caller's promise; each offset is that of the member named.
        unsafe {
            typed::load(
                typed::follow(typed::follow(sock, kernel!(sock_cgroup)), kernel!(cgroup_kn)),
                kernel!(kernfs_id),
            )
        }
    }

    /// Whether a TCP socket carries one path of an MPTCP connection: the connection itself is what an
    /// application holds, and it has transitions of its own.
    ///
    /// # Safety
    /// `tcp` has to be known to the verifier as a `struct tcp_sock`.
    #[inline(always)]
    unsafe fn is_mptcp_subflow(tcp: *const u8) -> bool {
        // SAFETY: the caller's promise; the offset is that of the member named.
        !is_absent(kernel!(tcp_is_mptcp)) && unsafe { typed::load::<u8>(tcp, kernel!(tcp_is_mptcp)) } != 0
    }

    struct Typed<'a> {
        context: &'a BtfTracePointContext,
        sock: *const u8,
        /// The same address, typed `tcp_sock` for the verifier; null for an MPTCP connection.
        tcp: *const u8,
        /// Begins or ends to listen.
        listens: bool,
    }

    impl Typed<'_> {
        /// The storage of the socket; null when it has none, or there is no memory for one.
        #[inline(always)]
        fn storage(&self, flags: u32) -> *mut SocketState {
            // SAFETY: the helper takes this map and a `struct sock` known to the verifier.
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
            // SAFETY: `sock` is the tracepoint's argument, which the verifier knows as a `struct
            // sock`, and the offsets are those of its members.
            let (laddr, raddr, rport) = unsafe { typed::addresses(self.sock) };
            // At the transition to CLOSE `skc_num` is 0 already; `inet_sport` is kept.
            let lport = if self.tcp.is_null() {
                // SAFETY: reads kernel memory through the helper, which checks the address.
                unsafe { bpf_probe_read_kernel(self.sock.add(kernel!(inet_sport)).cast::<u16>()) }
                    .unwrap_or(0)
            } else {
                // SAFETY: `tcp` is a `tcp_sock`, which begins with an `inet_sock`.
                unsafe { typed::load::<u16>(self.tcp, kernel!(inet_sport)) }
            };
            Endpoints { laddr, raddr, lport: u16::from_be(lport), rport }
        }

        #[inline(always)]
        fn is_mptcp(&self) -> bool {
            self.tcp.is_null()
        }

        #[inline(always)]
        fn key(&self, is_being_made: bool) -> u64 {
            // To ask a listener of MPTCP for its cookie is to give it one, and to all connections that it
            // will accept the same (mptcp_sk_clone_init() of net/mptcp/protocol.c copies it).
            if is_being_made || (self.tcp.is_null() && self.listens) {
                return 0;
            }
            // SAFETY: the helper takes a `struct sock` known to the verifier.
            unsafe { bpf_get_socket_cookie(self.sock.cast_mut().cast()) }
        }

        #[inline(always)]
        fn cookie(&self, key: u64) -> u64 {
            key
        }

        #[inline(always)]
        fn netns(&self) -> u32 {
            // SAFETY: as in `endpoints`.
            unsafe { typed::netns(self.sock) }
        }

        #[inline(always)]
        fn cgroup_id(&self) -> u64 {
            // SAFETY: as in `endpoints`.
            unsafe { cgroup_id(self.sock) }
        }

        #[inline(always)]
        fn cause(&self) -> Option<Cause> {
            // SAFETY: as in `endpoints`; the current task is a `task_struct` known to the verifier.
            unsafe {
                let task = bpf_get_current_task_btf().cast::<u8>().cast_const();
                Some(Cause {
                    error: typed::load(self.sock, kernel!(sock_error)),
                    task_flags: typed::load(task, kernel!(task_flags)),
                })
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
            warn!(self.context, "no memory for a socket's state: its dwell times are unknown");
        }
    }

    /// The typed tracepoint: `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`.
    #[btf_tracepoint(function = "inet_sock_set_state")]
    pub fn transition_btf(context: BtfTracePointContext) -> i32 {
        let old: i32 = context.arg(1);
        let new: i32 = context.arg(2);
        // The pointer has to come straight from the context for the verifier to know its type.
        // SAFETY: argument 0 of this tracepoint is a pointer.
        let sock = unsafe { *context.as_ptr().cast::<*const u8>() };
        if !transition::is_wanted(sock as u64, old, new) {
            return 0;
        }
        // SAFETY: `sock` is a `struct sock`, the offset that of its member.
        let protocol = unsafe { typed::load::<u16>(sock, kernel!(sock_protocol)) };
        let tcp = match protocol {
            IPPROTO_TCP => {
                // SAFETY: the helper takes a socket known to the verifier.
                let tcp = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut().cast()) }.cast::<u8>().cast_const();
                if tcp.is_null() {
                    return 0;
                }
                // SAFETY: `tcp` is a `tcp_sock`, the offset that of its member.
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
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
