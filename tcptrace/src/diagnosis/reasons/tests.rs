#![expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::net::SocketAddr;

use super::{
    accepting::leaves_it_to_others,
    because,
    facts::{Awaited, BlockedWrite, HolderFacts, OtherHolder, OtherLeg, ReasonFacts, WaitingFor},
};
use crate::{
    diagnosis::last_words::{LastWords, Protocol},
    model::{
        activity::{ActivityTimes, Sending},
        connection_side::ConnectionSide,
        doing::{BusyReads, CallSamples, CpuUse, ProcessDoing, SleepingCall, ThreadDoing, ThreadState},
        owner::Evidence,
        pid::Pid,
        process::{AcceptQueue, DescriptorUse, ProcessIdentity},
        reason::{Reason, ReasonId},
        verdict::Verdict,
    },
};

const FDS: [u32; 1] = [7];
const SECOND: u64 = 1_000_000_000;

fn process(pid: u32, comm: &str) -> ProcessIdentity {
    ProcessIdentity::from_name(Pid::new(pid), comm)
}

fn holder<'a>(process: &'a ProcessIdentity, doing: Option<&'a ProcessDoing>) -> HolderFacts<'a> {
    HolderFacts {
        process,
        evidence: Evidence::FdTable,
        fds: &FDS,
        doing,
        descriptors: DescriptorUse { used: Some(12), limit: Some(1024) },
        newer: None,
        has_accepted: Some(false),
        eof_reads_per_second: None,
        socket_unit: None,
        inherited_from: None,
        awaited: &[],
    }
}

