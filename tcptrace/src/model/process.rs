//! Who a process is, as far as /proc tells. Reads nothing itself.

/// What is known of a process. What could not be read is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Process id, in the pid namespace of the proc mount that was read.
    pub pid: u32,
    /// Name of the main thread, as the process chose it: at most 15 bytes (63 for kernel threads).
    pub comm: String,
    /// Path of the executable, with ` (deleted)` behind it when the file is gone. Needs the right to
    /// trace the process; kernel threads have none.
    pub exe: Option<String>,
    /// The arguments, the program's name first: the first 64 within the first 4096 bytes. Empty for a
    /// kernel thread and for a zombie.
    pub cmdline: Vec<String>,
    /// Effective user id.
    pub uid: Option<u32>,
    /// When it started, to about a hundredth of a second.
    pub started: Option<jiff::Timestamp>,
    /// When it started, in clock ticks (1/100 s) since boot: with the pid, it tells the process from a later one
    /// with the same pid.
    pub start_ticks: Option<u64>,
    /// Its cgroup; the path below the cgroup mount.
    pub cgroup: Option<String>,
    /// The systemd unit it belongs to.
    pub unit: Option<String>,
    /// The container it runs in: the short id, or the name.
    pub container: Option<String>,
}

impl ProcessIdentity {
    /// A process that has ended: its pid and the name it had are all that is left.
    #[must_use]
    pub fn from_name(pid: u32, comm: &str) -> Self {
        Self {
            pid,
            comm: comm.to_owned(),
            exe: None,
            cmdline: Vec::new(),
            uid: None,
            started: None,
            start_ticks: None,
            cgroup: None,
            unit: None,
            container: None,
        }
    }
}

/// How many descriptors a process has open, and may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DescriptorUse {
    /// Open descriptors.
    pub used: Option<u64>,
    /// The soft limit (RLIMIT_NOFILE), at which accept() and open() begin to fail with EMFILE. `None` also when
    /// it is unlimited.
    pub limit: Option<u64>,
}
