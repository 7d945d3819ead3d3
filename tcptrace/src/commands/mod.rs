//! The command line: what was typed, and what it means.

pub(crate) mod clear;
mod deferred;
pub(crate) mod doctor;
pub(crate) mod help;
pub(crate) mod leaks;
pub(crate) mod now;
pub(crate) mod report;
pub(crate) mod shared;
pub(crate) mod time_wait;
pub(crate) mod trace;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, FromArgMatches as _, Parser, error::ErrorKind};
use rustix::process::Signal;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use self::{
    clear::arguments::ClearArguments,
    doctor::arguments::DoctorArguments,
    leaks::arguments::LeaksArguments,
    now::arguments::NowArguments,
    report::arguments::ReportArguments,
    shared::{
        error::{CommandError, Conclusion, exit_code, not_run},
        rights::Sandbox,
    },
    time_wait::arguments::TimeWaitArguments,
    trace::arguments::TraceArguments,
};
use crate::{
    host::{address_space, open_files, world::World},
    kernel::check_btf,
};

/// Names the process that never closed its TCP sockets, and says why.
///
/// Without a command it runs `leaks`: options that stand alone are those of `leaks`.
#[derive(Debug, Parser)]
#[command(name = "tcptrace", version, subcommand_required = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
    /// File with the BTF of exactly this kernel, where the kernel shows none itself
    #[arg(long, value_name = "FILE", global = true, hide_short_help = true, display_order = 8)]
    btf: Option<PathBuf>,
    /// What is given up of the rights that tcptrace was started with, once everything is attached
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        display_order = 9,
        value_enum,
        value_name = "HOW",
        default_value_t
    )]
    sandbox: Sandbox,
}

/// Each has its place in the help of every command, whatever commands there are.
#[derive(Debug, Args)]
struct Verbosity {
    /// Fewer messages on standard error
    #[arg(short, long, global = true, hide_short_help = true, display_order = 6, conflicts_with = "verbose")]
    quiet: bool,
    /// More messages on standard error; twice for the details
    #[arg(short, long, global = true, hide_short_help = true, display_order = 7, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// What each is for is said in [`deferred`].
#[derive(Debug)]
enum Command {
    Leaks(LeaksArguments),
    Now(NowArguments),
    Clear(ClearArguments),
    Trace(TraceArguments),
    TimeWait(TimeWaitArguments),
    Report(ReportArguments),
    Doctor(DoctorArguments),
}

impl CommandLine {
    /// Understands what was typed.
    ///
    /// # Errors
    /// When it makes no sense, or asks for help or the version. That has been printed then.
    pub fn parse(typed: impl Iterator<Item = OsString>) -> Result<Self, ExitCode> {
        let matches = help::command().try_get_matches_from(with_command(typed));
        let parsed = matches.and_then(|matches| Self::from_arg_matches(&matches));
        parsed.map_err(|error| {
            let ended = not_run(error);
            if let Err(CommandError::Write(_) | CommandError::Open(_)) = ended {
                shared::log::start(false, 0);
            }
            conclude(&ended)
        })
    }

    /// Messages from now on go to standard error, as many as were asked for.
    pub fn start_log(&self) {
        let Verbosity { quiet, verbose } = self.verbosity;
        shared::log::start(quiet, verbose);
    }

    /// Runs the command to its end, and reports why it failed, if it did.
    #[must_use]
    pub fn run(&self, world: &World) -> ExitCode {
        let Self { command, sandbox, btf, .. } = self;
        let Some(file) = btf else { return conclude(&command.run(*sandbox, world)) };
        // A file that was named is not passed over.
        let checked = check_btf(file).map_err(|error| CommandError::InvalidRequest(error.to_string()));
        conclude(&checked.and_then(|()| command.run(*sandbox, &world.with_btf(file.clone()))))
    }
}

/// Reports an error; the exit code.
fn conclude(ended: &Result<Conclusion, CommandError>) -> ExitCode {
    if let Err(error) = ended {
        error.report();
    }
    shared::log::finish();
    ExitCode::from(exit_code(ended))
}

impl Command {
    /// Descriptors that it needs at least.
    fn open_files(&self) -> usize {
        match self {
            Self::Leaks(_) => open_files::FOR_TRACING,
            Self::Trace(typed) if !typed.is_replay() => open_files::FOR_TRACING,
            Self::TimeWait(typed) if typed.is_live() => open_files::FOR_TRACING,
            // Those that look once say what they could not look at.
            Self::Now(_)
            | Self::Clear(_)
            | Self::Doctor(_)
            | Self::Report(_)
            | Self::Trace(_)
            | Self::TimeWait(_) => open_files::FEW,
        }
    }

