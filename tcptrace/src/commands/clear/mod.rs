//! `tcptrace clear`: ends stuck sockets, and leaves their processes alone. `methods` chooses how, `recheck`
//! checks that each socket is still the chosen one, `act` ends it (with `descriptor` for shutdown), `account`
//! keeps the results.
//!
//! Ends only sockets chosen from a list, and only `act` ends anything. Covers only states in which a FIN has
//! been sent or received: none of them leads back to a working connection, so a socket that still has its
//! listed cookie and state is the one that was chosen.

pub(crate) mod account;
pub(crate) mod act;
pub(crate) mod arguments;
pub(crate) mod descriptor;
pub(crate) mod methods;
pub(crate) mod recheck;
pub(crate) mod run;
mod watched;

use crate::model::state::State;

/// States in which `clear` ends a socket.
pub(crate) const STATES: [State; 6] =
    [State::CloseWait, State::FinWait1, State::FinWait2, State::Closing, State::LastAck, State::TimeWait];
