//! The descriptors of a socket by process.

use std::collections::BTreeMap;

/// The descriptors of each process, ascending.
pub(crate) type Holders = BTreeMap<u32, Vec<u32>>;
