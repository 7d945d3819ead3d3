//! Messages on standard error, each with the name of the program and its weight.

use std::io::Write as _;

use env_logger::{Builder, WriteStyle};
use log::LevelFilter;

/// Messages from now on go to standard error, as many as the operator wants.
pub fn start(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Info,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("tcptrace", level)
        .write_style(WriteStyle::Never)
        .format(|out, record| match record.level() {
            log::Level::Info => writeln!(out, "tcptrace: {}", record.args()),
            level => writeln!(out, "tcptrace: {}: {}", level.as_str().to_lowercase(), record.args()),
        })
        .init();
}
