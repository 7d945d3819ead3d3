//! Why a socket is stuck, in a word: pure rules from facts to a verdict. No I/O, no clock.

use super::last_words::LastWords;
use crate::model::{
    activity::{ActivityTimes, Sending},
    verdict::{UnknownBecause, Verdict},
};

/// What lies unread in a socket, in the unit that the kernel reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Bytes; the FIN counts as one.
    Bytes(u32),
    /// Bytes of memory; the FIN does not count (MPTCP).
    Memory(u32),
}

/// An acknowledgment that comes within this time answers the data sent before it; a keep-alive probe follows its data
/// after a second or more.
const PROMPT_MS: u32 = 500;

/// What is known about a socket in CLOSE_WAIT.
#[expect(clippy::struct_excessive_bools, reason = "facts are independent of each other")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseWaitFacts {
    /// A process has a descriptor for it.
    pub is_held: bool,
    /// Every descriptor table of the host was looked at: only then does nobody hold what was not found.
    pub all_tables_read: bool,
    /// It has an inode, so it was accepted or connected; `None` when unknown.
    pub has_inode: Option<bool>,
    pub unread: Option<Unread>,
    /// When this side last sent data and heard from its peer, when known.
    pub times: Option<ActivityTimes>,
    /// Keep-alive probes are at work: what the peer answered may have been one of them.
    pub keeps_alive: bool,
    /// The other end is on this host, has shut down its sending side, and is still held by a process.
    pub is_awaited: bool,
    /// The other end is on this host, and reads nothing any more: it is closed, or shut down for reading too.
    pub is_unheard: bool,
    /// Whether the peer has answered a segment since its FIN; `None` when not known.
    pub has_answered_since_fin: Option<bool>,
    /// Bytes that the peer has not acknowledged, and whether it is there at all; `None` when not known.
    pub sending: Option<(u32, Sending)>,
    /// What lies unread only takes leave: the application has read everything that was meant for it.
    pub last_words: Option<LastWords>,
    /// Milliseconds that it has been in CLOSE_WAIT for certain.
    pub in_close_wait_ms: u64,
    /// Whether it was seen entering: then it has not been there longer either.
    pub is_age_exact: bool,
    /// A socket that sent data within this many milliseconds counts as in use.
    pub active_window_ms: u64,
}

/// The verdict on a socket, or `None` when the facts do not suffice.
pub(crate) fn verdict(facts: &CloseWaitFacts) -> Option<Verdict> {
    if !facts.is_held {
        return match facts.has_inode {
            // With its listener, the kernel ends whatever waits for accept() (`inet_csk_listen_stop` of
            // net/ipv4/inet_connection_sock.c): it is there, whoever has it.
            Some(false) => Some(Verdict::NeverAccepted),
            Some(true) if facts.all_tables_read => Some(Verdict::NoHolder),
            Some(true) | None => None,
        };
    }
    // Whoever has said that the connection is over waits for no answer, even if it has not closed yet.
    let said_goodbye = facts.last_words.is_some_and(|words| words.protocol.is_some());
    if !said_goodbye && (facts.is_awaited || facts.times.is_some_and(|times| is_sending(facts, times))) {
        return Some(Verdict::HalfOpen);
    }
    match facts.unread? {
        Unread::Bytes(0) => Some(Verdict::EofRead),
        Unread::Bytes(1) => Some(Verdict::EofUnread),
        Unread::Bytes(_) if facts.last_words.is_some() => Some(Verdict::EofUnread),
        Unread::Bytes(_) | Unread::Memory(1..) => Some(Verdict::DataUnread),
        // MPTCP does not show whether the end of file was read.
        Unread::Memory(0) => None,
    }
}

