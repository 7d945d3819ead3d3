//! The other end of a connection, where it is a socket of this host too. Finds nothing itself.

use serde::{Deserialize, Serialize};

use super::{owner::Owner, state::State};

/// The other end of a connection, where it is a socket of this host too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherEnd {
    /// Its state; CLOSE when the kernel does not have it any more.
    pub state: State,
    /// Whether its process has closed it; `None` when that cannot be told.
    #[serde(rename = "closed")]
    pub is_closed: Option<bool>,
    /// Who holds it.
    pub owners: Vec<Owner>,
    /// Whether its process has shut it down for reading too: what this end sends is answered by a reset.
    #[serde(skip)]
    pub is_shut_for_reading: bool,
}

impl OtherEnd {
    /// Whether it has sent its end by shutdown() and is still held: its process waits for the answer.
    #[must_use]
    pub fn waits_for_answer(&self) -> bool {
        matches!(self.state, State::FinWait1 | State::FinWait2)
            && self.is_closed == Some(false)
            && !self.is_shut_for_reading
    }

    /// Whether nobody reads any more what is sent to it.
    pub(crate) fn takes_no_data(&self) -> bool {
        self.is_closed == Some(true) || self.is_shut_for_reading
    }

    /// Whether it may still send the answer to a half-close: it has got the end, or is about to, and nobody has closed it.
    pub(crate) fn may_answer(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait) && self.is_closed == Some(false)
    }
}
