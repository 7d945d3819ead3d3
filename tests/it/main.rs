//! Runs the tool as users do: the built binary, against programs that leak on the live kernel.
//!
//! One file a subject; only modules are declared here. The tests see what a user sees: streams, files and exit codes.
//! Recordings alone are read back by the tool's own reader, and by one that the tests have beside it
//! (`support/recorder.rs`, `support/walker`).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[macro_use]
mod support;

mod address_in_use;
mod arrivals;
mod bounds;
mod btf_file;
mod clear_choice;
mod clear_guards;
mod clear_holders;
mod clear_many;
mod clear_states;
mod command_line;
mod compat;
mod compiled;
mod coverage;
mod crowds;
mod deep;
mod doctor;
mod endings;
mod exec;
mod exit_codes;
mod failing;
mod filters;
mod forecasts;
mod hostile;
mod identity;
mod inner_namespaces;
mod keep_alive;
mod kept;
mod kernels;
mod killed;
mod leak_filters;
mod links;
mod names;
mod openers;
mod other_end;
mod outputs;
mod over;
mod php;
mod places;
mod ports_taken;
mod reasons;
mod recordings;
mod replay;
mod report;
mod rights;
mod rotation;
mod ruby;
mod scoreboard;
mod screens;
mod session;
mod slow_terminals;
mod started_after;
mod sums;
mod time_namespaces;
mod time_wait;
mod time_wait_ports;
mod trace;
mod transports;
mod unprivileged;
