//! The options of `tcptrace report`, and what they mean.

use std::{
    io::{IsTerminal as _, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::run::{ReportForm, ReportOptions};
use crate::{
    commands::shared::{
        filters::{Filters, OwnerFilters},
        values,
    },
    model::{criteria::Criteria, state::StateSet, units::in_nanoseconds},
    output::replace::ReportDestination,
    report::{
        aggregate::ReportScope,
        sums::{Threshold, Window},
        window::Moment,
    },
};

/// A socket counts as stuck after this long where nothing else is said: what `leaks` does.
const OLDER_THAN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Recordings (.tct or JSON Lines, compressed or not), of one session or host or of several; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the report to FILE, which is replaced as a whole; the form goes by its ending (.html, .json, .txt)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The form of the report [default: text]
    #[arg(long, value_enum)]
    format: Option<ReportForm>,
    /// Put the report in the place of whatever has the name: by default only a report makes room
    #[arg(long)]
    force: bool,
    /// Nothing before TIME: 2026-11-24T14:05:00Z, "2026-11-24 14:05" or 14:05 where you are, +5m after the beginning,
    /// -10m before the end of the recordings
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Nothing after TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<Moment>,
    /// Only sockets that were in CLOSE_WAIT for this long [default: what `leaks` and `now` reported, and 10s
    /// where there are transitions only]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    older_than: Option<Duration>,
    /// How many of everything are listed
    #[arg(long, value_name = "N", value_parser = values::report_rows, default_value_t = 10)]
    top: u8,
    /// The recordings may still grow: make the report anew until Ctrl-C, on the terminal or in the file
    #[arg(long)]
    follow: bool,
    /// Sockets in CLOSE_WAIT that are followed at once; further ones are counted and left out
    #[arg(long, value_name = "N", value_parser = values::most_followed, default_value_t = 1_000_000)]
    max_sockets: u32,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    owners: OwnerFilters,
}

impl ReportArguments {
    /// What the options mean. Namespaces are kept by name in `run_netns`.
    pub(crate) fn resolve(&self, run_netns: &Path) -> Result<ReportOptions, String> {
        let Self {
            files,
            output,
            format,
            force,
            from,
            to,
            older_than,
            top,
            follow,
            max_sockets,
            filters,
            owners,
        } = self;
        let (destination, form) = destination(output.as_deref(), *format, *force)?;
        if *follow {
            check_follow(files, &destination, form, [from, to])?;
        }
        let criteria = Criteria { owners: owners.resolve(), ..filters.resolve(StateSet::ALL, run_netns)? };
        let ns = in_nanoseconds(older_than.unwrap_or(OLDER_THAN));
        Ok(ReportOptions {
            files: files.clone(),
            wanted: ReportScope {
                threshold: Threshold { ns, is_asked_for: older_than.is_some() },
                window: Window::ALL,
                criteria,
                max_sockets: *max_sockets as usize,
            },
            from: from.clone(),
            to: to.clone(),
            top: usize::from(*top),
            form,
            destination,
            follow: *follow,
        })
    }
}

fn destination(
    output: Option<&Path>,
    format: Option<ReportForm>,
    force: bool,
) -> Result<(ReportDestination, ReportForm), String> {
    let Some(path) = output.filter(|path| path.as_os_str() != "-") else {
        return Ok((ReportDestination::Stdout, format.unwrap_or(ReportForm::Text)));
    };
    let by_ending = match path.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => Some(ReportForm::Html),
        Some("json") => Some(ReportForm::Json),
        Some("txt" | "text") => Some(ReportForm::Text),
        _ => None,
    };
    let form = format.or(by_ending).ok_or_else(|| {
        format!(
            "cannot tell the format from the name {}: end it in .html, .json or .txt, or add --format",
            path.display()
        )
    })?;
    Ok((ReportDestination::File { path: path.to_owned(), force }, form))
}

fn check_follow(
    files: &[PathBuf],
    destination: &ReportDestination,
    form: ReportForm,
    window: [&Option<Moment>; 2],
) -> Result<(), String> {
    if form == ReportForm::Perfetto {
        return Err(
            "--follow makes a report anew each time: --format perfetto writes a trace once".to_owned()
        );
    }
    if *destination == ReportDestination::Stdout && (form != ReportForm::Text || !stdout().is_terminal()) {
        return Err(
            "--follow draws on a terminal or replaces a file: add -o FILE (.html, .json or .txt)".to_owned()
        );
    }
    if window.into_iter().flatten().any(|moment| matches!(moment, Moment::BeforeEnd(_))) {
        return Err(
            "with --follow the recordings have no end yet: give a time that does not count back from it"
                .to_owned(),
        );
    }
    if files.iter().any(|file| file.as_os_str() == "-") {
        return Err("standard input ends by itself: --follow is for files".to_owned());
    }
    Ok(())
}
