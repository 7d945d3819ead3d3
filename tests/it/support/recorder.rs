//! The tool, running, with its records in files; and readers of those files.

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

use super::connections::is_being_made;
use super::process::Process;
use super::walker::{Walk, is_recording, walk};
use super::{TCPTRACE, free_port, until};

/// `tcptrace trace` of the connections of one port, which nothing else uses.
pub(crate) struct Recorder {
    pub port: u16,
    pub process: Process,
    pub stdout: ChildStdout,
}

/// How a session ended.
pub(crate) struct Ended {
    pub code: Option<i32>,
    /// Its messages, without the one about what the kernel skipped.
    pub messages: String,
}

/// On a host that is out of CPU time the kernel skips a few runs of a BPF program, and counts most of them. If more are
/// missing among the transitions of one test, the session is at fault.
const MOST_SKIPPED: u64 = 10;

/// How many of the transitions that were made reached the session: exactly as many have to be in its files, or be
/// counted there.
pub(crate) fn received(summary: &Value, made: u64) -> u64 {
    let [records, lost] = ["records", "lost"].map(|field| summary[field].as_u64().expect("a counter"));
    assert!(is_all(records, made), "{records} of {made} transitions, {lost} lost: {summary}");
    records
}

/// Whether these are all transitions that were made, but for those that the kernel skipped.
pub(crate) fn is_all(received: u64, made: u64) -> bool {
    (made - MOST_SKIPPED..=made).contains(&received)
}

impl Recorder {
    /// Starts a session that writes to these files. Returns when it has begun all of them, which it does once it is
    /// attached.
    pub(crate) fn start(outputs: &[&Path], options: &[&str]) -> Self {
        Self::start_on(free_port(), outputs, options)
    }

    pub(crate) fn start_on(port: u16, outputs: &[&Path], options: &[&str]) -> Self {
        Self::begin(&mut Self::command(port, outputs, options), port, outputs)
    }

    /// As [`Recorder::start`], with a limit on the size of its files, in bytes.
    pub(crate) fn start_limited(outputs: &[&Path], options: &[&str], limit: u64) -> Self {
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
                assert_eq!(recorder.process.messages(), "", "it prints messages");
                now != before && now.is_some_and(|(_, _, length)| length > 0)
            });
        }
        recorder
    }

    pub(crate) fn command(port: u16, outputs: &[&Path], options: &[&str]) -> Command {
        let mut command = Command::new(TCPTRACE);
        command.args(["trace", "--port", &port.to_string()]).args(options);
        for output in outputs {
            command.arg("-o").arg(output);
        }
        command
    }

    pub(crate) fn launch(command: &mut Command, port: u16) -> Self {
        let (process, stdout) = Process::start(command);
        Self { port, process, stdout }
    }

    /// Ends the session as Ctrl-C does.
    pub(crate) fn stop(self) -> Ended {
        self.process.signal(Signal::INT);
        self.finish()
    }

    /// Waits until the session has ended.
    pub(crate) fn finish(self) -> Ended {
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
    /// Leaves out the message about what the kernel skipped: [`received`] judges how many those may be.
    pub(crate) fn of(code: Option<i32>, messages: &str) -> Self {
        let others = messages.split_inclusive('\n').filter(|line| !line.contains(" left out by the kernel"));
        Self { code, messages: others.collect() }
    }

    /// Expects exit code 0 and no message.
    pub(crate) fn is_well(&self) {
        assert_eq!(self.code, Some(0), "the exit code; its messages:\n{}", self.messages);
        assert_eq!(self.messages, "", "it printed messages");
    }

    /// Expects this exit code and all of `words` in its messages.
    pub(crate) fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "the exit code; its messages:\n{}", self.messages);
        for word in words {
            assert!(self.messages.contains(word), "the message does not say {word:?}:\n{}", self.messages);
        }
    }
}

/// Runs `now` or `leaks` with these arguments until a leak is in the file, then ends it. Returns its messages.
pub(crate) fn report_a_leak(arguments: &[&str], jsonl: &Path) -> String {
    let mut command = Command::new(TCPTRACE);
    command.args(arguments);
    let is_live = arguments[0] == "leaks";
    if is_live {
        command.args(["--older-than", "0s", "--flush", "20ms"]);
    }
    let (mut process, _stdout) = Process::start(&mut command);
    if is_live {
        until("a leak is in the file", || {
            fs::read_to_string(jsonl).is_ok_and(|text| text.contains("\"type\":\"leak\""))
        });
        process.signal(Signal::INT);
    }
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
    process.messages()
}

/// The content of a file, decompressed where it is compressed, as far as that goes.
pub(crate) fn content(path: &Path) -> Vec<u8> {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if bytes.starts_with(&ZSTD) {
        let mut plain = Vec::new();
        let _cut = zstd::Decoder::new(&bytes[..]).expect("a decoder").read_to_end(&mut plain);
        return plain;
    }
    bytes
}

/// The records of a file of JSON Lines, in which every line has to be whole.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
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
pub(crate) fn read(path: &Path) -> (Vec<Value>, Losses) {
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
    let Totals {
        records,
        lost,
        undecodable,
        evicted,
        unattributed,
        openers_skipped,
        dropped,
        stacks_dropped,
        lost_skipped,
    } = losses.totals;
    let totals = [
        records,
        lost,
        undecodable,
        evicted,
        unattributed,
        openers_skipped,
        dropped,
        stacks_dropped,
        lost_skipped,
    ];
    assert_eq!(totals, walk.totals, "{path}: counters");
    if walk.first == 0 {
        assert_eq!(losses.missing + losses.dropped, walk.gaps, "{path}: gaps in the numbers; {losses:?}");
    }
}

/// Identifies a transition in its session: no socket goes the same way twice, but for a listener. A connection that is
/// being made has nothing of its own yet on older kernels but the time, which is another in each session.
pub(crate) fn identity(record: &Value) -> Option<String> {
    (record["type"] == "transition").then(|| {
        if is_being_made(record) {
            return format!("{} {} {}", record["lport"], record["new_state"], record["ktime_ns"]);
        }
        ["cookie", "old_state", "new_state", "lport", "rport"]
            .map(|field| record[field].to_string())
            .join(" ")
    })
}

/// The transitions in these records, of which none may occur twice.
pub(crate) fn transitions<'a>(records: impl IntoIterator<Item = &'a Value>) -> HashSet<String> {
    let mut seen = HashSet::new();
    for identity in records.into_iter().filter_map(identity) {
        assert!(!seen.contains(&identity), "recorded twice: {identity}");
        seen.insert(identity);
    }
    seen
}

/// Describes the sockets of a load that lack transitions, for the message of a test that fails.
pub(crate) fn gaps<'a>(records: impl IntoIterator<Item = &'a Value>) -> String {
    let mut steps: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records.into_iter().filter(|record| record["type"] == "transition") {
        let [old, new] = ["old_state", "new_state"].map(|field| record[field].as_str().unwrap_or_default());
        let step =
            format!("{old}>{new} of {}>{} at {}", record["lport"], record["rport"], record["ktime_ns"]);
        steps.entry(record["cookie"].to_string()).or_default().push(step);
    }
    let listeners = steps.values().flatten().filter(|step| step.contains("LISTEN of")).count();
    let (first, last) = (steps.first_key_value(), steps.last_key_value());
    let short: Vec<_> = steps.iter().filter(|(_, steps)| steps.len() != 5).take(8).collect();
    format!(
        "{listeners} began to listen; the first is {first:?}, the last {last:?}; short or long are {short:#?}"
    )
}

/// The files in a directory, sorted by name.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
