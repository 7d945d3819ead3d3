//! The tool, running, with its records in files; and reading those back.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};

use rustix::process::{Resource, Rlimit, Signal};
use serde_json::Value;
use tcptrace::testing::{Losses, Reader, Totals};

use super::process::Process;
use super::walker::{Walk, is_recording, walk};
use super::{TCPTRACE, free_port, until};

/// `tcptrace trace` of the connections behind one port, which nothing else uses.
pub struct Recorder {
    pub port: u16,
    pub process: Process,
    pub stdout: ChildStdout,
}

/// How a session ended.
pub struct Ended {
    pub code: Option<i32>,
    /// What it said, but for what it lost.
    pub messages: String,
}

/// On a host that is out of CPU time the kernel leaves out a few runs of a program, of which it counts most. More than
/// so many among the transitions of a test would be a fault of the session.
const LEFT_OUT: u64 = 10;

/// Of so many transitions that were made, those that reached the session: exactly so many have to be in its files, or be
/// counted there.
pub fn received(summary: &Value, made: u64) -> u64 {
    let [records, lost] = ["records", "lost"].map(|field| summary[field].as_u64().expect("a counter"));
    assert!(is_all(records, made), "{records} of {made} transitions, {lost} lost: {summary}");
    records
}

/// Whether so many are all transitions that were made, but for those that the kernel left out.
pub fn is_all(told: u64, made: u64) -> bool {
    (made - LEFT_OUT..=made).contains(&told)
}

impl Recorder {
    /// Starts a session that writes to these files; returns when all of them have been begun, which is when it is
    /// attached.
    pub fn start(outputs: &[&Path], options: &[&str]) -> Self {
        Self::start_on(free_port(), outputs, options)
    }

    pub fn start_on(port: u16, outputs: &[&Path], options: &[&str]) -> Self {
        Self::begin(&mut Self::command(port, outputs, options), port, outputs)
    }

    /// As [`Recorder::start`], with a limit on the size of its files, in bytes.
    pub fn start_limited(outputs: &[&Path], options: &[&str], limit: u64) -> Self {
        let port = free_port();
        let mut command = Self::command(port, outputs, options);
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        // SAFETY: the closure makes one system call and does not allocate.
        unsafe { command.pre_exec(move || Ok(rustix::process::setrlimit(Resource::Fsize, limit)?)) };
        Self::begin(&mut command, port, outputs)
    }

    fn begin(command: &mut Command, port: u16, outputs: &[&Path]) -> Self {
        let state = |output: &Path| {
            let metadata = fs::metadata(output).ok()?;
            Some((metadata.modified().ok()?, metadata.ino(), metadata.len()))
        };
        let before: Vec<_> = outputs.iter().map(|output| state(output)).collect();
        let recorder = Self::launch(command, port);
        for (output, before) in outputs.iter().zip(before) {
            if output.as_os_str() == "-" || output.starts_with("/dev") {
                continue;
            }
            until(&format!("{} is begun", output.display()), || {
                let now = state(output);
                assert_eq!(recorder.process.messages(), "", "it complains");
                now != before && now.is_some_and(|(_, _, length)| length > 0)
            });
        }
        recorder
    }

    pub fn command(port: u16, outputs: &[&Path], options: &[&str]) -> Command {
        let mut command = Command::new(TCPTRACE);
        command.args(["trace", "--port", &port.to_string()]).args(options);
        for output in outputs {
            command.arg("-o").arg(output);
        }
        command
    }

    pub fn launch(command: &mut Command, port: u16) -> Self {
        let (process, stdout) = Process::start(command);
        Self { port, process, stdout }
    }

    /// Ends the session as Ctrl-C does.
    pub fn stop(self) -> Ended {
        self.process.signal(Signal::INT);
        self.finish()
    }

    /// Waits until the session has ended.
    pub fn finish(self) -> Ended {
        let Self { mut process, stdout, port: _ } = self;
        let reader = std::thread::spawn(move || {
            let mut stdout = stdout;
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        let code = process.wait().code();
        reader.join().expect("the thread that reads");
        Ended::of(code, &process.messages())
    }
}

impl Ended {
    /// Takes what was lost out of what was said: how much that was is for [`received`] to judge.
    pub fn of(code: Option<i32>, said: &str) -> Self {
        let others = said.split_inclusive('\n').filter(|line| !line.contains(" lost, most because"));
        Self { code, messages: others.collect() }
    }

    /// It ended well and had nothing to complain of.
    pub fn is_well(&self) {
        assert_eq!(self.code, Some(0), "the exit code; it said:\n{}", self.messages);
        assert_eq!(self.messages, "", "it has nothing to complain of");
    }

    /// It ended with this code and a message that says all of `words`.
    pub fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "the exit code; it said:\n{}", self.messages);
        for word in words {
            assert!(self.messages.contains(word), "the message does not say {word:?}:\n{}", self.messages);
        }
    }
}

