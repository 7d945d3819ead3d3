//! The options of outputs that commands share, and what they mean.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{
    Args, Command,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

use super::values;
use crate::{
    forms::{
        DEFAULT, FORMS,
        detection::{self, NameParts},
        form::{Ability, Format},
    },
    host::file_access::directory_of,
    output::{
        file::IfExists,
        options::{FileOptions, OutputOptions, Route, Sink},
        rotation::Rotation,
    },
};

/// Where records go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// Write records to FILE, `-` for standard output; repeatable. The form goes by its ending: .txt,
    /// .jsonl, .csv or .tct, each with .zst behind it to be compressed [default: -]
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// The form of the records, whatever the ending; of several outputs, of those whose ending tells
    /// none [default: text]
    #[arg(long, value_parser = format())]
    format: Option<&'static Format>,
    /// Add to a file of an earlier session (text, jsonl, csv) instead of emptying it
    #[arg(long)]
    append: bool,
    /// Put a new file in the place of whatever has the name: by default only a file that tcptrace wrote makes
    /// room
    #[arg(long, conflicts_with = "append")]
    force: bool,
    /// Permissions of the files [default: 0600 for new ones]
    #[arg(long, value_name = "OCTAL", value_parser = values::mode)]
    mode: Option<u32>,
    /// Make sure that what was written is on the disk, each time --flush has passed and at the end
    #[arg(long)]
    fsync: bool,
}

/// How the files of a long session are kept small and few.
#[derive(Debug, Default, Args)]
#[command(
    next_help_heading = "Files of long sessions (SIGHUP begins a new one where the present one was moved away)"
)]
pub(crate) struct KeepingArguments {
    /// A crash loses the records of this time at most [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    flush: Option<Duration>,
    /// Begin another file before one becomes larger (64K, 100M, 2G); x.jsonl becomes x-DATE-TIME.jsonl then
    #[arg(long, value_name = "BYTES", value_parser = values::file_bytes)]
    rotate_size: Option<u64>,
    /// Begin another file when one is older (10m, 1h, 1d)
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    rotate_every: Option<Duration>,
    /// Keep so many files beside the present one, and remove older ones
    #[arg(long, value_name = "N", value_parser = values::files)]
    keep: Option<usize>,
    /// Remove the oldest files before all together become larger
    #[arg(long, value_name = "BYTES", value_parser = values::file_bytes)]
    max_total: Option<u64>,
}

/// Takes the name of a form.
fn format() -> impl TypedValueParser<Value = &'static Format> {
    format_of(FORMS.iter())
}

/// Takes the name of one of these forms.
fn format_of(
    forms: impl Iterator<Item = &'static &'static Format>,
) -> impl TypedValueParser<Value = &'static Format> {
    let value = |format: &&'static Format| PossibleValue::new(format.name).help(format.help);
    PossibleValuesParser::new(forms.map(value))
        .try_map(|name| detection::by_name(&name).ok_or("there is no such form"))
}

/// The command whose records have neither columns nor a place in a recording ([`OutputArguments::resolve_lines`]): the help
/// names the other forms alone.
pub(crate) fn with_lines_only(command: Command) -> Command {
    let has_lines = |format: &&&'static Format| format.can(Ability::EveryCommand);
    command
        .mut_arg("output", |output| {
            output.help(
                "Write records to FILE, `-` for standard output; repeatable. The form goes by its ending: .txt or .jsonl, \
                 each with .zst behind it to be compressed [default: -]",
            )
        })
        .mut_arg("format", |format| format.value_parser(format_of(FORMS.iter().filter(has_lines))))
        .mut_arg("append", |append| append.help("Add to a file of an earlier session instead of emptying it"))
}

impl OutputArguments {
    /// What the options mean for a session that ends by itself.
    pub(crate) fn resolve(&self) -> Result<OutputOptions, String> {
        self.resolve_kept(&KeepingArguments::default())
    }

