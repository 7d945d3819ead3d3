//! Reads descriptor tables as the plan says: with the kernel's iterator where that works, else from /proc.
//! Records what the kernel refuses; decides nothing itself.

use std::{mem, path::PathBuf};

use tcptrace_ebpf::record::{RunningRecord, SleeperRecord};

use super::descriptors::{DescriptorScan, ScanTarget};
use crate::{
    host::{process_view::ProcessView, world::World},
    kernel::{
        HolderScan, HolderSource, LoadError, Support,
        plan::{self, HolderPlan, Warning},
    },
    model::{coverage::Hidden, doing::LatestCall, pid::Pid},
    process::{calls, descriptor},
};

/// The reader of descriptor tables.
pub(crate) struct Tables {
    support: Support,
    forced: Option<HolderSource>,
    plan: HolderPlan,
    /// Whether what the plan does without is logged.
    warns: bool,
    /// Warnings that were logged.
    warned: Vec<Warning>,
    scan: Option<HolderScan>,
    view: ProcessView,
    proc_root: PathBuf,
}

impl Tables {
    /// Takes the source that is forced, or the better one. The iterator is loaded at the first scan, or at once
    /// when it is forced.
    ///
    /// # Errors
    /// When the iterator is forced and the kernel does not have it.
    pub(crate) fn new(
        mut support: Support,
        forced: Option<HolderSource>,
        world: &World,
    ) -> Result<Self, LoadError> {
        let view = ProcessView::read(&world.proc);
        let is_iterator_forced = forced == Some(HolderSource::Iterator);
        let scan = if is_iterator_forced { HolderScan::new(&mut support) } else { None };
        let plan = plan::holders(&support, forced)?;
        // An iterator that fails later gives way to /proc, forced or not.
        let forced = forced.filter(|_| !is_iterator_forced);
        Ok(Self {
            support,
            forced,
            plan,
            warns: true,
            warned: Vec::new(),
            scan,
            view,
            proc_root: world.proc.clone(),
        })
    }

    /// For whoever says in other words what this host lacks.
    pub(crate) fn without_warnings(self) -> Self {
        Self { warns: false, ..self }
    }

    /// Loads the iterators at once: later this process may not be allowed to.
    pub(crate) fn load(&mut self) {
        if self.plan.source == HolderSource::Iterator {
            if self.scan.is_none() {
                self.scan = HolderScan::new(&mut self.support);
            }
            if let Some(scan) = &mut self.scan {
                scan.load_queues(&mut self.support);
            }
            self.load_sleepers();
            self.load_running();
        }
        self.replan();
    }

    /// What /proc does not show.
    pub(crate) fn hidden_in_proc(&self) -> Option<Hidden> {
        self.view.proc
    }

    /// Scans with the iterator; `None` when /proc is the source.
    pub(crate) fn scan(&mut self, wanted: ScanTarget<'_>) -> Option<DescriptorScan> {
        self.replan();
        if self.plan.source == HolderSource::Proc {
            return None;
        }
        if self.scan.is_none() {
            self.scan = HolderScan::new(&mut self.support);
        }
        let mut found = self.scan_once(wanted);
        // Where the iterator may not give cookies (see `HolderScan`), those of sockets that nobody has asked for.
        let nameless = found.as_mut().map(|found| mem::take(&mut found.nameless)).unwrap_or_default();
        if !nameless.is_empty() {
            let give = |(pid, fd)| descriptor::give_cookie(pid, fd, &self.proc_root).err();
            let refused = nameless.into_iter().filter_map(|one| Some((one, give(one)?))).collect();
            found = self.scan_once(wanted);
            if let Some(found) = &mut found {
                found.leave_out(&refused);
            }
        }
        self.replan();
        found
    }

    fn scan_once(&mut self, wanted: ScanTarget<'_>) -> Option<DescriptorScan> {
        let scan = self.scan.as_mut()?;
        let found = DescriptorScan::with_iterator(scan, wanted, self.view.iterator)
            .map_err(|error| LoadError::refused("iterate over descriptor tables", &error));
        self.support.iterator.record(found)
    }

    /// Adds the listeners' queues to a scan of the iterator, if the plan has them.
    pub(crate) fn scan_queues(&mut self, found: &mut DescriptorScan) {
        if let Some(scan) = self.scan.as_mut().filter(|_| self.plan.queues) {
            scan.load_queues(&mut self.support);
            self.replan();
        }
        if let Some(scan) = self.scan.as_mut().filter(|_| self.plan.queues)
            && let Err(error) = found.scan_queues(scan)
        {
            log::warn!("{}", Warning::QueuesUnseen(error));
        }
    }

    /// Whether the kernel can tell what sleeps on a socket.
    pub(crate) fn load_sleepers(&mut self) -> bool {
        // The kernel side tells the numbers of the host.
        self.support.pid_namespaces.shows_host() && self.load_more(HolderScan::load_sleepers)
    }

    /// Whether it can tell what threads that run have called last.
    fn load_running(&mut self) -> bool {
        self.load_more(HolderScan::load_running)
    }

    /// Loads a further program, also where descriptor tables are read from /proc.
    fn load_more(&mut self, load: fn(&mut HolderScan, &mut Support) -> bool) -> bool {
        if self.scan.is_none() && self.support.iterator.refusal().is_none() {
            self.scan = HolderScan::new(&mut self.support);
        }
        self.scan.as_mut().is_some_and(|scan| load(scan, &mut self.support))
    }

    /// What sleeps on sockets in CLOSE_WAIT, in the network namespace of this thread; nothing where the kernel ends the
    /// pass early: what it does not name is named by nobody.
    pub(crate) fn sleepers(&mut self, visit: impl FnMut(SleeperRecord)) {
        if let Some(scan) = &mut self.scan
            && let Err(error) = scan.run_sleepers(visit)
        {
            log::debug!("the kernel ended the pass over wait queues: {error}");
        }
    }

    /// What threads that run have called last; nothing where the kernel does not tell.
    pub(crate) fn latest_calls(&mut self) -> Vec<LatestCall> {
        let mut calls = Vec::new();
        if self.load_running()
            && let Some(scan) = &mut self.scan
            && let Err(error) = scan.run_running(|record| calls.push(latest_call(&record)))
        {
            log::debug!("the kernel ended the pass over threads: {error}");
        }
        calls
    }

    /// Follows the facts, and warns once of each thing that the plan does without, where that is wanted.
    fn replan(&mut self) {
        if let Ok(plan) = plan::holders(&self.support, self.forced) {
            for warning in &plan.warnings {
                if self.warns && !self.warned.contains(warning) {
                    log::warn!("{warning}");
                    self.warned.push(warning.clone());
                }
            }
            self.plan = plan;
        }
    }
}

fn latest_call(record: &RunningRecord) -> LatestCall {
    /// `-ENOSYS`, which x86-64 puts where the result will be.
    const NOT_YET: i64 = -38;
    let is_under_way = if cfg!(target_arch = "aarch64") {
        record.result.cast_unsigned() == record.first
    } else {
        record.result == NOT_YET
    };
    LatestCall {
        process: Pid::from_wire(record.tgid),
        tid: Pid::from_wire(record.pid),
        name: usize::try_from(record.call).ok().and_then(calls::name),
        arguments: [record.first, record.second],
        returned: (!is_under_way).then_some(record.result),
    }
}
