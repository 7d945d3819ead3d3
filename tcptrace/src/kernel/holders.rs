//! Runs the iterators over all descriptor tables: which process holds which TCP socket, in every network and
//! pid namespace, in one pass; and which connections wait in accept queues. Interprets no record.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::Arc,
};

use aya::{
    Btf, Ebpf,
    maps::{Array, MapData},
    programs::{Iter, ProgramError},
};
use tcptrace_ebpf::{
    config::{ABSENT, KernelOffsets},
    record::{HolderRecord, SleeperRecord, WITH_LISTENER_COOKIES, WaitingRecord},
};
use zerocopy::FromBytes;

use super::{
    error::{self, LoadError},
    load,
    support::Support,
    types::KernelTypes,
};
use crate::{host::pid_namespace::PidNamespaces, model::state::StateSet};

/// The program over descriptors of sockets.
const HOLDERS: &str = "holders";

/// The program over listeners' queues.
const QUEUES: &str = "queues";

/// The program over the wait queues of sockets.
const SLEEPERS: &str = "sleepers";

/// What the programs iterate over.
const TASK_FILE: &str = "task_file";
const TCP: &str = "tcp";

/// Bytes read at once; the kernel hands out eight pages at most in a call.
const BUFFER_BYTES: usize = 32 * 1024;

/// The loaded iterators; each run is a separate pass.
pub(crate) struct HolderScan {
    object: Ebpf,
    types: Arc<KernelTypes>,
    hooks: Btf,
    states: Array<MapData, u32>,
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

    fn load(types: Arc<KernelTypes>, pids: PidNamespaces, probes: bool) -> Result<Self, LoadError> {
        let mut object = load::holders(&types, pids, probes)?;
        let map = object.take_map("HOLDER_STATES").ok_or_else(error::missing)?;
        let states = Array::try_from(map)
            .map_err(|error| LoadError::refused("open the iterator's settings", &error))?;
        let hooks = types.hooks.iterators();
        let mut scan = Self { object, types, hooks, states };
        scan.load_program(HOLDERS, TASK_FILE)?;
        Ok(scan)
    }

    /// Loads the iterator over accept queues, unless that was tried before.
    pub(crate) fn load_queues(&mut self, support: &mut Support) {
        support.queues.once(|| self.load_program(QUEUES, TASK_FILE));
    }

    /// Loads the program that finds who sleeps on a socket, unless that was tried before; whether it can run.
    pub(crate) fn load_sleepers(&mut self, support: &mut Support) -> bool {
        let load = || {
            let KernelOffsets { sock_wq, wait_head, wait_private, wait_entry, task_pid, .. } =
                self.types.offsets;
            if [sock_wq, wait_head, wait_private, wait_entry, task_pid].contains(&ABSENT) {
                return Err(error::missing());
            }
            self.load_program(SLEEPERS, TCP)
        };
        support.sleepers.once(load).is_some()
    }

    /// Visits what waits in the queues of the sockets in CLOSE_WAIT in the network namespace of this thread.
    /// [`HolderScan::load_sleepers`] comes first.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn run_sleepers(&mut self, visit: impl FnMut(SleeperRecord)) -> io::Result<()> {
        self.pass(SLEEPERS, visit)
    }

    fn load_program(&mut self, name: &str, hook: &str) -> Result<(), LoadError> {
        let refused = |error: &ProgramError| LoadError::refused("iterate over descriptor tables", error);
        let program = self.object.program_mut(name).ok_or_else(error::missing)?;
        let program: &mut Iter = program.try_into().map_err(|error| refused(&error))?;
        program.load(hook, &self.hooks).map_err(|error| refused(&error))
    }

    /// Visits every connection that waits for accept(), with each descriptor of its listener; of a very long
    /// queue the first 512. [`HolderScan::load_queues`] comes first.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn run_queues(&mut self, visit: impl FnMut(WaitingRecord)) -> Result<(), LoadError> {
        self.pass(QUEUES, visit).map_err(|error| LoadError::refused("iterate over queues", &error))
    }

    /// Visits every descriptor that refers to a TCP socket in one of `states`. MPTCP listeners have their cookies
    /// only `with_listener_cookies`: asking for one gives it to every connection that they accept later.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(crate) fn run(
        &mut self,
        states: StateSet,
        with_listener_cookies: bool,
        visit: impl FnMut(HolderRecord),
    ) -> io::Result<()> {
        let cookies = if with_listener_cookies { WITH_LISTENER_COOKIES } else { 0 };
        self.states.set(0, states.bits() | cookies, 0).map_err(io::Error::other)?;
        self.pass(HOLDERS, visit)
    }

    fn pass<R: FromBytes>(&mut self, name: &str, mut visit: impl FnMut(R)) -> io::Result<()> {
        let mut pass = self.start(name).map_err(io::Error::other)?;
        let mut buffer = vec![0u8; BUFFER_BYTES];
        let mut filled = 0;
        while let Some(space) = buffer.get_mut(filled..) {
            match pass.read(space) {
                Ok(0) => break,
                Ok(count) => filled += count,
                // The kernel returns after a long walk without a record, and wants another call.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            }
            let mut rest = buffer.get(..filled).unwrap_or_default();
            while let Ok((record, tail)) = R::read_from_prefix(rest) {
                visit(record);
                rest = tail;
            }
            let kept = rest.len();
            buffer.copy_within(filled - kept..filled, 0);
            filled = kept;
        }
        Ok(())
    }

    fn start(&mut self, name: &str) -> Result<File, Box<dyn std::error::Error + Send + Sync>> {
        let program = self.object.program_mut(name).ok_or("the iterator is gone")?;
        let program: &mut Iter = program.try_into()?;
        let link = program.attach()?;
        Ok(program.take_link(link)?.into_file()?)
    }
}