fn facts(holders: Vec<HolderFacts<'_>>) -> ReasonFacts<'_> {
    ReasonFacts {
        verdict: Some(Verdict::EofRead),
        recv_q: Some(0),
        send_q: Some(0),
        times: Some(ActivityTimes {
            last_data_sent_ms: 9_000,
            last_data_recv_ms: 8_000,
            last_ack_recv_ms: 7_000,
        }),
        has_received: None,
        has_sent: None,
        sending: Some(Sending { is_window_closed: false, unanswered: 0 }),
        has_answered_since_fin: Some(false),
        last_words: None,
        side: None,
        holders,
        looked_at_ns: 100 * SECOND,
        ended_at_ns: Some(90 * SECOND),
        blocked: None,
        other_holder: None,
        leg: None,
        waiting: None,
        in_flight: &[],
    }
}

fn thread(tid: u32, state: ThreadState) -> ThreadDoing {
    ThreadDoing { tid, state, call: None, waits_in: None, cpu: None, samples: CallSamples::default() }
}

fn sleeps(tid: u32, name: &'static str) -> ThreadDoing {
    let call = SleepingCall { name, writes_to: Vec::new(), reads_from: Vec::new(), is_complete: true };
    ThreadDoing { call: Some(call), ..thread(tid, ThreadState::Sleeping) }
}

fn runs(tid: u32, used_ms: u64, in_kernel_ms: u64) -> ThreadDoing {
    let cpu = CpuUse {
        used_ns: used_ms * 1_000_000,
        waited_ns: 0,
        in_kernel_ns: in_kernel_ms * 1_000_000,
        within_ns: 100_000_000,
        sleeps: 0,
        moved_bytes: 0,
    };
    ThreadDoing { cpu: Some(cpu), ..thread(tid, ThreadState::Running) }
}

fn doing(threads: Vec<ThreadDoing>) -> ProcessDoing {
    ProcessDoing { threads, ..ProcessDoing::default() }
}

fn ids(facts: &ReasonFacts<'_>) -> Vec<ReasonId> {
    because(facts).iter().map(|reason| reason.id).collect()
}

fn first(facts: &ReasonFacts<'_>) -> Reason {
    because(facts).into_iter().next().unwrap()
}

/// The first reason of a socket whose holder does this.
fn first_of(verdict: Verdict, doing: &ProcessDoing) -> Option<ReasonId> {
    let shop = process(81, "shop");
    let facts = ReasonFacts { verdict: Some(verdict), ..facts(vec![holder(&shop, Some(doing))]) };
    ids(&facts).first().copied()
}

#[test]
fn what_the_holder_does_is_told() {
    let is = |threads| first_of(Verdict::DataUnread, &doing(threads));
    assert_eq!(
        is(vec![thread(1, ThreadState::Stopped), thread(2, ThreadState::Stopped)]),
        Some(ReasonId::HolderStopped)
    );
    assert_eq!(is(vec![sleeps(1, "futex"), thread(2, ThreadState::Traced)]), Some(ReasonId::HolderTraced));
    let uninterruptible = thread(2, ThreadState::Uninterruptible);
    assert_eq!(is(vec![sleeps(1, "futex"), uninterruptible]), Some(ReasonId::HolderUninterruptible));
    assert_eq!(is(vec![sleeps(1, "futex")]), Some(ReasonId::HolderSleeping));
    assert_eq!(is(Vec::new()), None, "nothing is known");
    let frozen = ProcessDoing { is_frozen: true, ..doing(vec![sleeps(1, "futex")]) };
    assert_eq!(first_of(Verdict::DataUnread, &frozen), Some(ReasonId::HolderFrozen));
}

#[test]
fn a_stopped_holder_is_the_reason_where_no_other_has_the_socket() {
    let (parent, child) = (process(81, "shop"), process(82, "shop"));
    let (sleeping, stopped) =
        (doing(vec![sleeps(81, "pause")]), doing(vec![thread(82, ThreadState::Stopped)]));
    let is = |holders| ids(&ReasonFacts { side: Some(ConnectionSide::Accepted), ..facts(holders) });
    let both = vec![holder(&parent, Some(&sleeping)), holder(&child, Some(&stopped))];
    assert_eq!(is(both)[0], ReasonId::ClientLeft, "its parent could have closed it");
    let all = vec![holder(&parent, Some(&stopped)), holder(&child, Some(&stopped))];
    assert_eq!(is(all)[0], ReasonId::HolderStopped);
}

#[test]
fn a_thread_that_nothing_wakes_is_the_reason_where_nobody_read() {
    let (shop, stuck) = (process(81, "shop"), thread(2, ThreadState::Uninterruptible));
    let doing = doing(vec![sleeps(1, "futex"), stuck]);
    let of = |verdict, side| {
        let (verdict, side) = (Some(verdict), Some(side));
        ids(&ReasonFacts { verdict, side, ..facts(vec![holder(&shop, Some(&doing))]) })
    };
    let is = |verdict| of(verdict, ConnectionSide::Accepted);
    let unread = [ReasonId::HolderUninterruptible, ReasonId::ClientLeft];
    assert_eq!(is(Verdict::EofUnread), unread);
    assert_eq!(is(Verdict::DataUnread), unread);
    assert_eq!(is(Verdict::EofRead), [ReasonId::ClientLeft, ReasonId::HolderUninterruptible]);
    let idle = of(Verdict::EofUnread, ConnectionSide::Connected);
    assert_eq!(idle, [ReasonId::IdleInPool, ReasonId::HolderUninterruptible], "nobody has to read it");
}

#[test]
fn a_child_of_vfork_is_no_storage() {
    let waits_in = |function: &str| {
        let thread =
            ThreadDoing { waits_in: Some(function.to_owned()), ..thread(1, ThreadState::Uninterruptible) };
        first(&facts(vec![holder(&process(81, "shop"), Some(&doing(vec![thread])))])).text
    };
    assert!(waits_in("kernel_clone").ends_with("for a child of vfork() to run its program or end"));
    assert!(waits_in("io_schedule").ends_with("it waits in io_schedule"));
}

#[test]
fn only_who_burns_cpu_in_system_calls_spins_on_the_end_of_file() {
    let is = |verdict, thread| first_of(verdict, &doing(vec![sleeps(1, "futex"), thread]));
    assert_eq!(is(Verdict::EofRead, runs(2, 97, 40)), Some(ReasonId::SpinsOnEof));
    assert_eq!(is(Verdict::EofUnread, runs(2, 97, 40)), Some(ReasonId::SpinsOnEof));
    assert_eq!(is(Verdict::EofRead, runs(2, 97, 0)), Some(ReasonId::HolderRunning), "it computes");
    assert_eq!(is(Verdict::EofRead, runs(2, 20, 10)), Some(ReasonId::HolderSleeping), "it is just awake");
    assert_eq!(is(Verdict::NeverAccepted, runs(2, 97, 40)), Some(ReasonId::HolderRunning));
    let shop = process(81, "shop");
    let calm = doing(vec![sleeps(1, "epoll_wait")]);
    let counted = HolderFacts { eof_reads_per_second: Some(900), ..holder(&shop, Some(&calm)) };
    let reason = first(&facts(vec![counted]));
    assert_eq!((reason.id, reason.numbers.reads_per_second), (ReasonId::SpinsOnEof, Some(900)));
}

#[test]
fn on_a_busy_host_a_spinning_thread_gets_a_part_of_a_processor() {
    let mut thread = runs(2, 30, 20);
    thread.cpu.as_mut().unwrap().waited_ns = 65_000_000;
    assert_eq!(first_of(Verdict::EofRead, &doing(vec![thread])), Some(ReasonId::SpinsOnEof));
}

#[test]
fn whoever_is_busy_with_something_else_does_not_spin_on_this_end_of_file() {
    let is = |reads| {
        let doing = ProcessDoing { reads: Some(reads), ..doing(vec![runs(2, 97, 40)]) };
        first_of(Verdict::EofRead, &doing)
    };
    let epoll = |epolled| BusyReads { epolled, has_epoll: true };
    assert_eq!(is(epoll(vec![5, 7])), Some(ReasonId::SpinsOnEof));
    assert_eq!(is(epoll(vec![5])), Some(ReasonId::HolderRunning), "its loop has not got the socket");
    assert_eq!(is(BusyReads::default()), Some(ReasonId::SpinsOnEof));
}

#[test]
fn of_whoever_read_the_end_and_computes_without_a_call_it_is_said_what_does_so() {
    let shop = process(81, "shop");
    let why = |verdict, called| {
        let samples = CallSamples { taken: 10, called, ..CallSamples::default() };
        let doing = doing(vec![sampled(0, samples)]);
        let facts = ReasonFacts { verdict: Some(verdict), ..facts(vec![holder(&shop, Some(&doing))]) };
        let running = because(&facts).into_iter().find(|reason| reason.id == ReasonId::HolderRunning);
        running.unwrap().text
    };
    assert!(why(Verdict::EofRead, 0).contains("a buffer at its end"), "{}", why(Verdict::EofRead, 0));
    assert!(why(Verdict::EofRead, 1).contains(" computes: "), "{}", why(Verdict::EofRead, 1));
    assert!(!why(Verdict::EofUnread, 0).contains("buffer"), "nobody has read it");
}

/// A thread that runs, of which so many samples have been taken.
fn sampled(in_kernel_ms: u64, samples: CallSamples) -> ThreadDoing {
    ThreadDoing { samples, ..runs(2, 97, in_kernel_ms) }
}

#[test]
fn the_latest_calls_tell_who_reads_an_end_of_file_whatever_the_kernels_share() {
    let edge_triggered = || Some(BusyReads { epolled: Vec::new(), has_epoll: true });
    let why = |verdict, in_kernel_ms, samples| {
        let doing = ProcessDoing { reads: edge_triggered(), ..doing(vec![sampled(in_kernel_ms, samples)]) };
        let shop = process(81, "shop");
        let of = facts(vec![holder(&shop, Some(&doing))]);
        first(&ReasonFacts { verdict: Some(verdict), ..of })
    };
    let read = |fd, times| CallSamples {
        taken: 5,
        called: times,
        read: [(fd, times)].into(),
        ..CallSamples::default()
    };
    let spins = why(Verdict::EofRead, 0, read(7, 2));
    assert_eq!(spins.id, ReasonId::SpinsOnEof);
    assert!(spins.text.contains("of descriptor 7 again and again (seen in 2 of 5 samples"), "{}", spins.text);
    assert_eq!(why(Verdict::EofRead, 0, read(7, 1)).id, ReasonId::HolderRunning, "it may have read once");
    assert_eq!(why(Verdict::DataUnread, 0, read(7, 2)).id, ReasonId::HolderRunning, "it reads what is left");
    let other = why(Verdict::EofRead, 40, read(9, 4));
    assert_eq!(other.id, ReasonId::HolderRunning);
    assert!(other.text.contains("reads descriptor 9 again and again"), "{}", other.text);
}

#[test]
fn the_latest_calls_tell_who_is_woken_and_who_makes_none() {
    let why = |in_kernel_ms, samples| {
        let doing = doing(vec![sleeps(1, "futex"), sampled(in_kernel_ms, samples)]);
        first_of(Verdict::EofUnread, &doing)
    };
    let woken =
        |fd| CallSamples { taken: 5, called: 3, woken_with: [(fd, 3)].into(), ..CallSamples::default() };
    assert_eq!(why(5, woken(7)), Some(ReasonId::SpinsOnEof));
    assert_eq!(why(40, woken(8)), Some(ReasonId::HolderRunning), "its poll() has not got the socket");
    let none = CallSamples { taken: 10, ..CallSamples::default() };
    assert_eq!(why(40, none.clone()), Some(ReasonId::HolderRunning), "the kernel gives it memory");
    let mut starved = sampled(40, none);
    starved.cpu.as_mut().unwrap().waited_ns = 20_000_000;
    let doing = doing(vec![starved]);
    assert_eq!(first_of(Verdict::EofUnread, &doing), Some(ReasonId::SpinsOnEof), "samples interrupted it");
    let others = CallSamples { taken: 5, called: 3, ..CallSamples::default() };
    assert_eq!(why(40, others.clone()), Some(ReasonId::HolderRunning), "none is of the socket");
    let of_it = CallSamples { read: [(7, 1)].into(), ..others.clone() };
    assert_eq!(why(40, of_it), Some(ReasonId::SpinsOnEof), "as far as processor time tells");
    let of_another = CallSamples { read: [(9, 1)].into(), ..others.clone() };
    assert_eq!(why(40, of_another), Some(ReasonId::HolderRunning));
    let unknown = CallSamples { woken_unknown: 1, ..others };
    assert_eq!(why(40, unknown), Some(ReasonId::SpinsOnEof), "by whom it was woken is not known");
}

#[test]
fn a_runtime_that_moves_what_reads_to_other_threads_is_seen_reading() {
    let once = || CallSamples { taken: 3, called: 1, read: [(7, 1)].into(), ..CallSamples::default() };
    let threads = vec![sampled(0, once()), ThreadDoing { tid: 3, ..sampled(0, once()) }];
    assert_eq!(first_of(Verdict::EofRead, &doing(threads)), Some(ReasonId::SpinsOnEof));
}

#[test]
fn a_thread_that_works_neither_spins_nor_hides_one_that_does() {
    let works = |change: fn(&mut CpuUse)| {
        let mut thread = runs(2, 98, 60);
        change(thread.cpu.as_mut().unwrap());
        thread
    };
    let logs = works(|cpu| cpu.moved_bytes = 1 << 30);
    let serves = works(|cpu| cpu.sleeps = 900);
    let is = |threads| first_of(Verdict::EofUnread, &doing(threads));
    assert_eq!(is(vec![sleeps(1, "futex"), logs.clone()]), Some(ReasonId::HolderRunning));
    assert_eq!(is(vec![sleeps(1, "futex"), serves]), Some(ReasonId::HolderRunning));
    assert_eq!(is(vec![logs, runs(3, 90, 40)]), Some(ReasonId::SpinsOnEof));
}

#[test]
fn the_thread_that_sleeps_on_the_socket_is_named() {
    let shop = process(81, "shop");
    let mut writer = sleeps(83, "sendto");
    writer.call.as_mut().unwrap().writes_to = vec![7];
    let threads = doing(vec![sleeps(81, "futex"), sleeps(82, "futex"), writer]);
    let text = first(&facts(vec![holder(&shop, Some(&threads))])).text;
    assert_eq!(text, "thread 83 of shop (81) sleeps in sendto() on it (fd 7)");
    let threads = doing(vec![sleeps(81, "futex"), sleeps(82, "futex"), sleeps(83, "read")]);
    let text = first(&facts(vec![holder(&shop, Some(&threads))])).text;
    assert_eq!(text, "the 3 threads of shop (81) sleep: 2 in futex(), 1 in read()");
}

#[test]
fn who_connected_decides_what_an_unread_end_means() {
    let is = |side, verdict| {
        let facts = ReasonFacts { side, verdict: Some(verdict), recv_q: Some(4), ..facts(Vec::new()) };
        ids(&facts)
    };
    let (accepted, connected) = (Some(ConnectionSide::Accepted), Some(ConnectionSide::Connected));
    assert_eq!(is(accepted, Verdict::EofUnread), [ReasonId::ClientLeft]);
    assert_eq!(is(connected, Verdict::EofUnread), [ReasonId::IdleInPool]);
    assert_eq!(is(connected, Verdict::EofRead), [ReasonId::Connected]);
    assert_eq!(is(None, Verdict::EofUnread), []);
    let asked = ActivityTimes { last_data_sent_ms: 7_990, last_data_recv_ms: 8_000, last_ack_recv_ms: 7_000 };
    let facts = ReasonFacts {
        side: connected,
        verdict: Some(Verdict::EofUnread),
        times: Some(asked),
        ..facts(Vec::new())
    };
    assert_eq!(ids(&facts), [ReasonId::Connected], "its last request was never answered");
    let at_once =
        |has_received, has_sent| ids(&ReasonFacts { has_received, has_sent, times: None, ..facts.clone() });
    assert_eq!(at_once(Some(false), Some(true)), [ReasonId::Connected], "asked at once, and never answered");
    assert_eq!(at_once(Some(false), Some(false)), [ReasonId::IdleInPool]);
    assert_eq!(at_once(Some(true), Some(true)), [ReasonId::IdleInPool]);
    assert_eq!(is(accepted, Verdict::HalfOpen), []);
}

#[test]
fn a_peer_that_is_gone_is_told_from_one_that_does_not_read() {
    let is = |send_q, is_window_closed, unanswered, has_answered_since_fin| {
        let sending = Some(Sending { is_window_closed, unanswered });
        ids(&ReasonFacts { send_q: Some(send_q), sending, has_answered_since_fin, ..facts(Vec::new()) })
    };
    assert_eq!(is(900, false, 2, Some(false)), [ReasonId::SendsToNobody]);
    assert_eq!(is(900, false, 1, Some(false)), [], "may be on its way");
    assert_eq!(is(900, false, 2, Some(true)), [], "a bad line");
    assert_eq!(is(900, false, 3, Some(true)), [ReasonId::SendsToNobody]);
    assert_eq!(is(900, true, 0, Some(true)), [ReasonId::BlockedInWrite]);
    assert_eq!(is(900, true, 5, Some(true)), [ReasonId::SendsToNobody], "its window is asked for in vain");
    assert_eq!(is(0, false, 5, Some(false)), []);
}

#[test]
fn whoever_does_not_read_is_named_with_what_keeps_it_from_that() {
    let client = process(90, "client");
    let text = |doing| {
        let facts = ReasonFacts {
            verdict: Some(Verdict::HalfOpen),
            send_q: Some(4_000),
            sending: Some(Sending { is_window_closed: true, unanswered: 0 }),
            other_holder: Some(OtherHolder { process: &client, doing }),
            ..facts(Vec::new())
        };
        because(&facts).into_iter().find(|reason| reason.id == ReasonId::BlockedInWrite).unwrap().text
    };
    let waits = "4000 bytes wait because the peer does not read: its window is closed for 9.0 s";
    assert_eq!(text(None), format!("{waits}; client (90) holds the other end"));
    let sleeping = doing(vec![sleeps(90, "pause")]);
    assert_eq!(text(Some(&sleeping)), format!("{waits}; client (90) holds the other end"));
    let stopped = doing(vec![thread(90, ThreadState::Stopped)]);
    let told = format!("{waits}; client (90), which holds the other end, is stopped by a signal");
    assert_eq!(text(Some(&stopped)), told);
}

#[test]
fn what_waits_behind_a_blocked_write_names_it() {
    let remote = "10.0.0.2:80".parse().unwrap();
    let mut blocked = BlockedWrite { pid: 81, fd: 9, remote, bytes: 4_000, is_leg: false };
    let told = |verdict, side, blocked| {
        let (verdict, side) = (Some(verdict), Some(side));
        let found = because(&ReasonFacts { verdict, side, blocked: Some(blocked), ..facts(Vec::new()) });
        found.into_iter().find(|reason| reason.id == ReasonId::BehindBlockedWrite)
    };
    let of = |verdict| told(verdict, ConnectionSide::Accepted, blocked);
    assert_eq!(told(Verdict::DataUnread, ConnectionSide::Connected, blocked), None, "it may have left it");
    let reason = of(Verdict::DataUnread).unwrap();
    assert_eq!(reason.id, ReasonId::BehindBlockedWrite);
    assert_eq!((reason.numbers.fd, reason.numbers.address.as_deref()), (Some(9), Some("10.0.0.2:80")));
    assert_eq!(of(Verdict::EofRead), None, "everything was read");
    let idle = told(Verdict::EofUnread, ConnectionSide::Connected, blocked);
    assert_eq!(idle, None, "nobody waits for it");
    blocked.is_leg = true;
    assert_eq!(
        told(Verdict::EofUnread, ConnectionSide::Connected, blocked).unwrap().text,
        "one leg of a relay: what comes here goes to 10.0.0.2:80 (fd 9), whose peer does not read; 4000 bytes wait \
         there, and this one behind them"
    );
}

#[test]
fn a_relay_is_told_before_what_it_looks_like() {
    let leg = OtherLeg {
        pid: 81,
        fd: 9,
        remote: "10.0.0.2:80".parse().unwrap(),
        for_ns: Some(12 * SECOND),
        far: Some((Some(90), "backend".to_owned())),
    };
    let facts = ReasonFacts { leg: Some(leg), side: Some(ConnectionSide::Accepted), ..facts(Vec::new()) };
    assert_eq!(ids(&facts), [ReasonId::WaitsForOtherLeg, ReasonId::ClientLeft]);
    let reason = first(&facts);
    assert!(
        reason.text.contains("fd 9 to 10.0.0.2:80") && reason.text.contains("backend (90)"),
        "{}",
        reason.text
    );
    assert_eq!((reason.numbers.far_pid, reason.numbers.for_ns), (Some(90), Some(12 * SECOND)));
}

#[test]
fn last_words_are_told_with_their_protocol() {
    let words = LastWords { bytes: 31, protocol: Some(Protocol::Tls) };
    let facts = ReasonFacts {
        verdict: Some(Verdict::EofUnread),
        last_words: Some(words),
        side: Some(ConnectionSide::Connected),
        ..facts(Vec::new())
    };
    assert_eq!(ids(&facts), [ReasonId::LastWords, ReasonId::IdleInPool]);
    assert_eq!(first(&facts).numbers.protocol.as_deref(), Some("tls"));
}

#[test]
fn a_client_that_took_leave_is_no_excuse_for_its_handler() {
    let (shop, doing) = (process(81, "shop"), doing(vec![sleeps(1, "futex")]));
    let facts = ReasonFacts {
        verdict: Some(Verdict::EofUnread),
        last_words: Some(LastWords { bytes: 31, protocol: Some(Protocol::Tls) }),
        side: Some(ConnectionSide::Accepted),
        ..facts(vec![holder(&shop, Some(&doing))])
    };
    assert_eq!(ids(&facts), [ReasonId::ClientLeft, ReasonId::LastWords, ReasonId::HolderSleeping]);
}

#[test]
fn an_idle_client_is_not_said_to_have_its_answer_where_last_words_hide_that() {
    let words = LastWords { bytes: 31, protocol: Some(Protocol::Tls) };
    let idle = |last_words| {
        let facts = ReasonFacts {
            verdict: Some(Verdict::EofUnread),
            last_words,
            side: Some(ConnectionSide::Connected),
            ..facts(Vec::new())
        };
        because(&facts).pop().unwrap()
    };
    let (known, hidden) = (idle(None), idle(Some(words)));
    assert_eq!((known.id, hidden.id), (ReasonId::IdleInPool, ReasonId::IdleInPool));
    assert!(known.text.contains("waits for no answer"), "{}", known.text);
    assert!(hidden.text.contains("or its last request was never answered"), "{}", hidden.text);
    let times = ActivityTimes { last_data_sent_ms: 4_000, ..facts(Vec::new()).times.unwrap() };
    let asked = ReasonFacts {
        verdict: Some(Verdict::EofUnread),
        times: Some(times),
        last_words: Some(words),
        side: Some(ConnectionSide::Connected),
        ..facts(Vec::new())
    };
    assert_eq!(ids(&asked), [ReasonId::Connected, ReasonId::LastWords], "it asked after they had come");
}

#[test]
fn a_full_descriptor_table_is_why_nothing_is_accepted() {
    let shop = process(81, "shop");
    let full = HolderFacts {
        descriptors: DescriptorUse { used: Some(20), limit: Some(20) },
        evidence: Evidence::Listener,
        ..holder(&shop, None)
    };
    let waiting = WaitingFor { queue: AcceptQueue { length: 9, limit: 8 }, first_for_ns: 12 * SECOND };
    let facts =
        ReasonFacts { verdict: Some(Verdict::NeverAccepted), waiting: Some(waiting), ..facts(vec![full]) };
    assert_eq!(ids(&facts), [ReasonId::NoDescriptorsLeft, ReasonId::AcceptQueue]);
    assert_eq!(first(&facts).text, "accept() cannot succeed: 20 of 20 descriptors are in use");
    let queue = because(&facts).pop().unwrap();
    assert_eq!(
        queue.text,
        "9 connections wait for accept(), with room for 8, the first for at least 12.0 s: the kernel drops further ones"
    );
}

#[test]
fn one_of_several_listeners_with_descriptors_left_may_accept() {
    let (shop, other) = (process(81, "shop"), process(82, "shop"));
    let full = HolderFacts {
        descriptors: DescriptorUse { used: Some(20), limit: Some(20) },
        evidence: Evidence::Listener,
        ..holder(&shop, None)
    };
    let free = HolderFacts { evidence: Evidence::Listener, ..holder(&other, None) };
    let verdict = Some(Verdict::NeverAccepted);
    assert_eq!(ids(&ReasonFacts { verdict, ..facts(vec![full.clone(), free]) }), []);
    assert_eq!(
        ids(&ReasonFacts { verdict, ..facts(vec![full.clone(), full.clone()]) }),
        [ReasonId::NoDescriptorsLeft]
    );
    // Of what it accepted, a full table is not the reason.
    let accepted = ReasonFacts { side: Some(ConnectionSide::Accepted), ..facts(vec![full]) };
    assert_eq!(ids(&accepted), [ReasonId::ClientLeft, ReasonId::NoDescriptorsLeft]);
}

/// Whether nobody accepts, when the only holder of the listener (descriptor 7) does this.
fn nobody_accepts(threads: Vec<ThreadDoing>) -> bool {
    let parent = process(81, "parent");
    let doing = doing(threads);
    let holder = HolderFacts { evidence: Evidence::Listener, ..holder(&parent, Some(&doing)) };
    let facts = ReasonFacts { verdict: Some(Verdict::NeverAccepted), ..facts(vec![holder]) };
    ids(&facts).contains(&ReasonId::NobodyAccepts)
}

#[test]
fn only_who_waits_for_something_else_does_not_accept() {
    let polls = |reads_from: Vec<u32>, is_complete| {
        let mut thread = sleeps(1, "epoll_wait");
        let call = thread.call.as_mut().unwrap();
        (call.reads_from, call.is_complete) = (reads_from, is_complete);
        vec![thread]
    };
    assert!(nobody_accepts(vec![sleeps(1, "wait4")]));
    assert!(nobody_accepts(vec![sleeps(1, "futex"), sleeps(2, "pause")]));
    assert!(nobody_accepts(polls(vec![4, 5], true)));
    assert!(!nobody_accepts(polls(vec![4, 7], true)), "its loop has the listener");
    assert!(!nobody_accepts(polls(vec![4], false)), "its loop may have the listener");
    assert!(!nobody_accepts(vec![sleeps(1, "accept4")]));
    assert!(!nobody_accepts(vec![sleeps(1, "recvfrom")]), "it works on a connection");
    assert!(!nobody_accepts(vec![sleeps(1, "clock_nanosleep")]), "it may sleep in the middle of its work");
    assert!(!nobody_accepts(vec![sleeps(1, "futex")]), "a lock may be what it waits for before it accepts");
    assert!(!nobody_accepts(vec![thread(1, ThreadState::Running)]));
    assert!(!nobody_accepts(vec![sleeps(1, "wait4"), thread(2, ThreadState::Sleeping)]), "not readable");
}

#[test]
fn an_empty_queue_is_not_the_one_that_it_waits_in() {
    let of_length = |length| {
        let waiting = WaitingFor { queue: AcceptQueue { length, limit: 16 }, first_for_ns: SECOND };
        let verdict = Some(Verdict::NeverAccepted);
        ids(&ReasonFacts { verdict, waiting: Some(waiting), ..facts(Vec::new()) })
    };
    assert_eq!(of_length(1), [ReasonId::AcceptQueue]);
    assert_eq!(of_length(0), []);
}

#[test]
fn a_master_leaves_it_to_its_workers_to_accept() {
    let leaves = |threads| leaves_it_to_others(&doing(threads), &FDS);
    assert!(leaves(vec![sleeps(1, "rt_sigsuspend")]), "for signals");
    assert!(
        leaves(vec![sleeps(1, "wait4"), sleeps(2, "futex")]),
        "for children, beside a thread without work"
    );
    assert!(!leaves(vec![sleeps(1, "wait4"), reads(2, "accept4", FDS[0])]), "one accepts");
    assert!(!leaves(vec![sleeps(1, "epoll_wait")]), "it may wait for connections");
    assert!(!leaves(vec![sleeps(1, "clock_nanosleep")]), "it may come back");
}

#[test]
fn what_all_holders_sleep_in_is_said() {
    let processes: Vec<ProcessIdentity> = (1..=5).map(|pid| process(pid, "shop")).collect();
    let sleeping = ["flock", "futex", "wait4"].map(|call| doing(vec![sleeps(1, call)]));
    let holders = |count: usize| -> Vec<HolderFacts<'_>> {
        processes
            .iter()
            .zip(sleeping.iter().cycle())
            .take(count)
            .map(|(one, call)| holder(one, Some(call)))
            .collect()
    };
    let text = |count| {
        let found = because(&facts(holders(count)));
        found.into_iter().map(|reason| reason.text).collect::<Vec<_>>().join(" / ")
    };
    assert_eq!(text(1), "shop (1) sleeps in flock()");
    assert_eq!(text(2), "shop (1) sleeps in flock(); shop (2) sleeps in futex()");
    assert_eq!(
        text(5),
        "shop (1) sleeps in flock(); shop (2) sleeps in futex(); shop (3) sleeps in wait4(); 2 more sleep, too"
    );
}

