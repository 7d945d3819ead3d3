//! The words of the tool: values only. No I/O, no clock, no command line; imports nothing of the other rooms.

pub mod advice;
pub mod clearing;
pub mod close_wait;
pub mod connection_filter;
pub mod endpoints;
pub mod escape;
pub mod finding;
pub mod host_identity;
pub mod kernel_version;
pub mod owner;
pub mod owner_filter;
pub mod process;
pub mod record;
pub mod selection;
pub mod socket;
pub mod stack;
pub mod state;
pub mod sysctl_setting;
pub mod task;
pub mod tcp_counters;
pub mod tcp_settings;
pub mod time_wait;
pub mod transition;
pub mod units;
pub mod verdict;
