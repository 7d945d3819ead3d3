//! Ends sockets that are stuck, without their processes: which ones (`selection`), by which way (`ways`),
//! whether each is still the one that was chosen (`recheck`), the act itself (`act`, with `descriptor` for
//! shutdown), and what became of each (the values here).
//!
//! Nothing is ended that was not chosen from a list, and only `act` ends anything. Only states are dealt with
//! in which a FIN has been sent or received: none of them leads back to a connection that works, so a
//! socket with the cookie and the state it was listed with is still the thing that was chosen.

pub(crate) mod account;
pub(crate) mod act;
pub(crate) mod arguments;
pub(crate) mod descriptor;
pub(crate) mod recheck;
pub(crate) mod run;
pub(crate) mod ways;

use crate::model::state::State;

/// States that a socket can be ended in.
pub(crate) const STATES: [State; 6] =
    [State::CloseWait, State::FinWait1, State::FinWait2, State::Closing, State::LastAck, State::TimeWait];