/// Runs `now` or `leaks` with these arguments until there is a leak in the file, and ends it well; its messages.
pub fn tell_a_leak(arguments: &[&str], jsonl: &Path) -> String {
    let mut command = Command::new(TCPTRACE);
    command.args(arguments);
    let is_live = arguments[0] == "leaks";
    if is_live {
        command.args(["--older-than", "0s", "--flush", "20ms"]);
    }
    let (mut process, _stdout) = Process::start(&mut command);
    if is_live {
        until("a leak is told", || {
            fs::read_to_string(jsonl).is_ok_and(|text| text.contains("\"type\":\"leak\""))
        });
        process.signal(Signal::INT);
    }
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
    process.messages()
}

/// The content of a file, decompressed where it is compressed, as far as that goes.
pub fn content(path: &Path) -> Vec<u8> {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if bytes.starts_with(&ZSTD) {
        let mut plain = Vec::new();
        let _cut = zstd::Decoder::new(&bytes[..]).expect("a decoder").read_to_end(&mut plain);
        return plain;
    }
    bytes
}

/// The records of a file of JSON Lines; every line has to be whole.
pub fn lines(path: &Path) -> Vec<Value> {
    let content = content(path);
    assert!(content.ends_with(b"\n"), "{} ends within a line", path.display());
    let parse = |line: &[u8]| {
        serde_json::from_slice(line)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", path.display(), String::from_utf8_lossy(line)))
    };
    content.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').map(parse).collect()
}

/// The records of any file that `report` reads, and what is missing in it, as the tool's own reader has it. Of a
/// recording, the independent reader has to find the same.
pub fn read(path: &Path) -> (Vec<Value>, Losses) {
    let mut reader = Reader::open(path).unwrap_or_else(|error| panic!("{error}"));
    let mut records = Vec::new();
    while let Some(record) = reader.next().unwrap_or_else(|error| panic!("{error}")) {
        records.push(serde_json::to_value(&record).expect("a record"));
    }
    let losses = *reader.losses();
    let content = content(path);
    if is_recording(&content) {
        agree(&walk(&content, path), &records, &losses, path);
    }
    (records, losses)
}

/// Two readers found the same in a recording.
fn agree(walk: &Walk, records: &[Value], losses: &Losses, path: &Path) {
    let path = path.display();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        *found.entry(record["type"].as_str().expect("a type").to_owned()).or_default() += 1;
    }
    assert_eq!(found, walk.records, "{path}: records by type, of the tool and of the walker");
    assert_eq!(losses.before, walk.first, "{path}: the first record");
    assert_eq!(losses.has_ended, walk.records.contains_key("summary"), "{path}: a summary");
    let is_whole = losses.damaged == 0 && !losses.is_cut;
    assert_eq!(is_whole, walk.unread == 0, "{path}: {losses:?}, and {} bytes in no block", walk.unread);
    let Totals { records, lost, undecodable, evicted, unattributed, openers_skipped, dropped } =
        losses.totals;
    let totals = [records, lost, undecodable, evicted, unattributed, openers_skipped, dropped];
    assert_eq!(totals, walk.totals, "{path}: counters");
    if walk.first == 0 {
        assert_eq!(losses.missing + losses.dropped, walk.gaps, "{path}: gaps in the numbers; {losses:?}");
    }
}

/// What identifies a transition among all of a session: no socket goes the same way twice, but that of a
/// listener.
pub fn identity(record: &Value) -> Option<String> {
    (record["type"] == "transition").then(|| {
        ["cookie", "old_state", "new_state", "lport", "rport"]
            .map(|field| record[field].to_string())
            .join(" ")
    })
}

/// The transitions in these records, each of them once.
pub fn transitions<'a>(records: impl IntoIterator<Item = &'a Value>) -> HashSet<String> {
    let mut seen = HashSet::new();
    for identity in records.into_iter().filter_map(identity) {
        assert!(!seen.contains(&identity), "told twice: {identity}");
        seen.insert(identity);
    }
    seen
}

/// Of the sockets that a load made, those of which something is missing, and what is there: for the message of a test that
/// fails.
pub fn gaps<'a>(records: impl IntoIterator<Item = &'a Value>) -> String {
    let mut steps: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records.into_iter().filter(|record| record["type"] == "transition") {
        let [old, new] = ["old_state", "new_state"].map(|field| record[field].as_str().unwrap_or_default());
        let told =
            format!("{old}>{new} of {}>{} at {}", record["lport"], record["rport"], record["ktime_ns"]);
        steps.entry(record["cookie"].to_string()).or_default().push(told);
    }
    let listeners = steps.values().flatten().filter(|step| step.contains("LISTEN of")).count();
    let (first, last) = (steps.first_key_value(), steps.last_key_value());
    let short: Vec<_> = steps.iter().filter(|(_, steps)| steps.len() != 5).take(8).collect();
    format!(
        "{listeners} began to listen; the first is {first:?}, the last {last:?}; short or long are {short:#?}"
    )
}

/// The files in a directory, in the order of their names.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
