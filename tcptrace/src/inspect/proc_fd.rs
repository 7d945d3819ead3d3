//! Finds the holders of sockets by walking every `/proc/PID/fd`, without BPF.
//!
//! Identifies sockets by inode number, which is unique on the host while the socket exists, so it cannot find sockets
//! without one (never accepted). Sees neither descriptors in flight between processes nor those in an io_uring table.
//! Never prints.
//!
//! Costs two system calls per process and one per descriptor. Reads names into fixed buffers, on up to four threads.

use std::{
    collections::BTreeMap,
    ffi::CStr,
    mem::MaybeUninit,
    num::NonZero,
    os::fd::OwnedFd,
    panic,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustc_hash::FxHashSet;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RawDir, openat, readlinkat_raw, statat},
    io::Errno,
};

use crate::{
    host::live_thread::live_thread_of,
    model::coverage::{LookError, Operation},
};

/// A descriptor of a process for a wanted socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InodeHolder {
    /// The socket's inode number in sockfs.
    pub inode: u32,
    /// The pid in the pid namespace of the proc mount.
    pub pid: u32,
    pub fd: u32,
}

/// The result of [`holders_by_inode`].
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Every descriptor found, sorted by inode, pid and fd.
    pub holders: Vec<InodeHolder>,
    /// Processes whose descriptors could not be read. Processes that ended meanwhile do not count.
    pub unread: BTreeMap<u32, LookError>,
    /// Why not every process was found.
    pub errors: Vec<LookError>,
}

const MOST_THREADS: usize = 4;
const DIRECTORY_BUFFER: usize = 32 * 1024;
/// `socket:[4294967295]` is the longest relevant name; a longer one is cut and matches nothing.
const LINK_BUFFER: usize = 32;

/// Walks the descriptors of all processes in `proc_root` (`/proc`) and returns those for a socket in
/// `wanted`. May or may not see descriptors opened or closed during the walk.
///
/// If threads have descriptor tables of their own (`unshare(CLONE_FILES)`), sees only the main
/// thread's, or, where that has ended, one of another thread.
#[must_use]
pub(crate) fn holders_by_inode(proc_root: &Path, wanted: &FxHashSet<u32>) -> Scan {
    if wanted.is_empty() {
        return Scan::default();
    }
    let not_listed =
        |errno: Errno| LookError { operation: Operation::ListProcesses, errno: errno.raw_os_error() };
    let root = match open_directory(CWD, proc_root) {
        Ok(root) => root,
        Err(errno) => return Scan { errors: vec![not_listed(errno)], ..Scan::default() },
    };
    let mut pids = Vec::new();
    let listed = each_number(&root, |pid, _| pids.push(pid));

    let next = AtomicUsize::new(0);
    let work = || walk(&root, &pids, &next, wanted);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let mut scan = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().name("proc-fd".to_owned()).spawn_scoped(scope, work).ok())
            .collect();
        let mut scan = work();
        for other in others {
            match other.join() {
                Ok(part) => {
                    scan.holders.extend(part.holders);
                    scan.unread.extend(part.unread);
                }
                Err(panic) => panic::resume_unwind(panic),
            }
        }
        scan
    });
    scan.errors.extend(listed.err().map(not_listed));
    scan.holders.sort_unstable();
    scan
}

/// Takes processes off the shared list until it is empty.
fn walk(root: &OwnedFd, pids: &[u32], next: &AtomicUsize, wanted: &FxHashSet<u32>) -> Scan {
    let mut scan = Scan::default();
    while let Some(&pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
        let outcome = descriptors(root, pid, |fd, link| {
            if let Some(inode) = socket_inode(link).filter(|inode| wanted.contains(inode)) {
                scan.holders.push(InodeHolder { inode, pid, fd });
            }
        });
        if let Err(errno) = outcome
            && !is_gone(errno)
            && !has_ended(root, pid)
        {
            let error = LookError { operation: Operation::ReadDescriptors, errno: errno.raw_os_error() };
            scan.unread.insert(pid, error);
        }
    }
    scan
}

/// Passes each descriptor of a process to `visit`, with what it leads to.
fn descriptors(root: &OwnedFd, pid: u32, mut visit: impl FnMut(u32, &[u8])) -> Result<(), Errno> {
    if table(root, &format!("{pid}/fd"), &mut visit)? > 0 {
        return Ok(());
    }
    // A kernel thread, or a process whose main thread has ended: its table is that of the other threads.
    let process = open_directory(root, format!("{pid}").as_str())?;
    match live_thread_of(&process) {
        Some(tid) => table(root, &format!("{pid}/task/{tid}/fd"), &mut visit).map(|_| ()),
        None => Ok(()),
    }
}

