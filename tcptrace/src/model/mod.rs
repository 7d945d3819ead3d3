//! The words of the tool: values only. No I/O, no clock, no command line; imports nothing of the other rooms.

pub(crate) mod activity;
pub(crate) mod advice;
pub(crate) mod clearing;
pub(crate) mod close_wait;
pub(crate) mod coverage;
pub(crate) mod criteria;
pub(crate) mod ended;
pub(crate) mod endpoints;
pub(crate) mod escape;
#[cfg(test)]
pub(crate) mod examples;
pub(crate) mod finding;
pub(crate) mod holders;
pub(crate) mod host_identity;
pub(crate) mod interface;
pub(crate) mod kernel_version;
pub(crate) mod numbered;
pub(crate) mod other_end;
pub(crate) mod owner;
pub(crate) mod owner_criteria;
pub(crate) mod pid;
pub(crate) mod process;
pub(crate) mod record;
pub(crate) mod socket;
pub(crate) mod stack;
pub(crate) mod state;
pub(crate) mod sysctl_setting;
pub(crate) mod task;
pub(crate) mod tcp_counters;
pub(crate) mod tcp_settings;
pub(crate) mod time_wait;
pub(crate) mod transition;
pub(crate) mod units;
pub(crate) mod verdict;
