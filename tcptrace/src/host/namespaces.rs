//! Finds every network namespace of the host, through processes and bind mounts.
//!
//! Holds none of them open: a host may have thousands, and one held open would outlive its container, together with
//! its network devices. Enters one only on a dedicated thread that ends there. Never prints.
//!
//! Cannot see namespaces that neither a process's main thread (else one that lives) nor a bind mount shows: those of single
//! threads, and those kept alive only by an open descriptor or a leaked socket. The task_file iterator sees
//! the sockets in them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
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

use super::{live_thread::live_thread, world::World};
use crate::model::coverage::{Coverage, LookError, NamespaceName, Operation};

/// The part of a list of interfaces that is read: some ten thousand lines.
const MOST_BYTES: u64 = 1 << 20;

/// How a namespace was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamespaceOrigin {
    /// The namespace of this process.
    Own,
    /// The namespace of the process with this pid.
    Process(u32),
    /// Mounted on a file, as by `ip netns add`.
    BindMount,
}

/// A network namespace as it was found; it may be gone by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetNamespace {
    /// The inode number, which is the `netns` of records.
    pub inode: u32,
    pub found_as: NamespaceOrigin,
    path: PathBuf,
}

/// The result of [`discover`].
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// Each namespace once: this process's own first, then in the order found.
    pub namespaces: Vec<NetNamespace>,
    /// Namespaces that nothing leads into, because what they were found by may not be read. Those without a socket do
    /// not count.
    pub unlisted: BTreeMap<NamespaceName, LookError>,
    /// Processes of which not even that is known. Processes that ended meanwhile do not count.
    pub unread: BTreeMap<u32, LookError>,
    /// Where processes or bind mounts could not even be listed.
    pub errors: Vec<LookError>,
    /// Processes examined.
    pub processes: usize,
}

impl Discovery {
    /// Adds what could not be read.
    pub(crate) fn cover(self, coverage: &mut Coverage) {
        let Self { namespaces: _, unlisted, unread, errors, processes: _ } = self;
        coverage.namespaces.extend(unlisted);
        coverage.processes.extend(unread);
        coverage.errors.extend(errors);
    }
}

/// Finds the network namespaces of the processes in /proc and of the files in /run/netns (which need not exist).
#[must_use]
pub(crate) fn discover(world: &World) -> Discovery {
    let mut search = Search::default();
    // The calling thread's, which is the one that `SockDiag::open_here` uses.
    let own = world.proc.join("thread-self/ns/net");
    match (rustix::fs::stat(&own), world.own_netns) {
        (Ok(stat), _) => {
            search.add(&stat, &own, NamespaceOrigin::Own);
            search.by_files.extend(files_of(&world.proc.join("thread-self")));
        }
        (Err(_), Some(inode)) => {
            search.seen.insert(inode.into());
            search.found.namespaces.push(NetNamespace { inode, found_as: NamespaceOrigin::Own, path: own });
        }
        (Err(_), None) => {}
    }
    search.processes(&world.proc);
    search.bind_mounts(&world.run_netns);
    search.found
}

#[derive(Default)]
struct Search {
    seen: FxHashSet<u64>,
    /// The device of all namespace files (nsfs has one instance).
    device: Option<u64>,
    /// The namespaces that were found, by their files in /proc.
    by_files: FxHashSet<u64>,
    /// Processes whose namespace may not be read.
    refused: Vec<(u32, Errno)>,
    found: Discovery,
}

