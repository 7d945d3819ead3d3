//! Finds every network namespace of the host, through processes and bind mounts.
//!
//! Opens namespaces. Enters one only on a dedicated thread that ends there. Never prints.
//!
//! Cannot see namespaces that neither a process's main thread (else one that lives) nor a bind mount shows: those of single
//! threads, and those kept alive only by an open descriptor or a leaked socket. The task_file iterator sees
//! the sockets in them.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    panic,
    path::{Path, PathBuf},
    thread,
};

use rustc_hash::FxHashSet;
use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::live_thread::live_thread;

/// How a namespace was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamespaceOrigin {
    /// The namespace of this process.
    Own,
    /// The namespace of the process with this pid.
    Process(u32),
    /// Mounted on this file, as by `ip netns add`.
    BindMount(PathBuf),
}

/// A network namespace, which this value keeps alive.
#[derive(Debug)]
pub(crate) struct NetNamespace {
    /// The inode number, which is the `netns` of records.
    pub inode: u32,
    pub found_as: NamespaceOrigin,
    path: PathBuf,
    file: File,
}

/// The result of [`discover`].
#[derive(Debug)]
pub(crate) struct Discovery {
    /// Each namespace once: this process's own first, then in the order found.
    pub namespaces: Vec<NetNamespace>,
    /// Processes and bind mounts whose namespace could not be read, for lack of rights. Processes that ended
    /// meanwhile do not count.
    pub unreadable: usize,
    /// Processes examined.
    pub processes: usize,
}

/// Finds the network namespaces of the processes in `proc_root` (`/proc`) and of the files in `bind_mounts`
/// (`/run/netns`, which need not exist).
#[must_use]
pub(crate) fn discover(proc_root: &Path, bind_mounts: &Path) -> Discovery {
    let mut search = Search::default();
    // The calling thread's, which is the one that `SockDiag::open_here` uses.
    search.consider(&proc_root.join("thread-self/ns/net"), NamespaceOrigin::Own);
    search.processes(proc_root);
    search.bind_mounts(bind_mounts);
    let Search { namespaces, unreadable, processes, .. } = search;
    Discovery { namespaces, unreadable, processes }
}

#[derive(Default)]
struct Search {
    seen: FxHashSet<u64>,
    /// The device of all namespace files (nsfs has one instance).
    device: Option<u64>,
    namespaces: Vec<NetNamespace>,
    unreadable: usize,
    processes: usize,
}

impl Search {
    /// Costs one stat per process; opens only new namespaces.
    fn processes(&mut self, proc_root: &Path) {
        let Ok(directory) = File::open(proc_root) else {
            self.unreadable += 1;
            return;
        };
        let Ok(entries) = fs::read_dir(proc_root) else {
            self.unreadable += 1;
            return;
        };
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            self.processes += 1;
            let relative = format!("{pid}/ns/net");
            match rustix::fs::statat(&directory, relative.as_str(), AtFlags::empty()) {
                Ok(stat) if self.seen.contains(&inode(&stat)) => {}
                Ok(_) => self.consider(&proc_root.join(relative), NamespaceOrigin::Process(pid)),
                Err(Errno::NOENT) => {
                    if let Some(tid) = live_thread(proc_root, pid) {
                        let path = proc_root.join(format!("{tid}/ns/net"));
                        self.consider(&path, NamespaceOrigin::Process(tid));
                    }
                }
                Err(errno) => self.count(errno),
            }
        }
    }

    fn bind_mounts(&mut self, directory: &Path) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => {
                self.unreadable += 1;
                return;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            // A file left over from an unmounted namespace is on another file system.
            match rustix::fs::stat(&path) {
                Ok(stat) if self.device.is_some_and(|device| device != stat.st_dev) => {}
                Ok(_) => self.consider(&path, NamespaceOrigin::BindMount(path.clone())),
                Err(errno) => self.count(errno),
            }
        }
    }

    fn consider(&mut self, path: &Path, found_as: NamespaceOrigin) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(errno) => return self.count(errno),
        };
        // Of the opened file: the process may have changed its namespace since the stat.
        let Ok(metadata) = file.metadata() else {
            self.unreadable += 1;
            return;
        };
        self.device.get_or_insert(metadata.dev());
        // ns.inum is an unsigned int (include/linux/ns_common.h).
        let Ok(number) = u32::try_from(metadata.ino()) else {
            self.unreadable += 1;
            return;
        };
        if self.seen.insert(metadata.ino()) {
            self.namespaces.push(NetNamespace { inode: number, found_as, path: path.to_owned(), file });
        }
    }

    /// Counts an error, except ENOENT and ESRCH: a process that ended, a zombie (without a namespace), or a
    /// system without `thread-self`.
    fn count(&mut self, errno: Errno) {
        if !matches!(errno, Errno::NOENT | Errno::SRCH) {
            self.unreadable += 1;
        }
    }
}

