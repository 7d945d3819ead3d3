//! The body that both backends share: filters transitions, times the state that a socket left, and
//! writes the record. A backend supplies a [`Source`]; nothing here knows how a backend reads the kernel.

use core::mem::MaybeUninit;

use aya_ebpf::{
    btf_maps::PerCpuArray, helpers::bpf_ktime_get_ns, macros::btf_map, programs::tracing::StackIdContext,
};
use tcptrace_ebpf::{
    filter::{self, Endpoints},
    record::{CALL_CONNECT, Counters, Sixteen, TransitionRecord},
};

use crate::{
    arrivals::{self, Left},
    calls, end_of_file, openers, probe,
    settings::{CONFIG, config, is_absent, kernel},
    slots,
    transport::{self, Wake},
};

/// States of `include/net/tcp_states.h` that the body treats specially.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
pub(crate) const LISTEN: u8 = 10;
pub(crate) const CLOSE: u8 = 7;
pub(crate) const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;

transport::records! {
    /// The transitions.
    static EVENTS: TransitionRecord
}

/// One entry: the counters of each CPU.
#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// What the programs keep of a socket between transitions.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SocketState {
    /// CLOCK_MONOTONIC when the socket entered `state`, in nanoseconds.
    pub entered_ns: u64,
    /// The state that `entered_ns` belongs to; 0 = none.
    pub state: u8,
    /// Always zero.
    pub padding: [u8; 7],
}

/// The task on the CPU.
#[derive(Default)]
pub(crate) struct Task {
    /// Process (thread group id) and thread, in the root pid namespace.
    pub tgid: u32,
    pub pid: u32,
    /// Name, NUL-padded.
    pub comm: Sixteen,
    /// `PF_*`; 0 when not known.
    pub flags: u32,
}

/// `PF_EXITING` of include/linux/sched.h.
const PF_EXITING: u32 = 0x4;

/// How a backend reads the socket at hand.
pub(crate) trait Source {
    /// The context that the helpers which walk the stack take.
    type Context: StackIdContext;

    fn context(&self) -> &Self::Context;
    /// Address of `struct sock`.
    fn sock(&self) -> u64;
    fn endpoints(&self) -> Endpoints;
    fn is_mptcp(&self) -> bool;
    /// Identifies the socket for its lifetime. 0 for a socket that [`is_being_made`], which has no cookie of
    /// its own yet, and for MPTCP listeners: the kernel would copy a cookie made for them to every
    /// connection they accept.
    fn key(&self, is_being_made: bool) -> u64;
    /// The cookie of a socket with this `key`, which may be the cookie itself; 0 when not known.
    fn cookie(&self, key: u64) -> u64;
    /// Index of the interface that the socket is bound to; 0 when none, or when not known.
    fn interface(&self) -> u32;
    /// 0 when not known.
    fn netns(&self) -> u32;
    /// 0 when not known.
    fn cgroup_id(&self) -> u64;
    /// Whether a file refers to the socket; false when not known.
    fn has_file(&self) -> bool;
    /// Whether the file of the socket is still open; false when not known. close() lets go of the file before it ends the
    /// connection (`__fput` of fs/file_table.c), shutdown(2) holds it.
    fn has_open_file(&self) -> bool;
    /// `sk_err`, the error that is pending on the socket; `None` when the backend cannot read it.
    fn error(&self) -> Option<u32>;
    fn task(&self) -> Task;
    /// The state of a socket that has no slot; null when there is none.
    fn state(&self) -> *mut SocketState;
    /// Adds a state for a socket that has none; null when there is no room.
    fn keep(&self) -> *mut SocketState;
    /// Removes that state, unless the kernel frees it with the socket.
    fn forget(&self);
    /// Logs that there was no room. A cold path.
    fn warn_untracked(&self);
}

/// Whether the filter's states admit a transition.
#[inline(always)]
fn is_emitted(old: i32, new: i32) -> bool {
    filter::admits_states(&CONFIG.filter, old, new)
}

/// Whether a transition is recorded or timed.
#[inline(always)]
fn is_tracked(old: i32, new: i32) -> bool {
    config!(track_all_states) != 0 || is_emitted(old, new)
}