    /// What they mean for a session whose records have neither columns nor a place in a recording.
    pub(crate) fn resolve_lines(&self) -> Result<OutputOptions, String> {
        let options = self.resolve()?;
        if options.routes.iter().any(|route| !route.format.can(Ability::EveryCommand)) {
            return Err("this command writes text and JSON Lines: end the file in .txt or .jsonl".to_owned());
        }
        Ok(options)
    }

    /// What they mean for one that may take long.
    pub(crate) fn resolve_kept(&self, keeping: &KeepingArguments) -> Result<OutputOptions, String> {
        let Self { output, format: _, append, force, mode, fsync } = self;
        let routes = if output.is_empty() {
            vec![self.stdout()]
        } else {
            output.iter().map(|path| self.route(path)).collect::<Result<_, _>>()?
        };
        let is_stdout = |route: &&Route| route.sink == Sink::Stdout;
        if routes.iter().filter(is_stdout).count() > 1 {
            return Err("standard output is named twice".to_owned());
        }
        if let Some(path) = named_twice(&routes).filter(|_| *force) {
            // The second would take away the name of what the first has just made.
            return Err(format!("{} is named twice: name another file", path.display()));
        }
        let if_exists = match (append, force) {
            (true, _) => IfExists::Append,
            (_, true) => IfExists::Replace,
            _ => IfExists::Empty,
        };
        let rotation = keeping.rotation()?;
        if rotation.is_wanted() && routes.iter().all(|route| route.sink == Sink::Stdout) {
            return Err("--rotate-size and --rotate-every are about files: add -o FILE".to_owned());
        }
        let default = FileOptions::default();
        let flush = keeping.flush.unwrap_or(default.flush);
        Ok(OutputOptions {
            routes,
            files: FileOptions { if_exists, mode: *mode, flush, fsync: *fsync, rotation },
        })
    }

    fn stdout(&self) -> Route {
        let format = self.format.unwrap_or(DEFAULT);
        Route { sink: Sink::Stdout, format, is_compressed: false }
    }

    fn route(&self, path: &Path) -> Result<Route, String> {
        if path.as_os_str() == "-" {
            return Ok(self.stdout());
        }
        let parts = path.file_name().map(NameParts::of);
        let (named, is_compressed) = parts.map_or((None, false), |parts| (parts.format, parts.is_compressed));
        let format = if self.output.len() == 1 { self.format.or(named) } else { named.or(self.format) };
        let format = format.ok_or_else(|| {
            format!(
                "cannot tell the format from the name {}: end it in .txt, .jsonl, .csv or .tct (and .zst behind that \
                 to compress it), or add --format",
                path.display()
            )
        })?;
        Ok(Route { sink: Sink::File(path.to_owned()), format, is_compressed })
    }
}

/// A file that two outputs would write, by whatever ways to its directory. Devices and pipes may be written by several.
fn named_twice(routes: &[Route]) -> Option<&Path> {
    let mut seen = BTreeSet::new();
    routes.iter().find_map(|route| {
        let Sink::File(path) = &route.sink else { return None };
        let is_other = fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_symlink());
        let directory = fs::metadata(directory_of(path)).ok()?;
        let is_new = is_other || seen.insert((directory.dev(), directory.ino(), path.file_name()));
        (!is_new).then_some(path.as_path())
    })
}

impl KeepingArguments {
    fn rotation(&self) -> Result<Rotation, String> {
        let Self { flush: _, rotate_size, rotate_every, keep, max_total } = *self;
        let rotation = Rotation { size: rotate_size, every: rotate_every, keep, max_total };
        if !rotation.is_wanted() && (keep.is_some() || max_total.is_some()) {
            return Err(
                "--keep and --max-total are about files that were full: add --rotate-size or --rotate-every"
                    .to_owned(),
            );
        }
        if let (Some(size), Some(total)) = (rotate_size, max_total)
            && size > total
        {
            return Err(format!(
                "one file of --rotate-size {size} is more than --max-total {total} allows for all: make it smaller"
            ));
        }
        Ok(rotation)
    }
}
