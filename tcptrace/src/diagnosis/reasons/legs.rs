//! Whether two sockets of one process may be the legs of a relay: by when one ended and the other was shut down, or by what
//! went out on one of all that came in on the other. Pure.

use super::accepting::WAITS_FOR_DESCRIPTORS;
use crate::model::{
    activity::ActivityTimes,
    doing::{ProcessDoing, SleepingCall, ThreadState},
};

/// A relay passes an end on within this time. Nothing else tells one leg from others, so it is short.
const AT_ONCE_MS: u64 = 1_500;

/// How long ago something happened, in milliseconds: at least, and at most if known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LegTimes {
    pub least_ms: u64,
    pub most_ms: Option<u64>,
}

impl LegTimes {
    /// From an age in nanoseconds.
    pub(crate) fn of_ages_ns(least_ns: u64, most_ns: Option<u64>) -> Self {
        Self { least_ms: least_ns / 1_000_000, most_ms: most_ns.map(|most| most / 1_000_000) }
    }

    /// How long ago a half-closed socket was shut down: after it had sent its last data. Its peer has acknowledged the FIN,
    /// then or later.
    pub(crate) fn of_half_closed(times: ActivityTimes) -> Self {
        let least_ms = u64::from(times.last_ack_recv_ms).min(u64::from(times.last_data_sent_ms));
        Self { least_ms, most_ms: Some(times.last_data_sent_ms.into()) }
    }
}

/// Milliseconds between what arrived on one leg last and what was sent on the other last, which was looked at `later_ms`: a
/// relay passes it on at once.
pub(crate) fn passing_ms(stuck: ActivityTimes, leg: ActivityTimes, later_ms: u64) -> u64 {
    let received_ms = u64::from(stuck.last_data_recv_ms);
    received_ms.abs_diff(u64::from(leg.last_data_sent_ms).saturating_sub(later_ms))
}

/// What passed through a leg, in bytes without FIN; `None` where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LegBytes {
    pub sent: Option<u64>,
    pub received: Option<u64>,
}

impl LegBytes {
    /// Whether all that came in on one leg went out on the other, and the other way round.
    pub(crate) fn are_passed_on(self, other: Self) -> bool {
        let is_same = |one: Option<u64>, other: Option<u64>| one.is_some() && one == other;
        is_same(self.sent, other.received) && is_same(self.received, other.sent)
    }

    /// Whether other bytes went out on the leg than came in on the stuck socket, whose end was passed on behind them: then
    /// the leg was shut down for another reason. The other direction tells nothing, because who has left takes nothing.
    pub(crate) fn are_others_than(self, leg: Self) -> bool {
        self.received.zip(leg.sent).is_some_and(|(received, sent)| received != sent)
    }
}

/// Whether all that a process does is to wait for data of one descriptor, locks apart: then whatever else it has waits for
/// that, too.
pub(crate) fn waits_only_for(doing: &ProcessDoing, fd: u32) -> bool {
    let mut calls = doing.threads.iter().map(|thread| thread.call.as_ref());
    let is_for_it = |call: &SleepingCall| call.awaited() == Some(fd);
    let is_waiting = calls.all(|call| call.is_some_and(|call| is_for_it(call) || call.name == "futex"));
    let mut calls = doing.threads.iter().filter_map(|thread| thread.call.as_ref());
    !doing.has_more && is_waiting && calls.any(is_for_it)
}

/// Whether a process rests in an event loop: a thread waits for descriptors, and none works.
pub(crate) fn rests_in_a_loop(doing: &ProcessDoing) -> bool {
    let mut calls = doing.threads.iter().filter_map(|thread| thread.call.as_ref());
    let waits = calls.any(|call| WAITS_FOR_DESCRIPTORS.contains(&call.name));
    waits && doing.threads.iter().all(|thread| thread.state == ThreadState::Sleeping)
}

/// Whether a relay that has read so many bytes from one leg reads no more because it has written so many to the other, which
/// takes no more: all of them, but for what it has in its own buffers. Smaller numbers may be equal by chance.
pub(crate) fn stops_for(read: u64, written: u64) -> bool {
    const MANY_BYTES: u64 = 64 * 1024;
    let buffered = read.checked_sub(written);
    written >= MANY_BYTES && buffered.is_some_and(|bytes| bytes <= MANY_BYTES.max(written / 16))
}