/// Whether the record of leaving `state` tells how long it lasted.
#[inline(always)]
fn is_timed(state: u8) -> bool {
    state != CLOSE && (config!(track_all_states) != 0 || (1u32 << (state & 31)) & config!(filter.states) != 0)
}

/// Whether [`add_details`] applies to the record of leaving `old`, which the socket entered at
/// `entered_ns` (0 = not known).
#[inline(always)]
fn has_details(old: u8, now: u64, entered_ns: u64) -> bool {
    let after = config!(details_after_ns);
    after == 0 || (is_timed(old) && now.wrapping_sub(entered_ns) >= after)
}

/// Whether a connection ends in a way that nobody on this side chose. Nearly all connections end by other transitions,
/// at no further cost; those in which this side had sent its end before are found by the iterator.
#[inline(always)]
fn may_be_over(old: i32, new: i32) -> bool {
    config!(report_over) != 0
        && new == i32::from(CLOSE)
        && (old == i32::from(ESTABLISHED) || old == i32::from(CLOSE_WAIT) || old == i32::from(FIN_WAIT1))
}

/// Whether a connection that [`may_be_over`] was ended by the peer, by a timeout or by SOCK_DESTROY while a file still
/// refers to the socket, so that its descriptor stays. These set the error first (`tcp_reset`, `tcp_write_err` and
/// `tcp_abort`); close() sets none.
///
/// The same happens without an error when both sides have called shutdown(). But that is how many servers close, so
/// that user space looks for it now and then instead.
#[inline(always)]
fn is_over<S: Source>(source: &S) -> bool {
    !source.is_mptcp() && source.has_file() && source.error().is_some_and(|error| error != 0)
}

/// Whether shutdown(2) ended the connection, so that the descriptor stays: by the state, close() does the same. Asked of
/// long stays only, whose records have details: it is too slow for every connection that closes.
#[inline(always)]
fn is_shut_down<S: Source>(source: &S, old: u8, new: u8) -> bool {
    config!(report_over) != 0 && old == CLOSE_WAIT && new == LAST_ACK && source.has_open_file()
}

/// Whether somebody holds the file of the `struct sock` at this address; false when not known.
#[inline(always)]
pub(crate) fn has_open_file(sock: u64) -> bool {
    if is_absent(kernel!(sock_socket)) || is_absent(kernel!(socket_file)) {
        return false;
    }
    let file: u64 = probe::read(probe::read(sock, kernel!(sock_socket)), kernel!(socket_file));
    if file == 0 {
        return false;
    }
    if !is_absent(kernel!(file_ref)) {
        // One reference is 0. A file that cannot be read looks open: it was found a moment ago.
        return probe::read::<i64>(file, kernel!(file_ref)) >= 0;
    }
    !is_absent(kernel!(file_count)) && probe::read::<i64>(file, kernel!(file_count)) > 0
}

/// Whether a transition matters at all. Most end here, before the program reads the socket. Forgets the
/// remembered calls of a socket that is closed.
#[inline(always)]
pub(crate) fn is_wanted(sock: u64, old: i32, new: i32) -> bool {
    // What a filter leaves out is known only of the socket, and costs the budget nothing.
    let is_connecting = openers::are_tracked()
        && new == i32::from(SYN_SENT)
        && (filter::restricts_sockets(&CONFIG.filter) || openers::take_budget());
    let may_be_over = may_be_over(old, new);
    if openers::are_tracked() && new == i32::from(CLOSE) && !may_be_over {
        openers::forget(sock);
    }
    end_of_file::forget(sock, new);
    is_connecting || may_be_over || is_tracked(old, new)
}

/// Whether a new connection is still a copy of its listener, cookie and addresses included. Up to Linux
/// 6.12 at least, `inet_csk_clone_lock` of net/ipv4/inet_connection_sock.c sets the state before it sets
/// these; 6.18 sets the state last. A connection with addresses of its own has the peer's port.
#[inline(always)]
fn is_being_made(endpoints: &Endpoints, old: u8, new: u8) -> bool {
    old == LISTEN && new == SYN_RECV && endpoints.rport == 0
}