fn inode(stat: &Stat) -> u64 {
    // The type differs between architectures.
    #[expect(clippy::unnecessary_cast, reason = "a cast on some architectures")]
    let inode = stat.st_ino as u64;
    inode
}

impl NetNamespace {
    /// Opens a namespace again through a known path; `None` if another one is there now.
    #[must_use]
    pub(crate) fn open(path: &Path, inode: u32) -> Option<Self> {
        let mut search = Search::default();
        search.consider(path, NamespaceOrigin::BindMount(path.to_owned()));
        search.namespaces.pop().filter(|namespace| namespace.inode == inode)
    }

    /// The path through which it was opened.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of TCP sockets in the namespace, so that empty namespaces need no dump. Read from the
    /// `sockstat` files of the process that led to it or, for a bind mount, of a thread that enters it.
    /// `None` if unknown: the process has ended, or the namespace cannot be entered.
    ///
    /// Counts all sockets in the kernel's hash tables, of both families: listeners, sockets in CLOSE_WAIT
    /// whether accepted or not, MPTCP subflows; not TIME_WAIT and other minisockets (`inet_hash`,
    /// `inet_ehash_nolisten` and `inet_unhash` of `net/ipv4/inet_hashtables.c` call `sock_prot_inuse_add`,
    /// which counts per namespace; observed on Linux 6.18). So a stuck plain TCP socket is never in a
    /// namespace with 0; an MPTCP socket can be, for the minute that it outlives its last subflow
    /// (`net.mptcp.close_timeout`).
    #[must_use]
    pub(crate) fn tcp_in_use(&self, proc_root: &Path) -> Option<u32> {
        match &self.found_as {
            NamespaceOrigin::Own => self.in_use_of(&proc_root.join("thread-self")),
            NamespaceOrigin::Process(pid) => self.in_use_of(&proc_root.join(pid.to_string())),
            NamespaceOrigin::BindMount(_) => {
                self.run_inside(|| self.in_use_of(&proc_root.join("thread-self"))).ok()?
            }
        }
    }

    /// Runs `work` in the namespace, on a dedicated thread, so that no other thread is ever in the wrong namespace
    /// (setns(2) is per thread).
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN (unless it is the namespace of this process), or when the system has no thread.
    pub(crate) fn run_inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> io::Result<R> {
        let enter_and_work = || {
            if self.found_as != NamespaceOrigin::Own {
                move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
            Ok(work())
        };
        thread::scope(|scope| {
            let thread =
                thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, enter_and_work)?;
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// The same, from the files of a process or thread that should be in the namespace.
    fn in_use_of(&self, task: &Path) -> Option<u32> {
        let v4 = fs::read_to_string(task.join("net/sockstat")).ok()?;
        let v4 = sockets_in_use(&v4, "TCP:")?;
        // A kernel without IPv6 has no such file; neither has a process that just ended.
        let v6 = match fs::read_to_string(task.join("net/sockstat6")) {
            Ok(text) => sockets_in_use(&text, "TCP6:")?,
            Err(_) if task.join("net/sockstat").exists() => 0,
            Err(_) => return None,
        };
        // The pid may belong to another process now.
        let now = rustix::fs::stat(task.join("ns/net")).ok()?;
        (inode(&now) == u64::from(self.inode)).then(|| v4.saturating_add(v6))
    }
}

/// The number after `inuse` in the line that begins with `protocol`.
fn sockets_in_use(sockstat: &str, protocol: &str) -> Option<u32> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix(protocol))?;
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "inuse");
    words.nth(1)?.parse().ok()
}

impl AsFd for NetNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests;
