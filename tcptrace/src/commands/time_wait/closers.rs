//! The processes that close sockets. The kernel side reports them at close(); they are read at once because
//! they may end at any moment. Bounded in number and in reads of /proc: beyond that, processes are known by
//! name only.

use std::{collections::HashMap, sync::Arc};

use rustc_hash::FxHashMap;

use crate::{
    host::{clock::Clocks, world::World},
    model::{pid::Pid, process::ProcessIdentity, task::Task, time_wait::CloserId},
    process::reader::ProcessReader,
};

/// Most processes kept, at about a kilobyte each.
const MOST_KEPT: usize = 4_096;

/// Most processes kept that had ended before they were read; of further ones with one name, nothing tells them apart.
const MOST_SHORT_LIVED: usize = 1_024;

/// Most names kept of these.
const MOST_NAMES: usize = 1_024;

/// Most processes read per second, at some fifty microseconds each.
const READS_A_SECOND: u32 = 256;

/// How long an identity is valid: after that the process may have called exec, or be another one.
const FRESH_NS: u64 = 1_000_000_000;

/// A process that has closed nothing for this long has no minisockets left.
const IDLE_NS: u64 = 130_000_000_000;

/// The processes seen closing sockets.
pub(crate) struct Closers {
    reader: ProcessReader,
    clocks: Clocks,
    known: FxHashMap<CloserId, KnownCloser>,
    by_pid: FxHashMap<Pid, Seen>,
    /// Those that had ended before they were read, also by name, as the process chose it.
    short_lived: HashMap<(Pid, [u8; 16]), CloserId>,
    by_name: HashMap<[u8; 16], CloserId>,
    next: u32,
    budget: Budget,
}

struct KnownCloser {
    process: Arc<ProcessIdentity>,
    used_ns: u64,
}

#[derive(Clone, Copy)]
struct Seen {
    closer: CloserId,
    read_ns: u64,
}

/// The reads of /proc left in this second.
#[derive(Default)]
struct Budget {
    began_ns: u64,
    left: u32,
}

impl Closers {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            reader: ProcessReader::new(world),
            clocks: world.clocks.clone(),
            known: FxHashMap::default(),
            by_pid: FxHashMap::default(),
            short_lived: HashMap::new(),
            by_name: HashMap::new(),
            next: 0,
            budget: Budget::default(),
        }
    }

    /// The process of a task that closed a socket at `ktime_ns` (CLOCK_MONOTONIC, nanoseconds). `None` if
    /// there is no room, not even for the name, and where the kernel did that for a process.
    pub(crate) fn identify(&mut self, task: &Task, ktime_ns: u64) -> Option<CloserId> {
        if task.is_kernel_worker() {
            return None;
        }
        let seen = self.by_pid.get(&task.pid).copied();
        let closer = match seen {
            Some(seen)
                if ktime_ns.saturating_sub(seen.read_ns) < FRESH_NS
                    && self.process(seen.closer).is_some_and(|process| may_be(process, task)) =>
            {
                Some(seen.closer)
            }
            _ if self.budget.take(ktime_ns) => self.read(task, ktime_ns, seen),
            Some(seen) => Some(seen.closer),
            None => self.by_name(task, ktime_ns),
        }?;
        if let Some(known) = self.known.get_mut(&closer) {
            known.used_ns = ktime_ns;
        }
        Some(closer)
    }

    /// The process with this number.
    pub(crate) fn process(&self, closer: CloserId) -> Option<&Arc<ProcessIdentity>> {
        self.known.get(&closer).map(|known| &known.process)
    }

    fn read(&mut self, task: &Task, ktime_ns: u64, seen: Option<Seen>) -> Option<CloserId> {
        let before = seen.and_then(|seen| Some((seen.closer, Arc::clone(self.process(seen.closer)?))));
        // A process that started later merely reuses the pid.
        let now = self.reader.read(task.pid).ok().filter(|process| {
            process.start_ticks.is_some_and(|started| started <= self.clocks.boot_ticks_at(ktime_ns))
        });
        let closer = match (now, before) {
            (Some(process), Some((closer, before))) if process.start_ticks == before.start_ticks => {
                if let Some(known) = self.known.get_mut(&closer).filter(|_| process != *before) {
                    known.process = Arc::new(process);
                }
                closer
            }
            (Some(process), _) => match self.keep(process, ktime_ns) {
                Some(closer) => closer,
                None => return self.by_name(task, ktime_ns),
            },
            // The process has ended.
            (None, Some((closer, before))) if may_be(&before, task) => closer,
            (None, _) => return self.by_name(task, ktime_ns),
        };
        self.by_pid.insert(task.pid, Seen { closer, read_ns: ktime_ns });
        Some(closer)
    }

    /// A process that ended before it was read, or exceeded the reads per second. Where there are very many, all with the same
    /// name count as one, of which no number is known.
    fn by_name(&mut self, task: &Task, ktime_ns: u64) -> Option<CloserId> {
        let key = (task.pid, task.comm.0);
        if let Some(closer) = self.short_lived.get(&key).or_else(|| self.by_name.get(&task.comm.0)) {
            return Some(*closer);
        }
        let name = task.comm.to_text();
        if self.short_lived.len() < MOST_SHORT_LIVED
            && let Some(closer) = self.keep(ProcessIdentity::from_name(task.pid, &name), ktime_ns)
        {
            self.short_lived.insert(key, closer);
            return Some(closer);
        }
        if self.by_name.len() >= MOST_NAMES {
            return None;
        }
        let closer = self.insert(ProcessIdentity::from_name(Pid::UNKNOWN, &name), ktime_ns);
        self.by_name.insert(task.comm.0, closer);
        Some(closer)
    }

    fn keep(&mut self, process: ProcessIdentity, ktime_ns: u64) -> Option<CloserId> {
        if self.known.len() >= MOST_KEPT {
            self.known.retain(|_, known| ktime_ns.saturating_sub(known.used_ns) < IDLE_NS);
            self.by_pid.retain(|_, seen| self.known.contains_key(&seen.closer));
            self.short_lived.retain(|_, closer| self.known.contains_key(closer));
            self.by_name.retain(|_, closer| self.known.contains_key(closer));
        }
        (self.known.len() < MOST_KEPT).then(|| self.insert(process, ktime_ns))
    }

    fn insert(&mut self, process: ProcessIdentity, ktime_ns: u64) -> CloserId {
        let closer = CloserId(self.next);
        self.next = self.next.wrapping_add(1);
        self.known.insert(closer, KnownCloser { process: Arc::new(process), used_ns: ktime_ns });
        closer
    }
}

