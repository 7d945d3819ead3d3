//! Which pid namespace /proc shows, and which one this process is in. Processes outside of them have no number here.
//! Only reads.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The inode number of the root pid namespace: `PROC_PID_INIT_INO` of include/linux/proc_ns.h.
const ROOT: u32 = 0xefff_fffc;

/// Parents that are asked which pid namespace they are in: more than there are levels of namespaces.
const MOST_ANCESTORS: u32 = 64;

/// The pid namespaces that matter to this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PidNamespaces {
    /// The one whose numbers /proc shows; `None` when that cannot be told.
    shown: Option<u32>,
    /// Whether this process is in a namespace below that one, as after `unshare --pid` without a /proc of its own.
    is_below: bool,
    /// Whether /proc does not know this process: it is missing, or that of a namespace beside.
    is_unknown: bool,
}

impl PidNamespaces {
    /// Those of this process and of the procfs at `proc`.
    pub(crate) fn read(proc: &Path) -> Self {
        let inode = |process: &str| {
            let file = fs::metadata(proc.join(process).join("ns/pid")).ok()?;
            u32::try_from(file.ino()).ok()
        };
        let status = |process: &str| {
            let status = fs::read_to_string(proc.join(process).join("status")).ok()?;
            Some((
                field(&status, "NSpid:")?.split_ascii_whitespace().count(),
                field(&status, "PPid:")?.to_owned(),
            ))
        };
        let (mut process, mut is_below) = ("self".to_owned(), false);
        for _ in 0..MOST_ANCESTORS {
            match status(&process) {
                // A process has a number in each pid namespace from the one that is shown down to its own:
                // proc_pid_status(5).
                Some((1, _)) => return Self { shown: inode(&process), is_below, is_unknown: false },
                Some((_, parent)) => process = parent,
                None => break,
            }
            is_below = true;
        }
        // The first process of a pid namespace is in it for certain, but not everybody may look at it.
        Self { shown: inode("1"), is_below, is_unknown: !is_below }
    }

    /// Whether /proc shows the processes of the whole host.
    pub(crate) fn shows_host(self) -> bool {
        self.shown == Some(ROOT)
    }

    /// Warns, where there may be processes that cannot be named.
    pub(crate) fn warn_of_losses(self) {
        if self.is_unknown {
            log::warn!(
                "processes cannot be named: /proc is missing or that of another pid namespace (mount it: mount -t proc \
                 proc /proc)"
            );
        } else if !self.shows_host() {
            log::warn!(
                "only the processes of this pid namespace can be named: run with the pids of the host to see the others \
                 (docker run --pid=host, hostPID: true, nsenter --target 1 --pid --mount)"
            );
        }
    }

    /// Whether what the kernel lets this process iterate over lacks processes that /proc shows: iterators visit the
    /// tasks of the reader's own pid namespace (`bpf_iter_init_seq_pidns` of kernel/bpf/task_iter.c).
    pub(crate) fn shows_more_than_iterators(self) -> bool {
        self.is_below
    }

    /// The namespace into which the kernel side translates pids; 0 when its own numbers are right.
    pub(crate) fn translated_into(self) -> u32 {
        /// No namespace has this inode number, so no process is visible.
        const NOWHERE: u32 = 1;
        match self.shown {
            Some(ROOT) => 0,
            Some(namespace) => namespace,
            None => NOWHERE,
        }
    }
}

/// The numbers of this process, from the pid namespace that /proc shows down to its own (proc_pid_status(5)); empty where
/// /proc does not tell.
pub(crate) fn own_numbers(proc: &Path) -> Vec<u32> {
    let status = fs::read_to_string(proc.join("self/status")).unwrap_or_default();
    let numbers = field(&status, "NSpid:").unwrap_or_default().split_ascii_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The rest of the line that begins so.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    /// The pid namespaces by a /proc with these processes: their names and states.
    fn planted(processes: &[(&str, &str)]) -> (PidNamespaces, Vec<u32>) {
        let proc = tempfile::tempdir().unwrap();
        let plant = |(process, status): &(&str, &str)| {
            let directory = proc.path().join(process);
            fs::create_dir_all(directory.join("ns")).unwrap();
            fs::write(directory.join("status"), status).unwrap();
            fs::write(directory.join("ns/pid"), "").unwrap();
            u32::try_from(fs::metadata(directory.join("ns/pid")).unwrap().ino()).unwrap()
        };
        let inodes = processes.iter().map(plant).collect();
        (PidNamespaces::read(proc.path()), inodes)
    }

    const OUTSIDE: &str = "PPid:\t1\nNSpid:\t40\n";

    #[test]
    fn in_the_namespace_that_proc_shows_a_process_has_one_number() {
        let (namespaces, inodes) = planted(&[("self", OUTSIDE), ("1", "")]);
        assert_eq!(namespaces, PidNamespaces { shown: Some(inodes[0]), is_below: false, is_unknown: false });
        assert_eq!(namespaces.translated_into(), inodes[0]);
        assert!(!namespaces.shows_host());
    }

    #[test]
    fn below_it_a_parent_tells_which_one_is_shown_or_else_the_first_process() {
        let below = "PPid:\t40\nNSpid:\t41\t7\n";
        let (namespaces, inodes) = planted(&[("self", below), ("40", OUTSIDE), ("1", "")]);
        assert_eq!(namespaces, PidNamespaces { shown: Some(inodes[1]), is_below: true, is_unknown: false });
        assert!(namespaces.shows_more_than_iterators());
        let (namespaces, inodes) = planted(&[("self", below), ("1", "")]);
        assert_eq!(namespaces, PidNamespaces { shown: Some(inodes[1]), is_below: true, is_unknown: false });
        let around = [("self", "PPid:\tself\nNSpid:\t41\t7\n")];
        assert_eq!(planted(&around).0, PidNamespaces { shown: None, is_below: true, is_unknown: false });
    }

    #[test]
    fn a_process_has_a_number_in_each_pid_namespace() {
        let proc = tempfile::tempdir().unwrap();
        assert!(own_numbers(proc.path()).is_empty());
        fs::create_dir(proc.path().join("self")).unwrap();
        fs::write(proc.path().join("self/status"), "Name:\tx\nNSpid:\t41\t7\n").unwrap();
        assert_eq!(own_numbers(proc.path()), [41, 7]);
    }

    #[test]
    fn a_proc_that_says_nothing_shows_nobody() {
        for processes in [&[][..], &[("self", "Name:\tx\n")]] {
            let namespaces = planted(processes).0;
            assert_eq!((namespaces.shown, namespaces.shows_host()), (None, false));
            assert!(namespaces.is_unknown);
            assert_eq!(namespaces.translated_into(), 1);
        }
        let root = PidNamespaces { shown: Some(ROOT), is_below: false, is_unknown: false };
        assert_eq!((root.translated_into(), root.shows_host()), (0, true));
    }
}