#[test]
fn of_a_listener_that_nobody_waits_at_it_is_said_what_its_holder_does() {
    let server = process(81, "server");
    let text = |threads: Vec<ThreadDoing>, pid| {
        let (doing, first_of_all) = (doing(threads), process(1, "server"));
        let process = if pid == 1 { &first_of_all } else { &server };
        let holder = HolderFacts { evidence: Evidence::Listener, ..holder(process, Some(&doing)) };
        first(&ReasonFacts { verdict: Some(Verdict::NeverAccepted), ..facts(vec![holder]) }).text
    };
    assert_eq!(
        text(vec![sleeps(81, "wait4")], 81),
        "server (81) holds the listener, and no thread of it waits for connections: it sleeps in wait4(), on \
         something else"
    );
    let deadlocked = vec![sleeps(81, "rt_sigtimedwait"), sleeps(82, "futex"), sleeps(83, "futex")];
    let told = text(deadlocked, 81);
    assert!(told.contains("its threads sleep in rt_sigtimedwait() and futex()"), "{told}");
    // In a container the service itself may have the number of init.
    let told = text(vec![sleeps(1, "wait4")], 1);
    assert!(!told.contains("not there") && !told.contains("gone"), "{told}");
}

#[test]
fn whoever_holds_an_accepted_connection_accepts_by_itself() {
    let (master, worker) = (process(81, "master"), process(82, "worker"));
    let waits = doing(vec![sleeps(1, "poll")]);
    let of = |has_accepted| {
        let holder = |process| HolderFacts { evidence: Evidence::Listener, ..holder(process, Some(&waits)) };
        let holders = vec![holder(&master), HolderFacts { has_accepted, ..holder(&worker) }];
        ids(&ReasonFacts { verdict: Some(Verdict::NeverAccepted), ..facts(holders) })
    };
    assert_eq!(of(Some(false))[0], ReasonId::NobodyAccepts);
    assert!(!of(Some(true)).contains(&ReasonId::NobodyAccepts), "it is busy with that");
    assert!(!of(None).contains(&ReasonId::NobodyAccepts), "nobody looked");
}

