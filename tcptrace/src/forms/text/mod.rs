//! The records as lines for people. Not part of any promise: it may change to read better.

pub(crate) mod advice;
mod answer;
pub(crate) mod ascii;
mod bind;
pub(crate) mod cleared;
pub(crate) mod columns;
mod crowd;
pub(crate) mod fold;
pub(crate) mod form;
mod meanings;
mod over;
mod page;
pub(crate) mod parts;
mod program;
pub(crate) mod record;
mod said;
pub(crate) mod snapshot;
pub(crate) mod sockets;
pub(crate) mod summary;
pub(crate) mod time_wait;
pub(crate) mod view;
pub(crate) mod width;
