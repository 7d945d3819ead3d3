//! The command line: what was typed, and what it means.

mod filters;
mod log;
mod now;
mod report;
mod values;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use self::{
    filters::{Filters, OwnerFilters},
    now::NowArguments,
    report::ReportArguments,
};
use crate::{
    kernel::{Backend, KernelFilter, TracerOptions, TrackedCalls},
    report::run as root_cause,
    session::{
        SessionError,
        leaks::{self, LeaksOptions},
        now as one_look,
        trace::{self, TraceOptions},
    },
    sink::{Destination, Format, WriteError},
    transition::{State, StateSet},
};

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
    /// Show every TCP state transition as it happens
    Trace(TraceArguments),
    /// Sum up recorded sessions: who leaks, towards whom, since when, from which line of code; offline and without root
    Report(ReportArguments),
}

#[derive(Debug, Args)]
struct Output {
    /// Write records to FILE, `-` for standard output; the form goes by its ending (.txt, .jsonl)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The form of the records [default: text]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

impl Output {
    fn resolve(&self) -> Result<(Destination, Format), String> {
        match &self.output {
            Some(path) if path.as_os_str() != "-" => {
                let format = self.format.or_else(|| values::format_of(path)).ok_or_else(|| {
                    format!(
                        "cannot tell the format from the name {}: end it in .txt or .jsonl, or add --format",
                        path.display()
                    )
                })?;
                Ok((Destination::File(path.clone()), format))
            }
            _ => Ok((Destination::Stdout, self.format.unwrap_or(Format::Text))),
        }
    }
}

#[derive(Debug, Args)]
struct Kernel {
    /// Force a way into the kernel [default: btf where the host has it]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Size of the ring buffer between kernel and tcptrace (64K to 1G; rounded up to a power of two)
    /// [default: 16M, for leaks 4M]
    #[arg(long, value_name = "BYTES", value_parser = values::ring_bytes)]
    ring_size: Option<u32>,
}

#[derive(Debug, Args)]
struct LeaksArguments {
    /// A socket counts as stuck after this long in CLOSE_WAIT
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    older_than: Duration,
    /// Exit with 1 when a leak was found
    #[arg(long)]
    exit_code: bool,
    /// Do not watch who opens sockets, and from which line of code; costs less on a busy host
    #[arg(long)]
    no_stacks: bool,
    /// Watch who reads the end of file, when, and at which line of code; costs every receive call on
    /// the host a little (Linux 6.3 with BTF)
    #[arg(long)]
    deep: bool,
    /// Sockets in CLOSE_WAIT that are followed at once; further ones are counted as evicted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000), default_value_t = 1_000_000)]
    max_sockets: u32,
    /// Stop by itself after this time (30s, 5m, 1h)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    owners: OwnerFilters,
    #[command(flatten)]
    kernel: Kernel,
}

#[derive(Debug, Args)]
struct TraceArguments {
    /// Only transitions out of or into this state; repeatable
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Sockets whose states the tracepoint backend times; further ones are counted as evicted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000), default_value_t = 262_144)]
    max_sockets: u32,
    /// Stop by itself after this time (30s, 5m, 1h)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    kernel: Kernel,
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
    log::start(verbosity.quiet, verbosity.verbose);
    let outcome = match command {
        Command::Leaks(arguments) => resolve_leaks(&arguments).map(|options| {
            run(async move {
                let found = leaks::run(&options).await?;
                Ok(u8::from(found && arguments.exit_code))
            })
        }),
        Command::Now(arguments) => arguments
            .resolve()
            .map(|options| exit(one_look::run(&options).map(|found| u8::from(found && arguments.exit_code)))),
        Command::Trace(arguments) => resolve_trace(&arguments)
            .map(|options| run(async move { trace::run(&options).await.map(|()| 0) })),
        Command::Report(arguments) => arguments.resolve().map(|options| match root_cause::run(&options) {
            Ok(()) => 0,
            Err(error) => {
                let code = error.exit_code();
                if code != 0 {
                    ::log::error!("{error}");
                }
                code
            }
        }),
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
fn run(session: impl Future<Output = Result<u8, SessionError>>) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    exit(match runtime {
        Ok(runtime) => runtime.block_on(session),
        Err(source) => Err(SessionError::System { what: "start", source }),
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

fn resolve_leaks(arguments: &LeaksArguments) -> Result<LeaksOptions, String> {
    let LeaksArguments {
        older_than,
        exit_code: _,
        no_stacks,
        deep,
        max_sockets,
        duration,
        output,
        filters,
        owners,
        kernel,
    } = arguments;
    let (destination, format) = output.resolve()?;
    let (filter, netns) = filters.resolve(StateSet::CLOSE_WAIT)?;
    let calls = TrackedCalls { openers: !no_stacks, eof_reads: *deep };
    Ok(LeaksOptions {
        tracer: tracer(kernel, filter, Tracked::CloseWait(calls), *max_sockets),
        netns,
        owners: owners.resolve(),
        older_than: *older_than,
        max_sockets: *max_sockets as usize,
        duration: *duration,
        destination,
        format,
    })
}

fn resolve_trace(arguments: &TraceArguments) -> Result<TraceOptions, String> {
    let TraceArguments { state, max_sockets, duration, output, filters, kernel } = arguments;
    let (destination, format) = output.resolve()?;
    let states = if state.is_empty() { StateSet::ALL } else { state.iter().copied().collect() };
    let (filter, netns) = filters.resolve(states)?;
    Ok(TraceOptions {
        tracer: tracer(kernel, filter, Tracked::EveryState, *max_sockets),
        netns,
        duration: *duration,
        destination,
        format,
    })
}

/// What the kernel side keeps of each socket.
#[derive(Clone, Copy)]
enum Tracked {
    /// The time of every state.
    EveryState,
    /// The time in CLOSE_WAIT, and the calls that are wanted.
    CloseWait(TrackedCalls),
}

fn tracer(kernel: &Kernel, filter: KernelFilter, tracked: Tracked, max_sockets: u32) -> TracerOptions {
    let Kernel { backend, ring_size } = kernel;
    let (calls, ring_bytes) = match tracked {
        Tracked::EveryState => (TrackedCalls::default(), 16 << 20),
        // `leaks` asks the kernel side for two transitions of a connection instead of ten.
        Tracked::CloseWait(calls) => (calls, 4 << 20),
    };
    TracerOptions {
        backend: *backend,
        filter,
        track_all_states: matches!(tracked, Tracked::EveryState),
        calls,
        ring_bytes: ring_size.unwrap_or(ring_bytes),
        max_sockets,
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
