//! What this kernel offers: facts. Each is found by trying, at most once, and never by comparing version
//! numbers. The parts that need a feature try it and record the outcome here; `plan` has the rules that
//! follow. Nothing here decides.

use std::{path::PathBuf, sync::Arc};

use tcptrace_ebpf::config::{FormatOffsets, ReceiveOffsets};

use super::{error::LoadError, options::Transport, types::KernelTypes};
use crate::host::{
    lockdown::Lockdown,
    pid_namespace::PidNamespaces,
    privilege::{NotPrivileged, Privileges},
    user_namespace,
    world::World,
};

/// The outcome of trying a feature.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trial<T = ()> {
    /// Nobody has needed it yet.
    #[default]
    Untried,
    /// The kernel has it.
    Works(T),
    /// The kernel does not have it, or refuses it.
    Refused(LoadError),
}

impl<T> Trial<T> {
    /// Why the feature cannot be used, if that is known.
    pub(crate) fn refusal(&self) -> Option<&LoadError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Untried | Self::Works(_) => None,
        }
    }

    /// What came of the feature, if it is known to work.
    pub(crate) fn works(&self) -> Option<&T> {
        match self {
            Self::Works(value) => Some(value),
            Self::Untried | Self::Refused(_) => None,
        }
    }

    /// Tries the feature unless that was done before. `None` when the kernel does not have it.
    pub(super) fn once(&mut self, attempt: impl FnOnce() -> Result<T, LoadError>) -> Option<&T> {
        if matches!(self, Self::Untried) {
            *self = match attempt() {
                Ok(value) => Self::Works(value),
                Err(error) => Self::Refused(error),
            };
        }
        self.works()
    }
}

impl Trial {
    /// Records an attempt whose result is used elsewhere.
    pub(crate) fn record<V>(&mut self, result: Result<V, LoadError>) -> Option<V> {
        match result {
            Ok(value) => {
                *self = Self::Works(());
                Some(value)
            }
            Err(error) => {
                *self = Self::Refused(error);
                None
            }
        }
    }
}

/// What this kernel offers, as far as anybody has tried. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Support {
    /// What this process may do.
    pub(crate) privileges: Privileges,
    /// Whether its capabilities are those of a user namespace, and count for nothing with the kernel.
    pub(crate) is_in_user_namespace: bool,
    /// How far the kernel is locked down.
    pub(crate) lockdown: Lockdown,
    /// Which processes can be seen from here.
    pub(crate) pid_namespaces: PidNamespaces,
    /// The file with the kernel's BTF.
    pub(super) btf: PathBuf,
    /// BTF with all fields that the programs need.
    pub(super) types: Trial<Arc<KernelTypes>>,
    /// The root of tracefs.
    pub(super) tracefs: Trial<PathBuf>,
    /// The record's layout of `sock:inet_sock_set_state`.
    pub(super) transition_layout: Trial<FormatOffsets>,
    /// The record's layout of `sock:sock_recv_length`.
    pub(super) receive_layout: Trial<ReceiveOffsets>,
    /// The maps of the tracer's objects, with ring buffers among them.
    pub(super) ring_buffers: Trial,
    /// The same maps, with perf event arrays and a buffer for each CPU instead.
    pub(super) perf_buffers: Trial,
    /// A map of one entry, where these are not permitted.
    pub(super) small_map: Trial,
    /// The typed tracepoint, with the helpers that its program calls: `bpf_get_socket_cookie` and
    /// `bpf_sk_storage_get` in a tracing program.
    pub(super) typed_tracepoint: Trial,
    pub(super) classic_tracepoint: Trial,
    /// The end of accept4().
    pub(super) accept4: Trial,
    /// The end of accept().
    pub(super) accept: Trial,
    /// The end of receive calls.
    pub(super) receive: Trial,
    /// Copies of user stacks: `bpf_get_current_task_btf` and `bpf_task_pt_regs` (Linux 5.11 and 5.15).
    pub(super) stack_copies: Trial,
    /// Frames of Python, PHP and Ruby, read at a call: as much work as a verifier allows.
    pub(super) python_frames: Trial,
    /// Programs being started, and processes being forked.
    pub(super) program_starts: Trial,
    /// The iterator over descriptor tables.
    pub(crate) iterator: Trial,
    /// The iterator over accept queues.
    pub(super) queues: Trial,
    /// The iterator over what sleeps on a socket.
    pub(super) sleepers: Trial,
    /// The iterator over threads, with `bpf_task_pt_regs` (Linux 5.15).
    pub(super) running: Trial,
}

impl Support {
    /// Reads what takes a system call or two. Tries no feature of the kernel yet.
    pub(crate) fn read(world: &World) -> Self {
        Self {
            privileges: Privileges::read(),
            is_in_user_namespace: user_namespace::is_inner(&world.proc) == Some(true),
            lockdown: Lockdown::read(),
            pid_namespaces: PidNamespaces::read(&world.proc),
            btf: world.btf.clone(),
            ..Self::default()
        }
    }

    /// Whether this process lacks the right to try what the kernel offers: that says nothing of the kernel.
    pub(crate) fn lacks_rights(&self) -> bool {
        self.is_in_user_namespace || !self.privileges.missing.is_empty()
    }

    /// Whether maps are refused for their size, and not for want of a right: they count against RLIMIT_MEMLOCK here.
    pub(crate) fn refuses_large_maps(&self) -> bool {
        let forbids = |trial: &Trial| trial.refusal().is_some_and(LoadError::forbids_map);
        (forbids(&self.ring_buffers) || forbids(&self.perf_buffers)) && self.small_map.works().is_some()
    }

    /// Checks that the kernel side can be loaded, and warns of what a session cannot do.
    ///
    /// # Errors
    /// When this process may not load it.
    pub(crate) fn require(&self) -> Result<(), NotPrivileged> {
        self.privileges.require()?;
        self.pid_namespaces.warn_of_losses();
        Ok(())
    }

    /// Checks that this process may load the programs that trace: capabilities of another user namespace than the first count
    /// for nothing there (`bpf_capable` of include/linux/capability.h).
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn may_trace(&self) -> Result<(), NotPrivileged> {
        if self.is_in_user_namespace {
            return Err(NotPrivileged::InUserNamespace);
        }
        self.privileges.check()
    }

    /// What came of trying this transport.
    pub(super) fn transport(&mut self, transport: Transport) -> &mut Trial {
        match transport {
            Transport::Ring => &mut self.ring_buffers,
            Transport::Perf => &mut self.perf_buffers,
        }
    }

    /// Reads what BTF says of this kernel, which whoever needs it would do.
    pub(crate) fn read_types(&mut self) {
        self.types();
    }

    /// What BTF says of this kernel. `None` when there is no BTF to use.
    pub(super) fn types(&mut self) -> Option<Arc<KernelTypes>> {
        self.types.once(|| KernelTypes::read(&self.btf).map(Arc::new)).cloned()
    }
}
