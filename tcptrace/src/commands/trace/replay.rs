//! `tcptrace trace --replay`: prints the records of a kept session again. Asks nothing of this host: header,
//! summary and counters are those of the recorded session, whatever is filtered.

use std::{
    fs,
    future::pending,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    commands::shared::error::{CommandError, Conclusion},
    forms::{
        form::{Ability, Format},
        reading::reader::Reader,
    },
    host::file_access::FileAccess,
    model::{
        criteria::Criteria,
        record::{Record, Timed},
        units::are,
    },
    output::{
        options::{OutputOptions, Policy, Sink},
        outputs::OpenedOutputs,
    },
};

/// Records between two looks at whether anybody still reads.
const RECORDS_A_FLUSH: u64 = 4096;

/// What to replay and where to write it.
#[derive(Clone, Debug)]
pub(crate) struct ReplayOptions {
    /// The session.
    pub file: PathBuf,
    /// Which of its records are wanted; those that are about no socket are always.
    pub criteria: Criteria,
    /// Where the records go, and in which form.
    pub outputs: OutputOptions,
}

/// Replays.
///
/// # Errors
/// When the session cannot be read, some of it is missing, or the output could not be written.
pub(crate) async fn run(options: &ReplayOptions) -> Result<Conclusion, CommandError> {
    let mut reader = Reader::open(&options.file)?;
    let header = match reader.next()? {
        Some(Record::Header(header)) => header,
        Some(_) => return Err(CommandError::NoHeader { path: options.file.clone() }),
        None => return Err(missing(&options.file, &reader)),
    };
    refuse_own_input(options)?;
    let mut output = OpenedOutputs::open(&options.outputs)?.start(&header, Policy::Wait)?;
    let mut count: u64 = 0;
    let mut others: u64 = 0;
    while let Some(record) = reader.next()? {
        if !options.wants(&record) {
            continue;
        }
        output.write(&record);
        others += u64::from(matches!(record, Record::Other(_)) && !record.is_summary());
        count += 1;
        if count.is_multiple_of(RECORDS_A_FLUSH) {
            output.flush(|| reader.losses().totals)?;
        }
    }
    output.flush(|| reader.losses().totals)?;
    // Until then signals do what they do by default.
    output.finish(None)?.wait(pending()).await?;
    let hides = |format: &Format| format.can(Ability::ForPeople) || !format.can(Ability::EveryCommand);
    if others > 0 && options.outputs.routes.iter().any(|route| hides(route.format)) {
        log::warn!(
            "{} those of another command (`clear`, `time-wait`) or of a later version, which only JSON Lines show: add \
             --format jsonl",
            are(others, "record")
        );
    }
    if reader.losses().is_whole() { Ok(Conclusion::Done) } else { Err(missing(&options.file, &reader)) }
}

fn missing(path: &Path, reader: &Reader) -> CommandError {
    CommandError::Missing { path: path.to_owned(), losses: Box::new(*reader.losses()) }
}

/// Opening an output may empty it.
fn refuse_own_input(options: &ReplayOptions) -> Result<(), CommandError> {
    let identity = |path: &PathBuf| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let Some(input) = identity(&options.file) else { return Ok(()) };
    for route in &options.outputs.routes {
        if let Sink::File(path) = &route.sink
            && identity(path) == Some(input)
        {
            return Err(CommandError::OwnInput { path: path.clone() });
        }
    }
    Ok(())
}

impl ReplayOptions {
    /// The files that it opens.
    pub(super) fn file_access(&self) -> FileAccess {
        let mut access = self.outputs.file_access();
        access.read_beside(&self.file);
        access
    }

    fn wants(&self, record: &Record) -> bool {
        match record {
            Record::Transition(Timed { time: _, what }) => {
                self.criteria.admits_transition(what.old_state, what.new_state, &what.socket)
            }
            Record::Leak(leak) => self.criteria.admits_socket(&leak.socket),
            Record::LeakEnd(end) => self.criteria.admits_socket(&end.socket),
            Record::Header(_)
            | Record::Summary(_)
            | Record::TimeWait(_)
            | Record::TimeWaitSummary(_)
            | Record::Cleared(_)
            | Record::ClearEnd(_)
            | Record::Other(_) => true,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::{
        forms::jsonl,
        model::examples,
        output::options::{FileOptions, Route},
    };

    fn lines(records: &[Record]) -> String {
        records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect()
    }

    /// Options to replay `file` into `output`, sockets of namespace 5 only.
    fn options(file: &Path, output: &Path) -> ReplayOptions {
        let route =
            Route { sink: Sink::File(output.to_owned()), format: &jsonl::form::FORMAT, is_compressed: false };
        ReplayOptions {
            file: file.to_owned(),
            criteria: Criteria { netns: vec![5], ..Criteria::default() },
            outputs: OutputOptions { routes: vec![route], files: FileOptions::default() },
        }
    }

    #[tokio::test]
    async fn wanted_sockets_are_replayed_and_what_is_about_none() {
        let directory = tempfile::tempdir().unwrap();
        let (file, output) = (directory.path().join("kept.jsonl"), directory.path().join("out.jsonl"));
        let leak = |netns| {
            let mut leak = examples::leak();
            leak.socket.netns = netns;
            Record::Leak(Box::new(leak))
        };
        let header = Record::Header(Box::new(examples::header()));
        let summary = Record::Summary(Box::new(examples::summary()));
        let kept = [header.clone(), leak(Some(4)), leak(Some(5)), leak(None), summary.clone()];
        fs::write(&file, lines(&kept)).unwrap();
        assert_eq!(run(&options(&file, &output)).await.unwrap(), Conclusion::Done);
        assert_eq!(fs::read_to_string(&output).unwrap(), lines(&[header, leak(Some(5)), summary]));
    }

    #[tokio::test]
    async fn a_recording_is_not_written_over_and_has_to_begin_with_its_header() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kept.jsonl");
        let header = Record::Header(Box::new(examples::header()));
        fs::write(&file, lines(std::slice::from_ref(&header))).unwrap();
        let ended = run(&options(&file, &file)).await;
        assert!(matches!(ended, Err(CommandError::OwnInput { .. })), "{ended:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), lines(&[header]));
        fs::write(&file, lines(&[Record::Leak(Box::new(examples::leak()))])).unwrap();
        let ended = run(&options(&file, &directory.path().join("out.jsonl"))).await;
        assert!(matches!(ended, Err(CommandError::NoHeader { .. })), "{ended:?}");
    }
}
