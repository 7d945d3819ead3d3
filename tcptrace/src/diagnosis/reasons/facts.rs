//! The facts that reasons follow from. Values only.

use std::sync::Arc;

use crate::{
    diagnosis::last_words::LastWords,
    model::{
        activity::{ActivityTimes, Sending},
        connection_side::ConnectionSide,
        doing::ProcessDoing,
        endpoints::Endpoint,
        owner::Evidence,
        process::{AcceptQueue, DescriptorUse, ProcessIdentity},
        verdict::Verdict,
    },
};

/// What is known of a process that answers for a socket.
#[derive(Clone, Debug)]
pub(crate) struct HolderFacts<'a> {
    pub process: &'a ProcessIdentity,
    pub evidence: Evidence,
    /// Its descriptors of the socket, or of the listener.
    pub fds: &'a [u32],
    /// `None` when nobody looked, or it could not be read.
    pub doing: Option<&'a ProcessDoing>,
    pub descriptors: DescriptorUse,
    /// A process of the same program that listens where the socket was accepted, while this one does not any more.
    pub newer: Option<&'a ProcessIdentity>,
    /// Of a listener: whether the process holds a connection that was accepted there; `None` when nobody looked.
    pub has_accepted: Option<bool>,
    /// How often a second it was told the end of file, where that is counted.
    pub eof_reads_per_second: Option<u64>,
    /// The socket unit of systemd that the listener belongs to.
    pub socket_unit: Option<&'a str>,
    /// The process that connected, or listens where the socket was accepted, and that it has the socket from, because it
    /// started it.
    pub inherited_from: Option<&'a ProcessIdentity>,
    /// The connections that threads of it wait for data of.
    pub awaited: &'a [Awaited],
}

/// A connection that a thread waits for data of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub fd: u32,
    pub remote: Endpoint,
    /// When this side sent what its peer has not answered (CLOCK_MONOTONIC, nanoseconds): its reader waits since then.
    /// `None` when not known, or when the peer spoke last.
    pub since_ns: Option<u64>,
}

/// The process that holds the other end of the connection, on this host.
#[derive(Clone, Debug)]
pub(crate) struct OtherHolder<'a> {
    pub process: &'a ProcessIdentity,
    /// `None` when nobody looked, or it could not be read.
    pub doing: Option<&'a ProcessDoing>,
}

/// Another socket of the holder whose peer takes no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockedWrite {
    pub pid: u32,
    pub fd: u32,
    pub remote: Endpoint,
    pub bytes: u32,
    /// Whether it is the other leg of a relay, whose event loop reads no more than it can pass on.
    pub is_leg: bool,
}

/// The other leg of a relay: the holder has passed the end on to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherLeg {
    pub pid: u32,
    pub fd: u32,
    pub remote: Endpoint,
    /// Nanoseconds since it was passed on, at least.
    pub for_ns: Option<u64>,
    /// Who holds the far end: pid where visible, and name.
    pub far: Option<(Option<u32>, String)>,
}

/// A Unix socket in which descriptors wait that nobody has received yet.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    /// Who is to receive them, and its descriptor of the Unix socket.
    pub process: Arc<ProcessIdentity>,
    pub fd: u32,
    /// How many wait there.
    pub count: u64,
}

/// Where a connection waits that was never accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingFor {
    pub queue: AcceptQueue,
    /// Nanoseconds that the first in the queue has waited, at least.
    pub first_for_ns: u64,
}

/// What is known about a stuck socket.
#[derive(Clone, Debug)]
pub(crate) struct ReasonFacts<'a> {
    pub verdict: Option<Verdict>,
    /// Unread bytes; the FIN counts as one.
    pub recv_q: Option<u32>,
    /// Unacknowledged bytes.
    pub send_q: Option<u32>,
    pub times: Option<ActivityTimes>,
    /// Whether the peer has sent any data, if known.
    pub has_received: Option<bool>,
    /// Whether this side has sent any data, likewise.
    pub has_sent: Option<bool>,
    pub sending: Option<Sending>,
    /// Whether the peer has answered a segment since its FIN, if known.
    pub has_answered_since_fin: Option<bool>,
    pub last_words: Option<LastWords>,
    pub side: Option<ConnectionSide>,
    pub holders: Vec<HolderFacts<'a>>,
    /// When it was looked at (CLOCK_MONOTONIC, nanoseconds).
    pub looked_at_ns: u64,
    /// When its peer ended it, likewise, at the earliest; `None` when that is known too roughly.
    pub ended_at_ns: Option<u64>,
    pub blocked: Option<BlockedWrite>,
    pub other_holder: Option<OtherHolder<'a>>,
    pub leg: Option<OtherLeg>,
    pub waiting: Option<WaitingFor>,
    /// Of a socket that nobody was found to have: where it, or its listener, may be.
    pub in_flight: &'a [InFlight],
}
