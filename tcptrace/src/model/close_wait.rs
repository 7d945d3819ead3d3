//! Since when a socket has been stuck, and the sockets to inspect. Values only.

use super::{
    ended::EndedHow,
    socket::{KernelSocket, Socket, SocketKey},
};

/// When a socket entered CLOSE_WAIT (CLOCK_MONOTONIC, nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    at_latest_ns: u64,
    /// Equal to `at_latest_ns` when the time is exact; 0 without a bound.
    at_earliest_ns: u64,
}

impl Since {
    /// The transition was seen.
    pub fn exactly(ktime_ns: u64) -> Self {
        Self { at_latest_ns: ktime_ns, at_earliest_ns: ktime_ns }
    }

    /// Between two times; without the earlier one, any time before the later.
    pub fn within(at_earliest_ns: Option<u64>, at_latest_ns: u64) -> Self {
        // A bracket never claims to be exact, even if both ends coincide.
        let at_earliest_ns = at_earliest_ns.unwrap_or(0).min(at_latest_ns.saturating_sub(1));
        Self { at_latest_ns, at_earliest_ns }
    }

    /// The same, of a socket that was seen in CLOSE_WAIT at this time already.
    #[must_use]
    pub fn known_at(self, ktime_ns: u64) -> Self {
        let at_latest_ns = self.at_latest_ns.min(ktime_ns);
        Self { at_latest_ns, at_earliest_ns: self.at_earliest_ns.min(at_latest_ns) }
    }

    /// The latest possible time: from then on it was in CLOSE_WAIT for certain.
    pub fn at_latest_ns(self) -> u64 {
        self.at_latest_ns
    }

    /// Whether the transition was seen.
    pub fn is_exact(self) -> bool {
        self.at_latest_ns == self.at_earliest_ns
    }

    /// Time in CLOSE_WAIT at `now_ns`: the minimum, and the maximum if known.
    pub fn age_at(self, now_ns: u64) -> (u64, Option<u64>) {
        let most = (self.at_earliest_ns != 0).then(|| now_ns.saturating_sub(self.at_earliest_ns));
        (now_ns.saturating_sub(self.at_latest_ns), most)
    }
}

/// Why a socket is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// It is in CLOSE_WAIT.
    InCloseWait,
    /// Its connection is over, and somebody may still have a descriptor of it. How it ended, if known.
    Over(Option<EndedHow>),
}

/// A socket that was stuck before tcptrace started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preexisting {
    /// The socket, with its cookie.
    pub socket: Socket,
    pub stuck: Stuck,
    /// Never exact.
    pub since: Since,
}

/// A socket that has been stuck for longer than the threshold and is due for inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub key: SocketKey,
    pub socket: Socket,
    pub stuck: Stuck,
    /// Since when it has been stuck.
    pub since: Since,
    /// `None` for a socket that existed before tcptrace started.
    pub kernel_socket: Option<KernelSocket>,
}