/// Whether the opener of a socket that connects is to be kept: [`is_wanted`] took the budget where no filter leaves out
/// sockets.
#[inline(always)]
fn is_opener_wanted<S: Source>(source: &S) -> bool {
    !filter::restricts_sockets(&CONFIG.filter)
        || (filter::may_admit_connecting(&CONFIG.filter, &source.endpoints())
            && filter::admits_netns(&CONFIG.filter, source.netns())
            && openers::take_budget())
}

/// Times the transition `old` → `new`, and records it if the filter admits it.
#[inline(always)]
pub(crate) fn observe<S: Source>(source: &S, old: u8, new: u8) {
    if openers::are_tracked() && new == SYN_SENT && is_opener_wanted(source) {
        // connect() makes this transition, so the current task is the caller.
        openers::remember(source.context(), source.sock(), CALL_CONNECT);
    }
    let may_be_over = may_be_over(i32::from(old), i32::from(new));
    let is_over = may_be_over && is_over(source);
    if may_be_over && openers::are_tracked() {
        openers::end(source.sock(), is_over);
    }
    if !is_over && !is_tracked(i32::from(old), i32::from(new)) {
        return;
    }
    // The other way is for kernels with little room on the stack.
    let keeps_arrivals = !cfg!(feature = "perf") && config!(arrival_ns) != 0;
    let left = if keeps_arrivals && old == CLOSE_WAIT {
        arrivals::leave(source.key(false))
    } else {
        Left { entered_ns: 0, is_short: false }
    };
    if left.is_short && !is_over {
        return;
    }
    let endpoints = source.endpoints();
    if !filter::admits_endpoints(&CONFIG.filter, &endpoints) {
        return;
    }
    // SAFETY: the helper takes no pointer.
    let now = unsafe { bpf_ktime_get_ns() };
    let is_emitted = is_over || is_emitted(i32::from(old), i32::from(new));
    // Both miss the cache: read early, so that they arrive while other work goes on.
    let netns = if is_emitted || config!(filter.netns_count) != 0 { source.netns() } else { 0 };
    if !filter::admits_netns(&CONFIG.filter, netns) {
        return;
    }
    let cgroup_id = if is_emitted && config!(details_after_ns) == 0 { source.cgroup_id() } else { 0 };
    let is_being_made = is_being_made(&endpoints, old, new);
    let key = source.key(is_being_made);
    let cookie = if is_emitted && !is_being_made { source.cookie(key) } else { 0 };
    let (laddr, raddr) = addresses(source, &endpoints);
    // In its place at once: a copy of it would be one more on the stack, which older kernels have little of.
    let fill = |entry: &mut MaybeUninit<TransitionRecord>, entered_ns, details: Details| {
        let Details { oncpu_comm, oncpu_pid, oncpu_tid, oncpu_exiting, has_cause, error, is_over } = details;
        entry.write(TransitionRecord {
            cookie,
            sock: source.sock(),
            ktime_ns: now,
            entered_ns,
            cgroup_id,
            laddr,
            raddr,
            netns,
            oncpu_pid,
            oncpu_tid,
            lport: endpoints.lport,
            rport: endpoints.rport,
            oncpu_comm,
            old_state: old,
            new_state: new,
            mptcp: u8::from(source.is_mptcp()),
            oncpu_exiting,
            error,
            has_cause,
            is_over,
        });
    };
    if keeps_arrivals && new == CLOSE_WAIT && arrivals::keep(key, |entry| fill(entry, 0, Details::none())) {
        return;
    }
    let entered_ns = match left.entered_ns {
        0 if key == 0 => 0,
        0 => time(source, key, old, new, now),
        entered_ns => entered_ns,
    };
    if is_emitted {
        let details = Details::of(source, (old, new, is_over), now, entered_ns);
        let fill = |entry: &mut MaybeUninit<TransitionRecord>| fill(entry, entered_ns, details);
        if !transport::write(&EVENTS, source.context(), Wake::AtIntervals(now), fill) {
            count(|counters| counters.lost += 1);
        }
    }
}

