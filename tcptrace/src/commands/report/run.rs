//! `tcptrace report`: reads the recordings to their end, or as they grow, and shows what they come to.

use std::{io, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};

use crate::{commands::shared::signals::Stop, forms::reading::error::ReadError};
use crate::{
    output::replace::{Destination, OutputError},
    report::{
        aggregate::{Aggregator, Wanted},
        assemble, html,
        input::{self, Recordings},
        perfetto, text,
        window::{self, Moment},
    },
};

/// How often files are looked at that grow.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Records taken between two looks at the signals.
const BATCH: usize = 100_000;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// For a terminal.
    Text,
    /// One document for scripts.
    Json,
    /// One page to look at, with nothing outside of it.
    Html,
    /// A trace that ui.perfetto.dev and chrome://tracing open: a track a socket.
    Perfetto,
}

/// What to report, and how.
#[derive(Clone, Debug)]
pub(crate) struct ReportOptions {
    /// The recordings; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// What is wanted of them; its window is that of `from` and `to`.
    pub wanted: Wanted,
    /// Nothing before.
    pub from: Option<Moment>,
    /// Nothing after.
    pub to: Option<Moment>,
    /// How many of everything are listed.
    pub top: usize,
    /// The form.
    pub form: Form,
    /// Where it goes.
    pub destination: Destination,
    /// The files may grow: the report is made anew until it is stopped.
    pub follow: bool,
}

/// A report could not be made.
#[derive(Debug, Error)]
pub(crate) enum ReportError {
    /// A recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was asked for makes no sense for these recordings.
    #[error("{0}")]
    Asked(String),
    /// The output cannot be used, or is incomplete.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The system refused something that every report needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl ReportError {
    /// The exit code that stands for it: a promise (README, "Exit codes").
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(OutputError::ReaderGone) => 0,
            Self::Read(_)
            | Self::Asked(_)
            | Self::Output(OutputError::Open { .. } | OutputError::Refused { .. }) => 2,
            Self::System { .. } => 3,
            Self::Output(OutputError::Failed { .. }) => 4,
        }
    }
}

/// Makes the report.
///
/// # Errors
/// When a recording cannot be read, or the report cannot be written.
pub(crate) fn run(options: &ReportOptions) -> Result<(), ReportError> {
    if let Destination::File { path, .. } = &options.destination
        && input::is_read(&options.files, path)
    {
        return Err(ReportError::Asked(format!(
            "{} is one of the recordings: name another file with -o",
            path.display()
        )));
    }
    options.destination.check()?;
    let wanted = Wanted { window: window(options)?, ..options.wanted.clone() };
    if options.form == Form::Perfetto {
        return perfetto::write(&options.files, &wanted, &options.destination);
    }
    let input = Recordings::open(&options.files, options.follow)?;
    let mut making = Making::new(options, wanted, input)?;
    if options.follow {
        let system = |source| ReportError::System { what: "start", source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
        return runtime.block_on(making.follow());
    }
    while making.take(BATCH) {}
    making.show(false)
}

fn window(options: &ReportOptions) -> Result<crate::report::sums::Window, ReportError> {
    let ReportOptions { files, from, to, .. } = options;
    let needs_extent = [from, to].into_iter().flatten().any(Moment::needs_extent);
    if needs_extent && files.iter().any(|file| file.as_os_str() == "-") {
        return Err(ReportError::Asked(
            "standard input can be read only once: give --from and --to with date, time and offset, like \
             2026-11-24T14:05:00Z"
                .to_owned(),
        ));
    }
    let extent = if needs_extent { input::extent(files)? } else { None };
    window::window(from.as_ref(), to.as_ref(), extent, &TimeZone::system()).map_err(ReportError::Asked)
}

/// A report while it is made.
struct Making<'a> {
    options: &'a ReportOptions,
    input: Recordings,
    aggregator: Aggregator,
}

impl<'a> Making<'a> {
    fn new(options: &'a ReportOptions, wanted: Wanted, input: Recordings) -> Result<Self, ReportError> {
        let mut aggregator = Aggregator::new(wanted).map_err(|error| ReportError::System {
            what: "make a histogram",
            source: io::Error::other(error),
        })?;
        for name in input.names() {
            aggregator.add_source(name);
        }
        Ok(Self { options, input, aggregator })
    }

    /// Takes so many records; returns whether there may be more.
    fn take(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some((file, record)) = self.input.next() else { return false };
            self.aggregator.take(file, &record);
        }
        true
    }

    fn show(&self, is_again: bool) -> Result<(), ReportError> {
        let ReportOptions { form, destination, top, .. } = self.options;
        let report = assemble::report(&self.aggregator, &self.input.states(), *top);
        destination.write(|out| match form {
            Form::Text => text::write(out, &report, &text::Layout::of(destination, is_again)),
            Form::Json => {
                serde_json::to_writer_pretty(&mut *out, &report)?;
                out.write_all(b"\n")
            }
            Form::Html | Form::Perfetto => {
                out.write_all(html::page(&report, &TimeZone::system()).into_string().as_bytes())
            }
        })?;
        Ok(())
    }

    /// Shows the report whenever the files have grown, until it is stopped.
    async fn follow(&mut self) -> Result<(), ReportError> {
        let system = |source| ReportError::System { what: "wait for signals", source };
        let mut stop = Stop::after(None, false).map_err(system)?;
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = None;
        let mut is_last = false;
        while !is_last {
            tokio::select! {
                biased;
                _ = stop.wait() => is_last = true,
                _ = ticks.tick() => {}
            }
            self.input.look_again();
            while self.take(BATCH) && !is_last {
                tokio::select! {
                    biased;
                    _ = stop.wait() => is_last = true,
                    () = std::future::ready(()) => {}
                }
            }
            let records: u64 = self.aggregator.sources.iter().map(|source| source.records).sum();
            if shown != Some(records) {
                self.show(true)?;
                shown = Some(records);
            }
        }
        Ok(())
    }
}
