//! A process, or several of one name, with the number of sockets that it closed first or holds. Counts nothing itself.

use serde::Serialize;

use super::owner::Owner;

/// A process, and how many sockets it closed first or holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OwnerCount {
    #[serde(flatten)]
    pub owner: Owner,
    /// How many of the sockets that are there.
    pub count: u64,
    /// Processes that this one stands for: very many with one name and place are merged.
    pub processes: u64,
}
