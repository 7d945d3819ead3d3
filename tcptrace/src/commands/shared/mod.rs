//! What commands have in common: option groups, the event loop, the live session, sums, errors. Runs no
//! command.

pub(crate) mod coverage;
pub(crate) mod error;
pub(crate) mod event_loop;
pub(crate) mod exec;
pub(crate) mod exec_arguments;
pub(crate) mod filters;
pub(crate) mod interface_names;
pub(crate) mod known_names;
pub(crate) mod live;
pub(crate) mod live_arguments;
pub(crate) mod log;
pub(crate) mod outlook;
pub(crate) mod outputs;
pub(crate) mod records;
pub(crate) mod rights;
pub(crate) mod signals;
pub(crate) mod sockets;
pub(crate) mod status;
pub(crate) mod tally;
pub(crate) mod transition_stream;
pub(crate) mod use_sampling;
pub(crate) mod value_enums;
pub(crate) mod values;
pub(crate) mod watch;
pub(crate) mod ways_to_end;
