//! The BPF object of the fallback backend: the classic tracepoint, with per-socket state in a hash map.
//! User space reads the record's layout from the `format` file. Without BTF it knows no cookie, namespace or
//! cgroup, and leaves them 0.

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

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::{HashMap, PerCpuArray},
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel},
    macros::{btf_map, raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use tcptrace_ebpf::{
    config::EVENT_BYTES,
    filter::Endpoints,
    record::{IPPROTO_MPTCP, IPPROTO_TCP, Passes, Sixteen, joined},
};

use crate::{
    settings::{config, is_absent, kernel},
    transition::{SocketState, Source, Task},
    transport::log_warning,
};

/// The state of sockets whose slot is taken, by the address of `struct sock`. User space sets the size when
/// it loads the object.
#[btf_map]
static SOCKETS: HashMap<u64, SocketState, 1> = HashMap::new();

/// One entry: what passed on each CPU.
#[btf_map]
static PASSES: PerCpuArray<Passes, 1> = PerCpuArray::new();

/// The state of a socket before its first timed transition.
const NEW: SocketState = SocketState { entered_ns: 0, state: 0, padding: [0; 7] };

/// The offset in bytes of a field of the tracepoint's record.
macro_rules! format {
    ($field:ident) => {
        config!(format.$field) as usize
    };
}

/// The tracepoint's record, read at once: each read through the helper costs some forty nanoseconds.
type Event = [u64; EVENT_BYTES / 8];

/// The socket at hand, as the classic tracepoint describes it.
struct Classic<'a> {
    context: &'a TracePointContext,
    event: &'a Event,
    sock: u64,
    mptcp: bool,
}

/// A field of the tracepoint's record. User space refuses a layout with a field beyond the record's end.
#[inline(always)]
fn field<T: Copy>(event: &Event, offset: usize) -> T {
    // SAFETY: user space checked that the field lies within the record; the verifier checks it again.
    unsafe { core::ptr::read_volatile(event.as_ptr().cast::<u8>().add(offset).cast::<T>()) }
}

impl Classic<'_> {
    /// An address of the tracepoint's record.
    #[inline(always)]
    fn address(&self, offset: usize) -> Sixteen {
        if offset.is_multiple_of(4) {
            joined([0, 4, 8, 12].map(|at| field(self.event, offset + at)))
        } else {
            // A protocol of one byte precedes it, and the verifier wants aligned reads of the stack.
            probe::read(self.context.as_ptr() as u64, offset)
        }
    }

    /// Reads a kernel field at `base + offset`; the default where this kernel has none.
    #[inline(always)]
    fn kernel_field<T: Copy + Default>(base: u64, offset: usize) -> T {
        if is_absent(offset) || base == 0 { T::default() } else { probe::read(base, offset) }
    }
}

