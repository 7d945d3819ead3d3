//! The methods of ending a socket, and the outcomes. Ends nothing.

use serde::Serialize;

use super::state::State;

/// A way to end a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The kernel ends it at once (SOCK_DESTROY): its peer is sent a reset, the application reads end of file
    /// and finds ECONNABORTED when it writes
    Destroy,
    /// shutdown(2) on a copy of the holder's descriptor: the peer sees an orderly end, the application end
    /// of file; for sockets in CLOSE_WAIT that a process holds
    Shutdown,
}

/// What happened to a target of `clear`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Gone,
    /// Its FIN is sent, and the peer has not acknowledged it yet.
    Closing(State),
    /// It could not be ended.
    Refused(Refusal),
    /// It was left alone, because it was no longer what was listed.
    Changed(Change),
    /// Nothing was done; holds the refusal that an attempt would get.
    DryRun(Option<Refusal>),
}

impl Outcome {
    /// The name that records use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Closing(_) => "closing",
            Self::Refused(_) => "refused",
            Self::Changed(_) => "changed",
            Self::DryRun(_) => "dry_run",
        }
    }

    /// The reason, if there is one to give.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Gone | Self::DryRun(None) => None,
            Self::Closing(state) => {
                Some(format!("is in {state}: its end is sent, and not acknowledged by the peer yet"))
            }
            Self::Refused(refusal) => Some(refusal.to_string()),
            Self::DryRun(Some(refusal)) => Some(format!("would be refused: {refusal}")),
            Self::Changed(change) => Some(change.to_string()),
        }
    }
}

/// Why a socket could not be ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It takes a descriptor, and there is none.
    #[error("no process has a descriptor for it, so only SOCK_DESTROY can end it (--method destroy)")]
    NoDescriptor,
    /// Only a process of the same user could be asked for a copy.
    #[error("to copy a descriptor of another user's process takes CAP_SYS_PTRACE")]
    OfAnotherUser,
    /// shutdown(2) ends one state only.
    #[error("shutdown(2) ends sockets in CLOSE_WAIT only; SOCK_DESTROY ends others (--method destroy)")]
    NotCloseWait,
    /// `mptcp_diag` has no SOCK_DESTROY.
    #[error(
        "the kernel has no SOCK_DESTROY for MPTCP, only shutdown(2) by its descriptor (--method shutdown)"
    )]
    Mptcp,
    /// Its network namespace did not answer.
    #[error("its network namespace cannot be entered")]
    OutOfReach,
    /// `tcp_abort` handles TIME_WAIT since Linux 6.0.
    #[error("this kernel cannot end what it keeps of closed connections: Linux 6.0 can")]
    Minisocket,
    /// The kernel acknowledged and did nothing: `tcp_abort` spares orphans before Linux 6.11.
    #[error(
        "the kernel took the request and left the socket as it was: before Linux 6.11 it does so when the \
         application has closed it already"
    )]
    Ignored,
    /// Any other answer of the system.
    #[error("{0}")]
    System(String),
}

/// How a socket differs from what was listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Change {
    /// It has ended, whether or not another socket has its addresses now.
    #[error("ended by itself after it was listed")]
    Ended,
    /// It changed its state.
    #[error("went on to {0} by itself after it was listed")]
    State(State),
    /// The peer answered a segment, so the certain age is too small now.
    #[error("its peer was heard from after it was listed: how old it is, is not certain any more")]
    HeardFrom,
    /// It carried data.
    #[error("carried data after it was listed: somebody still uses it")]
    Used,
}

/// This host cannot end sockets with the requested method, or with any.
#[derive(Debug, thiserror::Error)]
#[error("cannot end sockets: {0}")]
pub(crate) struct Unsupported(pub(crate) String);
