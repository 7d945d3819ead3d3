//! Every network namespace of the host, found through its processes and through bind mounts.
//!
//! Opens namespaces, enters one only with a thread of its own that ends there, and never prints.
//!
//! Blind to namespaces that neither a process's main thread nor a bind mount shows: those of single
//! threads, and those kept alive by an open descriptor or a leaked socket alone. The task_file iterator
//! sees the sockets in them.

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

/// How a namespace was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamespaceOrigin {
    /// It is the namespace of this process.
    Own,
    /// It is the namespace of the process with this pid.
    Process(u32),
    /// It is mounted on this file, as `ip netns add` does it.
    BindMount(PathBuf),
}

/// A network namespace, kept alive as long as this value is.
#[derive(Debug)]
pub(crate) struct NetNamespace {
    /// Its inode number: the `netns` of the records.
    pub inode: u32,
    /// How it was found.
    pub found_as: NamespaceOrigin,
    path: PathBuf,
    file: File,
}

/// What [`discover`] found.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// Each namespace once: this process's own first, then in the order of finding.
    pub namespaces: Vec<NetNamespace>,
    /// Processes and bind mounts whose namespace could not be read, for lack of rights. Processes that
    /// ended meanwhile are not counted.
    pub unreadable: usize,
    /// Processes that were looked at.
    pub processes: usize,
}

/// Finds the network namespaces of the processes in `proc_root` (`/proc`) and of the files in
/// `bind_mounts` (`/run/netns`, which need not exist).
#[must_use]
pub(crate) fn discover(proc_root: &Path, bind_mounts: &Path) -> Discovery {
    let mut search = Search::default();
    // Of the calling thread: that is where `SockDiag::open_here` works.
    search.consider(&proc_root.join("thread-self/ns/net"), NamespaceOrigin::Own);
    search.processes(proc_root);
    search.bind_mounts(bind_mounts);
    let Search { namespaces, unreadable, processes, .. } = search;
    Discovery { namespaces, unreadable, processes }
}

#[derive(Default)]
struct Search {
    seen: FxHashSet<u64>,
    /// The device that all namespace files are on (nsfs has one instance).
    device: Option<u64>,
    namespaces: Vec<NetNamespace>,
    unreadable: usize,
    processes: usize,
}

impl Search {
    /// One stat per process; only namespaces not seen before are opened.
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
            // A file left behind by a namespace that was unmounted is on another file system.
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
        // Of the opened file: the process may have moved since the first look.
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

    /// A process that ended meanwhile, a zombie (which has no namespace any more) and a system without
    /// `thread-self` say ENOENT or ESRCH.
    fn count(&mut self, errno: Errno) {
        if !matches!(errno, Errno::NOENT | Errno::SRCH) {
            self.unreadable += 1;
        }
    }
}

fn inode(stat: &Stat) -> u64 {
    // The type differs between architectures.
    #[allow(clippy::unnecessary_cast, reason = "a cast on some architectures")]
    let inode = stat.st_ino as u64;
    inode
}

impl NetNamespace {
    /// Opens a namespace again where it was found before. `None` when it is not to be found there any more.
    #[must_use]
    pub(crate) fn open(path: &Path, inode: u32) -> Option<Self> {
        let mut search = Search::default();
        search.consider(path, NamespaceOrigin::BindMount(path.to_owned()));
        search.namespaces.pop().filter(|namespace| namespace.inode == inode)
    }

    /// The file that was opened for it.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many TCP sockets the namespace has, from the `sockstat` files of the process that it was
    /// found through (or, for a bind mount, of a thread that enters it), so that empty namespaces need no
    /// dump. `None` when it is not known: the process has ended, or the namespace cannot be entered.
    ///
    /// Counted are all sockets in the kernel's hash tables, of both families: listeners, CLOSE_WAIT
    /// sockets whether accepted or not, MPTCP subflows; not TIME_WAIT and other minisockets (`inet_hash`,
    /// `inet_ehash_nolisten` and `inet_unhash` in `net/ipv4/inet_hashtables.c` call
    /// `sock_prot_inuse_add`, which counts per namespace). Seen so on Linux 6.18. A stuck plain
    /// TCP socket is therefore never in a namespace with 0; an MPTCP socket can be, for the minute in
    /// which it outlives its last subflow (`net.mptcp.close_timeout`).
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

    /// Runs `work` in the namespace, on a thread of its own that ends with it, so that no other thread is
    /// ever in the wrong namespace (setns(2) is per thread).
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN (unless it is the namespace of this process), and when there is no thread to
    /// be had.
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

    /// The same, from the files of a process or thread that is thought to be in the namespace.
    fn in_use_of(&self, task: &Path) -> Option<u32> {
        let v4 = fs::read_to_string(task.join("net/sockstat")).ok()?;
        let v4 = sockets_in_use(&v4, "TCP:")?;
        // A kernel without IPv6 has no such file; a process that has just ended has none either.
        let v6 = match fs::read_to_string(task.join("net/sockstat6")) {
            Ok(text) => sockets_in_use(&text, "TCP6:")?,
            Err(_) if task.join("net/sockstat").exists() => 0,
            Err(_) => return None,
        };
        // The pid may belong to another process by now.
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
#[path = "namespaces_tests.rs"]
mod tests;
