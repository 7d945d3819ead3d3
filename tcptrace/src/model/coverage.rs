//! What a look at the host could not look at, and why: where nobody looked, nothing is known, and "none" is no answer.
//! Values only: `inspect` collects them, and `commands/shared/error.rs` says what follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{escape::Escaped, units::were};

/// Reasons that are said in one sentence.
const MOST_REASONS: usize = 6;

/// What the system was asked to do when it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    /// Read which network namespace a process, or a name, stands for.
    FindNamespace,
    /// Find a process or a name that leads to a network namespace.
    ReachNamespace,
    /// Open and enter a network namespace.
    EnterNamespace,
    /// Have the kernel list the sockets of a network namespace.
    ListSockets,
    /// Read the descriptors of a process.
    ReadDescriptors,
    /// List the processes of the host.
    ListProcesses,
    /// Read what a process is called.
    ReadProcess,
    /// Find descriptors whose connections are over.
    FindOver,
}

/// A refusal: what was asked, and the number that the system answered with (errno).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LookError {
    pub operation: Operation,
    pub errno: i32,
}

/// The errors that a look meets, by name (include/uapi/asm-generic/errno-base.h and errno.h: the same on every
/// architecture with BPF).
const NAMES: [(i32, &str); 13] = [
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (5, "EIO"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (74, "EBADMSG"),
    (95, "EOPNOTSUPP"),
    (110, "ETIMEDOUT"),
];

impl fmt::Display for LookError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::FindNamespace => "finding the network namespace",
            Operation::ReachNamespace => {
                return formatter
                    .write_str("no process that could be asked and no name under /run/netns leads to it");
            }
            Operation::EnterNamespace => "entering the network namespace",
            Operation::ListSockets => "listing sockets (sock_diag)",
            Operation::ReadDescriptors => "reading descriptors",
            Operation::ListProcesses => "listing processes in /proc",
            Operation::ReadProcess => "reading the name of a process in /proc",
            Operation::FindOver => {
                return formatter.write_str(
                    "descriptors of connections that are over are shown by the kernel's iterator alone, and here they are read \
                     from /proc",
                );
            }
        };
        write!(formatter, "{operation}: ")?;
        match NAMES.iter().find(|(number, _)| *number == self.errno) {
            Some((_, name)) => formatter.write_str(name)?,
            None => write!(formatter, "errno {}", self.errno)?,
        }
        match self.remedy() {
            "" => Ok(()),
            remedy => write!(formatter, " ({remedy})"),
        }
    }
}

impl LookError {
    /// Nothing leads to the namespace.
    pub(crate) const UNREACHABLE: Self = Self { operation: Operation::ReachNamespace, errno: 0 };

    /// /proc does not tell which descriptors have a connection that is over.
    pub(crate) const OVER_UNSEEN: Self = Self { operation: Operation::FindOver, errno: 0 };

    /// What helps; empty when that is not known.
    fn remedy(self) -> &'static str {
        match (self.operation, self.errno) {
            (_, 24) => "no descriptor left: raise the limit, `ulimit -n`",
            (_, 23) => "the system has no descriptor left: raise fs.file-max",
            (_, 11 | 12) => "the system has no thread or no memory left",
            (Operation::EnterNamespace, 1 | 13) => {
                "it takes CAP_SYS_ADMIN in the user namespace that owns it, and no seccomp filter against setns(2): run as root of the \
                 host"
            }
            // The directory is its user's alone, and its links take the right to trace (`proc_fd_access_allowed` of
            // fs/proc/base.c).
            (Operation::ReadDescriptors, 1 | 13) => {
                "it takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and no security module in the way: run as root of the host"
            }
            (Operation::FindNamespace | Operation::ListProcesses | Operation::ReadProcess, 1 | 13) => {
                "it takes CAP_SYS_PTRACE: run as root of the host"
            }
            (Operation::ListSockets, 1 | 13) => "it takes CAP_NET_ADMIN, or no seccomp filter in the way",
            (Operation::ListSockets, 2) => "not in this kernel yet: try `modprobe --all inet_diag tcp_diag`",
            _ => "",
        }
    }
}

/// What cannot be seen from where this process runs, so that nobody knows how much it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Hidden {
    /// There is no /proc in which this process is.
    NoProc,
    /// /proc is mounted with `hidepid`, and hides other users' processes from this one.
    HidePid,
    /// Processes outside of the pid namespace that is looked at.
    OtherPidNamespaces,
}

