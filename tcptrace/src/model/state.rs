//! The states of TCP, and sets of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::numbered::numbered;

numbered! {
    /// A TCP state, with the number and the spelling of include/net/tcp_states.h.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    #[repr(u8)]
    #[expect(missing_docs, reason = "the names are the kernel's, and RFC 9293 explains them")]
    pub enum State {
        Established = 1,
        SynSent = 2,
        SynRecv = 3,
        FinWait1 = 4,
        FinWait2 = 5,
        TimeWait = 6,
        Close = 7,
        CloseWait = 8,
        LastAck = 9,
        Listen = 10,
        Closing = 11,
        NewSynRecv = 12,
    }
}

impl State {
    /// The kernel's spelling, without its `TCP_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynRecv => "NEW_SYN_RECV",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// The text names no TCP state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no TCP state; the states are {states}", states = State::ALL.map(State::name).join(", "))]
pub struct UnknownState(String);

impl FromStr for State {
    type Err = UnknownState;

    /// Reads the kernel's spelling, in any case, with `-` for `_` and with or without `TCP_`: what `ss`
    /// prints is understood too.
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let canonical = text.to_ascii_uppercase().replace('-', "_");
        let name = canonical.strip_prefix("TCP_").unwrap_or(&canonical);
        let name = match name {
            "ESTAB" => "ESTABLISHED",
            "FIN_WAIT_1" => "FIN_WAIT1",
            "FIN_WAIT_2" => "FIN_WAIT2",
            "CLOSED" | "UNCONN" => "CLOSE",
            other => other,
        };
        Self::ALL.into_iter().find(|state| state.name() == name).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// A set of TCP states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSet(u32);

impl StateSet {
    /// No state.
    pub const NONE: Self = Self(0);
    /// Every state of a socket that takes part in TCP: numbers 1 to 12.
    pub const ALL: Self = Self(0x1ffe);
    /// ESTABLISHED alone.
    pub const ESTABLISHED: Self = Self(1 << State::Established as u32);
    /// CLOSE_WAIT alone.
    pub const CLOSE_WAIT: Self = Self(1 << State::CloseWait as u32);
    /// CLOSE alone.
    pub const CLOSE: Self = Self(1 << State::Close as u32);
    /// LISTEN alone.
    pub const LISTEN: Self = Self(1 << State::Listen as u32);
    /// TIME_WAIT alone.
    pub const TIME_WAIT: Self = Self(1 << State::TimeWait as u32);
    /// FIN_WAIT1 alone.
    pub const FIN_WAIT1: Self = Self(1 << State::FinWait1 as u32);
    /// FIN_WAIT2 alone.
    pub const FIN_WAIT2: Self = Self(1 << State::FinWait2 as u32);
    /// Sockets that are bound, and neither listen nor are connected: no state of TCP, but one that sock_diag can be
    /// asked for since Linux 6.8 (`TCP_BOUND_INACTIVE` of include/net/tcp_states.h). They are in CLOSE.
    pub const BOUND: Self = Self(1 << 13);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Every state of a connection that is not in the set.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(Self::ALL.0 & !self.0)
    }

    /// Bit *n* stands for the state with the kernel's number *n*.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether the state is in the set.
    pub fn contains(self, state: State) -> bool {
        self.0 & (1 << state as u32) != 0
    }
}

impl FromIterator<State> for StateSet {
    fn from_iter<T: IntoIterator<Item = State>>(states: T) -> Self {
        Self(states.into_iter().fold(0, |bits, state| bits | 1 << state as u32))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn state_numbers_and_names_round_trip() {
        for state in State::ALL {
            assert_eq!(State::from_number(state as u8), Some(state));
            assert_eq!(state.name().parse(), Ok(state));
            assert!(StateSet::ALL.contains(state));
        }
        assert_eq!(State::from_number(0), None);
        assert_eq!(State::from_number(13), None);
    }

    #[test]
    fn states_are_read_as_ss_spells_them() {
        assert_eq!("close-wait".parse(), Ok(State::CloseWait));
        assert_eq!("TCP_FIN_WAIT1".parse(), Ok(State::FinWait1));
        assert_eq!("fin-wait-2".parse(), Ok(State::FinWait2));
        assert!("CLOSEWAIT".parse::<State>().unwrap_err().to_string().contains("CLOSE_WAIT"));
    }
}