#[test]
fn the_service_manager_is_named_with_its_unit() {
    let (systemd, doing) = (process(1, "systemd"), doing(vec![sleeps(1, "epoll_wait")]));
    let holder = HolderFacts {
        evidence: Evidence::Listener,
        socket_unit: Some("shop.socket"),
        ..holder(&systemd, Some(&doing))
    };
    let reason = first(&ReasonFacts { verdict: Some(Verdict::NeverAccepted), ..facts(vec![holder]) });
    assert_eq!((reason.id, reason.numbers.unit.as_deref()), (ReasonId::NobodyAccepts, Some("shop.socket")));
}

#[test]
fn who_was_there_before_a_reload_only_drains() {
    let (old, new) = (process(81, "nginx"), process(99, "nginx"));
    let holder = HolderFacts { newer: Some(&new), ..holder(&old, None) };
    let is = |side| ids(&ReasonFacts { side, ..facts(vec![holder.clone()]) });
    assert_eq!(is(Some(ConnectionSide::Accepted)), [ReasonId::OldGeneration, ReasonId::ClientLeft]);
    assert_eq!(is(Some(ConnectionSide::Connected)), [ReasonId::Connected]);
}

/// A thread that reads from a descriptor.
fn reads(tid: u32, name: &'static str, fd: u32) -> ThreadDoing {
    let call = SleepingCall { name, writes_to: Vec::new(), reads_from: vec![fd], is_complete: true };
    ThreadDoing { call: Some(call), ..thread(tid, ThreadState::Sleeping) }
}

