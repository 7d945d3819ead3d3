//! Turns pids into owners. Reads each process at most once per round of inspections.

use std::{collections::BTreeMap, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::reader::{ProcessError, ProcessReader};
use crate::{
    host::{clock::Clocks, pool as parallel, world::World},
    model::{
        coverage::{Coverage, LookError, Operation},
        holders::Holders,
        owner::{Evidence, Owner},
        pid::Pid,
        process::{DescriptorUse, ProcessIdentity, UseQuery},
        task::Call,
    },
};

/// Identities kept between rounds.
const KEPT_PROCESSES: usize = 4096;

/// The last descriptor that a process gets from whoever starts it: up to this it may be any socket.
const STANDARD_ERROR: u32 = 2;

/// Processes that a thread reads in one go.
const CHUNK: usize = 32;

/// Caches the identities of processes.
pub(crate) struct ProcessCache {
    reader: ProcessReader,
    clocks: Clocks,
    /// Identities, shared by all findings about a process.
    known: FxHashMap<Pid, Arc<ProcessIdentity>>,
    /// Processes read in this round, including those that had ended.
    read_this_round: FxHashSet<Pid>,
    /// Of these, those that are there and cannot be read.
    unread: BTreeMap<u32, LookError>,
}

impl ProcessCache {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            reader: ProcessReader::new(world),
            clocks: world.clocks.clone(),
            known: FxHashMap::default(),
            read_this_round: FxHashSet::default(),
            unread: BTreeMap::new(),
        }
    }

    /// Begins a round: identities are read anew.
    pub(crate) fn begin_round(&mut self) {
        self.read_this_round.clear();
        self.unread.clear();
        self.reader.begin_round();
        if self.known.len() >= KEPT_PROCESSES {
            self.known.clear();
        }
    }

    /// Reads many processes, on several threads.
    pub(crate) fn read_all(&mut self, pids: &FxHashSet<Pid>) {
        let pids: Vec<Pid> = pids.difference(&self.read_this_round).copied().collect();
        let reader = &self.reader;
        let chunks = pids.chunks(CHUNK).collect();
        let read = parallel::map(chunks, |chunk: &[Pid]| {
            chunk.iter().map(|pid| (*pid, reader.read(*pid))).collect::<Vec<_>>()
        });
        for (pid, fresh) in read.into_iter().flatten() {
            self.learn(pid, fresh);
        }
    }

    fn learn(&mut self, pid: Pid, fresh: Result<ProcessIdentity, ProcessError>) {
        self.read_this_round.insert(pid);
        match fresh {
            Ok(fresh) if self.known.get(&pid).is_some_and(|kept| **kept == fresh) => {}
            Ok(fresh) => {
                self.known.insert(pid, Arc::new(fresh));
            }
            Err(error) => {
                self.known.remove(&pid);
                if let (ProcessError::Unreadable { source, .. }, Some(number)) = (error, pid.visible()) {
                    let errno = source.raw_os_error().unwrap_or_default();
                    self.unread.insert(number, LookError { operation: Operation::ReadProcess, errno });
                }
            }
        }
    }

    /// Adds the holders and openers of this round that could not be read.
    pub(crate) fn cover(&self, coverage: &mut Coverage) {
        coverage.processes.extend(&self.unread);
    }

    /// The identity of a process; `None` if it has ended, or cannot be read.
    fn process(&mut self, pid: Pid) -> Option<Arc<ProcessIdentity>> {
        if !self.read_this_round.contains(&pid) {
            let fresh = self.reader.read(pid);
            self.learn(pid, fresh);
        }
        self.known.get(&pid).cloned()
    }

    /// The holders as owners, without processes that have ended since the scan, without those that cannot be read
    /// ([`ProcessCache::cover`] has them), and without those that run this program: it makes no connections, and what it
    /// has is a copy for a moment, of a socket that it looks into.
    pub(crate) fn owners(
        &mut self,
        holders: &Holders,
        evidence: Evidence,
        opener: Option<Call>,
    ) -> Vec<Owner> {
        holders
            .iter()
            .filter_map(|(pid, fds)| {
                let process = self.process(*pid)?;
                let is_copy = evidence == Evidence::FdTable && fds.iter().all(|fd| *fd > STANDARD_ERROR);
                if is_copy && self.reader.runs_this_program(&process) {
                    return None;
                }
                let inherited = opener.map(|opener| opener.task.pid != *pid);
                Some(Owner { process, fds: fds.clone(), inherited, evidence })
            })
            .collect()
    }

    /// The opener as an owner: its present identity if it still runs, else the name it had.
    pub(crate) fn opener(&mut self, opener: &Call) -> Owner {
        let process = self.caller(opener).unwrap_or_else(|| {
            Arc::new(ProcessIdentity::from_name(opener.task.pid, &opener.task.comm.to_text()))
        });
        Owner { process, fds: Vec::new(), inherited: Some(false), evidence: Evidence::Opened }
    }

    /// The process that made a call, if it still runs. A later process with the same pid does not count.
    pub(crate) fn caller(&mut self, call: &Call) -> Option<Arc<ProcessIdentity>> {
        let process = self.process(call.task.pid)?;
        let started = process.start_ticks.unwrap_or(i64::MAX);
        (started <= self.clocks.boot_ticks_at(call.ktime_ns)).then_some(process)
    }

    /// A moment on the kernel's clock as the start of a process tells it.
    pub(crate) fn boot_ticks_at(&self, ktime_ns: u64) -> i64 {
        self.clocks.boot_ticks_at(ktime_ns)
    }

    /// Descriptors in use and their limit, for each of these processes in order.
    pub(crate) fn descriptor_use(&self, queries: &[UseQuery]) -> Vec<DescriptorUse> {
        let chunks = queries.chunks(CHUNK).collect();
        let read = |query: &UseQuery| self.reader.descriptor_use(query.pid, query.start_ticks);
        parallel::map(chunks, |chunk: &[UseQuery]| chunk.iter().map(read).collect::<Vec<_>>()).concat()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn copies_of_this_program_are_no_holders_but_what_it_was_started_with_is() {
        let root = tempfile::tempdir().unwrap();
        let mut world = World::planted(root.path(), Clocks::scripted(0));
        world.proc = "/proc".into();
        let mut cache = ProcessCache::new(&world);
        let own = Pid::new(std::process::id());
        let mut held = |fds: Vec<u32>, evidence| {
            let holders = Holders::from([(own, fds), (Pid::new(1), vec![3])]);
            let owners = cache.owners(&holders, evidence, None);
            owners.iter().any(|owner| owner.process.pid == own)
        };
        assert!(!held(vec![7], Evidence::FdTable));
        assert!(held(vec![1, 7], Evidence::FdTable), "its output goes there");
        assert!(held(vec![7], Evidence::Listener));
    }

    #[test]
    fn a_holder_that_is_there_and_cannot_be_read_is_no_holder_that_has_ended() {
        let root = tempfile::tempdir().unwrap();
        let world = World::planted(root.path(), Clocks::scripted(0));
        // Reading a directory fails, as opening does where no descriptor is left.
        fs::create_dir_all(world.proc.join("7/stat")).unwrap();
        let mut cache = ProcessCache::new(&world);
        let holders = Holders::from([(Pid::new(7), vec![3]), (Pid::new(8), vec![4])]);
        assert_eq!(cache.owners(&holders, Evidence::FdTable, None), []);
        let mut coverage = Coverage::default();
        cache.cover(&mut coverage);
        let is_directory = LookError { operation: Operation::ReadProcess, errno: 21 };
        assert_eq!(coverage.processes, BTreeMap::from([(7, is_directory)]));
        cache.begin_round();
        let mut coverage = Coverage::default();
        cache.cover(&mut coverage);
        assert_eq!(coverage.processes, BTreeMap::new());
    }
}
