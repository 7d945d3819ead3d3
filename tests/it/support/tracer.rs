//! The tool, running, and the records it prints to standard output.

use std::process::{ChildStdout, Command};

use rustix::process::Signal;
use serde_json::Value;

use super::process::Process;
use super::stream::Stream;
use super::truth::{Index, Truth};
use super::{Backend, TCPTRACE};

pub(crate) struct Tracer {
    process: Process,
    output: Stream,
}

/// A session that has ended.
pub(crate) struct Session {
    pub records: Vec<Value>,
    pub code: Option<i32>,
    pub messages: String,
}

impl Tracer {
    /// Starts a session, and returns when it is attached.
    pub(crate) fn start(backend: Backend, arguments: &[&str]) -> Self {
        Self::start_plain(&[arguments, &["--backend", backend.name()]].concat())
    }

    /// As [`Tracer::start`], with the backend that the tool chooses.
    pub(crate) fn start_plain(arguments: &[&str]) -> Self {
        Self::start_by(arguments, Process::start)
    }

    /// As [`Tracer::start_plain`], where `start` is what starts the tool.
    pub(crate) fn start_by(
        arguments: &[&str],
        start: impl FnOnce(&mut Command) -> (Process, ChildStdout),
    ) -> Self {
        let (process, stdout) = start(Command::new(TCPTRACE).args(arguments).args(["--format", "jsonl"]));
        let tracer = Self { process, output: Stream::of(stdout) };
        // The tool writes the header when everything is attached.
        tracer.wait_for("the header", |record| record["type"] == "header");
        tracer
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the first record that `wanted` accepts.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, |records| records.iter().find(|record| wanted(record)).cloned())
    }

    /// Waits for a record of this type about each socket, and returns them in the order of the sockets.
    pub(crate) fn wait_for_each(&self, kind: &str, truths: &[Truth]) -> Vec<Value> {
        let index = Index::of(truths);
        let mut found: Vec<Option<Value>> = vec![None; truths.len()];
        let (mut seen, mut missing) = (0, truths.len());
        let all = self.output.wait(|records| {
            for record in records.iter().skip(seen).filter(|record| record["type"] == kind) {
                if let Some(slot) = index.find(record).map(|at| &mut found[at]).filter(|slot| slot.is_none())
                {
                    *slot = Some(record.clone());
                    missing -= 1;
                }
            }
            seen = records.len();
            (missing == 0).then_some(())
        });
        if let Err(came) = all {
            let names = truths.iter().zip(&found).filter(|(_, found)| found.is_none());
            let names: Vec<String> = names.map(|(truth, _)| truth.name()).take(10).collect();
            let names = names.join(", ");
            panic!("awaited a {kind} of {names}: {came}\n{}", self.process.messages());
        }
        found.into_iter().flatten().collect()
    }

    /// Waits until `look` finds what it wants among all records so far.
    pub(crate) fn wait<T>(&self, what: &str, look: impl FnMut(&[Value]) -> Option<T>) -> T {
        self.output
            .wait(look)
            .unwrap_or_else(|came| panic!("awaited {what}: {came}\n{}", self.process.messages()))
    }

    /// Ends the session as Ctrl-C does.
    pub(crate) fn stop(self) -> Session {
        self.process.signal(Signal::INT);
        self.finish()
    }

    /// Waits until the session has ended.
    pub(crate) fn finish(mut self) -> Session {
        let status = self.process.wait();
        let records = self.output.wait_for_end().unwrap_or_else(|why| panic!("{why}"));
        Session { records, code: status.code(), messages: self.process.messages() }
    }
}

impl Session {
    /// The last record, which has to be the summary. The exit code has to be 0, or 4 where another test keeps a network
    /// namespace that nobody finds.
    pub(crate) fn summary(&self) -> &Value {
        let last = self.last();
        let code = if lacks_namespaces_only(last) { 4 } else { 0 };
        self.summary_with(code)
    }

    /// As [`Session::summary`], of a session with another exit code.
    pub(crate) fn summary_with(&self, code: i32) -> &Value {
        assert_eq!(self.code, Some(code), "the exit code; its messages:\n{}", self.messages);
        self.last()
    }

    /// Whether the kernel skipped no run of the session's programs, as it does now and then where their CPU is interrupted.
    pub(crate) fn is_unskipped(&self) -> bool {
        skipped(self.last()) == 0
    }

    fn last(&self) -> &Value {
        let last = self.records.last().expect("a session has records");
        assert_eq!(last["type"], "summary", "the last record is {last}\n{}", self.messages);
        last
    }
}

/// How often a test traces the same again at most.
const TRIES: usize = 5;

/// Calls `trace` until it returns something. It returns `None` where the kernel skipped a transition.
pub(crate) fn until_unskipped<T>(mut trace: impl FnMut() -> Option<T>) -> T {
    one_complete_run(TRIES, || trace().ok_or_else(|| "the kernel skipped transitions".to_owned()))
}

/// Calls `trace` until it returns something, so many times at most. It returns what was missing where the kernel ran no
/// program for some transitions, which now and then nothing counts (docs/limits.md). What the tool itself leaves out is
/// missing each time.
pub(crate) fn one_complete_run<T>(runs: usize, mut trace: impl FnMut() -> Result<T, String>) -> T {
    let mut incomplete = Vec::new();
    while incomplete.len() < runs {
        match trace() {
            Ok(found) => return found,
            Err(missing) => incomplete.push(missing),
        }
    }
    panic!("no run of {runs} was complete:\n{}", incomplete.join("\n"));
}

/// Transitions that the ring had no room for, by a summary.
pub(crate) fn lost_for_room(summary: &Value) -> u64 {
    summary["lost"].as_u64().expect("a counter") - skipped(summary)
}

fn skipped(summary: &Value) -> u64 {
    // That there were none is not written.
    summary["lost_skipped"].as_u64().unwrap_or(0)
}

/// Whether a summary says that nothing but some network namespaces could not be looked at.
pub(crate) fn lacks_namespaces_only(summary: &Value) -> bool {
    let lacks = &summary["not_looked_at"];
    lacks["namespaces"].as_u64().is_some_and(|count| count > 0)
        && lacks["processes"] == 0
        && lacks["everything"] == false
}
