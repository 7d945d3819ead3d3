//! Other tracers on the same host: five of our own, and those of others.

use super::account::{Account, grouped};
use super::ground::{Ground, remove, until};
use super::load;
use super::namespace::Netns;
use super::process::Process;
use super::row::Row;
use super::session::Session;
use crate::bench::tracer::is_attached;
use crate::privilege::find_program;
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 1] = [Row {
    name: "five tracers beside perf, bpftrace and tcpstates",
    promise: "in each of the five read + lost = made; the others run on",
    run: neighbours,
}];

/// The packages of the others, on Debian.
pub(crate) const PACKAGES: [&str; 3] = ["bpfcc-tools", "bpftrace", "linux-perf"];

const TRACERS: usize = 5;

/// How long another tracer may take to compile its programs.
const LONGEST_START: Duration = Duration::from_mins(1);

fn neighbours(ground: &Ground) -> Result<String> {
    let netns = Netns::new()?;
    let folder = ground.folder()?;
    let (mut others, mut absent) = (Vec::new(), Vec::new());
    for (name, command) in others_of(&folder) {
        match Other::start(name, command, &folder) {
            Ok(other) => others.push(other),
            Err(error) => absent.push(format!("{name} ({error:#})")),
        }
    }
    let mut sessions = Vec::new();
    for number in 0..TRACERS {
        let file = folder.join(format!("{number}.tct"));
        let backend = ["btf", "tracepoint"][number % 2];
        let mut command = ground.tool(["trace", "--netns", &netns.inode()?, "--backend", backend, "-o"]);
        sessions.push((Session::attached(ground, command.arg(&file), &file)?, file));
    }
    let seconds = u64::from(ground.times(5, 60));
    let made = load::run_for(ground, &netns, Duration::from_secs(seconds))?.transitions();
    let (mut lost, mut missing) = (0, 0);
    for (session, file) in sessions {
        let ended = session.stop()?;
        let account = Account::of(ground, &file)?;
        missing += account.adds_up(made).with_context(|| file.display().to_string())?;
        ended.expect(if account.lost * 1_000 > made { 4 } else { 0 })?;
        lost += account.lost;
    }
    let mut names = Vec::new();
    for mut other in others {
        ensure!(other.process.0.try_wait()?.is_none(), "{} has ended: {}", other.name, other.said());
        kill_process(Pid::from_child(&other.process.0), Signal::INT)?;
        until("it ends", LONGEST_START, || Ok(other.process.0.try_wait()?.is_some())).context(other.name)?;
        names.push(other.name.to_owned());
    }
    remove(&folder)?;
    let or_none = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Ok(format!(
        "{TRACERS} × {} made, of them {} lost, {missing} unseen; beside {}; not beside {}",
        grouped(made),
        grouped(lost),
        or_none(&names),
        or_none(&absent)
    ))
}

/// The tracers of others, as they are used for the same question.
fn others_of(folder: &Path) -> [(&'static str, Command); 3] {
    let program = |names: &[&str]| {
        let found = names.iter().find_map(|name| find_program(name));
        Command::new(found.unwrap_or_else(|| PathBuf::from(names.first().copied().unwrap_or_default())))
    };
    let mut perf = program(&["perf"]);
    perf.args(["record", "-q", "-a", "-e", "sock:inet_sock_set_state", "-o"]).arg(folder.join("perf.data"));
    let mut bpftrace = program(&["bpftrace"]);
    bpftrace.args(["-e", "tracepoint:sock:inet_sock_set_state { @transitions = count(); }"]);
    // That of libbpf-tools comes compiled; bcc's is compiled as it starts, which takes the kernel's headers.
    let tcpstates = program(&["tcpstates", "tcpstates-bpfcc"]);
    [("perf", perf), ("bpftrace", bpftrace), ("tcpstates", tcpstates)]
}

/// A tracer of others, attached.
struct Other {
    name: &'static str,
    process: Process,
    messages: PathBuf,
}

impl Other {
    fn start(name: &'static str, mut command: Command, folder: &Path) -> Result<Self> {
        let messages = folder.join(format!("{name}.err"));
        command.stdout(File::create(folder.join(format!("{name}.out")))?);
        let process = Process::start(command.stderr(File::create(&messages)?))?;
        let mut other = Self { name, process, messages };
        until("it is attached", LONGEST_START, || {
            let has_ended = other.process.0.try_wait()?.is_some();
            ensure!(!has_ended, "it ended at once: {}", other.said());
            Ok(is_attached(other.process.pid()))
        })?;
        Ok(other)
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.messages).unwrap_or_default();
        text.trim().lines().last().unwrap_or_default().to_owned()
    }
}