impl fmt::Display for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoProc => {
                "/proc is missing or that of another pid namespace, so processes and the network namespaces that they \
                 lead to cannot be found (mount it: mount -t proc proc /proc)"
            }
            Self::HidePid => {
                "/proc hides the processes of other users (hidepid), and the network namespaces that they lead to (run as \
                 root of the host)"
            }
            Self::OtherPidNamespaces => {
                "processes of other pid namespaces, and the network namespaces that they lead to, cannot be seen from here \
                 (run it in the host's pid namespace, as `nsenter --target 1 --pid --mount` or `--pid=host` do)"
            }
        })
    }
}

/// A network namespace by what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NamespaceName {
    /// Its inode number, which is the `netns` of records.
    Inode(u32),
    /// That of a process, where its number cannot be read.
    OfProcess(u32),
    /// A bind mount that could not be looked at.
    Mount(PathBuf),
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inode(inode) => write!(formatter, "network namespace {inode}"),
            Self::OfProcess(pid) => write!(formatter, "network namespace of process {pid}"),
            Self::Mount(path) => write!(formatter, "network namespace {:?}", path.display().to_string()),
        }
    }
}

/// What a look at the host could not look at. As large as the number of processes and namespaces at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Namespaces whose sockets were listed, or that are known to have none.
    pub listed: BTreeSet<u32>,
    /// Whether the kernel showed every descriptor of the processes that it visits.
    pub has_descriptors: bool,
    /// Namespaces whose sockets were not listed.
    pub namespaces: BTreeMap<NamespaceName, LookError>,
    /// Processes whose name, network namespace or descriptors could not be read.
    pub processes: BTreeMap<u32, LookError>,
    /// What else went wrong, once each.
    pub errors: BTreeSet<LookError>,
    pub hidden: BTreeSet<Hidden>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Everything,
    Part,
    Nothing,
}

impl Coverage {
    pub(crate) fn extent(&self) -> Extent {
        let Self { listed, has_descriptors, namespaces, processes, errors, hidden } = self;
        if namespaces.is_empty() && processes.is_empty() && errors.is_empty() && hidden.is_empty() {
            Extent::Everything
        } else if !listed.is_empty() || *has_descriptors {
            Extent::Part
        } else {
            Extent::Nothing
        }
    }

    /// Notes namespaces whose sockets could not be listed, also if they could be before.
    pub(crate) fn note_refused(&mut self, refused: &BTreeMap<u32, LookError>) {
        for (netns, error) in refused {
            self.listed.remove(netns);
            self.namespaces.insert(NamespaceName::Inode(*netns), *error);
        }
    }

    /// Leaves out what cannot matter where only certain namespaces are wanted; all are if none is named. What could not
    /// be read elsewhere matters if one of them was not listed, or if a holder of what was found there is not known.
    pub(crate) fn restrict(&mut self, wanted: &[u32], is_holder_unknown: bool) {
        if wanted.is_empty() {
            return;
        }
        self.listed.retain(|netns| wanted.contains(netns));
        self.namespaces
            .retain(|name, _| matches!(name, NamespaceName::Inode(netns) if wanted.contains(netns)));
        for netns in wanted.iter().filter(|netns| !self.listed.contains(netns)) {
            self.namespaces.entry(NamespaceName::Inode(*netns)).or_insert(LookError::UNREACHABLE);
        }
        if self.namespaces.is_empty() && !is_holder_unknown {
            self.processes.clear();
            self.errors.clear();
            self.hidden.clear();
        }
    }

    /// What a record says of it.
    pub(crate) fn to_record(&self) -> NotLookedAt {
        let mut counts: BTreeMap<LookError, u64> = self.errors.iter().map(|error| (*error, 0)).collect();
        for error in self.namespaces.values().chain(self.processes.values()) {
            *counts.entry(*error).or_default() += 1;
        }
        let mut reasons: Vec<(u64, String)> =
            counts.into_iter().map(|(error, count)| (count, error.to_string())).collect();
        reasons.sort_by(|(one, _), (other, _)| other.cmp(one));
        let hidden = self.hidden.iter().map(Hidden::to_string);
        NotLookedAt {
            everything: self.extent() == Extent::Nothing,
            namespaces: self.namespaces.len() as u64,
            processes: self.processes.len() as u64,
            because: hidden.chain(reasons.into_iter().map(|(_, reason)| reason)).collect(),
        }
    }
}

/// What was not looked at, as records say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotLookedAt {
    /// Nothing could be looked at.
    pub everything: bool,
    /// Network namespaces whose sockets were not listed.
    pub namespaces: u64,
    /// Processes whose name, namespace or descriptors could not be read.
    pub processes: u64,
    /// Why, and what cannot even be counted; in sentences. Empty when everything was looked at.
    pub because: Vec<String>,
}

