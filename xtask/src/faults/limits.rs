//! Limits on the tool itself: it does its work, or says what is missing. It never breaks, and never says "none".

use super::ground::{Ground, remove};
use super::leak::{Leak, leaks_in, names};
use super::row::{NotTried, Row};
use super::session::Session;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The rows, in the order of the table.
pub(crate) static ROWS: [Row; 4] = [
    Row {
        name: "6 to 64 descriptors",
        promise: "each of `now`, `leaks` and `trace` does its work, or says why not, with its own exit code",
        run: |ground| {
            with_each(ground, (6..=64).map(|count| (count, vec![format!("--nofile={count}:{count}")])))
        },
    },
    Row {
        name: "8 MiB to 1 GiB of address space",
        promise: "each of `now`, `leaks` and `trace` does its work, or says why not, with its own exit code",
        run: |ground| {
            let sizes = [8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 768, 1024];
            with_each(ground, sizes.map(|mib| (mib, vec![format!("--as={}", mib << 20)])))
        },
    },
    Row {
        name: "no locked memory",
        promise: "each of `now`, `leaks` and `trace` does its work, with memlock 0",
        run: |ground| {
            let figure = with_each(ground, [(0, vec!["--memlock=0:0".to_owned()])])?;
            ensure!(figure.starts_with("3 of 3 "), "{figure}");
            Ok(figure)
        },
    },
    Row {
        name: "1 to 12 processes and threads",
        promise: "each of `now`, `leaks` and `trace` does its work, or says why not, with its own exit code",
        run: few_processes,
    },
];

const LONGEST: Duration = Duration::from_secs(20);

/// Runs the commands with each of these limits, which are arguments of prlimit(1).
fn with_each(ground: &Ground, limits: impl IntoIterator<Item = (u64, Vec<String>)>) -> Result<String> {
    let limited = |limit: &Vec<String>| {
        let mut command = Command::new("prlimit");
        command.args(limit);
        command
    };
    all(ground, limits.into_iter().map(|(number, limit)| (number, limited(&limit))))
}

fn few_processes(ground: &Ground) -> Result<String> {
    let cgroup = Cgroup::new()?;
    let mut limited = Vec::new();
    for most in 1..=12_u64 {
        let mut shell = Command::new("sh");
        // The shell becomes the tool, so it counts as one.
        let script = format!(
            "echo {most} >{0}/pids.max && echo $$ >{0}/cgroup.procs && exec \"$@\"",
            cgroup.path.display()
        );
        shell.args(["-c", &script, "sh"]);
        limited.push((most, shell));
    }
    all(ground, limited)
}

/// Runs the commands by each of these, which limits what follows it. Returns how many did their work.
fn all(ground: &Ground, limited: impl IntoIterator<Item = (u64, Command)>) -> Result<String> {
    let folder = ground.folder()?;
    let leak = Leak::new()?;
    let (mut worked, mut runs, mut least) = (0, 0, [None; 3]);
    let mut broken = Vec::new();
    let mut unstarted = 0;
    for (number, limiter) in limited {
        let tool = || {
            let mut command = Command::new(limiter.get_program());
            command.args(limiter.get_args()).arg(&ground.tcptrace).stdout(Stdio::null());
            command
        };
        // Where not even its program can be loaded, nothing can be asked of it.
        if Session::start(ground, tool().arg("--version"))?.end(LONGEST)?.code != Some(0) {
            unstarted += 1;
            continue;
        }
        for (words, least) in ["now", "leaks", "trace"].into_iter().zip(&mut least) {
            let path = folder.join(format!("{words}-{number}.jsonl"));
            let mut command = tool();
            command.args([words, "--lport", &leak.port.to_string(), "-o"]).arg(&path);
            if words != "now" {
                command.args(["--duration", "500ms"]);
            }
            if words == "leaks" {
                command.args(["--older-than", "0s"]);
            }
            runs += 1;
            match judge(ground, &mut command, words, &path) {
                Ok(true) => {
                    worked += 1;
                    least.get_or_insert(number);
                }
                Ok(false) => {}
                Err(error) => broken.push(format!("{words} with {number}: {error:#}")),
            }
        }
    }
    if !broken.is_empty() {
        bail!("{} of {runs} break: {}", broken.len(), broken.join("; "));
    }
    remove(&folder)?;
    let least =
        least.map(|least| least.map_or_else(|| "never".to_owned(), |number| format!("from {number}")));
    Ok(format!(
        "{worked} of {runs} did their work (`now` {}, `leaks` {}, `trace` {}), the others said why not; with {unstarted} \
         limits the program cannot be loaded",
        least[0], least[1], least[2]
    ))
}

/// Whether it did its work; an error where it neither did nor said why not.
fn judge(ground: &Ground, command: &mut Command, words: &str, path: &Path) -> Result<bool> {
    let ended = Session::start(ground, command)?.end(LONGEST)?;
    let message = ended.messages.trim();
    match ended.code {
        Some(0) => {
            let text = fs::read_to_string(path).context("code 0, and no file")?;
            ensure!(text.contains("\"type\":\"summary\"") || words == "now", "code 0, and no summary");
            if words != "trace" {
                let is_named = leaks_in(path)?.iter().any(|leak| names(leak, std::process::id()));
                ensure!(is_named, "code 0, and the leak is not named: {message}");
            }
            Ok(true)
        }
        Some(3 | 4) => {
            ensure!(!message.is_empty(), "it does not say why it ended with {}", ended.how());
            ensure!(!message.contains("panicked"), "{message}");
            Ok(false)
        }
        _ => bail!("it ended with {}: {message}", ended.how()),
    }
}

/// A cgroup that counts processes. Dropping it removes it.
struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let of_pids = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, place, kind, options, ..] = words[..] else { return None };
            let is_v1 = kind == "cgroup" && options.split(',').any(|option| option == "pids");
            let controllers = Path::new(place).join("cgroup.subtree_control");
            let is_v2 = kind == "cgroup2"
                && fs::read_to_string(controllers)
                    .is_ok_and(|text| text.split_whitespace().any(|one| one == "pids"));
            (is_v1 || is_v2).then(|| PathBuf::from(place))
        };
        let Some(root) = mounts.lines().find_map(of_pids) else {
            return Err(NotTried("no cgroup hierarchy with the controller of pids".to_owned()).into());
        };
        let path = root.join(format!("faults-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}
