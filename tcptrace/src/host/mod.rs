//! Facts about the machine the tool runs on: who we are, what it is called, how its clocks relate, how its
//! network is set. Collected first; nothing here decides what follows from them.

pub mod clock;
pub mod identity;
pub mod kernel_version;
pub mod privilege;
pub mod sysctl_files;
pub mod tcp_counters;
pub mod tcp_settings;
pub mod tracefs;