/// Whether this side has sent data since the peer's FIN, and lately. What is only sent again and again counts for nothing:
/// it renews the time of the last data sent.
fn is_sending(facts: &CloseWaitFacts, times: ActivityTimes) -> bool {
    if facts.is_unheard {
        return false;
    }
    if let Some((send_q, sending)) = facts.sending
        && sending.finds_nobody(send_q, facts.has_answered_since_fin)
    {
        return false;
    }
    // The kernel counts from the last segment with data, so our acknowledgment of the FIN does not count.
    let sent_ms = u64::from(times.last_data_sent_ms);
    // Each answer of the peer resets the certain age; then the answer itself is the evidence. But of a probe it is none.
    let is_answer_to_data = !facts.keeps_alive
        || (times.last_data_sent_ms < times.last_data_recv_ms
            && times.last_data_sent_ms.saturating_sub(times.last_ack_recv_ms) <= PROMPT_MS);
    sent_ms <= facts.active_window_ms
        && (sent_ms < facts.in_close_wait_ms
            || (!facts.is_age_exact && facts.has_answered_since_fin == Some(true) && is_answer_to_data))
}

/// Why a socket in CLOSE_WAIT has no verdict, or nobody to answer for it; `None` when both are known.
pub(crate) fn unknown_because(facts: &CloseWaitFacts, has_owner: bool) -> Option<UnknownBecause> {
    match verdict(facts) {
        // Nobody holds it: that is the answer.
        Some(Verdict::NoHolder) => None,
        Some(Verdict::NeverAccepted) if !has_owner && facts.all_tables_read => {
            Some(UnknownBecause::ListenerNotFound)
        }
        // Its holder was seen, and could not be read.
        Some(_) => (!has_owner).then_some(UnknownBecause::ProcessesNotRead),
        None if !facts.is_held => Some(if facts.has_inode.is_some() {
            UnknownBecause::ProcessesNotRead
        } else {
            UnknownBecause::NamespaceNotListed
        }),
        None if facts.unread.is_none() => Some(UnknownBecause::NamespaceNotListed),
        None => Some(UnknownBecause::Mptcp),
    }
}