/// The connection behind a descriptor, on which an answer is owed since then.
fn awaited(fd: u32, since_s: u64) -> Awaited {
    let remote = format!("10.0.0.9:{}", 5_400 + fd).parse::<SocketAddr>().unwrap().into();
    Awaited { fd, remote, since_ns: Some(since_s * SECOND) }
}

#[test]
fn only_who_has_waited_since_before_the_end_holds_up_what_lies_unread() {
    let shop = process(81, "gunicorn");
    let told = |threads: Vec<ThreadDoing>, awaited: &[Awaited], verdict, side| {
        let doing = doing(threads);
        let holders = vec![HolderFacts { awaited, has_accepted: Some(true), ..holder(&shop, Some(&doing)) }];
        let found = because(&ReasonFacts { verdict: Some(verdict), side: Some(side), ..facts(holders) });
        found.first().filter(|reason| reason.id == ReasonId::BehindBlockedRead).cloned()
    };
    let is_behind = |threads, awaited: &[Awaited]| {
        told(threads, awaited, Verdict::EofUnread, ConnectionSide::Accepted).is_some()
    };
    // The end of what waits came after 90 s.
    let database = [awaited(32, 80), awaited(33, 95)];
    let reason =
        told(vec![reads(81, "recvfrom", 32)], &database, Verdict::EofUnread, ConnectionSide::Accepted);
    let reason = reason.unwrap();
    assert_eq!((reason.numbers.fd, reason.numbers.for_ns), (Some(32), Some(20 * SECOND)));
    assert_eq!(
        reason.text,
        "gunicorn (81) waits for 10.0.0.9:5432 (fd 32) for 20.0 s, and does nothing else: this one waits behind it"
    );
    assert!(is_behind(vec![reads(81, "poll", 32)], &database), "with a time limit");
    assert!(!is_behind(vec![reads(81, "recvfrom", 33)], &database), "it was awake after the end");
    let idle = Awaited { since_ns: None, ..awaited(32, 80) };
    assert!(!is_behind(vec![reads(81, "recvfrom", 32)], &[idle]), "a connection that owes no answer");
    assert!(!is_behind(vec![reads(81, "recvfrom", 7)], &[awaited(7, 80)]), "it reads the very socket");
    assert!(!is_behind(vec![reads(81, "read", 9)], &database), "of a pipe it is not known since when");
    assert!(
        !is_behind(vec![reads(81, "recvfrom", 32), sleeps(82, "futex")], &database),
        "another one is free"
    );
    assert!(!is_behind(vec![reads(81, "recvfrom", 32), reads(82, "recvfrom", 33)], &database));
    assert!(is_behind(
        vec![reads(81, "recvfrom", 32), reads(82, "poll", 34)],
        &[awaited(32, 80), awaited(34, 70)]
    ));
    let waits = |verdict, side| told(vec![reads(81, "recvfrom", 32)], &database, verdict, side).is_some();
    assert!(waits(Verdict::DataUnread, ConnectionSide::Accepted));
    assert!(!waits(Verdict::DataUnread, ConnectionSide::Connected), "it may have left the answer");
    assert!(waits(Verdict::NeverAccepted, ConnectionSide::Accepted));
    assert!(!waits(Verdict::EofUnread, ConnectionSide::Connected), "nobody waits for what idles");
    assert!(!waits(Verdict::EofRead, ConnectionSide::Accepted), "it was read, and may have been forgotten");
}