impl Search {
    /// Costs one stat per process.
    fn processes(&mut self, proc_root: &Path) {
        let listed = File::open(proc_root).and_then(|directory| {
            for entry in fs::read_dir(proc_root)? {
                let entry = entry?;
                let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                    continue;
                };
                self.found.processes += 1;
                let relative = format!("{pid}/ns/net");
                match rustix::fs::statat(&directory, relative.as_str(), AtFlags::empty()) {
                    Ok(stat) if self.seen.contains(&inode(&stat)) => {}
                    Ok(stat) => {
                        self.add(&stat, &proc_root.join(relative), NamespaceOrigin::Process(pid));
                        self.by_files.extend(files_of(&proc_root.join(pid.to_string())));
                    }
                    Err(errno) if is_gone(errno) => {
                        if let Some(tid) = live_thread(proc_root, pid) {
                            let path = proc_root.join(format!("{tid}/ns/net"));
                            if let Ok(stat) = rustix::fs::stat(&path) {
                                self.add(&stat, &path, NamespaceOrigin::Process(tid));
                            }
                        }
                    }
                    Err(errno) => self.refused.push((pid, errno)),
                }
            }
            Ok(())
        });
        for (pid, errno) in std::mem::take(&mut self.refused) {
            self.tell_apart(proc_root, pid, errno);
        }
        // A /proc that is missing is another fact: see `ProcessView`.
        if let Err(failed) = listed
            && failed.kind() != io::ErrorKind::NotFound
        {
            let errno = failed.raw_os_error().unwrap_or_default();
            self.found.errors.push(LookError { operation: Operation::ListProcesses, errno });
        }
    }

    /// Whether a process whose namespace may not be read is in one that others lead to: the files of a namespace, which
    /// are shown to everybody, have inode numbers of their own.
    fn tell_apart(&mut self, proc_root: &Path, pid: u32, errno: Errno) {
        let process = proc_root.join(pid.to_string());
        match files_of(&process) {
            Ok(files) => {
                let is_new = self.by_files.insert(files);
                if is_new && sockets_of(&process) != Some(0) && files_of(&process) == Ok(files) {
                    self.found.unlisted.insert(NamespaceName::OfProcess(pid), error(errno));
                }
            }
            // A process that ended is in no namespace any more, whoever has not waited for it.
            Err(no_files) if is_gone(no_files) => {}
            Err(_) => {
                self.found.unread.insert(pid, error(errno));
            }
        }
    }

    fn bind_mounts(&mut self, directory: &Path) {
        let listed = fs::read_dir(directory).and_then(|entries| {
            for entry in entries {
                let path = entry?.path();
                // A file left over from an unmounted namespace is on another file system.
                match rustix::fs::stat(&path) {
                    Ok(stat) if self.device.is_some_and(|device| device != stat.st_dev) => {}
                    Ok(stat) => self.add(&stat, &path, NamespaceOrigin::BindMount),
                    Err(errno) if is_gone(errno) => {}
                    Err(errno) => {
                        self.found.unlisted.insert(NamespaceName::Mount(path), error(errno));
                    }
                }
            }
            Ok(())
        });
        if let Err(failed) = listed
            && failed.kind() != io::ErrorKind::NotFound
        {
            let name = NamespaceName::Mount(directory.to_owned());
            let errno = failed.raw_os_error().unwrap_or_default();
            self.found.unlisted.insert(name, LookError { operation: Operation::FindNamespace, errno });
        }
    }

    fn add(&mut self, stat: &Stat, path: &Path, found_as: NamespaceOrigin) {
        self.device.get_or_insert(stat.st_dev);
        // ns.inum is an unsigned int (include/linux/ns_common.h).
        let Ok(number) = u32::try_from(inode(stat)) else { return };
        if self.seen.insert(inode(stat)) {
            self.found.namespaces.push(NetNamespace { inode: number, found_as, path: path.to_owned() });
        }
    }
}

/// A process that ended, a zombie (without a namespace), or a system without `thread-self`.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::SRCH)
}

fn error(errno: Errno) -> LookError {
    LookError { operation: Operation::FindNamespace, errno: errno.raw_os_error() }
}

fn inode(stat: &Stat) -> u64 {
    // The type differs between architectures.
    #[expect(clippy::unnecessary_cast, reason = "a cast on some architectures")]
    let inode = stat.st_ino as u64;
    inode
}

