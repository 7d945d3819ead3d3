//! What files are on goes wrong: it is full, removed, read-only, frozen. The session goes on, says so once, and counts.

use super::account::{Account, grouped};
use super::disk::{Disk, Ext4};
use super::ground::{Ground, remove, until};
use super::kept::{self, FORMS};
use super::load;
use super::namespace::Netns;
use super::row::Row;
use super::session::{Ended, LIMIT, Session};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 5] = [
    Row {
        name: "disk full",
        promise: "in all eight forms: said once, exit code 4, read + missing = records; another output has all",
        run: full,
    },
    Row {
        name: "disk full, and with room again",
        promise: "in all eight forms: everything that waited is there after all, exit code 0",
        run: room_again,
    },
    Row {
        name: "directory removed and made again",
        promise: "said once, a new file is begun, exit code 4, read + missing = records",
        run: removed,
    },
    Row {
        name: "read-only remount, by an error of the file system",
        promise: "said once, exit code 4, the other output has all",
        run: read_only,
    },
    Row {
        name: "frozen file system",
        promise: "the other output has all; once thawed everything is in this one too, exit code 0; while frozen, an end \
                  that is asked for is said to wait within 15 s",
        run: frozen,
    },
];

/// Connections of a load that fills what little room there is.
const CONNECTIONS: u64 = 20_000;

/// What a full disk has left for a session: some of what a recording needs, and more than is written in one piece
/// (256 KiB).
const ROOM: usize = 300 << 10;

const DISK: usize = 48 << 20;

/// A session with one output on a disk that goes wrong, and another one elsewhere.
struct Pair {
    session: Session,
    netns: Netns,
    folder: std::path::PathBuf,
}

impl Pair {
    fn start(ground: &Ground, output: &Path) -> Result<Self> {
        let netns = Netns::new()?;
        let folder = ground.folder()?;
        let mut command = ground.tool(["trace", "--netns", &netns.inode()?, "--flush", "20ms"]);
        command.args(["--ring-size", "64M"]);
        command.arg("-o").arg(output).arg("-o").arg(folder.join("other.tct"));
        let session = Session::attached(ground, &mut command, output)?;
        Ok(Self { session, netns, folder })
    }

    /// Ends it, and returns its end and how many records it had, all of which have to be in the other output.
    fn stop(self, ground: &Ground, made: u64) -> Result<(Ended, u64)> {
        let ended = self.session.stop()?;
        let account = Account::of(ground, &self.folder.join("other.tct"))?;
        account.adds_up(made).context("the other output")?;
        ensure!(account.lost == 0 && account.dropped == 0, "the other output: {account:?}");
        remove(&self.folder)?;
        Ok((ended, account.found))
    }
}

/// How many messages say that a file cannot be written.
fn complaints(messages: &str) -> usize {
    messages.matches("cannot write to").count()
}

/// How many records are missing in a file, by the last message.
fn missing(messages: &str, path: &Path) -> Result<u64> {
    let place = format!(" missing in {}", path.display());
    let (before, _) =
        messages.split_once(&place).with_context(|| format!("nothing is missing: {messages}"))?;
    let words: Vec<&str> = before.rsplit([' ', ':']).filter(|word| !word.is_empty()).collect();
    let number = words.get(1).and_then(|word| word.parse().ok());
    number.with_context(|| format!("no number of missing records: {messages}"))
}

fn full(ground: &Ground) -> Result<String> {
    let mut written = Vec::new();
    for form in FORMS {
        let disk = Disk::of(ground, DISK)?;
        let path = disk.path().join(format!("x.{form}"));
        fs::write(disk.path().join("ballast"), vec![0; DISK - ROOM])?;
        let pair = Pair::start(ground, &path)?;
        let made = load::run(ground, &pair.netns, CONNECTIONS)?.transitions();
        let (ended, records) = pair.stop(ground, made)?;
        ended.expect(4).context(form)?;
        let said = complaints(&ended.messages);
        ensure!(said == 1, "{form}: said {said} times: {}", ended.messages);
        let missing = missing(&ended.messages, &path)?;
        let content = kept::read(ground, &path)?;
        let found = content.transitions.len() as u64;
        // The summary is a record too, where a form has one, and may still have found room.
        let surplus = (found + u64::from(content.has_summary) + missing).wrapping_sub(records);
        ensure!(surplus <= 1, "{form}: {found} read and {missing} missing are not {records}");
        ensure!(found > 0, "{form}: nothing was read");
        written.push(format!("{form} {}", grouped(found)));
    }
    Ok(format!(
        "of {} transitions were written: {}",
        grouped(CONNECTIONS * load::TRANSITIONS),
        written.join(", ")
    ))
}

