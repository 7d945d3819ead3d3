//! Messages on standard error, each with the program name and its level. Names in them may be strangers': here is where
//! they are made harmless, whoever says them.

use env_logger::{Builder, Target, WriteStyle};
use log::LevelFilter;

use crate::{
    model::escape::EscapedLines,
    output::standard_error::{Messages, STANDARD_ERROR},
};

/// Messages from now on go to standard error, as many as the operator wants; nobody waits for it.
pub(crate) fn start(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Info,
        (false, 1) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    STANDARD_ERROR.start();
    Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("tcptrace", level)
        .write_style(WriteStyle::Never)
        .target(Target::Pipe(Box::new(Messages)))
        .format(move |out, record| {
            use std::io::Write as _;
            let text = record.args().to_string();
            let text = EscapedLines(&text);
            match record.level() {
                log::Level::Info => writeln!(out, "tcptrace: {text}"),
                level => writeln!(out, "tcptrace: {}: {text}", level.as_str().to_lowercase()),
            }
        })
        .init();
}

/// Waits for the messages that were left, as long as standard error takes some.
pub(crate) fn finish() {
    STANDARD_ERROR.catch_up();
}
