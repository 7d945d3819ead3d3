//! What strangers put in the way: files that are not what they seem, and names that would take control of a terminal.

use super::ground::{Ground, remove};
use super::leak::{Leak, leaks_in, names};
use super::namespace::Netns;
use super::row::Row;
use super::session::{Ended, LIMIT, Session};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 3] = [
    Row {
        name: "planted links and FIFOs",
        promise: "refused within 5 s with exit code 2, and what they lead to is untouched; also where one takes the place \
                  of a file while the session runs",
        run: planted,
    },
    Row {
        name: "two sessions on one file",
        promise: "the second is refused with exit code 2, the first is whole",
        run: two_sessions,
    },
    Row {
        name: "hostile names",
        promise: "no form has a control character, a change of direction, a tag or a formula of a stranger's; JSON has the \
                  name as it is",
        run: hostile,
    },
];

/// Who owns what strangers plant: nobody.
const STRANGER: u32 = 65534;

const PRECIOUS: &str = "precious";

/// Puts something at the first path that may lead to the second.
type Plant = fn(&Path, &Path) -> Result<()>;

fn planted(ground: &Ground) -> Result<String> {
    let folder = ground.folder()?;
    let victim = folder.join("victim");
    fs::write(&victim, PRECIOUS)?;
    let elsewhere = folder.join("elsewhere");
    fs::create_dir(&elsewhere)?;
    let plant: [(&str, Plant); 6] = [
        ("link", |path, victim| {
            symlink(victim, path)?;
            Ok(lchown(path, Some(STRANGER), Some(STRANGER))?)
        }),
        ("own-link", |path, victim| Ok(symlink(victim, path)?)),
        ("dangling", |path, victim| {
            symlink(victim.with_file_name("made-by-the-link"), path)?;
            Ok(lchown(path, Some(STRANGER), Some(STRANGER))?)
        }),
        ("hard-link", |path, victim| Ok(fs::hard_link(victim, path)?)),
        ("fifo", |path, _| {
            mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0)?;
            Ok(chown(path, Some(STRANGER), Some(STRANGER))?)
        }),
        ("file", |path, _| {
            fs::write(path, PRECIOUS)?;
            Ok(chown(path, Some(STRANGER), Some(STRANGER))?)
        }),
    ];
    let mut refused = 0;
    for command in ["leaks", "trace", "now"] {
        for (name, plant) in plant {
            for form in ["jsonl", "tct", "txt.zst"] {
                let path = folder.join(format!("{name}-{command}.{form}"));
                plant(&path, &victim).with_context(|| format!("cannot plant {}", path.display()))?;
                refuses(ground, command, &path)?;
                refused += 1;
            }
        }
        // A directory behind a stranger's link.
        let link = folder.join(format!("directory-{command}"));
        symlink(&elsewhere, &link)?;
        lchown(&link, Some(STRANGER), Some(STRANGER))?;
        refuses(ground, command, &link.join("x.jsonl"))?;
        refused += 1;
    }
    ensure!(fs::read_dir(&elsewhere)?.count() == 0, "something was written behind a stranger's link");
    ensure!(!folder.join("made-by-the-link").exists(), "a dangling link was followed");
    let swapped = planted_meanwhile(ground, &folder, &victim)?;
    ensure!(fs::read_to_string(&victim)? == PRECIOUS, "what a link leads to was written to");
    remove(&folder)?;
    Ok(format!("{refused} refused, and {swapped}; nothing they lead to was touched"))
}