/// Whether a task with the pid of this process may belong to it. A main thread has the name of its process,
/// so another name means another process or program.
fn may_be(process: &ProcessIdentity, task: &Task) -> bool {
    task.tid != task.pid || task.comm.to_text() == process.comm
}

impl Budget {
    fn take(&mut self, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.began_ns) >= 1_000_000_000 {
            *self = Self { began_ns: now_ns, left: READS_A_SECOND };
        }
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::model::{pid::Pid, task::Comm};

    const SECOND: u64 = 1_000_000_000;

    fn task(pid: u32, name: &str) -> Task {
        let mut comm = [0; 16];
        comm[..name.len()].copy_from_slice(name.as_bytes());
        Task { pid: Pid::new(pid), tid: Pid::new(pid), comm: Comm(comm) }
    }

    #[test]
    fn a_living_process_is_described_and_an_ended_one_named() {
        let root = tempfile::tempdir().unwrap();
        let world = World::planted(root.path(), Clocks::scripted(1_000 * SECOND));
        let mut closers = Closers::new(&world);
        let directory = world.proc.join("7");
        std::fs::create_dir_all(&directory).unwrap();
        let now = world.clocks.monotonic_ns();
        let started = world.clocks.boot_ticks_at(now) - 100;
        let stat = |started: i64| format!("7 (shop) S{} {started} 0", " 0".repeat(18));
        std::fs::write(directory.join("stat"), stat(started)).unwrap();
        std::fs::write(directory.join("cmdline"), "shop\0--fast\0").unwrap();
        let shop = closers.identify(&task(7, "shop"), now).unwrap();
        assert_eq!(closers.process(shop).unwrap().cmdline, ["shop", "--fast"]);
        // Ended: what was read of it stays. Another one with the same pid is another.
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(closers.identify(&task(7, "shop"), now + SECOND), Some(shop));
        let other = closers.identify(&task(7, "other"), now + SECOND).unwrap();
        assert_ne!(other, shop);
        assert_eq!(closers.process(other).unwrap().comm, "other");
        // One that took the pid over later did not close anything before.
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("stat"), stat(started + 10_000_000)).unwrap();
        assert_eq!(closers.identify(&task(7, "shop"), now + 3 * SECOND), Some(shop));
    }

    #[test]
    fn short_lived_processes_of_one_name_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let world = World::planted(root.path(), Clocks::scripted(1_000 * SECOND));
        let mut closers = Closers::new(&world);
        let now = world.clocks.monotonic_ns();
        let mut seen = |pid| closers.identify(&task(pid, "curl"), now).unwrap();
        let (first, second) = (seen(81), seen(82));
        assert_ne!(first, second);
        assert_eq!(seen(81), first);
        let pid = |closer| closers.process(closer).unwrap().pid;
        assert_eq!((pid(first), pid(second)), (Pid::new(81), Pid::new(82)));
        assert_eq!(closers.identify(&task(83, "kworker/1:0"), now), None, "it closes for somebody");
    }

    #[test]
    fn memory_and_reads_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        let world = World::planted(root.path(), Clocks::scripted(1_000 * SECOND));
        let mut closers = Closers::new(&world);
        let now = world.clocks.monotonic_ns();
        for pid in 1..20_000 {
            closers.identify(&task(pid, &format!("name-{pid}")), now + u64::from(pid));
        }
        assert!(closers.known.len() <= MOST_SHORT_LIVED + MOST_NAMES && closers.by_pid.is_empty());
        assert_eq!(closers.identify(&task(30_000, "one-more"), now), None);
        let mut budget = Budget::default();
        assert_eq!((0..1_000).filter(|_| budget.take(SECOND)).count(), READS_A_SECOND as usize);
        assert!(budget.take(2 * SECOND));
    }
}
