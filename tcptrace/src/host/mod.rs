//! Facts about this machine: identity, clocks, privileges, network settings. Draws no conclusions from them.

pub(crate) mod address_space;
pub(crate) mod bounded_text;
pub(crate) mod bpf_settings;
pub(crate) mod clock;
pub(crate) mod file_access;
pub(crate) mod identity;
pub(crate) mod interrupts;
pub(crate) mod live_thread;
pub(crate) mod lockdown;
pub(crate) mod namespaces;
pub(crate) mod open_files;
mod own_netns;
pub(crate) mod pid_namespace;
pub(crate) mod pool;
pub(crate) mod privilege;
pub(crate) mod process_view;
pub(crate) mod rights;
pub(crate) mod socket_units;
pub(crate) mod stat;
pub(crate) mod sysctl_files;
pub(crate) mod system_calls;
pub(crate) mod tcp_counters;
pub(crate) mod tcp_settings;
pub(crate) mod tracefs;
pub(crate) mod user;
pub(crate) mod user_namespace;
pub(crate) mod world;