#[test]
fn whoever_else_could_read_or_accept_it_waits_for_nothing() {
    let (master, worker) = (process(80, "master"), process(81, "worker"));
    let (busy, free) = (doing(vec![reads(81, "recvfrom", 32)]), doing(vec![sleeps(80, "accept4")]));
    let of = |doing, awaited| HolderFacts {
        evidence: Evidence::Listener,
        awaited,
        has_accepted: Some(true),
        ..holder(&master, Some(doing))
    };
    let database = [awaited(32, 80)];
    let first_of = |holders| ids(&ReasonFacts { verdict: Some(Verdict::NeverAccepted), ..facts(holders) });
    let worker = || HolderFacts { process: &worker, ..of(&busy, &database) };
    assert_eq!(first_of(vec![worker()])[0], ReasonId::BehindBlockedRead);
    let heir = HolderFacts { has_accepted: Some(false), ..worker() };
    assert!(!first_of(vec![heir]).contains(&ReasonId::BehindBlockedRead), "it has the listener by chance");
    assert!(!first_of(vec![of(&free, &[]), worker()]).contains(&ReasonId::BehindBlockedRead));
}

#[test]
fn whom_sleeping_threads_wait_for_is_named() {
    let shop = process(81, "java");
    let text = |threads, awaited: &[Awaited]| {
        let doing = doing(threads);
        let holders = vec![HolderFacts { awaited, ..holder(&shop, Some(&doing)) }];
        because(&facts(holders))
            .into_iter()
            .find(|reason| reason.id == ReasonId::HolderSleeping)
            .unwrap()
            .text
    };
    let database = [awaited(32, 95), Awaited { fd: 40, ..awaited(32, 95) }, awaited(33, 95)];
    assert_eq!(
        text(vec![reads(81, "recvfrom", 32)], &database),
        "java (81) sleeps in recvfrom(), and waits for 10.0.0.9:5432 (fd 32)"
    );
    assert_eq!(text(vec![reads(81, "read", 9)], &database), "java (81) sleeps in read()");
    let threads =
        vec![sleeps(81, "futex"), reads(82, "poll", 32), reads(83, "recvfrom", 40), reads(84, "poll", 33)];
    assert_eq!(
        text(threads, &database),
        "the 4 threads of java (81) sleep: 2 in poll(), 1 in futex(), 1 in recvfrom(); 2 wait for 10.0.0.9:5432"
    );
}

