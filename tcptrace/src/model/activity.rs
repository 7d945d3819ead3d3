//! When a socket was last active, as the kernel counts it. Values only.

/// Milliseconds since the last activity of a socket (`struct tcp_info`). The kernel counts in jiffies of 1 to
/// 10 ms, in 32 bits: ages wrap around after 49 days at 1000 Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActivityTimes {
    /// Since the last segment with data was sent, or else since the connection was made.
    pub last_data_sent_ms: u32,
    /// Since the last segment with data arrived; meaningless (huge) for TCP if none did.
    pub last_data_recv_ms: u32,
    /// Since the last acknowledgment arrived, which every segment after the SYN carries.
    pub last_ack_recv_ms: u32,
}

/// How the sending side of a socket fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sending {
    /// The peer has closed its window, and is asked from time to time whether it has opened it (`ICSK_TIME_PROBE0`).
    pub is_window_closed: bool,
    /// How often the same was sent again without an answer: retransmissions, or probes of a closed window.
    pub unanswered: u8,
}

impl Sending {
    /// Repetitions without an answer after which nobody is there: the third follows after a second or more.
    const NOBODY_AFTER: u8 = 3;

    /// Whether what was sent finds nobody. Where the peer is known to have acknowledged nothing since its FIN, the second
    /// repetition suffices.
    #[must_use]
    pub(crate) fn finds_nobody(self, send_q: u32, has_answered_since_fin: Option<bool>) -> bool {
        let enough = match has_answered_since_fin {
            Some(false) if !self.is_window_closed => Self::NOBODY_AFTER - 1,
            _ => Self::NOBODY_AFTER,
        };
        send_q > 0 && self.unanswered >= enough
    }

    /// Whether the peer is there and takes no data.
    #[must_use]
    pub(crate) fn is_blocked(self, send_q: u32) -> bool {
        send_q > 0 && self.is_window_closed && self.unanswered < Self::NOBODY_AFTER
    }
}
