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
