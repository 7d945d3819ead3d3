//! The process responsible for a socket, and the evidence. An owner never comes without evidence.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    numbered::numbered,
    pid::Pid,
    process::ProcessIdentity,
    stack::Stack,
    task::{Call, OpenedHow},
};

numbered! {
    /// How an owner is known.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Evidence {
        /// A descriptor of it was found in the process's descriptor table.
        FdTable = 1,
        /// The socket was never accepted, and the process holds the listening socket.
        Listener = 2,
        /// The process accepted or connected the socket; it may no longer hold it.
        Opened = 3,
        /// The process was seen closing it.
        None = 4,
        /// A thread of the process sleeps in a call on it, and its descriptor was closed meanwhile.
        InCall = 5,
        /// A ring of the process (io_uring) has it: among its registered files, or in a request.
        IoUring = 6,
        /// The process has it mapped into its memory (TCP_ZEROCOPY_RECEIVE), and its descriptor was closed meanwhile.
        Mapped = 7,
    }
}

/// A process that answers for a socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OwnerFields<'static>")]
pub struct Owner {
    /// The process; of what is recorded, all but its start in clock ticks is known again when it is read.
    pub process: Arc<ProcessIdentity>,
    /// Its descriptors for the socket (or for the listener), ascending.
    pub fds: Vec<u32>,
    /// Whether another process opened the socket; `None` if the opener was not seen.
    pub inherited: Option<bool>,
    pub evidence: Evidence,
}

/// An owner in a record: its process's fields beside its own.
#[derive(Serialize, Deserialize)]
struct OwnerFields<'a> {
    pid: Pid,
    comm: Cow<'a, str>,
    exe: Option<Cow<'a, str>>,
    cmdline: Cow<'a, [String]>,
    uid: Option<u32>,
    fds: Cow<'a, [u32]>,
    started: Option<Timestamp>,
    unit: Option<Cow<'a, str>>,
    container: Option<Cow<'a, str>>,
    cgroup: Option<Cow<'a, str>>,
    inherited: Option<bool>,
    evidence: Evidence,
    /// The pid on the host of a process that is not visible from here.
    #[serde(default)]
    host_pid: Option<u32>,
    container_name: Option<Cow<'a, str>>,
    pod: Option<Cow<'a, str>>,
    pod_namespace: Option<Cow<'a, str>>,
    is_32_bit: Option<bool>,
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { process, fds, inherited, evidence } = self;
        let ProcessIdentity {
            pid,
            comm,
            exe,
            cmdline,
            uid,
            started,
            start_ticks: _,
            cgroup,
            unit,
            container,
            container_name,
            pod,
            pod_namespace,
            is_32_bit,
        } = process.as_ref();
        let fields = OwnerFields {
            pid: *pid,
            comm: comm.into(),
            exe: exe.as_deref().map(Cow::from),
            cmdline: cmdline.into(),
            uid: *uid,
            fds: fds.into(),
            started: *started,
            unit: unit.as_deref().map(Cow::from),
            container: container.as_deref().map(Cow::from),
            cgroup: cgroup.as_deref().map(Cow::from),
            inherited: *inherited,
            evidence: *evidence,
            host_pid: pid.on_host(),
            container_name: container_name.as_deref().map(Cow::from),
            pod: pod.as_deref().map(Cow::from),
            pod_namespace: pod_namespace.as_deref().map(Cow::from),
            is_32_bit: *is_32_bit,
        };
        fields.serialize(serializer)
    }
}

impl From<OwnerFields<'_>> for Owner {
    fn from(fields: OwnerFields<'_>) -> Self {
        let process = ProcessIdentity {
            pid: fields.pid.or_of_host(fields.host_pid),
            comm: fields.comm.into_owned(),
            exe: fields.exe.map(Cow::into_owned),
            cmdline: fields.cmdline.into_owned(),
            uid: fields.uid,
            started: fields.started,
            start_ticks: None,
            cgroup: fields.cgroup.map(Cow::into_owned),
            unit: fields.unit.map(Cow::into_owned),
            container: fields.container.map(Cow::into_owned),
            container_name: fields.container_name.map(Cow::into_owned),
            pod: fields.pod.map(Cow::into_owned),
            pod_namespace: fields.pod_namespace.map(Cow::into_owned),
            is_32_bit: fields.is_32_bit,
        };
        Self {
            process: Arc::new(process),
            fds: fields.fds.into_owned(),
            inherited: fields.inherited,
            evidence: fields.evidence,
        }
    }
}

/// A call on a socket: by whom, when, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalledBy {
    /// The caller, and the moment on the kernel's clock.
    pub call: Call,
    /// The stack of the call, or why there is none; `None` where neither was recorded.
    pub stack: Option<Arc<Stack>>,
}

/// The opener of a socket, with the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBy {
    pub how: OpenedHow,
    pub called: CalledBy,
}