    fn run(&self, sandbox: Sandbox, world: &World) -> Result<Conclusion, CommandError> {
        let system = |source| CommandError::System { what: "start", source };
        address_space::require().map_err(system)?;
        open_files::require(self.open_files()).map_err(system)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(system)?;
        runtime.block_on(async {
            // A file that may not grow is an error of the output, and does not end the program: from now on,
            // whatever becomes of this.
            let _for_ever = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(system)?;
            match self {
                Self::Leaks(typed) => {
                    leaks::run::run(
                        &typed.resolve(&world.run_netns).map_err(invalid("leaks"))?,
                        sandbox,
                        world,
                    )
                    .await
                }
                Self::Now(typed) => {
                    now::run::run(&typed.resolve(&world.run_netns).map_err(invalid("now"))?, sandbox, world)
                        .await
                }
                Self::Clear(typed) => {
                    clear::run::run(
                        &typed.resolve(&world.run_netns).map_err(invalid("clear"))?,
                        sandbox,
                        world,
                    )
                    .await
                }
                Self::Trace(typed) => {
                    trace::run::run(
                        &typed.resolve(&world.run_netns).map_err(invalid("trace"))?,
                        sandbox,
                        world,
                    )
                    .await
                }
                Self::TimeWait(typed) => {
                    time_wait::run::run(
                        &typed.resolve(&world.run_netns).map_err(invalid("time-wait"))?,
                        sandbox,
                        world,
                    )
                    .await
                }
                Self::Report(typed) => {
                    report::run::run(
                        &typed.resolve(&world.run_netns).map_err(invalid("report"))?,
                        sandbox,
                        world,
                    )
                    .await
                }
                Self::Doctor(typed) => doctor::run::run(typed.resolve(), world),
            }
        })
    }
}

/// Options of a command that make no sense together, reported as the command line's other mistakes are.
fn invalid(command: &'static str) -> impl Fn(String) -> CommandError {
    move |message| {
        let mut all = help::command();
        all.build();
        let error = match all.find_subcommand_mut(command) {
            Some(command) => command.error(ErrorKind::ValueValidation, message),
            None => all.error(ErrorKind::ValueValidation, message),
        };
        CommandError::CommandLine(error)
    }
}

/// The command line with `leaks` put in where no command was typed.
fn with_command(typed: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = typed.collect();
    let position = 1 + arguments.iter().skip(1).map_while(global_options()).count();
    let is_of_leaks = match arguments.get(position).map(|argument| argument.to_string_lossy()) {
        Some(text) => text.starts_with('-') && !matches!(&*text, "-h" | "--help" | "-V" | "--version"),
        None => true,
    };
    if is_of_leaks {
        arguments.insert(position.max(1).min(arguments.len()), "leaks".into());
    }
    arguments
}

/// A function that says of one argument after the other whether it belongs to an option of every command, and `None` when it
/// does not.
fn global_options() -> impl FnMut(&OsString) -> Option<()> {
    let mut is_value = false;
    move |argument| {
        let text = argument.to_string_lossy();
        let flags = text.strip_prefix('-').unwrap_or_default();
        let are_flags = !flags.is_empty() && flags.chars().all(|flag| matches!(flag, 'q' | 'v'));
        let is_global = is_value
            || are_flags
            || matches!(&*text, "--quiet" | "--verbose" | "--btf" | "--sandbox")
            || ["--btf=", "--sandbox="].iter().any(|option| text.starts_with(option));
        is_value = !is_value && matches!(&*text, "--btf" | "--sandbox");
        is_global.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        help::command().debug_assert();
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
        assert_eq!(completed("--sandbox off now --rows 3"), "--sandbox off now --rows 3");
        assert_eq!(completed("--sandbox=off --older-than 1s"), "--sandbox=off leaks --older-than 1s");
        assert_eq!(completed("-v"), "-v leaks");
        assert_eq!(completed("-qv --older-than 1s"), "-qv leaks --older-than 1s");
        assert_eq!(completed("--older-than 1s"), "leaks --older-than 1s");
        assert_eq!(completed("-v trace --state LISTEN"), "-v trace --state LISTEN");
        assert_eq!(completed("--btf FILE now -v"), "--btf FILE now -v");
        assert_eq!(completed("--btf=FILE -q --deep"), "--btf=FILE -q leaks --deep");
        assert_eq!(completed("--help"), "--help");
        assert_eq!(completed("--nonsense"), "leaks --nonsense");
        assert_eq!(completed("nonsense"), "nonsense");
    }
}
