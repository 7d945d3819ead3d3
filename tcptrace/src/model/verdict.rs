//! Why a socket is stuck, in one word. Decides nothing: rules and advice are in `diagnosis`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::numbered::numbered;

/// A socket that sent data within this many milliseconds is still in use, unless a threshold says otherwise. Equals the
/// default threshold of a live session.
pub(crate) const ACTIVE_WINDOW_MS: u64 = 10_000;

numbered! {
    /// Why a socket is in CLOSE_WAIT, or stays when its connection is over.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Verdict {
        /// The application read the end of file and did not close.
        EofRead = 1,
        /// Everything was read but the end of file.
        EofUnread = 2,
        /// Data lies unread.
        DataUnread = 3,
        /// The application never called accept().
        NeverAccepted = 4,
        /// A legitimate half-close: still being written to, or its peer still waits for the answer.
        HalfOpen = 5,
        /// No descriptor anywhere.
        NoHolder = 6,
        /// Its connection is over, and the application did not close the descriptor. It is in state CLOSE.
        ConnectionOver = 7,
    }
}

impl Verdict {
    /// The name that records use.
    pub fn name(self) -> &'static str {
        match self {
            Self::EofRead => "eof_read",
            Self::EofUnread => "eof_unread",
            Self::DataUnread => "data_unread",
            Self::NeverAccepted => "never_accepted",
            Self::HalfOpen => "half_open",
            Self::NoHolder => "no_holder",
            Self::ConnectionOver => "connection_over",
        }
    }

    /// Whether it counts as a leak.
    pub fn is_leak(self) -> bool {
        self != Self::HalfOpen
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Why a socket has no verdict, or nobody to answer for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownBecause {
    /// MPTCP does not show whether the end of file was read.
    Mptcp,
    /// The kernel did not list the sockets of its network namespace.
    NamespaceNotListed,
    /// Nobody was found holding it, and not every process could be read.
    ProcessesNotRead,
    /// It waits for accept(), and nobody has a descriptor of a listener that it may wait for.
    ListenerNotFound,
}

impl UnknownBecause {
    /// Whether a holder may be there that was not found.
    pub(crate) fn is_of_holder(self) -> bool {
        matches!(self, Self::ProcessesNotRead | Self::ListenerNotFound)
    }

    /// The reason as the end of a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Mptcp => "MPTCP does not show whether the end of file was read",
            Self::NamespaceNotListed => "the sockets of its network namespace could not be listed",
            Self::ProcessesNotRead => "not every process could be read, and its holder may be one of those",
            Self::ListenerNotFound => {
                "it waits for accept(), and nobody has a descriptor of its listener, which may be in flight between two \
                 processes or registered with io_uring, or be at another address (TPROXY)"
            }
        }
    }
}
