//! `tcptrace report`: reads recordings to their end, or follows them as they grow, and writes the report.

use std::{io, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;

use crate::{
    commands::shared::{
        error::{CommandError, Conclusion},
        event_loop::{Event, EventLoop},
        rights::{Needs, Owner, Sandbox, limit, limit_files},
        signals::Signals,
    },
    forms::jsonl::escaped,
    host::{file_access::FileAccess, world::World},
    output::replace::ReportDestination,
    report::{
        aggregate::{Aggregator, ReportScope},
        assemble, html,
        input::{self, FileState, Recordings},
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
pub(crate) enum ReportForm {
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
    pub wanted: ReportScope,
    /// Nothing before.
    pub from: Option<Moment>,
    /// Nothing after.
    pub to: Option<Moment>,
    /// How many of everything are listed.
    pub top: usize,
    pub form: ReportForm,
    /// Where it goes.
    pub destination: ReportDestination,
    /// The files may grow: the report is made anew until it is stopped.
    pub follow: bool,
}

/// Makes the report.
///
/// # Errors
/// When a recording cannot be read, or the report cannot be written.
pub(crate) async fn run(
    options: &ReportOptions,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    // Nobody vouches for a recording.
    let access = options.file_access();
    limit(sandbox, Needs { files: true, ..Needs::default() }, Owner::Other(&access))?;
    limit_files(sandbox, &access)?;
    if let ReportDestination::File { path, .. } = &options.destination
        && input::is_read(&options.files, path)
    {
        return Err(CommandError::InvalidRequest(format!(
            "{} is one of the recordings: name another file with -o",
            path.display()
        )));
    }
    options.destination.check()?;
    let wanted = ReportScope { window: window(options)?, ..options.wanted.clone() };
    if options.form == ReportForm::Perfetto {
        if options.is_of_stdin() {
            return Err(CommandError::InvalidRequest(
                "standard input can be read only once, and a trace takes two looks: write it to a file first"
                    .to_owned(),
            ));
        }
        let are_whole = perfetto::write(&options.files, &wanted, &options.destination)?;
        return Ok(if are_whole { Conclusion::Done } else { Conclusion::Incomplete });
    }
    let input = Recordings::open(&options.files, options.follow)?;
    let mut making = Making::new(options, wanted, input)?;
    if options.follow {
        making.follow(world).await?;
    } else {
        while making.take(BATCH) {}
        making.show(false)?;
    }
    Ok(making.conclusion())
}

impl ReportOptions {
    /// The files that it opens.
    fn file_access(&self) -> FileAccess {
        let mut access = FileAccess::default();
        for file in &self.files {
            access.read_beside(file);
        }
        if let ReportDestination::File { path, .. } = &self.destination {
            access.write_beside(path);
        }
        access
    }

    /// Whether standard input is one of the recordings.
    fn is_of_stdin(&self) -> bool {
        self.files.iter().any(|file| file.as_os_str() == "-")
    }
}

fn window(options: &ReportOptions) -> Result<crate::report::sums::Window, CommandError> {
    let ReportOptions { files, from, to, .. } = options;
    let needs_extent = [from, to].into_iter().flatten().any(Moment::needs_extent);
    if needs_extent && options.is_of_stdin() {
        return Err(CommandError::InvalidRequest(
            "standard input can be read only once: give --from and --to with date, time and offset, like \
             2026-11-24T14:05:00Z"
                .to_owned(),
        ));
    }
    let extent = if needs_extent { input::extent(files)? } else { None };
    window::window(from.as_ref(), to.as_ref(), extent, &TimeZone::system())
        .map_err(CommandError::InvalidRequest)
}

/// A report while it is made.
struct Making<'a> {
    options: &'a ReportOptions,
    input: Recordings,
    aggregator: Aggregator,
}

impl<'a> Making<'a> {
    fn new(options: &'a ReportOptions, wanted: ReportScope, input: Recordings) -> Result<Self, CommandError> {
        let mut aggregator = Aggregator::new(wanted).map_err(|error| CommandError::System {
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

    fn show(&self, is_again: bool) -> Result<(), CommandError> {
        let ReportOptions { form, destination, top, .. } = self.options;
        let report = assemble::report(&self.aggregator, &self.input.states(), *top);
        destination.write(|out| match form {
            ReportForm::Text => text::write(out, &report, &text::Layout::of(destination, is_again)),
            ReportForm::Json => {
                escaped::write_pretty(&mut *out, &report)?;
                out.write_all(b"\n")
            }
            ReportForm::Html | ReportForm::Perfetto => {
                out.write_all(html::page(&report, &TimeZone::system()).into_string().as_bytes())
            }
        })?;
        Ok(())
    }

    /// Whether each report takes the place of the one before on a terminal.
    fn is_drawn_over(&self) -> bool {
        let ReportOptions { form, destination, .. } = self.options;
        *form == ReportForm::Text && text::Layout::of(destination, true).redraw.is_some()
    }

    /// A report of recordings that are damaged, cut, empty or out of their order is not all that there was; where nobody
    /// looked at CLOSE_WAIT, "none" is no answer.
    fn conclusion(&self) -> Conclusion {
        let are_whole = self.input.states().iter().all(FileState::is_undamaged);
        let are_in_order = self.aggregator.out_of_order().next().is_none();
        if are_whole && are_in_order && self.aggregator.has_looked() {
            Conclusion::Done
        } else {
            Conclusion::Incomplete
        }
    }

    /// Shows the report whenever the files have grown, until it is stopped.
    async fn follow(&mut self, world: &World) -> Result<(), CommandError> {
        let system = |source| CommandError::System { what: "wait for signals", source };
        let signals = Signals::listen(world, false).map_err(system)?;
        let mut events = EventLoop::new(signals, LOOK_INTERVAL);
        let mut shown = None;
        let mut more = false;
        loop {
            let is_last = matches!(events.next_tick(more).await?, Event::Signal(_));
            if !more {
                self.input.look_again();
            }
            more = self.take(BATCH);
            if more && !is_last {
                continue;
            }
            let records: u64 = self.aggregator.sources.iter().map(|source| source.records).sum();
            // What the terminal echoed of Ctrl-C stands below the report, and goes when it is drawn once more.
            if shown != Some(records) || is_last && self.is_drawn_over() {
                self.show(true)?;
                shown = Some(records);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
