//! The words of the domain: TCP states, sockets, tasks and the transition of a socket from one state
//! to another. Values only; no I/O, and no notion of how they were learnt.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// A TCP state, with the number and the spelling of include/net/tcp_states.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the kernel's, and RFC 9293 explains them")]
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

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 12] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
    ];

    /// The state with the kernel's number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The kernel's spelling, without its `TCP_`.
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
    /// CLOSE_WAIT alone.
    pub const CLOSE_WAIT: Self = Self(1 << State::CloseWait as u32);
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

/// Both ends of a connection, seen from this host. IPv4-mapped IPv6 addresses are IPv4 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// This side.
    pub local: SocketAddr,
    /// The peer; port 0 for a listener.
    pub remote: SocketAddr,
}

/// The first 96 bits of an IPv4-mapped IPv6 address: RFC 4291, section 2.5.5.2.
const MAPPED: u128 = 0xffff << 32;

impl Endpoints {
    /// From addresses as numbers (IPv4 v4-mapped) and ports, all in host byte order.
    pub fn new(laddr: u128, lport: u16, raddr: u128, rport: u16) -> Self {
        // As `IpAddr::to_canonical`, in two comparisons instead of twelve: every record has two addresses.
        let address = |bits| match u32::try_from(bits ^ MAPPED) {
            Ok(ipv4) => IpAddr::V4(Ipv4Addr::from_bits(ipv4)),
            Err(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        Self { local: SocketAddr::new(address(laddr), lport), remote: SocketAddr::new(address(raddr), rport) }
    }

    /// 4 or 6.
    pub fn family(&self) -> u8 {
        if self.local.is_ipv4() { 4 } else { 6 }
    }
}

/// What tells one socket from another. Only keys from the same tracer are comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey(pub u64);

/// A socket as it is spoken of in every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The kernel's socket cookie, never reused; `None` when this kernel does not tell it here.
    pub cookie: Option<u64>,
    /// Inode number of its network namespace; `None` when this kernel does not tell it here.
    pub netns: Option<u32>,
    /// Both ends.
    pub endpoints: Endpoints,
}

/// A task's name: bytes as its owner chose them, up to the first NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The name, without what fills it up.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The name as text; what is not UTF-8 is replaced. May hold control characters.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_text())
    }
}

/// A task, by its numbers in the root pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Process: the thread group id.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Name of the thread at that moment.
    pub comm: Comm,
}

/// How a socket was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedHow {
    /// By accept().
    Accept,
    /// By connect().
    Connect,
}

impl OpenedHow {
    /// The name of the system call.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Connect => "connect",
        }
    }
}

/// A call on a socket: seen in the caller's own context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The caller.
    pub task: Task,
    /// CLOCK_MONOTONIC of the call, in nanoseconds.
    pub ktime_ns: u64,
    /// Where the kernel side keeps the user stack of the call, if it does.
    pub stack: Option<u32>,
}

/// Who opened a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The call that opened it.
    pub call: Call,
    /// Which call that was.
    pub how: OpenedHow,
}

/// Address of the kernel's `struct sock`: reused once the socket is closed, and never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelSocket(pub u64);

/// Why a socket changed state, as the kernel knew it at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The socket's pending error, an errno; 0 = none.
    pub error: u16,
    /// Whether the task that happened to run was exiting.
    pub oncpu_exiting: bool,
}

/// A socket left one state for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Tells the socket from others in the same session.
    pub key: SocketKey,
    /// The socket.
    pub socket: Socket,
    /// Whether it is an MPTCP connection.
    pub is_mptcp: bool,
    /// CLOCK_MONOTONIC of the transition, in nanoseconds.
    pub ktime_ns: u64,
    /// The state left.
    pub old_state: State,
    /// The state entered.
    pub new_state: State,
    /// CLOCK_MONOTONIC when `old_state` was entered, in nanoseconds, when that was seen.
    pub entered_ns: Option<u64>,
    /// Who happened to run: not who owns the socket.
    pub oncpu: Task,
    /// Where the kernel has the socket.
    pub kernel_socket: KernelSocket,
    /// Why, where the kernel lets us see it.
    pub cause: Option<Cause>,
    /// Id of the socket's cgroup (v2), when known.
    pub cgroup_id: Option<u64>,
}

impl Transition {
    /// Time spent in `old_state` in nanoseconds, or `None` when its start was not seen.
    pub fn dwell_ns(&self) -> Option<u64> {
        Some(self.ktime_ns.saturating_sub(self.entered_ns?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
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

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().to_bits();
        let endpoints = Endpoints::new(mapped, 80, mapped, 5000);
        assert_eq!(endpoints.family(), 4);
        assert_eq!(endpoints.local.to_string(), "192.0.2.1:80");
        // The bits of one in another place make none.
        for address in ["::c000:201", "64:ff9b::ffff:c000:201", "::1", "::", "::fffe:c000:201"] {
            let bits = address.parse::<Ipv6Addr>().unwrap().to_bits();
            assert_eq!(Endpoints::new(bits, 80, bits, 5000).local.ip().to_string(), address);
        }
    }
}
