//! Runs the iterators over all descriptor tables: which process holds which TCP socket, in every network and
//! pid namespace, in one pass; and which connections wait in accept queues. Interprets no record.

use std::{io, sync::Arc};

use tcptrace_ebpf::{
    config::{ABSENT, Config, KernelOffsets, RegisterOffsets},
    record::{HolderRecord, RunningRecord, SleeperRecord, WITH_LISTENER_COOKIES, WaitingRecord},
};

use super::{
    descriptor::SocketDescriptor,
    error::{self, LoadError},
    hooks::IteratorHook,
    iterators::{Iterator, IteratorObject},
    support::Support,
    types::KernelTypes,
};
use crate::{host::pid_namespace::PidNamespaces, model::state::StateSet};

/// The programs over descriptors of sockets, over listeners' queues, over the wait queues of sockets, and over threads
/// that run.
const HOLDERS: &str = "holders";
const QUEUES: &str = "queues";
const SLEEPERS: &str = "sleepers";
const RUNNING: &str = "running";

/// The loaded iterators; each run is a separate pass.
pub(crate) struct HolderScan {
    object: IteratorObject,
    types: Arc<KernelTypes>,
    holders: Iterator,
    queues: Option<Iterator>,
    sleepers: Option<Iterator>,
    running: Option<Iterator>,
}

impl HolderScan {
    /// Loads the iterator over descriptors (Linux 5.11 with BTF). `None` when the kernel has no BTF or refuses
    /// the program, which is a fact in `support` then.
    pub(crate) fn new(support: &mut Support) -> Option<Self> {
        let types = support.types()?;
        support.iterator.record(Self::load_either(types, support.pid_namespaces))
    }

    /// With typed pointers, which a kernel that is locked down allows too; else without, for verifiers that do not trust a
    /// socket found through a descriptor (seen on a build of Linux 6.18).
    fn load_either(types: Arc<KernelTypes>, pids: PidNamespaces) -> Result<Self, LoadError> {
        let is_sock_type_known = types.offsets.sock_type != ABSENT;
        Self::load(Arc::clone(&types), pids, false)
            .or_else(|refusal| if is_sock_type_known { Self::load(types, pids, true) } else { Err(refusal) })
    }

    /// For a reader that sees these processes. The programs read through typed pointers, or through the helper for addresses
    /// without a type.
    fn load(types: Arc<KernelTypes>, pids: PidNamespaces, probes: bool) -> Result<Self, LoadError> {
        let config = Config {
            kernel: types.offsets,
            pid_namespace: pids.translated_into(),
            probe_reads: probes.into(),
            registers: RegisterOffsets::OF_THIS_MACHINE,
            ..Config::NOTHING
        };
        let bytes = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-holders"));
        let object = IteratorObject::new(bytes, &config)?;
        let holders = load(&object, &types, HOLDERS, IteratorHook::TaskFile)?;
        Ok(Self { object, types, holders, queues: None, sleepers: None, running: None })
    }

    /// Loads the iterator over accept queues, unless that was tried before.
    pub(crate) fn load_queues(&mut self, support: &mut Support) {
        support.queues.once(|| {
            self.queues = Some(load(&self.object, &self.types, QUEUES, IteratorHook::TaskFile)?);
            Ok(())
        });
    }

    /// Loads the program that finds who sleeps on a socket, unless that was tried before; whether it can run.
    pub(crate) fn load_sleepers(&mut self, support: &mut Support) -> bool {
        let attempt = || {
            let KernelOffsets { sock_wq, wait_head, wait_private, wait_entry, task_pid, .. } =
                self.types.offsets;
            if [sock_wq, wait_head, wait_private, wait_entry, task_pid].contains(&ABSENT) {
                return Err(error::missing());
            }
            self.sleepers = Some(load(&self.object, &self.types, SLEEPERS, IteratorHook::Tcp)?);
            Ok(())
        };
        support.sleepers.once(attempt).is_some()
    }

    /// Loads the program that tells what threads that run have called last, unless that was tried before; whether it can
    /// run.
    pub(crate) fn load_running(&mut self, support: &mut Support) -> bool {
        let attempt = || {
            let is_known = RegisterOffsets::OF_THIS_MACHINE != RegisterOffsets::UNUSED
                && self.types.offsets.task_state != ABSENT;
            if !is_known {
                return Err(error::missing());
            }
            self.running = Some(load(&self.object, &self.types, RUNNING, IteratorHook::Task)?);
            Ok(())
        };
        support.running.once(attempt).is_some()
    }

    /// Visits the latest call of each thread that runs. [`HolderScan::load_running`] comes first.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn run_running(&mut self, visit: impl FnMut(RunningRecord)) -> io::Result<()> {
        self.running.as_ref().ok_or(io::ErrorKind::NotFound)?.run(visit)
    }

    /// Visits what waits in the queues of the sockets in CLOSE_WAIT in the network namespace of this thread.
    /// [`HolderScan::load_sleepers`] comes first.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn run_sleepers(&mut self, visit: impl FnMut(SleeperRecord)) -> io::Result<()> {
        self.sleepers.as_ref().ok_or(io::ErrorKind::NotFound)?.run(visit)
    }

    /// Visits every connection that waits for accept(), with each descriptor of its listener; of a very long
    /// queue the first 512. [`HolderScan::load_queues`] comes first.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn run_queues(&mut self, visit: impl FnMut(WaitingRecord)) -> Result<(), LoadError> {
        let queues = self.queues.as_ref().ok_or_else(error::missing)?;
        queues.run(visit).map_err(|error| LoadError::refused("iterate over queues", &error))
    }

    /// Visits every descriptor that refers to a TCP socket in one of `states`, and those that are blocked in writing. MPTCP
    /// listeners have their cookies only `with_listener_cookies`: asking for one gives it to every connection that they
    /// accept later.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn run(
        &mut self,
        states: StateSet,
        with_listener_cookies: bool,
        mut visit: impl FnMut(SocketDescriptor),
    ) -> io::Result<()> {
        let cookies = if with_listener_cookies { WITH_LISTENER_COOKIES } else { 0 };
        self.object.set("HOLDER_STATES", &(states.bits() | cookies).to_ne_bytes())?;
        self.holders.run(|record: HolderRecord| {
            if let Some(descriptor) = SocketDescriptor::read(&record) {
                visit(descriptor);
            }
        })
    }
}

fn load(
    object: &IteratorObject,
    types: &KernelTypes,
    name: &str,
    hook: IteratorHook,
) -> Result<Iterator, LoadError> {
    let refused = |error| LoadError::refused("iterate over descriptor tables", &error);
    object.load(name, types.hooks.iterator(hook).map_err(refused)?)
}
