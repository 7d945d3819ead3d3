//! What is measured: tcptrace, an empty program, and the other tools that are installed. Runs nothing.

use super::Programs;
use crate::privilege::has_program;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One way to trace.
pub(crate) struct Configuration {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// The signal that ends it.
    pub signal: Signal,
    /// The file of its records, where they are our JSON Lines.
    pub records: Option<PathBuf>,
    /// Where it says how many records it lost.
    pub loss: Loss,
    /// Whether its records have to include every transition.
    pub every_transition: bool,
}

impl Configuration {
    /// Whether to measure it: its name contains one of the words of `--only`, or there are none.
    pub(crate) fn is_among(&self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|word| self.name.contains(word))
    }
}

/// Where a tracer says what it lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It has no records.
    Nowhere,
    /// In the summary at the end of its records.
    Summary,
    /// On standard error, if it lost any.
    Complaint,
}

/// A tool that is not installed, and Debian's package of it.
pub(crate) struct Absent {
    pub name: &'static str,
    pub package: &'static str,
}

/// All configurations but "nothing", and the tools that are not installed.
pub(crate) fn all(programs: &Programs) -> (Vec<Configuration>, Vec<Absent>) {
    let scratch = programs.scratch.path();
    let mut present: Vec<Configuration> = ["btf", "tracepoint"]
        .into_iter()
        .flat_map(|backend| {
            [
                floor(&programs.floor, backend),
                tcptrace(programs, "leaks", backend),
                tcptrace(programs, "trace", backend),
                by_perf_buffers(tcptrace(programs, "trace", backend)),
            ]
        })
        .collect();
    let mut absent = Vec::new();

    let tcpstates = [("tcpstates", "libbpf-tools"), ("tcpstates-bpfcc", "bpfcc-tools")];
    for (name, package) in tcpstates {
        if has_program(name) {
            present.push(other(name, &[]));
        } else {
            absent.push(Absent { name, package });
        }
    }
    let data = scratch.join("perf.data").display().to_string();
    let record = ["record", "-q", "-a", "-e", "sock:inet_sock_set_state", "-o", &data];
    if has_program("perf") && Command::new("perf").arg("--version").output().is_ok_and(|o| o.status.success())
    {
        present.push(Configuration { name: "perf record".into(), ..other("perf", &record) });
    } else {
        absent.push(Absent { name: "perf record", package: "linux-perf" });
    }
    (present, absent)
}

/// `tcptrace leaks` or `tcptrace trace`, writing JSON Lines to a file.
pub(crate) fn tcptrace(programs: &Programs, command: &str, backend: &str) -> Configuration {
    let records = programs.scratch.path().join(format!("{command}-{backend}.jsonl"));
    let file = records.display().to_string();
    let arguments = [command, "-q", "--backend", backend, "--format", "jsonl", "-o", &file];
    Configuration {
        name: format!("tcptrace {command}, {backend}"),
        program: programs.tcptrace.clone(),
        arguments: arguments.map(String::from).to_vec(),
        signal: Signal::TERM,
        records: Some(records),
        loss: Loss::Summary,
        every_transition: command == "trace",
    }
}

/// The same, with a buffer for each CPU instead of a ring.
fn by_perf_buffers(mut configuration: Configuration) -> Configuration {
    configuration.name += ", perf buffers";
    configuration.arguments.extend(["--transport", "perf"].map(String::from));
    configuration
}

fn floor(program: &Path, backend: &str) -> Configuration {
    Configuration {
        name: format!("empty program, {backend}"),
        program: program.into(),
        arguments: vec![backend.into()],
        signal: Signal::TERM,
        records: None,
        loss: Loss::Nowhere,
        every_transition: false,
    }
}

fn other(name: &str, arguments: &[&str]) -> Configuration {
    Configuration {
        name: name.into(),
        program: name.into(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        // The signal that all of them end on.
        signal: Signal::INT,
        records: None,
        loss: Loss::Complaint,
        every_transition: false,
    }
}