/// How far apart the two events are for certain; `None` when too far for a relay.
pub(crate) fn distance_ms(stuck: LegTimes, leg: LegTimes) -> Option<u64> {
    let most = |times: LegTimes| times.most_ms.unwrap_or(u64::MAX);
    let may_be = leg.least_ms <= most(stuck).saturating_add(AT_ONCE_MS)
        && stuck.least_ms <= most(leg).saturating_add(AT_ONCE_MS);
    may_be.then(|| stuck.least_ms.abs_diff(leg.least_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::doing::{CallSamples, ThreadDoing};

    #[test]
    fn an_end_is_passed_on_at_once() {
        let times = |least_ms, most_ms| LegTimes { least_ms, most_ms };
        assert_eq!(distance_ms(times(9_000, Some(20_000)), times(8_990, Some(21_000))), Some(10));
        // A leg whose peer goes on sending.
        assert_eq!(distance_ms(times(9_000, Some(20_000)), times(50, Some(21_000))), Some(8_950));
        // Shut down long after, or long before.
        assert_eq!(distance_ms(times(9_000, Some(9_100)), times(1_000, Some(4_000))), None);
        assert_eq!(distance_ms(times(1_000, Some(2_000)), times(9_000, Some(12_000))), None);
        assert_eq!(
            distance_ms(times(1_000, None), times(9_000, Some(12_000))),
            Some(8_000),
            "of unknown age"
        );
    }

    #[test]
    fn what_arrives_last_is_sent_on_at_once() {
        let times = |sent, received| ActivityTimes {
            last_data_sent_ms: sent,
            last_data_recv_ms: received,
            last_ack_recv_ms: 0,
        };
        assert_eq!(passing_ms(times(0, 1_176), times(1_180, 0), 4), 0);
        assert_eq!(passing_ms(times(0, 1_176), times(1_172, 0), 4), 8);
    }

    #[test]
    fn a_relay_passes_on_as_many_bytes_as_it_gets() {
        let bytes = |sent, received| LegBytes { sent: Some(sent), received: Some(received) };
        assert!(bytes(10, 3).are_passed_on(bytes(3, 10)));
        assert!(!bytes(10, 3).are_passed_on(bytes(4, 10)));
        assert!(!LegBytes::default().are_passed_on(LegBytes::default()));
    }

    #[test]
    fn whoever_passes_on_other_bytes_than_came_is_no_relay() {
        let bytes = |sent, received| LegBytes { sent, received };
        let stuck = bytes(Some(500), Some(3));
        assert!(stuck.are_others_than(bytes(Some(8), Some(2_000))), "a handler that asks a database");
        assert!(!stuck.are_others_than(bytes(Some(3), Some(2_000))), "the client had left by then");
        assert!(!stuck.are_others_than(bytes(None, Some(500))), "the kernel does not tell");
        assert!(!bytes(None, None).are_others_than(bytes(Some(8), None)));
    }

    #[test]
    fn a_relay_reads_no_more_than_it_can_pass_on() {
        const MIB: u64 = 1 << 20;
        assert!(stops_for(3 * MIB, 3 * MIB));
        assert!(stops_for(3 * MIB, 3 * MIB - 20_000), "the rest is in its buffer");
        assert!(!stops_for(3 * MIB, 2 * MIB), "no buffer is so large");
        assert!(!stops_for(2 * MIB, 3 * MIB), "more than came");
        assert!(!stops_for(300, 200), "a request, and what the handler asked for");
    }

    #[test]
    fn only_who_does_nothing_else_waits_only_for_a_leg() {
        let thread = |name, reads_from: &[u32]| ThreadDoing {
            tid: 1,
            state: ThreadState::Sleeping,
            call: Some(SleepingCall {
                name,
                writes_to: Vec::new(),
                reads_from: reads_from.to_vec(),
                is_complete: true,
            }),
            waits_in: None,
            cpu: None,
            samples: CallSamples::default(),
        };
        let waits = |threads| waits_only_for(&ProcessDoing { threads, ..ProcessDoing::default() }, 7);
        assert!(waits(vec![thread("read", &[7])]));
        assert!(waits(vec![thread("futex", &[]), thread("ppoll", &[7])]), "beside a thread that is joined");
        assert!(
            !waits(vec![thread("read", &[7]), thread("recvfrom", &[9])]),
            "another thread reads another one"
        );
        assert!(!waits(vec![thread("ppoll", &[7, 9])]), "or for something else");
        assert!(!waits(vec![thread("accept4", &[7])]));
        assert!(!waits(vec![thread("futex", &[])]));
        assert!(!waits(Vec::new()));
        let more =
            ProcessDoing { threads: vec![thread("read", &[7])], has_more: true, ..ProcessDoing::default() };
        assert!(!waits_only_for(&more, 7), "who knows what the others do");
    }

    #[test]
    fn only_who_waits_for_descriptors_and_does_nothing_rests_in_a_loop() {
        let thread = |state, name: Option<&'static str>| ThreadDoing {
            tid: 1,
            state,
            call: name.map(|name| SleepingCall {
                name,
                writes_to: Vec::new(),
                reads_from: Vec::new(),
                is_complete: true,
            }),
            waits_in: None,
            cpu: None,
            samples: CallSamples::default(),
        };
        let rests = |threads| rests_in_a_loop(&ProcessDoing { threads, ..ProcessDoing::default() });
        let waits = || thread(ThreadState::Sleeping, Some("epoll_wait"));
        assert!(rests(vec![waits(), thread(ThreadState::Sleeping, Some("futex"))]));
        assert!(!rests(vec![thread(ThreadState::Sleeping, Some("futex"))]));
        assert!(!rests(vec![waits(), thread(ThreadState::Running, None)]));
    }

    #[test]
    fn a_socket_was_shut_down_after_its_last_data() {
        let times = ActivityTimes { last_data_sent_ms: 700, last_data_recv_ms: 900, last_ack_recv_ms: 600 };
        assert_eq!(LegTimes::of_half_closed(times), LegTimes { least_ms: 600, most_ms: Some(700) });
    }
}