/// Walks one descriptor table; how many descriptors are in it.
fn table(root: &OwnedFd, path: &str, visit: &mut impl FnMut(u32, &[u8])) -> Result<usize, Errno> {
    let (mut count, mut denied) = (0, None);
    let directory = open_directory(root, path)?;
    each_number(&directory, |fd, name| {
        count += 1;
        let mut link = [MaybeUninit::uninit(); LINK_BUFFER];
        match readlinkat_raw(&directory, name, &mut link) {
            Ok((link, _)) => visit(fd, link),
            // Closed since its name was read, or the process ended.
            Err(errno) if is_gone(errno) => {}
            // Listing needs root; following a link needs the right to trace (`proc_fd_access_allowed`).
            Err(errno) => denied = Some(errno),
        }
    })?;
    denied.map_or(Ok(count), Err)
}

/// What a descriptor of a ring leads to: `io_uring_get_file` of io_uring/io_uring.c names it so.
const RING: &[u8] = b"anon_inode:[io_uring]";

/// Whether a process has an io_uring ring; not when that cannot be read.
#[must_use]
pub(crate) fn has_ring(proc_root: &Path, pid: u32) -> bool {
    let mut has_one = false;
    if let Ok(root) = open_directory(CWD, proc_root) {
        let _ = descriptors(&root, pid, |_, link| has_one |= link == RING);
    }
    has_one
}

/// The pids of all processes that /proc shows.
#[must_use]
pub(crate) fn processes(proc_root: &Path) -> Vec<u32> {
    let mut pids = Vec::new();
    if let Ok(root) = open_directory(CWD, proc_root) {
        let _ = each_number(&root, |pid, _| pids.push(pid));
    }
    pids
}

/// The descriptors of io_uring rings, each with its process. What cannot be read has none.
#[must_use]
pub(crate) fn rings(proc_root: &Path) -> Vec<(u32, u32)> {
    let Ok(root) = open_directory(CWD, proc_root) else { return Vec::new() };
    let mut rings = Vec::new();
    for pid in processes(proc_root) {
        let _ = descriptors(&root, pid, |fd, link| {
            if link == RING {
                rings.push((pid, fd));
            }
        });
    }
    rings
}

/// A process's descriptors of sockets, with the inode numbers of these; none of what cannot be read.
#[must_use]
pub(crate) fn sockets_of(proc_root: &Path, pid: u32) -> Vec<(u32, u32)> {
    let mut sockets = Vec::new();
    if let Ok(root) = open_directory(CWD, proc_root) {
        let _ =
            descriptors(&root, pid, |fd, link| sockets.extend(socket_inode(link).map(|inode| (fd, inode))));
    }
    sockets
}

/// The inode number of the socket that a descriptor of a process is.
#[must_use]
pub(crate) fn socket_at(proc_root: &Path, pid: u32, fd: u32) -> Option<u32> {
    let link = std::fs::read_link(proc_root.join(format!("{pid}/fd/{fd}"))).ok()?;
    socket_inode(link.as_os_str().as_encoded_bytes())
}

fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::SRCH)
}

/// Whether a process has ended that nobody has waited for: the kernel refuses to show what it does not have any more.
/// Such a process has left its network namespace, whose files anybody may look at.
fn has_ended(root: &OwnedFd, pid: u32) -> bool {
    let files = statat(root, format!("{pid}/net/sockstat"), AtFlags::empty());
    let mut threads = 0;
    let listed = open_directory(root, format!("{pid}/task").as_str())
        .and_then(|directory| each_number(&directory, |_, _| threads += 1));
    files.is_err_and(is_gone) && (listed.is_err() || threads < 2)
}

fn open_directory(parent: impl std::os::fd::AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    openat(parent, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Passes each entry with a numeric name to `visit`.
fn each_number(directory: &OwnedFd, mut visit: impl FnMut(u32, &CStr)) -> Result<(), Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if let Some(number) = decimal(entry.file_name().to_bytes()) {
            visit(number, entry.file_name());
        }
    }
    Ok(())
}