/// Keeps that the socket entered `new` `now`. Returns when it entered `old`; 0 when not known.
#[inline(always)]
fn time<S: Source>(source: &S, key: u64, old: u8, new: u8, now: u64) -> u64 {
    let (mut slot, mut state) = (core::ptr::null_mut(), core::ptr::null_mut());
    if is_timed(old) {
        slot = slots::get(key);
        // SAFETY: the pointer is not null, so it is that of a live map value.
        state = if slot.is_null() { source.state() } else { unsafe { &raw mut (*slot).state } };
    }
    let mut entered_ns = 0;
    // SAFETY: the pointer is null or that of a live map value of this type. Another CPU could change the
    // value only for the same socket, which the socket's lock prevents.
    if let Some(state) = unsafe { state.as_ref() }
        && state.state == old
    {
        entered_ns = state.entered_ns;
    }
    if !is_timed(new) {
        // SAFETY: the pointer is null or that of a live map value of this type, which the socket's lock
        // protects.
        match unsafe { slot.as_mut() } {
            Some(slot) => slot.key = 0,
            None => source.forget(),
        }
        return entered_ns;
    }
    if state.is_null() {
        state = slots::take(key);
    }
    if state.is_null() {
        state = source.keep();
    }
    // SAFETY: the pointer is null or that of a live map value of this type, which the socket's lock
    // protects.
    match unsafe { state.as_mut() } {
        Some(state) => {
            state.entered_ns = now;
            state.state = new;
        }
        None => count(|counters| {
            if counters.untracked == 0 {
                source.warn_untracked();
            }
            counters.untracked += 1;
        }),
    }
    entered_ns
}

/// What a record says beyond the transition itself, as it says it.
struct Details {
    oncpu_comm: Sixteen,
    oncpu_pid: u32,
    oncpu_tid: u32,
    oncpu_exiting: u8,
    has_cause: u8,
    error: u16,
    is_over: u8,
}

impl Details {
    /// Nothing is said.
    #[inline(always)]
    fn none() -> Self {
        Self {
            oncpu_comm: [0; 2],
            oncpu_pid: 0,
            oncpu_tid: 0,
            oncpu_exiting: 0,
            has_cause: 0,
            error: 0,
            is_over: 0,
        }
    }

    /// What is said of a transition `now` from `old`, which the socket entered at `entered_ns` (0 = not known).
    #[inline(always)]
    fn of<S: Source>(source: &S, (old, new, is_over): (u8, u8, bool), now: u64, entered_ns: u64) -> Self {
        if !is_over && !has_details(old, now, entered_ns) {
            return Self::none();
        }
        let is_shut_down = is_shut_down(source, old, new);
        if is_shut_down && openers::are_tracked() {
            openers::end(source.sock(), true);
        }
        let task = source.task();
        let (oncpu_pid, oncpu_tid) = calls::in_readers_namespace(task.tgid, task.pid);
        let error = source.error();
        Self {
            oncpu_comm: task.comm,
            oncpu_pid,
            oncpu_tid,
            oncpu_exiting: u8::from(error.is_some() && task.flags & PF_EXITING != 0),
            has_cause: u8::from(error.is_some()),
            error: error.unwrap_or(0) as u16,
            is_over: u8::from(is_over || is_shut_down),
        }
    }
}

/// The addresses, with their interface where each link has such addresses of its own. Others are spared the read.
#[inline(always)]
fn addresses<S: Source>(source: &S, endpoints: &Endpoints) -> (Sixteen, Sixteen) {
    let (laddr, raddr) = (endpoints.laddr, endpoints.raddr);
    if !filter::is_link_local(laddr) && !filter::is_link_local(raddr) {
        return (laddr, raddr);
    }
    let interface = source.interface();
    (filter::on_interface(laddr, interface), filter::on_interface(raddr, interface))
}

/// Changes the counters of this CPU.
#[inline(always)]
pub(crate) fn count(change: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the pointer is that of a live per-CPU map value. No program interrupts this one on the
        // same CPU here.
        change(unsafe { &mut *counters });
    }
}
