//! The binary recording `.tct`: records to bytes and back. Pure: no I/O, no clock. The format is described
//! in docs/format.md; whoever changes one changes the other.

pub(crate) mod block;
pub(crate) mod decoder;
pub(crate) mod dictionary;
pub(crate) mod encoder;
pub(crate) mod entries;
pub(crate) mod form;
pub(crate) mod frame;
pub(crate) mod index;
pub(crate) mod leaks;
pub(crate) mod preamble;
pub(crate) mod sockets;
pub(crate) mod transitions;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