impl NotLookedAt {
    pub(crate) fn is_nothing(&self) -> bool {
        let Self { everything, namespaces, processes, because } = self;
        !everything && *namespaces == 0 && *processes == 0 && because.is_empty()
    }
}

impl NotLookedAt {
    /// Takes another look at a host in: the most that any of them could not look at, and the reasons of all.
    pub(crate) fn widen(&mut self, other: &Self) {
        let Self { everything, namespaces, processes, because } = other;
        self.everything |= everything;
        self.namespaces = self.namespaces.max(*namespaces);
        self.processes = self.processes.max(*processes);
        for reason in because {
            if self.because.len() < MOST_REASONS && !self.because.contains(reason) {
                self.because.push(reason.clone());
            }
        }
    }
}

/// The first line of an answer, without the dot.
impl fmt::Display for NotLookedAt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { everything, namespaces, processes, because } = self;
        formatter.write_str(if *everything { "nothing could be looked at" } else { "incomplete" })?;
        let mut parts = Vec::new();
        if *namespaces > 0 && !everything {
            parts.push(format!("{} not listed", were(*namespaces, "network namespace")));
        }
        if *processes > 0 {
            parts.push(format!("{} not read", were(*processes, "process")));
        }
        // A recording may come from anybody.
        parts.extend(because.iter().take(MOST_REASONS).map(|reason| Escaped(reason).to_string()));
        if !parts.is_empty() {
            write!(formatter, ": {}", parts.join("; "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    const NO_ADMIN: LookError = LookError { operation: Operation::EnterNamespace, errno: 1 };

    #[test]
    fn a_look_is_complete_only_where_nothing_was_refused() {
        let mut coverage = Coverage { listed: [1, 2, 3].into(), ..Coverage::default() };
        assert_eq!(coverage.extent(), Extent::Everything);
        assert!(coverage.to_record().is_nothing());
        coverage.namespaces.insert(NamespaceName::Inode(7), NO_ADMIN);
        assert_eq!(coverage.extent(), Extent::Part);
        coverage.listed.clear();
        assert_eq!(coverage.extent(), Extent::Nothing);
        coverage.has_descriptors = true;
        assert_eq!(coverage.extent(), Extent::Part);
        for hidden in [Hidden::NoProc, Hidden::HidePid, Hidden::OtherPidNamespaces] {
            let coverage = Coverage { listed: [1].into(), hidden: [hidden].into(), ..Coverage::default() };
            assert_eq!(coverage.extent(), Extent::Part);
        }
    }

    #[test]
    fn a_record_counts_and_says_each_reason_once_the_most_frequent_first() {
        let mut coverage = Coverage { listed: [1].into(), ..Coverage::default() };
        let refused = LookError { operation: Operation::ReadDescriptors, errno: 13 };
        coverage.processes.extend((1..=3).map(|pid| (pid, refused)));
        coverage.namespaces.insert(NamespaceName::Inode(7), NO_ADMIN);
        coverage.hidden.insert(Hidden::HidePid);
        let record = coverage.to_record();
        assert_eq!((record.everything, record.namespaces, record.processes), (false, 1, 3));
        let [hidden, first, second] = &record.because[..] else { panic!("{record:?}") };
        assert!(hidden.contains("hidepid") && first.contains("EACCES") && second.contains("EPERM"));
        assert!(second.contains("CAP_SYS_ADMIN") && first.contains("CAP_SYS_PTRACE"));
    }

    #[test]
    fn what_lies_in_namespaces_that_are_not_wanted_does_not_count() {
        let coverage = Coverage {
            listed: [1, 2].into(),
            namespaces: [(NamespaceName::Inode(7), NO_ADMIN)].into(),
            processes: [(9, NO_ADMIN)].into(),
            hidden: [Hidden::OtherPidNamespaces].into(),
            ..Coverage::default()
        };
        let restricted = |wanted: &[u32], is_holder_unknown| {
            let mut coverage = coverage.clone();
            coverage.restrict(wanted, is_holder_unknown);
            (coverage.extent(), coverage.namespaces.len())
        };
        assert_eq!(restricted(&[], false), (Extent::Part, 1));
        assert_eq!(restricted(&[1], false), (Extent::Everything, 0));
        assert_eq!(restricted(&[1], true), (Extent::Part, 0), "who holds a socket there may be hidden");
        assert_eq!(restricted(&[7], false), (Extent::Nothing, 1));
        assert_eq!(restricted(&[1, 55], false), (Extent::Part, 1), "one that was not found");
    }

    #[test]
    fn an_unknown_error_is_a_number() {
        let error = LookError { operation: Operation::ListSockets, errno: 4_000 };
        assert_eq!(error.to_string(), "listing sockets (sock_diag): errno 4000");
    }
}
