//! The command line: what was typed, and what it means.

mod clear;
mod exec;
mod filters;
mod log;
mod now;
mod output;
mod report;
mod time_wait;
mod values;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    clear::ClearArguments,
    exec::ExecArguments,
    filters::{Filters, OwnerFilters},
    now::NowArguments,
    output::{KeepingArguments, OutputArguments},
    report::ReportArguments,
    time_wait::TimeWaitArguments,
};
use crate::{
    kernel::{Backend, KernelFilter, TracerOptions, TrackedCalls},
    owners::filter::OwnerFilter,
    session::{
        SessionError, clear as clearing,
        live::{self, LiveOptions},
        now as one_look,
        replay::{self, ReplayOptions},
        time_wait as time_waits,
        watch::WatchOptions,
    },
    sink::{OutputOptions, WriteError},
    transition::{State, StateSet},
};

/// How often records wake a session that somebody looks at.
const SOON: Duration = Duration::from_millis(20);

/// How often they wake one that writes into files: waking is dear, and it looks as often by itself.
const IN_TIME: Duration = Duration::from_millis(100);

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

#[derive(Debug, Args)]
struct Kernel {
    /// Force a way into the kernel [default: btf where the host has it]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Size of the ring buffer between kernel and tcptrace (64K to 1G; rounded up to a power of two)
    /// [default: 16M for trace, else 4M]
    #[arg(long, value_name = "BYTES", value_parser = values::ring_bytes)]
    ring_size: Option<u32>,
}

/// How sockets in CLOSE_WAIT are followed.
#[derive(Debug, Args)]
struct Watching {
    /// A socket counts as stuck after this long in CLOSE_WAIT
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    older_than: Duration,
    /// Do not watch who opens sockets, and from which line of code; costs less on a busy host
    #[arg(long)]
    no_stacks: bool,
    /// Watch who reads the end of file, when, and at which line of code; costs every receive call on
    /// the host a little (Linux 6.3 with BTF)
    #[arg(long)]
    deep: bool,
}

#[derive(Debug, Args)]
struct LeaksArguments {
    #[command(flatten)]
    watching: Watching,
    /// Exit with 1 when a leak was found
    #[arg(long)]
    exit_code: bool,
    /// Sockets in CLOSE_WAIT that are followed at once; further ones are counted as evicted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000), default_value_t = 1_000_000)]
    max_sockets: u32,
    /// Stop by itself after this time (30s, 5m, 1h)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    kernel: Kernel,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    keeping: KeepingArguments,
    #[command(flatten)]
    exec: ExecArguments,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    owners: OwnerFilters,
}

/// Options of `trace` that mean nothing where nothing is traced.
const LIVE_ONLY: [&str; 8] =
    ["owners", "older_than", "no_stacks", "deep", "max_sockets", "duration", "backend", "ring_size"];

