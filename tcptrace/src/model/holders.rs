//! The descriptors of a socket by process.

use std::collections::BTreeMap;

use super::pid::Pid;

/// The descriptors of each process, ascending.
pub(crate) type Holders = BTreeMap<Pid, Vec<u32>>;
