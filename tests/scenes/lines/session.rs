//! The tool, watching while the ways leak. It judges nothing.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::processes;
use crate::support::stream::Stream;
use crate::support::tool::TCPTRACE;
use crate::support::truth::Side;

pub(crate) struct Session {
    tool: Mutex<Child>,
    records: Stream,
}

impl Session {
    /// Starts `leaks`, and returns when it is attached.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(TCPTRACE);
        command.args(["leaks", "--older-than", "1s", "--format", "jsonl"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut tool = command.spawn().expect("the tool");
        let records = Stream::of(tool.stdout.take().expect("a pipe"));
        let has_header =
            |records: &[Value]| records.iter().any(|record| record["type"] == "header").then_some(());
        records.wait(has_header).unwrap_or_else(|came| panic!("awaited the header: {came}"));
        Self { tool: Mutex::new(tool), records }
    }

    /// Waits for the record of a leak.
    ///
    /// # Errors
    /// What came instead.
    pub(crate) fn leak(&self, side: Side) -> Result<Value, String> {
        let (field, port) = match side {
            Side::At(port) => ("lport", port),
            Side::To(port) => ("rport", port),
        };
        let is_it = |record: &&Value| record["type"] == "leak" && record[field] == port;
        self.records.wait(|records| records.iter().find(is_it).cloned())
    }

    /// Ends the session, and returns its summary.
    pub(crate) fn stop(&self) -> Value {
        let mut tool = self.tool.lock().expect("no thread panics with it");
        processes::send(tool.id().cast_signed(), Signal::INT);
        let records = self.records.wait_for_end().unwrap_or_default();
        let _it_has_ended = tool.wait();
        records.into_iter().rfind(|record| record["type"] == "summary").unwrap_or_default()
    }
}