#[test]
fn whoever_was_started_with_a_connection_has_not_accepted_it() {
    let (server, helper) = (process(81, "shop-server"), process(90, "sleep"));
    let inherits = |fds| HolderFacts { inherited_from: Some(&server), fds, ..holder(&helper, None) };
    let told = |verdict, side, holders| {
        let found = because(&ReasonFacts { verdict: Some(verdict), side, ..facts(holders) });
        found.into_iter().next().filter(|reason| reason.id == ReasonId::Inherited)
    };
    let accepted = Some(ConnectionSide::Accepted);
    let reason = told(Verdict::EofUnread, accepted, vec![inherits(&FDS)]).unwrap();
    assert_eq!(
        reason.text,
        "sleep (90) did not accept it: it has the descriptor (fd 7) from shop-server (81), which started it, listens \
         there, and has closed its own"
    );
    assert_eq!((reason.numbers.pid, reason.numbers.fd), (Some(90), Some(7)));
    let reason = told(Verdict::EofUnread, Some(ConnectionSide::Connected), vec![inherits(&FDS)]).unwrap();
    assert_eq!(
        reason.text,
        "sleep (90) did not connect: it has the descriptor (fd 7) from shop-server (81), which started it, connected, \
         and has closed its own"
    );
    assert!(told(Verdict::EofRead, accepted, vec![inherits(&FDS), inherits(&[8])]).is_some());
    assert!(
        told(Verdict::EofUnread, accepted, vec![inherits(&[0, 1, 2])]).is_none(),
        "it serves the connection"
    );
    assert!(told(Verdict::EofUnread, None, vec![inherits(&FDS)]).is_none());
    assert!(told(Verdict::HalfOpen, accepted, vec![inherits(&FDS)]).is_none());
    let serves = doing(vec![reads(90, "poll", 7)]);
    let session = HolderFacts { doing: Some(&serves), ..inherits(&FDS) };
    assert!(told(Verdict::EofUnread, accepted, vec![session]).is_none(), "it waits for what comes on it");
    let both = vec![inherits(&FDS), holder(&server, None)];
    assert!(told(Verdict::EofUnread, accepted, both).is_none(), "the server still has it");
}

#[test]
fn hostile_names_do_no_harm() {
    let shop = process(81, "x\u{1b}[2J");
    let stopped = doing(vec![thread(1, ThreadState::Stopped)]);
    let text = first(&facts(vec![holder(&shop, Some(&stopped))])).text;
    assert!(!text.contains('\u{1b}'), "{text}");
}
