//! Why a socket is stuck: pure rules from facts to a verdict, and each verdict's sentence for people. No I/O, no clock.

use crate::model::verdict::Verdict;

/// What lies unread in a socket, in the unit that the kernel reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Bytes; the FIN counts as one.
    Bytes(u32),
    /// Bytes of memory; the FIN does not count (MPTCP).
    Memory(u32),
}

/// What is known about a socket in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseWaitFacts {
    /// A process has a descriptor for it.
    pub is_held: bool,
    /// It has an inode, so it was accepted or connected; `None` when unknown.
    pub has_inode: Option<bool>,
    /// A socket still listens at its local address.
    pub has_listener: bool,
    pub unread: Option<Unread>,
    /// Milliseconds since this side last sent data, when known.
    pub last_data_sent_ms: Option<u32>,
    /// The peer has answered a segment since its FIN.
    pub has_answered_since_fin: bool,
    /// Milliseconds that it has been in CLOSE_WAIT for certain.
    pub in_close_wait_ms: u64,
    /// A socket that sent data within this many milliseconds counts as in use.
    pub active_window_ms: u64,
}

/// The verdict on a socket, or `None` when the facts do not suffice.
pub(crate) fn verdict(facts: &CloseWaitFacts) -> Option<Verdict> {
    if !facts.is_held {
        return match facts.has_inode {
            Some(false) if facts.has_listener => Some(Verdict::NeverAccepted),
            Some(_) => Some(Verdict::NoHolder),
            None => None,
        };
    }
    // `tcp_info` counts from the last segment with data, so our acknowledgment of the FIN does not count.
    let is_sending = facts.last_data_sent_ms.is_some_and(|sent| {
        let sent = u64::from(sent);
        // Each answer of the peer resets the certain age; then the answer itself is the evidence.
        (sent < facts.in_close_wait_ms || facts.has_answered_since_fin) && sent <= facts.active_window_ms
    });
    if is_sending {
        return Some(Verdict::HalfOpen);
    }
    match facts.unread? {
        Unread::Bytes(0) => Some(Verdict::EofRead),
        Unread::Bytes(1) => Some(Verdict::EofUnread),
        Unread::Bytes(_) | Unread::Memory(1..) => Some(Verdict::DataUnread),
        // MPTCP does not show whether the end of file was read.
        Unread::Memory(0) => None,
    }
}

/// What the verdict means and what to look at next, as the end of a sentence about the process.
pub(crate) fn advice(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::EofRead => {
            "has read everything, the end of file too, and never called close(): look for the path that returns without it"
        }
        Verdict::EofUnread => {
            "read all data but not yet the end of file: idle in a connection pool, or its reader is stuck"
        }
        Verdict::DataUnread => {
            "leaves received data unread: its reader is blocked or gone, look at what its threads wait for"
        }
        Verdict::NeverAccepted => {
            "never called accept() for it: the accept loop is stuck or too slow, look at the listener"
        }
        Verdict::HalfOpen => {
            "still sends on it after the peer's half-close: legitimate, not counted as a leak"
        }
        Verdict::NoHolder => {
            "is held by no descriptor: by the kernel, by io_uring, or in flight between two processes"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: CloseWaitFacts = CloseWaitFacts {
        is_held: true,
        has_inode: Some(true),
        has_listener: false,
        unread: Some(Unread::Bytes(0)),
        last_data_sent_ms: None,
        has_answered_since_fin: false,
        in_close_wait_ms: 30_000,
        active_window_ms: 10_000,
    };

    #[test]
    fn the_receive_queue_tells_three_bugs_apart() {
        let with = |unread| verdict(&CloseWaitFacts { unread, ..HELD });
        assert_eq!(with(Some(Unread::Bytes(0))), Some(Verdict::EofRead));
        assert_eq!(with(Some(Unread::Bytes(1))), Some(Verdict::EofUnread));
        assert_eq!(with(Some(Unread::Bytes(2))), Some(Verdict::DataUnread));
        assert_eq!(with(None), None);
        assert_eq!(with(Some(Unread::Memory(0))), None);
        assert_eq!(with(Some(Unread::Memory(768))), Some(Verdict::DataUnread));
    }

    #[test]
    fn a_socket_that_still_sends_is_half_open() {
        let sent = |ms| verdict(&CloseWaitFacts { last_data_sent_ms: Some(ms), ..HELD });
        assert_eq!(sent(50), Some(Verdict::HalfOpen));
        // An answer sent after the FIN, but long ago, does not excuse a leak.
        assert_eq!(sent(20_000), Some(Verdict::EofRead));
        // The last answer before the FIN says nothing about now.
        assert_eq!(sent(30_500), Some(Verdict::EofRead));
        let fresh = |ms, has_answered_since_fin| {
            let in_close_wait_ms = 40;
            verdict(&CloseWaitFacts {
                last_data_sent_ms: Some(ms),
                has_answered_since_fin,
                in_close_wait_ms,
                ..HELD
            })
        };
        assert_eq!(fresh(50, true), Some(Verdict::HalfOpen));
        assert_eq!(fresh(50, false), Some(Verdict::EofRead), "sent before the FIN");
        assert_eq!(fresh(20_000, true), Some(Verdict::EofRead), "what was answered is a keepalive probe");
    }

    #[test]
    fn without_a_descriptor_the_inode_and_the_listener_decide() {
        let unheld = |has_inode, has_listener| {
            verdict(&CloseWaitFacts { is_held: false, has_inode, has_listener, ..HELD })
        };
        assert_eq!(unheld(Some(false), true), Some(Verdict::NeverAccepted));
        assert_eq!(unheld(Some(false), false), Some(Verdict::NoHolder));
        assert_eq!(unheld(Some(true), true), Some(Verdict::NoHolder));
        assert_eq!(unheld(None, false), None);
    }
}
