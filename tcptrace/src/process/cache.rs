//! Turns pids into owners. Reads each process at most once per round of inspections.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::reader::ProcessReader;
use crate::{
    host::{clock::Clocks, pool as parallel, world::World},
    model::{
        holders::Holders,
        owner::{Evidence, Owner},
        pid::Pid,
        process::{DescriptorUse, ProcessIdentity, UseQuery},
        task::Call,
    },
};

/// Identities kept between rounds.
const KEPT_PROCESSES: usize = 4096;

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
}

impl ProcessCache {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            reader: ProcessReader::new(world),
            clocks: world.clocks.clone(),
            known: FxHashMap::default(),
            read_this_round: FxHashSet::default(),
        }
    }

    /// Begins a round: identities are read anew.
    pub(crate) fn begin_round(&mut self) {
        self.read_this_round.clear();
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
            chunk.iter().map(|pid| (*pid, reader.read(*pid).ok())).collect::<Vec<_>>()
        });
        for (pid, fresh) in read.into_iter().flatten() {
            self.learn(pid, fresh);
        }
    }

    fn learn(&mut self, pid: Pid, fresh: Option<ProcessIdentity>) {
        self.read_this_round.insert(pid);
        let Some(fresh) = fresh else {
            self.known.remove(&pid);
            return;
        };
        if self.known.get(&pid).is_none_or(|kept| **kept != fresh) {
            self.known.insert(pid, Arc::new(fresh));
        }
    }

    /// The identity of a process; `None` if it has ended.
    fn process(&mut self, pid: Pid) -> Option<Arc<ProcessIdentity>> {
        if !self.read_this_round.contains(&pid) {
            let fresh = self.reader.read(pid).ok();
            self.learn(pid, fresh);
        }
        self.known.get(&pid).cloned()
    }

    /// The holders as owners, without processes that have ended since the scan.
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
