//! Finds the processes that run Python, PHP or Ruby, on a thread of its own: those that are there when it starts, those that begin to run
//! another program, and those that others ask for. Each look is bounded, and so is their number in a second.
//!
//! A program that needs a libpython, a libphp or a libruby has it mapped a millisecond or two after it was started; the interpreter takes
//! ten more before it runs the first line.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use tcptrace_ebpf::interpreter::InterpreterProcess;

use super::{
    builds::Builds,
    machine::{Machine, MachinePart},
};
use crate::{
    host::wakeup::Wakeup,
    stacks::{
        elf::bias,
        mappings::{self, FileIdentity, Mapping},
    },
};

/// Files of which it is known whether they hold an interpreter; beyond, all are forgotten.
const MOST_FILES: usize = 4_096;

/// Processes that wait to be looked at again, and questions that wait for an answer.
const MOST_WAITING: usize = 1_024;
const MOST_QUESTIONS: usize = 256;

/// Processes that are looked at in a second, at some 20 µs each; what is beyond is left out and counted.
const MOST_LOOKS: u32 = 2_000;

/// Looks at processes that are there already, between two looks for new ones.
const LOOKS_IN_PASSING: usize = 16;

/// When a program that needs such a library is looked at again, and how often: after 1, 2, 4 … 128 ms.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const MOST_TRIES: u32 = 8;

/// How long to wait for a program to be started, or for a question, before the end is looked for.
const INTERVAL: Duration = Duration::from_secs(1);

/// How the thread is favoured (setpriority(2)): it has some milliseconds before a program that was started may make its
/// first call, also on a host whose CPUs have more to do than they can.
const PRIORITY: i32 = -15;

/// Asks for processes to be looked at.
#[derive(Clone)]
pub(crate) struct InterpreterFinder {
    questions: SyncSender<u32>,
    wakeup: Arc<Wakeup>,
    pub(in crate::stacks) builds: Arc<Builds>,
}

impl InterpreterFinder {
    /// Starts the thread, which ends when `is_over`. It waits in `started`, which passes processes that began to run another
    /// program to its visitor, and waits for the `wakeup` as well. It hands what it found to `insert`.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(crate) fn start<S, I>(
        proc_root: &Path,
        is_over: Arc<AtomicBool>,
        wakeup: Arc<Wakeup>,
        started: S,
        insert: I,
    ) -> std::io::Result<Self>
    where
        S: FnMut(Duration, &mut dyn FnMut(u32)) + Send + 'static,
        I: FnMut(u32, &InterpreterProcess) + Send + 'static,
    {
        let (questions, asked) = mpsc::sync_channel(MOST_QUESTIONS);
        let builds = Arc::new(Builds::default());
        let finder = Finder::new(proc_root, Arc::clone(&builds));
        thread::Builder::new()
            .name("script-finder".to_owned())
            .spawn(move || finder.run(&is_over, &asked, started, insert))?;
        Ok(Self { questions, wakeup, builds })
    }

    /// Has a process looked at, soon.
    pub(in crate::stacks) fn ask(&self, pid: u32) {
        // Whoever finds no room asks again at a later call.
        let _ = self.questions.try_send(pid);
        self.wakeup.wake();
    }
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Interpreter(InterpreterProcess),
    /// It needs a library with an interpreter, and has not mapped it.
    NotYet,
    Nothing,
}

/// A process to look at again.
struct Waiting {
    pid: u32,
    due: Instant,
    tries: u32,
}

struct Finder {
    proc_root: PathBuf,
    files: FxHashMap<FileIdentity, Arc<MachinePart>>,
    builds: Arc<Builds>,
    waiting: VecDeque<Waiting>,
    second: Instant,
    looks: u32,
    skipped: u64,
}

