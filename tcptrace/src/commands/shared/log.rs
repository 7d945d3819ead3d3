//! Messages on standard error, each with the program name and its level.

use std::io::{IsTerminal as _, Write as _, stderr};

use env_logger::{Builder, WriteStyle};
use log::LevelFilter;

/// Messages from now on go to standard error, as many as the operator wants.
pub(crate) fn start(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Info,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    // On a terminal a message takes the place of the status line, if there is one.
    let begin = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
    Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("tcptrace", level)
        .write_style(WriteStyle::Never)
        .format(move |out, record| match record.level() {
            log::Level::Info => writeln!(out, "{begin}tcptrace: {}", record.args()),
            level => writeln!(out, "{begin}tcptrace: {}: {}", level.as_str().to_lowercase(), record.args()),
        })
        .init();
}
