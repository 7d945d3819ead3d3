//! What was found out about one socket. Finds nothing out itself.

use super::{
    close_wait::Since,
    owner::{CalledBy, OpenedBy, Owner},
    socket::{Socket, SocketKey, TcpFlavour},
    state::State,
    verdict::Verdict,
};

/// What was found out about a socket that was due.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its key in the table.
    pub key: SocketKey,
    /// The socket, with what the kernel told beyond the tracepoint.
    pub socket: Socket,
    /// Its state.
    pub state: State,
    /// Since when it has been in CLOSE_WAIT. In other states only the later bound means something: nothing
    /// has come from the peer since.
    pub since: Since,
    /// When it was looked at (CLOCK_MONOTONIC, nanoseconds).
    pub looked_at_ns: u64,
    /// False when it is no longer in the state that it was looked at for.
    pub is_stuck: bool,
    /// Bytes not read, the FIN counting as one.
    pub recv_q: Option<u32>,
    /// Bytes not acknowledged.
    pub send_q: Option<u32>,
    /// Why it is stuck; `None` in other states than CLOSE_WAIT, and when it cannot be told.
    pub verdict: Option<Verdict>,
    /// Who answers for it.
    pub owners: Vec<Owner>,
    /// Who opened it, when that was seen.
    pub opened_by: Option<OpenedBy>,
    /// Who read the end of file first, when that was seen.
    pub eof_read_by: Option<CalledBy>,
    /// How the kernel listed it; `None` when its namespace gave no answer, so that only a descriptor of it was
    /// seen.
    pub listed_as: Option<ListedAs>,
}

/// What it takes, beside cookie and addresses, to ask the kernel for a socket again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedAs {
    /// In which of the kernel's tables it is.
    pub flavour: TcpFlavour,
    /// The interface it is bound to; 0 when none.
    pub interface: u32,
}