impl Finder {
    fn new(proc_root: &Path, builds: Arc<Builds>) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            files: FxHashMap::default(),
            builds,
            waiting: VecDeque::new(),
            second: Instant::now(),
            looks: 0,
            skipped: 0,
        }
    }

    fn run(
        mut self,
        is_over: &AtomicBool,
        asked: &Receiver<u32>,
        mut started: impl FnMut(Duration, &mut dyn FnMut(u32)),
        mut insert: impl FnMut(u32, &InterpreterProcess),
    ) {
        if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
            log::debug!("programs are looked at for interpreters later where CPUs are busy: {error}");
        }
        let mut there = self.processes();
        let mut new = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let wait = if there.is_empty() { self.until_due() } else { Duration::ZERO };
            started(wait, &mut |pid| new.push(pid));
            for pid in new.drain(..) {
                self.look(pid, false, 0, &mut insert);
            }
            for pid in asked.try_iter().take(MOST_QUESTIONS) {
                self.look(pid, true, 0, &mut insert);
            }
            let now = Instant::now();
            for _ in 0..self.waiting.len() {
                let Some(Waiting { pid, due, tries }) = self.waiting.pop_front() else { break };
                if due > now {
                    self.waiting.push_back(Waiting { pid, due, tries });
                } else {
                    self.look(pid, false, tries, &mut insert);
                }
            }
            for pid in there.drain(there.len().saturating_sub(LOOKS_IN_PASSING)..) {
                if let Found::Interpreter(process) = self.find(pid, true) {
                    insert(pid, &process);
                }
            }
        }
        if self.skipped > 0 {
            log::debug!(
                "{} programs were not looked at for interpreters: too many were started",
                self.skipped
            );
        }
    }

    /// The processes that are there.
    fn processes(&self) -> Vec<u32> {
        let entries = fs::read_dir(&self.proc_root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    fn until_due(&self) -> Duration {
        let first = self.waiting.iter().map(|waiting| waiting.due).min();
        first.map_or(INTERVAL, |due| due.saturating_duration_since(Instant::now()).min(INTERVAL))
    }

    /// Looks at a process after so many tries, hands over what is found, or has it looked at again.
    fn look(
        &mut self,
        pid: u32,
        is_thorough: bool,
        tries: u32,
        insert: &mut impl FnMut(u32, &InterpreterProcess),
    ) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.looks) = (Instant::now(), 0);
        }
        if self.looks >= MOST_LOOKS {
            self.skipped += 1;
            return;
        }
        self.looks += 1;
        match self.find(pid, is_thorough) {
            Found::Interpreter(process) => insert(pid, &process),
            Found::NotYet if tries < MOST_TRIES && self.waiting.len() < MOST_WAITING => {
                let due = Instant::now() + FIRST_WAIT * (1 << tries);
                self.waiting.push_back(Waiting { pid, due, tries: tries + 1 });
            }
            Found::NotYet | Found::Nothing => {}
        }
    }

    /// Finds out whether a process runs an interpreter. A thorough look is not content with the program, which may load a
    /// library with one without needing it.
    fn find(&mut self, pid: u32, is_thorough: bool) -> Found {
        let mut found = || {
            let process = mappings::process(&self.proc_root, pid).ok()?;
            let (identity, file) = mappings::program(&process).ok()?;
            let program = self.part(identity, file);
            let is_wanted = match *program {
                MachinePart::Holds(_) => |_: &str| true,
                MachinePart::Nothing if !is_thorough => return None,
                MachinePart::Needs | MachinePart::Nothing => may_hold_machine,
            };
            for mapping in mappings::executable_named(&process, is_wanted).ok()? {
                let Ok((identity, file)) = mapping.open(&process) else { continue };
                if let MachinePart::Holds(build) = &*self.part(identity, file) {
                    return self.placed(build, &mapping).map(Found::Interpreter);
                }
            }
            (*program == MachinePart::Needs).then_some(Found::NotYet)
        };
        found().unwrap_or(Found::Nothing)
    }

    fn part(&mut self, identity: FileIdentity, file: fs::File) -> Arc<MachinePart> {
        if self.files.len() >= MOST_FILES {
            self.files.clear();
        }
        Arc::clone(self.files.entry(identity).or_insert_with(|| Arc::new(MachinePart::of(file))))
    }

    /// A build where a process has mapped it.
    fn placed(&self, build: &Machine, mapping: &Mapping) -> Option<InterpreterProcess> {
        let bias = bias(build.segments(), &mapping.in_file(), mapping.addresses.start)?;
        Some(InterpreterProcess {
            root: build.root().wrapping_add(bias),
            build: self.builds.number(build)?,
            walk: build.walk(),
            padding: 0,
        })
    }
}

/// Whether a path may be that of a file which holds an interpreter: `libpython3.12.so.1.0`, `libphp8.2.so`, `libruby-3.1.so.3.1.2`,
/// or `python3.12` where the dynamic linker was told to run it.
fn may_hold_machine(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_prefix("lib").unwrap_or(name);
    ["python", "php", "ruby"].iter().any(|begin| stem.starts_with(begin))
}

#[cfg(test)]
mod tests;
