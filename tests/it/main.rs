//! The tool as users run it: the built binary against programs that leak on the live kernel.
//!
//! One file a subject; only modules are declared here. Nothing in these tests looks into the tool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells what it found on its own streams"
)]

#[macro_use]
mod support;

mod bounds;
mod clear_choice;
mod clear_guards;
mod clear_holders;
mod clear_many;
mod clear_states;
mod command_line;
mod crowds;
mod deep;
mod endings;
mod exec;
mod failing;
mod filters;
mod hostile;
mod identity;
mod kept;
mod killed;
mod leak_filters;
mod openers;
mod outputs;
mod places;
mod replay;
mod report;
mod rotation;
mod scoreboard;
mod session;
mod started_after;
mod time_wait;
mod time_wait_ports;
mod trace;
