//! How the time of a socket in CLOSE_WAIT, or its connection, ended. Decides nothing.

use serde::{Deserialize, Serialize};

use super::numbered::numbered;

numbered! {
    /// How a socket left CLOSE_WAIT, or how its connection ended while its descriptor stayed open.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum EndedHow {
        /// A process closed it. Where the kernel does not show more, it may have shut down its sending side.
        Closed = 1,
        /// The peer reset the connection.
        Reset = 2,
        /// An administrator destroyed it (SOCK_DESTROY).
        Destroyed = 3,
        /// The process that held it ended.
        OwnerExited = 4,
        /// The peer, or the way to it, did not answer any more.
        TimedOut = 5,
        /// A process shut down its sending side, and the descriptor stayed open.
        ShutDown = 6,
    }
}

/// `ETIMEDOUT` of include/uapi/asm-generic/errno.h: `tcp_write_err` of net/ipv4/tcp_timer.c sets it.
const ETIMEDOUT: u16 = 110;
/// `ECONNABORTED`: `tcp_abort` of net/ipv4/tcp.c sets it for SOCK_DESTROY.
const ECONNABORTED: u16 = 103;
/// What a router said when the peer could not be reached; it takes the place of ETIMEDOUT.
const ENETUNREACH: u16 = 101;
const EHOSTUNREACH: u16 = 113;

impl EndedHow {
    /// How a connection ended that left this error (`sk_err`) behind; `None` when there is none, or no longer: the
    /// kernel tells an error once.
    #[must_use]
    pub fn of_error(error: u16) -> Option<Self> {
        match error {
            0 => None,
            ECONNABORTED => Some(Self::Destroyed),
            ETIMEDOUT | ENETUNREACH | EHOSTUNREACH => Some(Self::TimedOut),
            _ => Some(Self::Reset),
        }
    }

    /// For people, after "its connection".
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Closed => "closed by both sides",
            Self::Reset => "reset by the peer",
            Self::Destroyed => "destroyed",
            Self::OwnerExited => "ended with its process",
            Self::TimedOut => "timed out",
            Self::ShutDown => "shut down by both sides",
        }
    }

    /// For people, after the connection: what happened to it.
    #[must_use]
    pub fn as_event(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Destroyed => "destroyed",
            Self::OwnerExited => "ended with its owner",
            Self::TimedOut => "timed out",
            Self::ShutDown => "shut down, not closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_tells_how_a_connection_ended() {
        let (none, reset, broken_pipe) = (0, 104, 32);
        assert_eq!(EndedHow::of_error(none), None);
        assert_eq!(EndedHow::of_error(reset), Some(EndedHow::Reset));
        assert_eq!(EndedHow::of_error(broken_pipe), Some(EndedHow::Reset));
        assert_eq!(EndedHow::of_error(ETIMEDOUT), Some(EndedHow::TimedOut));
        assert_eq!(EndedHow::of_error(EHOSTUNREACH), Some(EndedHow::TimedOut));
        assert_eq!(EndedHow::of_error(ECONNABORTED), Some(EndedHow::Destroyed));
    }
}