#[derive(Debug, Args)]
struct TraceArguments {
    /// Print a session that was kept (.tct or JSON Lines, compressed or not; `-` is standard input) as if it were
    /// live; needs no root
    #[arg(long, value_name = "FILE", conflicts_with_all = LIVE_ONLY)]
    replay: Option<PathBuf>,
    /// Only transitions out of or into this state; repeatable
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Follow sockets in CLOSE_WAIT too, and name who holds those that are stuck, as `leaks` does; implied by
    /// a .tct output
    #[arg(long)]
    owners: bool,
    /// Sockets whose states are timed at once; further ones are counted as evicted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000), default_value_t = 262_144)]
    max_sockets: u32,
    /// Stop by itself after this time (30s, 5m, 1h)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    kernel: Kernel,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    keeping: KeepingArguments,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten, next_help_heading = "With --owners or a .tct output")]
    watching: Watching,
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
        Command::Leaks(arguments) => {
            arguments.resolve().map(|options| run(live::run(&options), arguments.exit_code))
        }
        Command::Now(arguments) => {
            arguments.resolve().map(|options| run(one_look::run(&options), arguments.exit_code))
        }
        Command::Clear(arguments) => arguments.resolve().map(|options| {
            let cleared = block_on(async { Ok(()) }).and_then(|()| clearing::run(&options));
            exit(cleared.map(|is_done| if is_done { 0 } else { 3 }))
        }),
        Command::Trace(arguments) => match &arguments.replay {
            Some(file) => arguments
                .resolve_replay(file)
                .map(|options| run(async { replay::run(&options).await.map(|()| false) }, false)),
            None => arguments.resolve().map(|options| run(live::run(&options), false)),
        },
        Command::TimeWait(arguments) => arguments.resolve().map(|options| {
            let session = async {
                match &options.live {
                    Some(live) => time_waits::run_live(&options, live).await,
                    None => time_waits::run_once(&options),
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

impl Watching {
    fn calls(&self) -> TrackedCalls {
        TrackedCalls { openers: !self.no_stacks, eof_reads: self.deep }
    }

    fn options(&self, owners: OwnerFilter, max_sockets: u32) -> WatchOptions {
        WatchOptions { owners, older_than: self.older_than, max_sockets: max_sockets as usize }
    }
}

impl LeaksArguments {
    fn resolve(&self) -> Result<LiveOptions, String> {
        let Self {
            watching,
            exit_code: _,
            max_sockets,
            duration,
            output,
            keeping,
            exec,
            filters,
            owners,
            kernel,
        } = self;
        let outputs = output.resolve_kept(keeping)?;
        let (filter, netns) = filters.resolve(StateSet::CLOSE_WAIT)?;
        // Two transitions of a connection are asked for instead of ten.
        let ring_bytes = 4 << 20;
        Ok(LiveOptions {
            tracer: TracerOptions {
                // Only of a socket that was reported will anybody be told how it left.
                details_after: watching.older_than,
                ..kernel.tracer(filter, false, watching.calls(), ring_bytes, *max_sockets, &outputs)
            },
            netns,
            transitions: false,
            watch: Some(watching.options(owners.resolve(), *max_sockets)),
            exec: exec.resolve(),
            duration: *duration,
            outputs,
        })
    }
}

impl TraceArguments {
    fn states(&self) -> StateSet {
        if self.state.is_empty() { StateSet::ALL } else { self.state.iter().copied().collect() }
    }

    fn resolve_replay(&self, file: &Path) -> Result<ReplayOptions, String> {
        let outputs = self.output.resolve_kept(&self.keeping)?;
        let (filter, netns) = self.filters.resolve(self.states())?;
        Ok(ReplayOptions { file: file.to_owned(), filter, netns, outputs })
    }

    fn resolve(&self) -> Result<LiveOptions, String> {
        let Self {
            replay: _,
            state: _,
            owners,
            watching,
            max_sockets,
            duration,
            output,
            keeping,
            filters,
            kernel,
        } = self;
        let outputs = output.resolve_kept(keeping)?;
        let states = self.states();
        if *owners && !states.contains(State::CloseWait) {
            return Err("--owners follows sockets in CLOSE_WAIT: add --state CLOSE_WAIT".to_owned());
        }
        // A report needs to know whose the sockets were.
        let owners = *owners || (outputs.have_recording() && states.contains(State::CloseWait));
        if !owners && (watching.deep || watching.no_stacks) {
            return Err("--deep and --no-stacks are about finding owners: add --owners".to_owned());
        }
        let (filter, netns) = filters.resolve(states)?;
        let calls = if owners { watching.calls() } else { TrackedCalls::default() };
        Ok(LiveOptions {
            tracer: kernel.tracer(filter, true, calls, 16 << 20, *max_sockets, &outputs),
            netns,
            transitions: true,
            watch: owners.then(|| watching.options(OwnerFilter::default(), *max_sockets)),
            exec: None,
            duration: *duration,
            outputs,
        })
    }
}

impl Kernel {
    fn tracer(
        &self,
        filter: KernelFilter,
        track_all_states: bool,
        calls: TrackedCalls,
        ring_bytes: u32,
        max_sockets: u32,
        outputs: &OutputOptions,
    ) -> TracerOptions {
        let Self { backend, ring_size } = self;
        TracerOptions {
            backend: *backend,
            filter,
            track_all_states,
            calls,
            ring_bytes: ring_size.unwrap_or(ring_bytes),
            max_sockets,
            wakeup_interval: if outputs.are_watched() { SOON } else { IN_TIME },
            details_after: Duration::ZERO,
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
