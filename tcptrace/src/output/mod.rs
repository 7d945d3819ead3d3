//! One way out: what a session says goes to each of its outputs, in the form of each. Outputs decide nothing: what they
//! are given, they write, or count as missing.
//!
//! [`outputs::Output`] encodes each record for every channel. What then becomes of a chunk is a matter of
//! [`options::Policy`]: the thread of the session writes it, or hands it to a writer thread by a bounded queue, so that
//! nothing slow ever holds up a live session.

pub(crate) mod channel;
pub(crate) mod compression;
pub(crate) mod current;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod options;
pub(crate) mod outputs;
pub(crate) mod queue;
pub(crate) mod queued;
pub(crate) mod replace;
pub(crate) mod rotation;
pub(crate) mod safe_path;
mod screen;
pub(crate) mod standard_error;
pub(crate) mod standard_output;
pub(crate) mod synchronous;
pub(crate) mod target;
pub(crate) mod terminal;
pub(crate) mod writer;
