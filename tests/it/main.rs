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
mod command_line;
mod crowds;
mod deep;
mod endings;
mod filters;
mod hostile;
mod identity;
mod kept;
mod leak_filters;
mod openers;
mod places;
mod replay;
mod report;
mod scoreboard;
mod session;
mod started_after;
mod trace;
