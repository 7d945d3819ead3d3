//! Turns pids into owners: who each process is, read at most once in a look.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::reader::ProcessReader;
use crate::model::{
    owner::{Evidence, Owner},
    process::{DescriptorUse, ProcessIdentity},
};
use crate::{host::pool as parallel, model::task::Call};
use crate::{
    host::{clock::Clocks, world::World},
    model::holders::Holders,
};

/// Processes whose description is kept between looks.
const KEPT_PROCESSES: usize = 4096;

/// Processes that a thread describes in one go.
const CHUNK: usize = 32;

/// The processes of the host, as far as they were asked for.
pub(crate) struct People {
    reader: ProcessReader,
    clocks: Clocks,
    /// Descriptions, shared by all findings about the same process.
    known: FxHashMap<u32, Arc<ProcessIdentity>>,
    /// Processes that were asked for in the look that is going on, those that had ended included.
    read_in_this_look: FxHashSet<u32>,
}

impl People {
    /// Knows nobody yet.
    pub(crate) fn new(world: &World) -> Self {
        Self {
            reader: ProcessReader::new(&world.proc, world.clocks.booted()),
            clocks: world.clocks.clone(),
            known: FxHashMap::default(),
            read_in_this_look: FxHashSet::default(),
        }
    }

    /// From now on descriptions are read anew.
    pub(crate) fn begin_look(&mut self) {
        self.read_in_this_look.clear();
        if self.known.len() >= KEPT_PROCESSES {
            self.known.clear();
        }
    }

    /// Describes many processes at once, on several threads.
    pub(crate) fn read_all(&mut self, pids: &FxHashSet<u32>) {
        let pids: Vec<u32> = pids.difference(&self.read_in_this_look).copied().collect();
        let reader = &self.reader;
        let chunks = pids.chunks(CHUNK).collect();
        let read = parallel::map(chunks, |chunk: &[u32]| {
            chunk.iter().map(|pid| (*pid, reader.read(*pid).ok())).collect::<Vec<_>>()
        });
        for (pid, fresh) in read.into_iter().flatten() {
            self.learn(pid, fresh);
        }
    }

    fn learn(&mut self, pid: u32, fresh: Option<ProcessIdentity>) {
        self.read_in_this_look.insert(pid);
        let Some(fresh) = fresh else {
            self.known.remove(&pid);
            return;
        };
        if self.known.get(&pid).is_none_or(|kept| **kept != fresh) {
            self.known.insert(pid, Arc::new(fresh));
        }
    }

    /// Describes a process; `None` when there is none with this pid any more.
    fn process(&mut self, pid: u32) -> Option<Arc<ProcessIdentity>> {
        if !self.read_in_this_look.contains(&pid) {
            let fresh = self.reader.read(pid).ok();
            self.learn(pid, fresh);
        }
        self.known.get(&pid).cloned()
    }

    /// The holders as owners. A process that ended since the look holds nothing any more.
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

    /// The opener as an owner: under its present name if it is still that process, else as it was.
    pub(crate) fn opener(&mut self, opener: &Call) -> Owner {
        let process = self.caller(opener).unwrap_or_else(|| {
            Arc::new(ProcessIdentity::from_name(opener.task.pid, &opener.task.comm.to_text()))
        });
        Owner { process, fds: Vec::new(), inherited: Some(false), evidence: Evidence::Opened }
    }

    /// The process that made a call, if it is still there: a later one with its pid is another.
    pub(crate) fn caller(&mut self, call: &Call) -> Option<Arc<ProcessIdentity>> {
        let process = self.process(call.task.pid)?;
        let started = process.start_ticks.unwrap_or(u64::MAX);
        (started <= self.clocks.boot_ticks_at(call.ktime_ns)).then_some(process)
    }

    /// How many descriptors each process has open, and may have; in the order of `pids`.
    pub(crate) fn descriptor_use(&self, pids: &[u32]) -> Vec<DescriptorUse> {
        let chunks = pids.chunks(CHUNK).collect();
        parallel::map(chunks, |chunk: &[u32]| {
            chunk.iter().map(|pid| self.reader.descriptor_use(*pid)).collect::<Vec<_>>()
        })
        .concat()
    }
}
