//! Facts about the machine the tool runs on: who we are, what it is called, how its clocks relate, how its
//! network is set. Collected first; nothing here decides what follows from them.

pub(crate) mod clock;
pub(crate) mod identity;
pub(crate) mod namespaces;
pub(crate) mod pool;
pub(crate) mod privilege;
pub(crate) mod sysctl_files;
pub(crate) mod tcp_counters;
pub(crate) mod tcp_settings;
pub(crate) mod tracefs;
pub(crate) mod world;
