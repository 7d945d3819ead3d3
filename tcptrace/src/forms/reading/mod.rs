//! Reads sessions that were kept: `.tct` and JSON Lines, plain or compressed (zstd), told apart by their
//! content. Bounded memory; never writes.

pub(crate) mod blocks;
pub(crate) mod error;
pub(crate) mod inflate;
pub(crate) mod jsonl;
pub(crate) mod jumps;
pub(crate) mod losses;
pub(crate) mod numbers;
pub(crate) mod range;
pub(crate) mod reader;
pub(crate) mod source;
pub(crate) mod stream;

#[cfg(test)]
mod tests;
