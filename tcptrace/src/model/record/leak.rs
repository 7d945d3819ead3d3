//! The records about sockets that are stuck.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    age::{self, Age},
    timed::{Timed, nanoseconds},
};
use crate::model::{
    numbered::numbered,
    owner::{CalledBy, OpenedBy, Owner},
    socket::Socket,
    state::State,
    verdict::Verdict,
};

/// A socket that has been in CLOSE_WAIT for longer than the threshold, or was asked for by its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// When it was looked at.
    #[serde(with = "nanoseconds")]
    pub time: Timestamp,
    #[serde(flatten)]
    pub socket: Socket,
    /// Its state: CLOSE_WAIT, unless others were asked for.
    pub state: State,
    /// Time in CLOSE_WAIT; `None` in other states.
    #[serde(flatten, with = "age::optional")]
    pub age: Option<Age>,
    /// Bytes the application has not read, the FIN counting as one; `None` when not known.
    pub recv_q: Option<u32>,
    /// Bytes the peer has not acknowledged; `None` when not known.
    pub send_q: Option<u32>,
    /// Why; `None` when that cannot be told.
    pub verdict: Option<Verdict>,
    /// Who holds it, each with the evidence.
    pub owners: Vec<Owner>,
    /// Who opened it, when that was seen.
    pub opened_by: Option<Timed<OpenedBy>>,
    /// The first read that returned the end of file; `None` when that was not watched (`--deep`), when
    /// nobody read it, when it was read by splice() or before it was watched, and when one read took it
    /// together with the last data: that one returned a length, and only another one tells the application.
    pub eof_read_by: Option<Timed<CalledBy>>,
}

numbered! {
    /// How a socket left CLOSE_WAIT.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum EndedHow {
        /// A process closed it (or shut down its sending side).
        Closed = 1,
        /// The peer or a timeout reset the connection.
        Reset = 2,
        /// An administrator destroyed it (SOCK_DESTROY).
        Destroyed = 3,
        /// The process that held it ended.
        OwnerExited = 4,
    }
}

/// A socket that had been reported left CLOSE_WAIT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakEnd {
    #[serde(with = "nanoseconds")]
    pub time: Timestamp,
    #[serde(flatten)]
    pub socket: Socket,
    /// The whole time in CLOSE_WAIT.
    #[serde(flatten)]
    pub age: Age,
    /// How; `None` when the transition itself was not seen.
    pub how: Option<EndedHow>,
    /// Who closed it: seen in that process's own context.
    pub closed_by: Option<Owner>,
}