/// Expects that the tool does not write to this file.
fn refuses(ground: &Ground, command: &str, path: &Path) -> Result<()> {
    let mut tool = ground.tool([command, "-o"]);
    let session = Session::start(ground, tool.arg(path).stdout(Stdio::null()))?;
    let ended = session.end(Duration::from_secs(5)).with_context(|| path.display().to_string())?;
    ended.expect(2).with_context(|| path.display().to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ensure!(ended.messages.contains(&name), "the message does not name {name}: {}", ended.messages);
    Ok(())
}

/// A link takes the place of the file, and the session is told to begin a new one, as logrotate does.
fn planted_meanwhile(ground: &Ground, folder: &Path, victim: &Path) -> Result<String> {
    let path = folder.join("rotated.jsonl");
    let mut command = ground.tool(["leaks", "-o"]);
    let session = Session::attached(ground, command.arg(&path), &path)?;
    fs::rename(&path, folder.join("moved.jsonl"))?;
    symlink(victim, &path)?;
    lchown(&path, Some(STRANGER), Some(STRANGER))?;
    session.signal(Signal::HUP)?;
    super::ground::until("it says so", LIMIT, || Ok(session.messages().contains("rotated.jsonl")))?;
    let ended = session.stop()?;
    ensure!(ended.code.is_some(), "it ended with {}", ended.how());
    ensure!(fs::read_link(&path)? == victim, "the link was replaced");
    Ok(format!("one that took the place of a running session's file ({})", ended.how()))
}

fn two_sessions(ground: &Ground) -> Result<String> {
    let folder = ground.folder()?;
    let mut refused = 0;
    for form in super::kept::FORMS {
        let path = folder.join(format!("x.{form}"));
        let netns = Netns::new()?;
        let mut command = ground.tool(["trace", "--netns", &netns.inode()?, "-o"]);
        command.arg(&path);
        let mut first = Session::start(ground, command.stdout(Stdio::null()))?;
        first.wait_until_attached(&path)?;
        for more in [&[][..], &["--append"], &["--rotate-size", "1M"]] {
            let mut second = ground.tool(["leaks", "-o"]);
            second.arg(&path).args(more);
            let second = Session::start(ground, second.stdout(Stdio::null()))?;
            let ended = second.end(Duration::from_secs(5)).with_context(|| format!("{form} {more:?}"))?;
            ended.expect(2).with_context(|| format!("{form} {more:?}"))?;
            refused += 1;
        }
        let made = super::load::run(ground, &netns, 200)?.transitions();
        first.stop()?.expect(0)?;
        let found = super::kept::read(ground, &path)?.transitions.len() as u64;
        ensure!(found == made, "{form}: the first session has {found} of {made}");
    }
    remove(&folder)?;
    Ok(format!("{refused} second sessions refused in {} forms", super::kept::FORMS.len()))
}

/// Names of at most fifteen bytes, as many as the kernel keeps.
const NAMES: [&[u8]; 12] = [
    b"\x1b[2J\r\n\x1b[31mx",
    "\x1b]0;t\x07\u{202e}x".as_bytes(),
    b"a\nLEAK  b\n",
    b"=cmd|'x'!A1",
    b"+1,=2;=3\t=4",
    b"@SUM(1)",
    b"-1\";=1",
    b"<script>x=1",
    b"\"><img src=x",
    b"$(reboot)`x`",
    b"\xff\xfe\x80 \xc3(",
    "\u{200b}\u{85}\u{2028}\u{9b}x".as_bytes(),
];

fn hostile(ground: &Ground) -> Result<String> {
    let folder = ground.folder()?;
    let mut files = 0;
    for (at, name) in NAMES.into_iter().enumerate() {
        let inner = folder.join(at.to_string());
        fs::create_dir(&inner)?;
        let shown = String::from_utf8_lossy(name).into_owned();
        files += hostile_name(ground, &inner, name).with_context(|| format!("the name {shown:?}"))?;
    }
    remove(&folder)?;
    Ok(format!("{} names in {files} files, of leaks, now and report", NAMES.len()))
}

/// A shell of that name, which holds a leaked socket until it is dropped.
struct Holder(Child);

impl Holder {
    fn start(folder: &Path, name: &[u8]) -> Result<(Self, u16)> {
        let program = folder.join(OsStr::from_bytes(name));
        symlink("/bin/sh", &program)?;
        let leak = Leak::new()?;
        fcntl_setfd(&leak.socket, FdFlags::empty())?;
        let mut command = Command::new(&program);
        command.args(["-c", "read line"]).arg(OsStr::from_bytes(name));
        let child = command.stdin(Stdio::piped()).spawn().context("cannot run a shell")?;
        Ok((Self(child), leak.port))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the tool name it in every form. Returns how many files were looked at.
fn hostile_name(ground: &Ground, folder: &Path, name: &[u8]) -> Result<usize> {
    let (holder, port) = Holder::start(folder, name)?;
    let pid = holder.0.id();
    let mut files: Vec<PathBuf> = Vec::new();
    for command in ["leaks", "now"] {
        let path = |form: &str| folder.join(format!("{command}.{form}"));
        let mut tool = ground.tool([command, "--lport", &port.to_string()]);
        for form in ["txt", "jsonl", "csv", "tct"] {
            tool.arg("-o").arg(path(form));
        }
        if command == "leaks" {
            tool.args(["--older-than", "0s", "--flush", "20ms"]);
        }
        let shown = path("stdout");
        let mut session = Session::start(ground, tool.stdout(fs::File::create(&shown)?))?;
        if command == "leaks" {
            session.wait_for("the leak is reported", || {
                Ok(path("jsonl").exists() && !leaks_in(&path("jsonl"))?.is_empty())
            })?;
            session.signal(Signal::INT)?;
        }
        let ended: Ended = session.end(LIMIT)?;
        ended.expect(0)?;
        is_harmless(&ended.messages, "standard error")?;
        let found = leaks_in(&path("jsonl"))?;
        let [leak] = &found[..] else { bail!("{command}: {} leaks instead of one", found.len()) };
        ensure!(names(leak, pid), "{command} does not name it: {leak}");
        let owner = leak["owners"].as_array().into_iter().flatten().find(|owner| owner["pid"] == pid);
        let comm = owner.map_or_else(String::new, |owner| owner["comm"].as_str().unwrap_or("").to_owned());
        ensure!(comm == String::from_utf8_lossy(name), "{command} has another name in JSON: {comm:?}");
        for form in ["txt", "json", "html", "perfetto"] {
            let report = folder.join(format!("{command}-report.{form}"));
            let mut tool = ground.tool(["report", "--format", if form == "txt" { "text" } else { form }]);
            tool.arg(path("tct")).arg("-o").arg(&report);
            Session::start(ground, tool.stdout(Stdio::null()))?.end(LIMIT)?.expect(0)?;
            files.push(report);
        }
        files.extend(["txt", "jsonl", "csv"].map(path));
        files.push(shown);
    }
    for file in &files {
        let text = fs::read(file).with_context(|| file.display().to_string())?;
        let text = String::from_utf8(text).with_context(|| format!("{}: no UTF-8", file.display()))?;
        is_harmless(&text, &file.display().to_string())?;
        let ending = file.extension().unwrap_or_default();
        if ending == "csv" {
            is_no_formula(&text)?;
        }
        if ending == "html" {
            ensure!(
                !text.contains("<script>x") && !text.contains("<img src=x"),
                "a tag in {}",
                file.display()
            );
        }
    }
    Ok(files.len())
}

/// Expects no control character but the end of a line, and nothing that changes the direction of text.
fn is_harmless(text: &str, what: &str) -> Result<()> {
    let is_harmful = |character: &char| {
        (character.is_control() && *character != '\n') || ('\u{2028}'..='\u{202e}').contains(character)
    };
    match text.chars().find(is_harmful) {
        Some(character) => bail!("{what} has {character:?}"),
        None => Ok(()),
    }
}

/// Expects that no cell begins a formula, however a spreadsheet divides the table into cells.
fn is_no_formula(table: &str) -> Result<()> {
    let cells = table.split([',', ';', '\t', '|', '\n']);
    let formula = cells.map(|cell| cell.trim_start_matches([' ', '"'])).find(|cell| {
        // A number may be less than zero.
        cell.starts_with(['=', '+', '@']) || (cell.starts_with('-') && cell.parse::<f64>().is_err())
    });
    ensure!(formula.is_none(), "a formula in CSV: {formula:?}");
    Ok(())
}
