//! Turns sockets into findings: who holds a socket, since when it is stuck, and why.
//!
//! Never names an owner without evidence, and never guesses one from the task that happened to run.

mod accept_queues;
pub(crate) mod age;
mod awaited;
mod callers;
mod copies;
pub(crate) mod descriptors;
pub(crate) mod dump;
mod explain;
mod full_legs;
mod in_flight;
mod inherited;
pub(crate) mod inspector;
mod legs;
mod listeners;
mod lookups;
mod other_ends;
mod peek;
pub(crate) mod proc_fd;
mod side;
pub(crate) mod snapshot;
pub(crate) mod socket_counts;
pub(crate) mod tables;
pub(crate) mod thread;
mod users;