/// Why nobody answers for a socket in another state; `None` when somebody does, or nobody can.
pub(crate) fn unowned_because(facts: &CloseWaitFacts, has_owner: bool) -> Option<UnknownBecause> {
    // After close() a socket has no inode, and no descriptor.
    let may_be_held = facts.is_held || facts.has_inode != Some(false);
    (!has_owner && may_be_held && !facts.all_tables_read).then_some(UnknownBecause::ProcessesNotRead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::last_words::Protocol;

    const HELD: CloseWaitFacts = CloseWaitFacts {
        is_held: true,
        all_tables_read: true,
        has_inode: Some(true),
        unread: Some(Unread::Bytes(0)),
        times: None,
        keeps_alive: false,
        is_awaited: false,
        is_unheard: false,
        last_words: None,
        has_answered_since_fin: Some(false),
        sending: None,
        in_close_wait_ms: 30_000,
        is_age_exact: false,
        active_window_ms: 10_000,
    };

    const fn times(sent: u32, received: u32, acknowledged: u32) -> ActivityTimes {
        ActivityTimes { last_data_sent_ms: sent, last_data_recv_ms: received, last_ack_recv_ms: acknowledged }
    }

    #[test]
    fn an_answer_to_a_keepalive_probe_is_no_answer_to_data() {
        let probed = |times| {
            verdict(&CloseWaitFacts {
                times: Some(times),
                keeps_alive: true,
                has_answered_since_fin: Some(true),
                in_close_wait_ms: 100,
                ..HELD
            })
        };
        // A client: its request went out before the last answer came, which was before the FIN.
        assert_eq!(probed(times(4_000, 3_900, 120)), Some(Verdict::EofRead));
        // A server: what it sent was acknowledged at once, and the last acknowledgment came long after.
        assert_eq!(probed(times(4_000, 4_100, 120)), Some(Verdict::EofRead));
        // One that goes on sending.
        assert_eq!(probed(times(150, 4_100, 120)), Some(Verdict::HalfOpen));
        assert_eq!(probed(times(50, 4_100, 40)), Some(Verdict::HalfOpen));
    }

    #[test]
    fn an_answer_to_nobody_is_no_half_close() {
        let answered = CloseWaitFacts { times: Some(times(500, 31_000, 450)), ..HELD };
        assert_eq!(verdict(&answered), Some(Verdict::HalfOpen));
        assert_eq!(verdict(&CloseWaitFacts { is_unheard: true, ..answered }), Some(Verdict::EofRead));
    }

    const fn words(protocol: Option<Protocol>) -> LastWords {
        LastWords { bytes: 31, protocol }
    }

    #[test]
    fn whoever_said_goodbye_waits_for_no_answer() {
        let lingering = |protocol| {
            let (unread, last_words) = (Some(Unread::Bytes(32)), Some(words(protocol)));
            verdict(&CloseWaitFacts { is_awaited: true, unread, last_words, ..HELD })
        };
        assert_eq!(lingering(Some(Protocol::Http2)), Some(Verdict::EofUnread));
        assert_eq!(lingering(None), Some(Verdict::HalfOpen), "it may have been something else");
    }

    #[test]
    fn whoever_still_waits_for_an_answer_is_no_reason_to_complain() {
        let awaited = CloseWaitFacts { is_awaited: true, in_close_wait_ms: 3_600_000, ..HELD };
        assert_eq!(verdict(&awaited), Some(Verdict::HalfOpen));
        assert_eq!(verdict(&CloseWaitFacts { is_awaited: false, ..awaited }), Some(Verdict::EofRead));
    }

    #[test]
    fn the_receive_queue_tells_three_bugs_apart() {
        let with = |unread| verdict(&CloseWaitFacts { unread, ..HELD });
        assert_eq!(with(Some(Unread::Bytes(0))), Some(Verdict::EofRead));
        assert_eq!(with(Some(Unread::Bytes(1))), Some(Verdict::EofUnread));
        assert_eq!(with(Some(Unread::Bytes(2))), Some(Verdict::DataUnread));
        assert_eq!(with(None), None);
        assert_eq!(with(Some(Unread::Memory(0))), None);
        assert_eq!(with(Some(Unread::Memory(768))), Some(Verdict::DataUnread));
        let leave = CloseWaitFacts {
            unread: Some(Unread::Bytes(32)),
            last_words: Some(words(Some(Protocol::Tls))),
            ..HELD
        };
        assert_eq!(verdict(&leave), Some(Verdict::EofUnread));
    }

    #[test]
    fn a_socket_that_still_sends_is_half_open() {
        let sent = |ms| verdict(&CloseWaitFacts { times: Some(times(ms, 40_000, 30_000)), ..HELD });
        assert_eq!(sent(50), Some(Verdict::HalfOpen));
        // An answer sent after the FIN, but long ago, does not excuse a leak.
        assert_eq!(sent(20_000), Some(Verdict::EofRead));
        // The last answer before the FIN says nothing about now.
        assert_eq!(sent(30_500), Some(Verdict::EofRead));
        let fresh = |ms, has_answered| {
            let in_close_wait_ms = 40;
            verdict(&CloseWaitFacts {
                times: Some(times(ms, 40_000, 40)),
                has_answered_since_fin: Some(has_answered),
                in_close_wait_ms,
                ..HELD
            })
        };
        assert_eq!(fresh(50, true), Some(Verdict::HalfOpen));
        assert_eq!(fresh(50, false), Some(Verdict::EofRead), "sent before the FIN");
        assert_eq!(fresh(20_000, true), Some(Verdict::EofRead), "what was answered is a keepalive probe");
    }

    #[test]
    fn whoever_sends_to_nobody_is_not_half_open() {
        let told = |unanswered, has_answered_since_fin, is_window_closed| {
            verdict(&CloseWaitFacts {
                times: Some(times(50, 40_000, 30_000)),
                sending: Some((900, Sending { is_window_closed, unanswered })),
                has_answered_since_fin,
                ..HELD
            })
        };
        assert_eq!(told(0, Some(false), false), Some(Verdict::HalfOpen), "sent a moment ago");
        assert_eq!(told(2, Some(false), false), Some(Verdict::EofRead), "nothing was ever acknowledged");
        assert_eq!(told(2, Some(true), false), Some(Verdict::HalfOpen), "a bad line");
        assert_eq!(told(3, Some(true), false), Some(Verdict::EofRead), "the peer is gone since");
        assert_eq!(told(2, None, false), Some(Verdict::HalfOpen));
        assert_eq!(told(0, Some(true), true), Some(Verdict::HalfOpen), "the peer is there and does not read");
    }

    #[test]
    fn what_was_sent_before_the_fin_is_nothing_sent_since_whoever_answers_probes() {
        let told = |is_age_exact| {
            verdict(&CloseWaitFacts {
                times: Some(times(900, 40_000, 20)),
                has_answered_since_fin: Some(true),
                in_close_wait_ms: if is_age_exact { 800 } else { 20 },
                is_age_exact,
                ..HELD
            })
        };
        assert_eq!(told(true), Some(Verdict::EofRead));
        assert_eq!(told(false), Some(Verdict::HalfOpen), "when the FIN came is not known");
    }

    #[test]
    fn without_a_descriptor_the_inode_decides() {
        let unheld = |has_inode| verdict(&CloseWaitFacts { is_held: false, has_inode, ..HELD });
        assert_eq!(unheld(Some(false)), Some(Verdict::NeverAccepted));
        assert_eq!(unheld(Some(true)), Some(Verdict::NoHolder));
        assert_eq!(unheld(None), None);
    }

    #[test]
    fn who_has_the_listener_of_what_waits_for_accept_may_not_be_known() {
        let waiting = CloseWaitFacts { is_held: false, has_inode: Some(false), ..HELD };
        assert_eq!(unknown_because(&waiting, true), None);
        assert_eq!(unknown_because(&waiting, false), Some(UnknownBecause::ListenerNotFound));
        let partly = CloseWaitFacts { all_tables_read: false, ..waiting };
        assert_eq!(verdict(&partly), Some(Verdict::NeverAccepted), "the kernel says so");
        assert_eq!(unknown_because(&partly, false), Some(UnknownBecause::ProcessesNotRead));
    }

    #[test]
    fn nobody_holds_a_socket_only_where_every_table_was_read() {
        let unheld = CloseWaitFacts { is_held: false, ..HELD };
        assert_eq!((verdict(&unheld), unknown_because(&unheld, false)), (Some(Verdict::NoHolder), None));
        let partly = CloseWaitFacts { all_tables_read: false, ..unheld };
        let because = Some(UnknownBecause::ProcessesNotRead);
        assert_eq!((verdict(&partly), unknown_because(&partly, false)), (None, because));
        assert_eq!(unknown_because(&partly, true), because, "its opener may hold it no longer");
    }

    #[test]
    fn each_question_mark_has_its_own_cause() {
        let because = |facts, has_owner| unknown_because(&facts, has_owner);
        assert_eq!(because(HELD, true), None);
        let read = Some(UnknownBecause::ProcessesNotRead);
        assert_eq!(because(HELD, false), read, "its holder was seen, and could not be read");
        let mptcp = CloseWaitFacts { unread: Some(Unread::Memory(0)), ..HELD };
        assert_eq!(because(mptcp, true), Some(UnknownBecause::Mptcp));
        let listed = Some(UnknownBecause::NamespaceNotListed);
        let held = CloseWaitFacts { unread: None, has_inode: None, ..HELD };
        assert_eq!(because(held, true), listed);
        assert_eq!(because(CloseWaitFacts { is_held: false, ..held }, false), listed);
    }

    #[test]
    fn in_another_state_nobody_is_named_for_what_nobody_can_hold() {
        let partly = CloseWaitFacts { is_held: false, all_tables_read: false, ..HELD };
        assert_eq!(unowned_because(&partly, false), Some(UnknownBecause::ProcessesNotRead));
        assert_eq!(unowned_because(&partly, true), None);
        let closed = CloseWaitFacts { has_inode: Some(false), ..partly };
        assert_eq!(unowned_because(&closed, false), None);
        assert_eq!(unowned_because(&CloseWaitFacts { all_tables_read: true, ..partly }, false), None);
    }
}