impl Source for Classic<'_> {
    type Context = TracePointContext;

    #[inline(always)]
    fn context(&self) -> &TracePointContext {
        self.context
    }

    #[inline(always)]
    fn sock(&self) -> u64 {
        self.sock
    }

    #[inline(always)]
    fn endpoints(&self) -> Endpoints {
        Endpoints {
            laddr: self.address(format!(saddr_v6)),
            raddr: self.address(format!(daddr_v6)),
            lport: field(self.event, format!(sport)),
            rport: field(self.event, format!(dport)),
        }
    }

    #[inline(always)]
    fn is_mptcp(&self) -> bool {
        self.mptcp
    }

    #[inline(always)]
    fn key(&self, _is_being_made: bool) -> u64 {
        // The kernel aligns sockets to cache lines: the lower bits are the same in all addresses.
        self.sock >> 6
    }

    #[inline(always)]
    fn cookie(&self, _key: u64) -> u64 {
        Self::kernel_field(self.sock, kernel!(sock_cookie))
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        Self::kernel_field(self.sock, kernel!(sock_interface))
    }

    #[inline(always)]
    fn netns(&self) -> u32 {
        Self::kernel_field(Self::kernel_field(self.sock, kernel!(sock_net)), kernel!(net_inum))
    }

    #[inline(always)]
    fn cgroup_id(&self) -> u64 {
        let cgroup = Self::kernel_field(self.sock, kernel!(sock_cgroup));
        Self::kernel_field(Self::kernel_field(cgroup, kernel!(cgroup_kn)), kernel!(kernfs_id))
    }

    #[inline(always)]
    fn has_file(&self) -> bool {
        Self::kernel_field::<u64>(self.sock, kernel!(sock_socket)) != 0
    }

    #[inline(always)]
    fn has_open_file(&self) -> bool {
        transition::has_open_file(self.sock)
    }

    #[inline(always)]
    fn error(&self) -> Option<u32> {
        let is_known = !is_absent(kernel!(sock_error));
        is_known.then(|| Self::kernel_field(self.sock, kernel!(sock_error)))
    }

    #[inline(always)]
    fn task(&self) -> Task {
        let pid_tgid = bpf_get_current_pid_tgid();
        // SAFETY: the helper takes no pointer.
        let task = unsafe { bpf_get_current_task() };
        Task {
            tgid: (pid_tgid >> 32) as u32,
            pid: pid_tgid as u32,
            comm: calls::current_comm(),
            flags: Self::kernel_field(task, kernel!(task_flags)),
        }
    }

    #[inline(always)]
    fn state(&self) -> *mut SocketState {
        SOCKETS.get_ptr_mut(self.sock).unwrap_or(core::ptr::null_mut())
    }

    #[inline(always)]
    fn keep(&self) -> *mut SocketState {
        if SOCKETS.insert(self.sock, NEW, 0).is_err() {
            return core::ptr::null_mut();
        }
        self.state()
    }

    #[inline(always)]
    fn forget(&self) {
        // Most sockets have no state here. A lookup is cheaper than a removal, which takes a lock.
        if !self.state().is_null() {
            let _ = SOCKETS.remove(self.sock);
        }
    }

    #[inline(always)]
    fn warn_untracked(&self) {
        log_warning!(self.context, "the table of socket states is full: some dwell times are unknown");
    }
}

#[inline(always)]
fn observe(context: &TracePointContext) {
    // SAFETY: the helper checks the address it reads from.
    let event = unsafe { bpf_probe_read_kernel(context.as_ptr().cast::<Event>()) };
    let Ok(event) = &event else { return };
    let old: i32 = field(event, format!(oldstate));
    let new: i32 = field(event, format!(newstate));
    let sock: u64 = field(event, format!(skaddr));
    if !transition::is_wanted(sock, old, new) {
        return;
    }
    let protocol = if format!(protocol_size) == 1 {
        u16::from(field::<u8>(event, format!(protocol)))
    } else {
        field::<u16>(event, format!(protocol))
    };
    let mptcp = match protocol {
        IPPROTO_TCP => {
            if Classic::kernel_field::<u8>(sock, kernel!(tcp_is_mptcp)) != 0 {
                return;
            }
            false
        }
        IPPROTO_MPTCP => true,
        _ => return,
    };
    transition::observe(&Classic { context, event, sock, mptcp }, old as u8, new as u8);
}

/// Returns 1: a program on a classic tracepoint that returns 0 would hide the event from every
/// perf user on the machine (`perf_call_bpf_enter` and `trace_call_bpf` in the kernel).
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
fn transition_tracepoint(context: TracePointContext) -> u32 {
    if let Some(passes) = PASSES.get_ptr_mut(0) {
        // SAFETY: the pointer is that of a live per-CPU map value, and nothing interrupts this program by itself.
        unsafe { (*passes).ran += 1 };
    }
    observe(&context);
    1
}

/// Counts what passes the tracepoint. The kernel runs no program on a classic tracepoint while another runs on that CPU
/// (`trace_call_bpf` of kernel/trace/bpf_trace.c), or while user space changes a map there, and tells nobody before
/// Linux 6.7. It runs raw ones unless they interrupt themselves, which it counts.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn passed_tracepoint(_context: RawTracePointContext) -> i32 {
    if let Some(passes) = PASSES.get_ptr_mut(0) {
        // Before Linux 6.1 this program may interrupt itself.
        // SAFETY: the pointer is that of an aligned word of a live per-CPU map value.
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({count} + 0) += {one}",
                count = in(reg) &raw mut (*passes).passed,
                one = in(reg) 1_u64,
            );
        }
    }
    0
}