fn room_again(ground: &Ground) -> Result<String> {
    for form in FORMS {
        let disk = Disk::of(ground, DISK)?;
        let (path, ballast) = (disk.path().join(format!("x.{form}")), disk.path().join("ballast"));
        fs::write(&ballast, vec![0; DISK - ROOM])?;
        let mut pair = Pair::start(ground, &path)?;
        // What waits for room has to fit into the queue of 64 MiB. The smallest form needs more to fill the disk.
        let connections = if form == "tct.zst" { CONNECTIONS } else { CONNECTIONS / 2 };
        let made = load::run(ground, &pair.netns, connections)?.transitions();
        let Pair { session, .. } = &mut pair;
        until("the full disk is said", LIMIT, || Ok(complaints(&session.messages()) == 1)).context(form)?;
        fs::remove_file(&ballast)?;
        until("it writes again", LIMIT, || Ok(session.messages().contains("can be written again")))
            .context(form)?;
        let (ended, records) = pair.stop(ground, made)?;
        ended.expect(0).context(form)?;
        let found = kept::read(ground, &path)?.transitions.len() as u64;
        ensure!(found == records, "{form}: {found} of {records} are there");
    }
    Ok(format!(
        "{} forms, each with all of {} transitions or more",
        FORMS.len(),
        grouped(CONNECTIONS / 2 * load::TRANSITIONS)
    ))
}

fn removed(ground: &Ground) -> Result<String> {
    let folder = ground.folder()?;
    let directory = folder.join("logs");
    let path = directory.join("x.jsonl");
    fs::create_dir(&directory)?;
    let mut pair = Pair::start(ground, &path)?;
    let mut made = load::run(ground, &pair.netns, CONNECTIONS / 2)?.transitions();
    pair.session.wait_for("records are in the file", || Ok(fs::metadata(&path)?.len() > 1 << 20))?;
    fs::remove_dir_all(&directory)?;
    made += load::run(ground, &pair.netns, CONNECTIONS / 2)?.transitions();
    let Pair { session, .. } = &mut pair;
    until("the removal is said", LIMIT, || Ok(complaints(&session.messages()) == 1))?;
    fs::create_dir(&directory)?;
    session
        .wait_for("there is a new file", || Ok(fs::metadata(&path).is_ok_and(|file| file.len() > 1_000)))?;
    let (ended, records) = pair.stop(ground, made)?;
    ended.expect(4)?;
    ensure!(complaints(&ended.messages) == 1, "said more than once: {}", ended.messages);
    let missing = missing(&ended.messages, &path)?;
    let found = kept::read(ground, &path)?.transitions.len() as u64;
    ensure!(found + missing == records, "{found} read and {missing} missing are not {records}");
    remove(&folder)?;
    Ok(format!("{found} in the new file + {missing} missing = {records}"))
}

fn read_only(ground: &Ground) -> Result<String> {
    let disk = Ext4::new(ground)?;
    let path = disk.path().join("x.jsonl");
    let pair = Pair::start(ground, &path)?;
    let mut made = load::run(ground, &pair.netns, CONNECTIONS / 10)?.transitions();
    disk.fail()?;
    made += load::run(ground, &pair.netns, CONNECTIONS)?.transitions();
    let (ended, records) = pair.stop(ground, made)?;
    ended.expect(4)?;
    let said = complaints(&ended.messages);
    ensure!(said == 1, "said {said} times: {}", ended.messages);
    let missing = missing(&ended.messages, &path)?;
    ensure!(missing > 0, "nothing is missing: {}", ended.messages);
    Ok(format!("said once; {missing} of {records} missing in it, none in the other"))
}

fn frozen(ground: &Ground) -> Result<String> {
    let disk = Ext4::new(ground)?;
    let path = disk.path().join("x.jsonl");
    let pair = Pair::start(ground, &path)?;
    let frozen = disk.freeze()?;
    let made = load::run(ground, &pair.netns, CONNECTIONS / 2)?.transitions();
    let other = pair.folder.join("other.tct");
    until("the other output is written", LIMIT, || Ok(fs::metadata(&other)?.len() > 100_000))?;
    drop(frozen);
    let (ended, records) = pair.stop(ground, made)?;
    ended.expect(0)?;
    let found = kept::read(ground, &path)?.transitions.len() as u64;
    ensure!(found == records, "thawed: {found} of {records} are there");

    // An end that is asked for while it is frozen: the kernel lets no process go that waits for the file system.
    let second = disk.path().join("y.jsonl");
    let mut pair = Pair::start(ground, &second)?;
    let frozen = disk.freeze()?;
    load::run(ground, &pair.netns, CONNECTIONS / 2)?;
    pair.session.signal(rustix::process::Signal::INT)?;
    let Pair { session, .. } = &mut pair;
    let after =
        until("it is said to wait", Duration::from_secs(15), || Ok(session.messages().contains("y.jsonl")))?;
    drop(frozen);
    let Pair { session, folder, .. } = pair;
    let ended = session.end(LIMIT)?;
    ensure!(matches!(ended.code, Some(0 | 4)), "it ended with {}: {}", ended.how(), ended.messages);
    remove(&folder)?;
    Ok(format!(
        "all {records} there once thawed; an end while frozen is said to wait after {:.1} s, and is {} s after the thaw, {}",
        after.as_secs_f64(),
        ended.took.as_secs(),
        ended.how()
    ))
}