impl NetNamespace {
    /// The path through which it was found.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it; "not found" if it is gone from there, or another one is there now.
    fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(errno) if is_gone(errno) => return Err(io::ErrorKind::NotFound.into()),
            Err(errno) => return Err(errno.into()),
        };
        // Of the opened file: the process may have changed its namespace since the stat.
        if file.metadata()?.ino() == u64::from(self.inode) {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
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
        self.read_files(proc_root, |task| self.in_use_of(task))
    }

    /// Its interfaces that have IPv6 addresses: index and name.
    pub(crate) fn interfaces(&self, proc_root: &Path) -> Vec<(u32, String)> {
        let interfaces = |task: &Path| {
            let mut text = String::new();
            File::open(task.join("net/if_inet6")).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
            self.is_that_of(task).then(|| text.lines().filter_map(interface).collect())
        };
        self.read_files(proc_root, interfaces).unwrap_or_default()
    }

    /// Has the files of a process or thread read that should be in the namespace.
    fn read_files<R: Send>(
        &self,
        proc_root: &Path,
        read: impl FnOnce(&Path) -> Option<R> + Send,
    ) -> Option<R> {
        match &self.found_as {
            NamespaceOrigin::Own => read(&proc_root.join("thread-self")),
            NamespaceOrigin::Process(pid) => read(&proc_root.join(pid.to_string())),
            NamespaceOrigin::BindMount => self.run_inside(|| read(&proc_root.join("thread-self"))).ok()?,
        }
    }

    /// Runs `work` in the namespace, on a dedicated thread, so that no other thread is ever in the wrong namespace
    /// (setns(2) is per thread). The namespace of this process takes neither: its threads are in it.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN in the namespace's user namespace (unless it is that of this process), "not found" when it
    /// is gone, or when the system has no thread or no descriptor.
    pub(crate) fn run_inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> io::Result<R> {
        if self.found_as == NamespaceOrigin::Own {
            return Ok(work());
        }
        let namespace = self.open()?;
        let enter_and_work = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
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
        let in_use = sockets_of(task)?;
        self.is_that_of(task).then_some(in_use)
    }

    /// Whether a process is in it: the pid may belong to another one now.
    fn is_that_of(&self, task: &Path) -> bool {
        rustix::fs::stat(task.join("ns/net")).is_ok_and(|now| inode(&now) == u64::from(self.inode))
    }
}

/// A line of `if_inet6`: an address, the index of its interface (hexadecimal), three words more, and the name
/// (`if6_seq_show` of net/ipv6/addrconf.c).
fn interface(line: &str) -> Option<(u32, String)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let index = u32::from_str_radix(words.next()?, 16).ok()?;
    Some((index, words.nth(3)?.to_owned()))
}

/// TCP sockets in the namespace of a process or thread.
fn sockets_of(task: &Path) -> Option<u32> {
    let v4 = fs::read_to_string(task.join("net/sockstat")).ok()?;
    let v4 = sockets_in_use(&v4, "TCP:")?;
    // A kernel without IPv6 has no such file; neither has a process that just ended.
    let v6 = match fs::read_to_string(task.join("net/sockstat6")) {
        Ok(text) => sockets_in_use(&text, "TCP6:")?,
        Err(_) if task.join("net/sockstat").exists() => 0,
        Err(_) => return None,
    };
    Some(v4.saturating_add(v6))
}

/// What tells the namespaces of processes apart: the inode number of a file that each namespace has
/// (`proc_alloc_inum` of fs/proc/generic.c). Any process's may be read (`get_proc_task_net` of fs/proc/proc_net.c).
fn files_of(task: &Path) -> Result<u64, Errno> {
    rustix::fs::stat(task.join("net/sockstat")).map(|stat| inode(&stat))
}

/// The number after `inuse` in the line that begins with `protocol`.
fn sockets_in_use(sockstat: &str, protocol: &str) -> Option<u32> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix(protocol))?;
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "inuse");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests;
