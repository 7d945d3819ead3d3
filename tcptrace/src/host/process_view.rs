//! How much of the host's processes can be seen from where this process runs: through /proc, and by the kernel's
//! iterators. Facts; decides nothing.

use std::path::Path;

use rustix::thread::CapabilitySet;

use super::{bounded_text::text, pid_namespace::PidNamespaces, privilege};
use crate::model::coverage::Hidden;

/// Longest file that is read; what is beyond counts as not said.
const MAX_BYTES: u64 = 1 << 20;

/// What each way to the processes does not show; `None` where it shows all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessView {
    /// What /proc does not show.
    pub proc: Option<Hidden>,
    /// What the kernel's iterators do not visit: tasks outside of the pid namespace of whoever runs them
    /// (kernel/bpf/task_iter.c, `task_active_pid_ns`).
    pub iterator: Option<Hidden>,
}

impl ProcessView {
    /// Reads it from the procfs at `proc_root`.
    pub(crate) fn read(proc_root: &Path) -> Self {
        Self::read_as(proc_root, privilege::has(CapabilitySet::SYS_PTRACE))
    }

    fn read_as(proc_root: &Path, may_trace: bool) -> Self {
        if !proc_root.join("self/status").exists() {
            // Nothing tells which pid namespace this is.
            return Self { proc: Some(Hidden::NoProc), iterator: Some(Hidden::NoProc) };
        }
        let namespaces = PidNamespaces::read(proc_root);
        let proc = if !namespaces.shows_host() {
            Some(Hidden::OtherPidNamespaces)
        } else if hides_pids(proc_root) && !(may_trace && proc_root.join("1").exists()) {
            Some(Hidden::HidePid)
        } else {
            None
        };
        let is_on_host = namespaces.shows_host() && !namespaces.shows_more_than_iterators();
        Self { proc, iterator: (!is_on_host).then_some(Hidden::OtherPidNamespaces) }
    }
}

/// Whether the procfs there is mounted so that it leaves out processes that the reader may not trace
/// (`hidepid=invisible` and `hidepid=ptraceable`, Documentation/filesystems/proc.rst). With `hidepid=noaccess` they
/// are there, and cannot be read.
fn hides_pids(proc_root: &Path) -> bool {
    let Some(mounts) = text(&proc_root.join("self/mountinfo"), MAX_BYTES) else { return false };
    // The last mount at a place covers the others.
    let mount = mounts
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(4).is_some_and(|place| proc_root == Path::new(place)));
    let options = mount.and_then(|line| line.split_once(" - proc ")).map(|(_, rest)| rest);
    let options = options.and_then(|rest| rest.split(' ').nth(1)).unwrap_or_default();
    options.split(',').any(|option| {
        matches!(option.split_once('='), Some(("hidepid", "2" | "4" | "invisible" | "ptraceable")))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs;

    use super::*;

    /// A process in a pid namespace that is not the host's, as every planted file is.
    fn planted(levels: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("self/ns")).unwrap();
        fs::write(root.path().join("self/status"), format!("Name:\tx\nNSpid:\t{levels}\n")).unwrap();
        fs::write(root.path().join("self/ns/pid"), "").unwrap();
        root
    }

    #[test]
    fn without_proc_nothing_is_known_of_any_process() {
        let root = tempfile::tempdir().unwrap();
        let hidden = Some(Hidden::NoProc);
        assert_eq!(ProcessView::read(root.path()), ProcessView { proc: hidden, iterator: hidden });
    }

    #[test]
    fn in_a_pid_namespace_of_its_own_a_process_sees_only_that() {
        let hidden = Some(Hidden::OtherPidNamespaces);
        for levels in ["7", "4711\t7"] {
            let view = ProcessView::read(planted(levels).path());
            assert_eq!(view, ProcessView { proc: hidden, iterator: hidden }, "{levels}");
        }
    }

    #[test]
    fn the_options_of_the_mount_on_top_count() {
        let root = planted("7");
        let place = root.path().display();
        let hides = |options: &str| {
            let lines = format!(
                "21 1 0:20 / {place} rw shared:5 - proc proc rw,hidepid=invisible\n\
                 22 21 0:21 / {place} rw,nosuid - proc proc {options}\n\
                 23 1 0:22 / /elsewhere rw - proc proc rw,hidepid=2\n"
            );
            fs::write(root.path().join("self/mountinfo"), lines).unwrap();
            hides_pids(root.path())
        };
        assert!(hides("rw,hidepid=invisible") && hides("rw,gid=4,hidepid=2") && hides("hidepid=ptraceable"));
        assert!(!hides("rw") && !hides("rw,hidepid=noaccess") && !hides("rw,subset=pid"));
    }

    #[test]
    #[ignore = "needs the live kernel: cargo xtask test"]
    fn on_the_host_everything_can_be_seen() {
        assert_eq!(ProcessView::read(Path::new("/proc")), ProcessView::default());
    }
}
