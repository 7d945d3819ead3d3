//! Outputs that nobody reads: they cost their own records, and neither another output nor the end.

use super::account::{Account, grouped};
use super::ground::{Ground, remove, until};
use super::load;
use super::namespace::Netns;
use super::row::Row;
use super::session::{Ended, LIMIT, Session};
use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 3] = [
    Row {
        name: "FIFO that nobody reads",
        promise: "its missing records are counted, the other output has all, and the end takes 15 s at most",
        run: fifo,
    },
    Row {
        name: "pipe that nobody reads",
        promise: "the other output has all; the end waits for the reader, and a second Ctrl-C ends that in 5 s",
        run: pipe,
    },
    Row {
        name: "terminal that nobody reads",
        promise: "the other output has all; a second Ctrl-C ends the wait for the terminal in 8 s",
        run: terminal,
    },
];

/// More than the queue of an output holds: 64 MiB are 200,000 lines.
const CONNECTIONS: u64 = 30_000;

/// What a session is given besides the output that nobody reads.
struct Setting {
    netns: Netns,
    folder: PathBuf,
    other: PathBuf,
}

impl Setting {
    fn new(ground: &Ground) -> Result<Self> {
        let folder = ground.folder()?;
        Ok(Self { netns: Netns::new()?, other: folder.join("other.tct"), folder })
    }

    fn command(&self, ground: &Ground, output: &Path) -> Result<Command> {
        let mut command = ground.tool(["trace", "--netns", &self.netns.inode()?, "--ring-size", "64M"]);
        command.args(["--format", "jsonl", "-o"]).arg(output).arg("-o").arg(&self.other);
        Ok(command)
    }

    /// Fails unless the other output has everything. Returns how many records.
    fn check(self, ground: &Ground, made: u64) -> Result<u64> {
        let account = Account::of(ground, &self.other).context("the other output")?;
        account.adds_up(made).context("the other output")?;
        ensure!(account.lost == 0 && account.dropped == 0, "the other output: {account:?}");
        remove(&self.folder)?;
        Ok(account.found)
    }
}

fn fifo(ground: &Ground) -> Result<String> {
    let setting = Setting::new(ground)?;
    let fifo = setting.folder.join("x.jsonl");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).context("cannot make a FIFO")?;
    let _reader = File::options().read(true).write(true).open(&fifo)?;
    let session = Session::attached(ground, &mut setting.command(ground, &fifo)?, &setting.other)?;
    let made = load::run(ground, &setting.netns, CONNECTIONS)?.transitions();
    let ended = session.stop()?;
    ended.expect(4)?;
    ensure!(ended.messages.contains("missing in"), "it does not say what is missing: {}", ended.messages);
    ensure!(ended.took < Duration::from_secs(15), "the end took {:.1} s", ended.took.as_secs_f64());
    let records = setting.check(ground, made)?;
    Ok(said(&ended, records))
}

fn pipe(ground: &Ground) -> Result<String> {
    let setting = Setting::new(ground)?;
    let mut command = setting.command(ground, Path::new("-"))?;
    let mut session = Session::start(ground, command.stdout(Stdio::piped()))?;
    session.wait_until_attached(&setting.other)?;
    let made = load::run(ground, &setting.netns, CONNECTIONS)?.transitions();
    session.signal(Signal::INT)?;
    until("it says that it waits", LIMIT, || Ok(session.messages().contains("waiting for the reader")))?;
    session.signal(Signal::INT)?;
    let ended = session.end(Duration::from_secs(5))?;
    ended.expect(4)?;
    let records = setting.check(ground, made)?;
    Ok(said(&ended, records))
}

fn terminal(ground: &Ground) -> Result<String> {
    let setting = Setting::new(ground)?;
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("cannot open a terminal")?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?;
    let other_end = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    let other_end = File::from(other_end);
    let mut command = setting.command(ground, Path::new("-"))?;
    command.stdin(other_end.try_clone()?).stdout(other_end.try_clone()?).stderr(other_end);
    let mut session = Session::of(ground, command.spawn()?)?;
    session.wait_until_attached(&setting.other)?;
    let made = load::run(ground, &setting.netns, CONNECTIONS)?.transitions();
    session.signal(Signal::INT)?;
    // By then it waits for the terminal: the ring is empty, and the other output written.
    until("the other output is written", LIMIT, || {
        Ok(Account::of(ground, &setting.other).is_ok_and(|account| account.adds_up(made).is_ok()))
    })?;
    session.signal(Signal::INT)?;
    let ended = session.end(Duration::from_secs(8))?;
    ended.expect(4)?;
    let records = setting.check(ground, made)?;
    Ok(said(&ended, records))
}

fn said(ended: &Ended, records: u64) -> String {
    let seconds = ended.took.as_secs_f64();
    format!("the other output has all {}; ended in {seconds:.1} s, {}", grouped(records), ended.how())
}
