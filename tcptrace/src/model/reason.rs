//! Why a socket is stuck, in words that a person can act on, with the numbers behind them. Decides nothing: the rules
//! and the sentences are in `diagnosis::reasons`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::numbered::numbered;

numbered! {
    /// What a reason says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ReasonId {
        /// A thread of the holder is woken by the end of file again and again.
        SpinsOnEof = 1,
        /// A signal has stopped the holder.
        HolderStopped = 2,
        /// The cgroup of the holder is frozen.
        HolderFrozen = 3,
        /// A debugger has stopped the holder.
        HolderTraced = 4,
        /// A thread of the holder waits in the kernel and cannot be interrupted.
        HolderUninterruptible = 5,
        /// accept() and open() fail: every descriptor is in use.
        NoDescriptorsLeft = 6,
        /// Whoever holds the listener does not accept.
        NobodyAccepts = 7,
        /// Connections wait for accept().
        AcceptQueue = 8,
        /// The peer takes no data: its window is closed.
        BlockedInWrite = 9,
        /// The holder is blocked in writing to another socket.
        BehindBlockedWrite = 10,
        /// One leg of a relay, whose other leg has not ended.
        WaitsForOtherLeg = 11,
        /// The peer acknowledges nothing any more.
        SendsToNobody = 12,
        /// Only what the peer sent with its goodbye lies unread.
        LastWords = 13,
        /// The holder is left from before a reload.
        OldGeneration = 14,
        /// An accepted connection, whose client has gone.
        ClientLeft = 15,
        /// A connection that this side made, and does not use.
        IdleInPool = 16,
        /// A connection that this side made.
        Connected = 17,
        /// A thread of the holder computes.
        HolderRunning = 18,
        /// The threads of the holder sleep.
        HolderSleeping = 19,
        /// The holder waits for an answer on another connection.
        BehindBlockedRead = 20,
        /// The holder has it from the server that started it.
        Inherited = 21,
        /// Nobody has it, and descriptors that nobody has received wait in a Unix socket.
        InFlight = 22,
    }
}

impl ReasonId {
    /// The name that records use.
    pub fn name(self) -> &'static str {
        match self {
            Self::SpinsOnEof => "spins_on_eof",
            Self::HolderStopped => "holder_stopped",
            Self::HolderFrozen => "holder_frozen",
            Self::HolderTraced => "holder_traced",
            Self::HolderUninterruptible => "holder_uninterruptible",
            Self::NoDescriptorsLeft => "no_descriptors_left",
            Self::NobodyAccepts => "nobody_accepts",
            Self::AcceptQueue => "accept_queue",
            Self::BlockedInWrite => "blocked_in_write",
            Self::BehindBlockedWrite => "behind_blocked_write",
            Self::WaitsForOtherLeg => "waits_for_other_leg",
            Self::SendsToNobody => "sends_to_nobody",
            Self::LastWords => "last_words",
            Self::OldGeneration => "old_generation",
            Self::ClientLeft => "client_left",
            Self::IdleInPool => "idle_in_pool",
            Self::Connected => "connected",
            Self::HolderRunning => "holder_running",
            Self::HolderSleeping => "holder_sleeping",
            Self::BehindBlockedRead => "behind_blocked_read",
            Self::Inherited => "inherited",
            Self::InFlight => "in_flight",
        }
    }

    /// Whether it harms the host for as long as it lasts.
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::SpinsOnEof | Self::NoDescriptorsLeft)
    }
}

impl fmt::Display for ReasonId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One reason why a socket is stuck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub id: ReasonId,
    /// A sentence for people, without a full stop.
    pub text: String,
    #[serde(flatten)]
    pub numbers: ReasonNumbers,
}

/// The numbers of a reason; those that it does not have are absent from records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReasonNumbers {
    /// The process that it is about; absent also of one that is not visible from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The thread that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// The descriptor of the other socket in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<u32>,
    /// The remote address of the other socket in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes that lie unread, or were not acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Nanoseconds since it began, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_ns: Option<u64>,
    /// Descriptors in use, or connections that wait for accept().
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// How many of them there can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Processor time that was used, in nanoseconds …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// … within so many nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ns: Option<u64>,
    /// How often a second the end of file was read (`--deep`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads_per_second: Option<u64>,
    /// Threads that do so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// The system call, or what the kernel waits in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The protocol of the last words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The socket unit of systemd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The process that traces the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracer: Option<u32>,
    /// The process of the same program that listens now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer: Option<u32>,
    /// Who holds the far end of the other leg, where that is on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far_pid: Option<u32>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far_comm: Option<String>,
}
