//! The command line: what was typed, and what it means.

pub(crate) mod clear;
pub(crate) mod leaks;
pub(crate) mod now;
pub(crate) mod report;
pub(crate) mod shared;
pub(crate) mod time_wait;
pub(crate) mod trace;

use std::{ffi::OsString, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    clear::arguments::ClearArguments, leaks::arguments::LeaksArguments, now::arguments::NowArguments,
    report::arguments::ReportArguments, time_wait::arguments::TimeWaitArguments,
    trace::arguments::TraceArguments,
};
use self::{
    clear::run as clearing,
    now::run as one_look,
    shared::{error::SessionError, live as watching},
    time_wait::run as time_waits,
    trace::replay,
};
use crate::{host::world::World, output::WriteError};

/// Names the process that never closed its TCP sockets, and says why.
///
/// Without a command it runs `leaks`: options that stand alone are those of `leaks`.
#[derive(Debug, Parser)]
#[command(name = "tcptrace", version, subcommand_required = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Args)]
struct Verbosity {
    /// Fewer messages on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// More messages on standard error; twice for the details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch live: time every socket in CLOSE_WAIT and name who holds it
    Leaks(LeaksArguments),
    /// List every socket that is in CLOSE_WAIT at this moment: who holds it, since when, and why
    Now(NowArguments),
    /// End sockets that are stuck, without restarting their processes; lists them unless told --yes
    Clear(ClearArguments),
    /// Show every TCP state transition as it happens
    Trace(TraceArguments),
    /// Tell who fills the TIME_WAIT table, how long the local ports last, and what helps
    TimeWait(TimeWaitArguments),
    /// Sum up recorded sessions: who leaks, towards whom, since when, from which line of code; offline and without root
    Report(ReportArguments),
}

/// Runs the command line of this process. Prints what goes wrong; the exit codes are a promise.
pub fn main() -> ExitCode {
    let Arguments { command, verbosity } = match Arguments::try_parse_from(with_command(std::env::args_os()))
    {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are what was asked for; they go to standard output.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    shared::log::start(verbosity.quiet, verbosity.verbose);
    let world = World::of_this_host();
    let outcome = match command {
        Command::Leaks(arguments) => {
            arguments.resolve().map(|options| run(watching::run(&options, &world), arguments.exit_code))
        }
        Command::Now(arguments) => {
            arguments.resolve().map(|options| run(one_look::run(&options, &world), arguments.exit_code))
        }
        Command::Clear(arguments) => arguments.resolve().map(|options| {
            let cleared = block_on(async { Ok(()) }).and_then(|()| clearing::run(&options, &world));
            exit(cleared.map(|is_done| if is_done { 0 } else { 3 }))
        }),
        Command::Trace(arguments) => match &arguments.replay {
            Some(file) => arguments
                .resolve_replay(file)
                .map(|options| run(async { replay::run(&options).await.map(|()| false) }, false)),
            None => arguments.resolve().map(|options| run(watching::run(&options, &world), false)),
        },
        Command::TimeWait(arguments) => arguments.resolve().map(|options| {
            let session = async {
                match &options.live {
                    Some(live) => time_wait::live::run_live(&options, live, &world).await,
                    None => time_waits::run_once(&options, &world),
                }
            };
            run(session, arguments.exit_code)
        }),
        Command::Report(arguments) => arguments.run(),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            let _ = Arguments::command().error(ErrorKind::ValueValidation, message).print();
            ExitCode::from(2)
        }
    }
}

/// The command line with `leaks` put in where no command was typed.
fn with_command(typed: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = typed.collect();
    let is_verbosity = |argument: &OsString| {
        argument.to_str().is_some_and(|text| {
            matches!(text, "--quiet" | "--verbose")
                || text.strip_prefix('-').is_some_and(|flags| {
                    !flags.is_empty() && flags.chars().all(|flag| matches!(flag, 'q' | 'v'))
                })
        })
    };
    let position = arguments
        .iter()
        .skip(1)
        .position(|argument| !is_verbosity(argument))
        .map_or(arguments.len(), |at| at + 1);
    let is_of_leaks = match arguments.get(position).map(|argument| argument.to_string_lossy()) {
        Some(text) => text.starts_with('-') && !matches!(&*text, "-h" | "--help" | "-V" | "--version"),
        None => true,
    };
    if is_of_leaks {
        arguments.insert(position.max(1).min(arguments.len()), "leaks".into());
    }
    arguments
}

/// Runs a session to its end; the exit code.
fn run(session: impl Future<Output = Result<bool, SessionError>>, found_matters: bool) -> u8 {
    exit(block_on(session).map(|found| u8::from(found && found_matters)))
}

fn block_on<T>(session: impl Future<Output = Result<T, SessionError>>) -> Result<T, SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let system = |source| SessionError::System { what: "start", source };
    runtime.map_err(system)?.block_on(async {
        // A file that may not grow is an error of the output, and does not end the program: from now on,
        // whatever becomes of this.
        let _for_ever = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(system)?;
        session.await
    })
}

/// The exit code that a session ends with.
fn exit(result: Result<u8, SessionError>) -> u8 {
    match result {
        Ok(code) => code,
        // `tcptrace trace | head` has got what it wanted.
        Err(SessionError::Write(WriteError::ReaderGone)) => 0,
        Err(error) => {
            ::log::error!("{error}");
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn leaks_is_run_where_no_command_is_typed() {
        let completed = |typed: &str| {
            let words = std::iter::once("tcptrace").chain(typed.split_whitespace()).map(OsString::from);
            let completed = with_command(words);
            completed
                .iter()
                .skip(1)
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(completed(""), "leaks");
        assert_eq!(completed("-v"), "-v leaks");
        assert_eq!(completed("-qv --older-than 1s"), "-qv leaks --older-than 1s");
        assert_eq!(completed("--older-than 1s"), "leaks --older-than 1s");
        assert_eq!(completed("-v trace --state LISTEN"), "-v trace --state LISTEN");
        assert_eq!(completed("--help"), "--help");
        assert_eq!(completed("--nonsense"), "leaks --nonsense");
        assert_eq!(completed("nonsense"), "nonsense");
    }
}
