//! Recordings that are damaged, at random: whatever reads them ends, in time and with its own exit code, and damage is
//! not passed over.

use super::ground::{Ground, remove};
use super::load;
use super::namespace::Netns;
use super::random::Random;
use super::row::Row;
use super::session::Session;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 1] = [Row {
    name: "damaged recordings",
    promise: "`report` and `trace --replay` end within 10 s and 512 MiB of address space, by no signal, with code 0, 2 or \
              4; of `.tct` either nothing is missing or it is said",
    run: damaged,
}];

const LONGEST: Duration = Duration::from_secs(10);

/// Address space, in bytes.
const MOST_MEMORY: u64 = 512 << 20;

/// Does something to the bytes of a file.
type Damage = fn(&mut Vec<u8>, &mut Random);

/// What is done to a file.
const KINDS: [(&str, Damage); 8] = [
    ("a bit flipped", |bytes, random| {
        let at = random.index(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }),
    ("cut", |bytes, random| bytes.truncate(random.index(bytes.len()))),
    ("a part gone", |bytes, random| {
        let part = part(bytes, random);
        bytes.drain(part);
    }),
    ("a part zeroed", |bytes, random| {
        let part = part(bytes, random);
        bytes[part].fill(0);
    }),
    ("a part twice", |bytes, random| {
        let part = part(bytes, random);
        let (copy, at) = (bytes[part.clone()].to_vec(), part.end);
        bytes.splice(at..at, copy);
    }),
    ("noise in between", |bytes, random| {
        let at = random.index(bytes.len());
        let noise: Vec<u8> = noise(random).collect();
        bytes.splice(at..at, noise);
    }),
    ("noise over a part", |bytes, random| {
        let part = part(bytes, random);
        let noise: Vec<u8> = noise(random).take(part.len()).collect();
        let end = part.start + noise.len();
        bytes[part.start..end].copy_from_slice(&noise);
    }),
    ("the end first", |bytes, random| {
        let at = random.index(bytes.len());
        bytes.rotate_left(at);
    }),
];

fn part(bytes: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let from = random.index(bytes.len());
    let length = 1 + random.index(4_096.min(bytes.len() - from));
    from..from + length
}

fn noise(random: &mut Random) -> impl Iterator<Item = u8> {
    let length = 1 + random.index(2_048);
    (0..length).map(|_| random.below(256).to_le_bytes()[0])
}

fn damaged(ground: &Ground) -> Result<String> {
    let folder = ground.folder()?;
    let recordings = recordings(ground, &folder)?;
    let mut random = Random::new(41);
    let (mut codes, mut slowest) = (BTreeMap::new(), Duration::ZERO);
    let wholes: Vec<Vec<u8>> = recordings
        .iter()
        .map(|recording| Ok(run(ground, &["trace", "--replay"], recording)?.0.stdout))
        .collect::<Result<_>>()?;
    let times = ground.times(880, 8_800);
    for time in 0..times as usize {
        let which = time % recordings.len();
        let (what, damage) = KINDS[time / recordings.len() % KINDS.len()];
        let recording = &recordings[which];
        let mut bytes = fs::read(recording)?;
        damage(&mut bytes, &mut random);
        let name = recording.file_name().unwrap_or_default();
        let path = folder.join("damaged").join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, bytes)?;
        let about = || format!("file {time}, {what} in {}", name.display());
        for words in [&["trace", "--replay"][..], &["report"]] {
            let (output, took) = run(ground, words, &path).with_context(about)?;
            slowest = slowest.max(took);
            let Some(code @ (0 | 2 | 4)) = output.status.code() else {
                bail!(
                    "{}: {words:?} ended with {}: {}",
                    about(),
                    output.status,
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            };
            *codes.entry((words[0], code)).or_insert(0_u32) += 1;
            let is_binary = name.to_string_lossy().contains(".tct");
            if code == 0 && is_binary && words[0] == "trace" {
                ensure!(output.stdout == wholes[which], "{}: the damage is passed over", about());
            }
        }
    }
    remove(&folder)?;
    let codes: Vec<String> =
        codes.iter().map(|((word, code), times)| format!("{word} code {code} × {times}")).collect();
    Ok(format!("{times} files: {}; the slowest took {} ms", codes.join(", "), slowest.as_millis()))
}

/// Sessions with every kind of record, in each form that can be read back.
fn recordings(ground: &Ground, folder: &Path) -> Result<Vec<PathBuf>> {
    let forms = ["tct", "jsonl", "tct.zst", "jsonl.zst"];
    let netns = Netns::new()?;
    let mut command = ground.tool(["trace", "--owners", "--older-than", "0s", "--netns", &netns.inode()?]);
    let paths: Vec<PathBuf> = forms.iter().map(|form| folder.join(format!("x.{form}"))).collect();
    for path in &paths {
        command.arg("-o").arg(path);
    }
    let session = Session::attached(ground, &mut command, &paths[0])?;
    let leak = netns.within(super::leak::Leak::new)?;
    load::run(ground, &netns, 300)?;
    drop(leak);
    session.stop()?.expect(0)?;
    Ok(paths)
}

/// Runs the tool on a file, with little memory.
fn run(ground: &Ground, words: &[&str], path: &Path) -> Result<(Output, Duration)> {
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={MOST_MEMORY}")).arg("timeout").arg("--signal=KILL");
    command.arg(LONGEST.as_secs().to_string()).arg(&ground.tcptrace).args(words).arg(path);
    if words[0] == "trace" {
        command.args(["--format", "jsonl"]);
    }
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("cannot run prlimit")?;
    Ok((output, began.elapsed()))
}
