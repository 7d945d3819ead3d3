//! Descriptors in flight: sent over a Unix socket and not received yet (SCM_RIGHTS). They are in no descriptor table, and what
//! they lead to the kernel tells nobody. Finds the sockets that they wait in; takes none of them.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    sync::Arc,
};

use rustc_hash::FxHashSet;

use super::{inspector::Inspector, proc_fd};
use crate::{
    diagnosis::reasons::facts::InFlight,
    model::{holders::Holders, owner::Evidence, pid::Pid},
};

/// Sockets of which it is asked in one look, at some ten microseconds each.
const MOST_ASKED: usize = 16_384;

/// Sockets with descriptors that are told, those with the most.
const MOST_TOLD: usize = 16;

/// Read of what a socket says of itself.
const MOST_BYTES: u64 = 4_096;

/// The Unix sockets in which descriptors wait, those with the most first.
pub(super) fn find(inspector: &mut Inspector) -> Vec<InFlight> {
    let mut waiting = waiting(&inspector.dumper.world().proc);
    waiting.sort_unstable_by_key(|(pid, fd, count)| (std::cmp::Reverse(*count), *pid, *fd));
    waiting.truncate(MOST_TOLD);
    let described = waiting.into_iter().filter_map(|(pid, fd, count)| {
        let holder = Holders::from_iter([(Pid::new(pid), vec![fd])]);
        let owner = inspector.processes.owners(&holder, Evidence::FdTable, None).pop()?;
        Some(InFlight { process: Arc::clone(&owner.process), fd, count })
    });
    described.collect()
}

/// Process, descriptor, and how many descriptors wait there; each socket once, whoever shares it.
fn waiting(proc_root: &Path) -> Vec<(u32, u32, u64)> {
    let (mut asked, mut found) = (FxHashSet::default(), Vec::new());
    for pid in proc_fd::processes(proc_root) {
        for (fd, inode) in proc_fd::sockets_of(proc_root, pid) {
            if asked.len() >= MOST_ASKED {
                return found;
            }
            let count = asked.insert(inode).then(|| in_socket(proc_root, pid, fd)).flatten();
            found.extend(count.map(|count| (pid, fd, count)));
        }
    }
    found
}

/// How many wait in a Unix socket: `scm_fds` of `unix_show_fdinfo` (net/unix/af_unix.c, since Linux 5.6); `None` where none do.
fn in_socket(proc_root: &Path, pid: u32, fd: u32) -> Option<u64> {
    let file = File::open(proc_root.join(format!("{pid}/fdinfo/{fd}"))).ok()?;
    let mut lines = BufReader::new(file.take(MOST_BYTES)).lines().map_while(Result::ok);
    let count = lines.find_map(|line| line.strip_prefix("scm_fds:")?.trim().parse().ok())?;
    (count > 0).then_some(count)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_sockets_that_descriptors_wait_in_are_found_and_each_once() {
        let root = tempfile::tempdir().unwrap();
        for (pid, fd, inode, says) in [
            (7, 3, 40, "pos:\t0\nscm_fds: 2\n"),
            (7, 4, 41, "pos:\t0\nscm_fds: 0\n"),
            (7, 5, 42, "pos:\t0\n"),
            (8, 3, 40, "pos:\t0\nscm_fds: 2\n"),
        ] {
            for folder in ["fd", "fdinfo"] {
                fs::create_dir_all(root.path().join(format!("{pid}/{folder}"))).unwrap();
            }
            symlink(format!("socket:[{inode}]"), root.path().join(format!("{pid}/fd/{fd}"))).unwrap();
            fs::write(root.path().join(format!("{pid}/fdinfo/{fd}")), says).unwrap();
        }
        let found: Vec<(u32, u64)> =
            waiting(root.path()).into_iter().map(|(_, fd, count)| (fd, count)).collect();
        assert_eq!(found, [(3, 2)]);
    }
}