/// The inode number out of `socket:[N]` (`sockfs_dname` in `net/socket.c`). It is 32 bits wide:
/// `get_next_ino` in `fs/inode.c` returns an unsigned int.
pub(super) fn socket_inode(link: &[u8]) -> Option<u32> {
    decimal(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use std::{
        fs,
        net::TcpListener,
        os::{fd::AsRawFd as _, unix::fs::symlink},
    };

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_holder_of_a_wanted_socket_is_found_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for pid in 1..=300u32 {
            let directory = root.path().join(format!("{pid}/fd"));
            fs::create_dir_all(&directory).unwrap();
            symlink("/dev/null", directory.join("0")).unwrap();
            symlink("pipe:[5]", directory.join("1")).unwrap();
            symlink(format!("socket:[{}]", 1000 + pid), directory.join("2")).unwrap();
            symlink("socket:[99]", directory.join("7")).unwrap();
            symlink("socket:[5]/and/a/path/that/is/long/enough/to/be/cut", directory.join("8")).unwrap();
            expected.push(InodeHolder { inode: 99, pid, fd: 7 });
        }
        fs::create_dir_all(root.path().join("400")).unwrap(); // ended meanwhile
        fs::create_dir_all(root.path().join("sys/fd")).unwrap();
        expected.push(InodeHolder { inode: 1007, pid: 7, fd: 2 });
        let scan = holders_by_inode(root.path(), &FxHashSet::from_iter([99, 1007, 5]));
        assert_eq!((scan.holders, scan.unread.len(), scan.errors.len()), (expected, 0, 0));
    }

    #[test]
    fn the_table_of_a_process_whose_main_thread_has_ended_is_that_of_its_other_threads() {
        let root = tempfile::tempdir().unwrap();
        for (thread, state) in [("7", 'Z'), ("7/task/7", 'Z'), ("7/task/9", 'S')] {
            fs::create_dir_all(root.path().join(thread).join("fd")).unwrap();
            fs::write(root.path().join(thread).join("stat"), format!("7 (a) {state} 1")).unwrap();
        }
        symlink("socket:[99]", root.path().join("7/task/9/fd/4")).unwrap();
        let scan = holders_by_inode(root.path(), &FxHashSet::from_iter([99]));
        assert_eq!((scan.holders, scan.unread.len()), (vec![InodeHolder { inode: 99, pid: 7, fd: 4 }], 0));
    }

    #[test]
    fn a_proc_that_cannot_be_read_is_told() {
        let root = tempfile::tempdir().unwrap();
        let nowhere = root.path().join("nowhere");
        let not_listed = LookError { operation: Operation::ListProcesses, errno: 2 };
        assert_eq!(holders_by_inode(&nowhere, &FxHashSet::from_iter([1])).errors, [not_listed]);
        fs::create_dir(root.path().join("1")).unwrap();
        fs::write(root.path().join("1/fd"), "no directory").unwrap();
        fs::create_dir_all(root.path().join("2/fd")).unwrap();
        fs::write(root.path().join("2/fd/3"), "no link").unwrap();
        for pid in [1, 2] {
            fs::create_dir(root.path().join(format!("{pid}/net"))).unwrap();
            fs::write(root.path().join(format!("{pid}/net/sockstat")), "").unwrap();
        }
        // One that ended and was not waited for has none of this.
        fs::create_dir_all(root.path().join("3/task/3")).unwrap();
        fs::write(root.path().join("3/fd"), "no directory").unwrap();
        let error = |errno| LookError { operation: Operation::ReadDescriptors, errno };
        let unread = holders_by_inode(root.path(), &FxHashSet::from_iter([1])).unread;
        let (no_directory, no_link) = (Errno::NOTDIR.raw_os_error(), Errno::INVAL.raw_os_error());
        assert_eq!(unread, BTreeMap::from([(1, error(no_directory)), (2, error(no_link))]));
        assert!(holders_by_inode(root.path(), &FxHashSet::default()).unread.is_empty(), "nothing to do");
    }

    #[test]
    #[ignore = "needs the live kernel: cargo xtask test"]
    fn a_socket_of_this_process_and_its_duplicate_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let duplicate = listener.try_clone().unwrap();
        let inode = u32::try_from(rustix::fs::fstat(&listener).unwrap().st_ino).unwrap();
        let scan = holders_by_inode(Path::new("/proc"), &FxHashSet::from_iter([inode]));
        let pid = std::process::id();
        let mine: Vec<_> =
            scan.holders.iter().filter(|holder| holder.pid == pid).map(|holder| holder.fd).collect();
        let mut expected = [listener.as_raw_fd(), duplicate.as_raw_fd()].map(i32::cast_unsigned);
        expected.sort_unstable();
        assert_eq!(mine, expected);
    }

    #[test]
    fn only_whole_socket_names_are_understood() {
        assert_eq!(socket_inode(b"socket:[4294967295]"), Some(u32::MAX));
        for name in
            ["socket:[4294967296]", "socket:[]", "socket:[1", "socket:[1]x", "socket:[+1]", "pipe:[1]"]
        {
            assert_eq!(socket_inode(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_link_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = socket_inode(&bytes);
            let _ = decimal(&bytes);
        }
    }
}
