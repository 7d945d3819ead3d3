//! Reads who a process is from `/proc/PID`.
//!
//! Reads every file through one handle of the directory, so that a reused pid never lends its name to the
//! process that had it before. Processes choose their names: arbitrary bytes, converted lossily and bounded
//! here, escaped where they are shown. Caches nothing and prints nothing.
//!
//! Files: proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5), proc_pid_limits(5).

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, RawDir, fstat, openat, readlink, readlinkat, stat},
    io::Errno,
};

use super::{
    cgroup::CgroupMembership,
    container::{lookup::ContainerLookup, names::ContainerNames},
};
use crate::{
    host::{clock, live_thread::live_thread_of, stat, world::World},
    model::{
        pid::Pid,
        process::{DescriptorUse, ProcessIdentity},
    },
};

/// The part of a command line that is kept, in bytes and in arguments.
const CMDLINE_BYTES: u64 = 4096;
const CMDLINE_ARGUMENTS: usize = 64;
/// Enough for `stat`, for `status` up to `Uid:`, for `limits`, and for `cgroup` (at most one path per line;
/// longer text is cut).
pub(crate) const FILE_BYTES: u64 = 64 * 1024;
/// Longer than most of them.
const USUAL_BYTES: usize = 2048;
/// Unit of a process's start time: USER_HZ, 100 on every architecture with BPF (`include/asm-generic/param.h`).
const TICKS_PER_SECOND: i64 = 100;

/// Why a process could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// The process does not exist, or `hidepid` hides it (proc(5)).
    #[error("process {pid} is gone")]
    Gone { pid: Pid },
    /// Its files could not be read.
    #[error("reading {path}: {source}; run as root")]
    Unreadable { path: PathBuf, source: io::Error },
}

/// Reads processes from one mount of procfs.
#[derive(Debug, Clone)]
pub(crate) struct ProcessReader {
    proc_root: PathBuf,
    /// When the machine booted.
    booted: jiff::Timestamp,
    containers: ContainerLookup,
    /// The program that this process runs, and its file; `None` where it cannot be read.
    own_program: Option<(String, (u64, u64))>,
}

fn file_name(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

/// The path of a program, and its file.
fn own_program(exe: &Path) -> Option<(String, (u64, u64))> {
    Some((readlink(exe, Vec::new()).ok()?.to_string_lossy().into_owned(), program_file(exe)?))
}

/// The device and the inode of the file that a link of a process leads to.
fn program_file(exe: &Path) -> Option<(u64, u64)> {
    let file = stat(exe).ok()?;
    Some((file.st_dev, file.st_ino))
}

impl ProcessReader {
    /// Reads the procfs of a host.
    #[must_use]
    pub(crate) fn new(world: &World) -> Self {
        Self {
            proc_root: world.proc.clone(),
            booted: world.clocks.booted(),
            containers: ContainerLookup::new(world),
            own_program: own_program(&world.proc.join("self/exe")),
        }
    }

    /// Whether a process runs the program that this one does: the same file, whatever it is called.
    pub(crate) fn runs_this_program(&self, process: &ProcessIdentity) -> bool {
        let Some((path, file)) = &self.own_program else { return false };
        // Anybody can be called so.
        process.exe.as_deref().and_then(file_name) == file_name(path)
            && program_file(&self.path(process.pid, "exe")) == Some(*file)
    }

    /// Begins a round: containers without a name are looked up again.
    pub(crate) fn begin_round(&self) {
        self.containers.begin_round();
    }

    /// Reads the process with this pid.
    ///
    /// # Errors
    ///
    /// When the process does not exist, or not even its name can be read.
    pub(crate) fn read(&self, pid: Pid) -> Result<ProcessIdentity, ProcessError> {
        let directory = self.open(pid)?;
        let stat =
            contents(&directory, "stat", FILE_BYTES).map_err(|errno| self.error(pid, "stat", errno))?;
        let Some(stat) = parse_stat(&stat) else {
            let source = io::Error::from(io::ErrorKind::InvalidData);
            return Err(ProcessError::Unreadable { path: self.path(pid, "stat"), source });
        };
        // What a main thread that has ended does not have any more (its cgroup where that is of version 1,
        // `proc_cgroup_show`). A zombie has no other thread.
        let thread = if stat.is_ended { live_thread_of(&directory) } else { None };
        let of_thread = |file: &str| of_thread(thread, file);
        let text = |file: &str| {
            let bytes = contents(&directory, file, FILE_BYTES).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let CgroupMembership { path: cgroup, unit, container, task: _ } =
            text(&of_thread("cgroup")).map(|text| self.containers.membership(&text)).unwrap_or_default();
        let ContainerNames { container: container_name, pod, namespace: pod_namespace } =
            container.as_ref().map(|container| self.containers.names(container)).unwrap_or_default();
        Ok(ProcessIdentity {
            pid,
            comm: stat.comm,
            exe: readlinkat(&directory, of_thread("exe"), Vec::new())
                .ok()
                .map(|path| path.to_string_lossy().into_owned()),
            cmdline: contents(&directory, &of_thread("cmdline"), CMDLINE_BYTES)
                .map(|bytes| arguments(&bytes))
                .unwrap_or_default(),
            uid: text("status").and_then(|text| effective_uid(&text)),
            started: stat.start_ticks.and_then(|ticks| self.started(ticks)),
            start_ticks: stat.start_ticks,
            cgroup,
            unit,
            container: container.map(|container| container.id.shown()),
            container_name,
            pod,
            pod_namespace,
            is_32_bit: contents(&directory, &of_thread("auxv"), FILE_BYTES)
                .ok()
                .and_then(|auxv| is_32_bit(&auxv)),
        })
    }

    /// Counts the process's descriptors. Nothing is known of another process that has its pid now, where its start is
    /// known.
    #[must_use]
    pub(crate) fn descriptor_use(&self, pid: Pid, start_ticks: Option<i64>) -> DescriptorUse {
        let Ok(directory) = self.open(pid) else { return DescriptorUse::default() };
        let started = || {
            let stat = contents(&directory, "stat", FILE_BYTES).ok()?;
            parse_stat(&stat)?.start_ticks
        };
        if start_ticks.is_some() && started() != start_ticks {
            return DescriptorUse::default();
        }
        let limits = contents(&directory, "limits", FILE_BYTES).ok();
        let limit = limits.and_then(|text| open_files_limit(&String::from_utf8_lossy(&text)));
        let (thread, used) = match descriptors(&directory, None) {
            // As good as nobody has none.
            Ok(0) => {
                let thread = live_thread_of(&directory);
                (thread, descriptors(&directory, thread).ok())
            }
            used => (None, used.ok()),
        };
        // The limit is on the numbers: what was opened before it was lowered leaves room below it.
        let below = |limit: u64| {
            let table = openat(&directory, of_thread(thread, "fd"), DIRECTORY, Mode::empty()).ok()?;
            counted(&table, limit).ok()
        };
        let used = match limit {
            Some(limit) if used.is_some_and(|used| used >= limit) => below(limit).or(used),
            _ => used,
        };
        DescriptorUse { used, limit }
    }

    fn open(&self, pid: Pid) -> Result<OwnedFd, ProcessError> {
        openat(CWD, self.path(pid, ""), DIRECTORY, Mode::empty()).map_err(|errno| self.error(pid, "", errno))
    }

    fn path(&self, pid: Pid, file: &str) -> PathBuf {
        self.proc_root.join(pid.to_string()).join(file)
    }

    fn error(&self, pid: Pid, file: &str, errno: Errno) -> ProcessError {
        match errno {
            Errno::NOENT | Errno::SRCH => ProcessError::Gone { pid },
            errno => ProcessError::Unreadable { path: self.path(pid, file), source: errno.into() },
        }
    }

    fn started(&self, ticks: i64) -> Option<jiff::Timestamp> {
        let nanoseconds = ticks.checked_mul(1_000_000_000 / TICKS_PER_SECOND)?;
        self.booted.checked_add(jiff::SignedDuration::from_nanos(nanoseconds)).ok()
    }
}

pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub(crate) fn contents(directory: &OwnedFd, file: &str, most: u64) -> Result<Vec<u8>, Errno> {
    let file = openat(directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // Room for most of them at once: the kernel tells no size, and each call costs.
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    File::from(file)
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(bytes)
}

/// Since Linux 6.2 (commit f1f1f2569901) the size of the directory is the number of descriptors. Before, it
/// is 0 and the entries must be counted.
fn descriptors(process: &OwnedFd, thread: Option<u32>) -> Result<u64, Errno> {
    let directory = openat(process, of_thread(thread, "fd"), DIRECTORY, Mode::empty())?;
    let status = fstat(&directory)?;
    // Only procfs, whose directories have no blocks, reports the number as the size.
    if let (Ok(count @ 1..), 0) = (u64::try_from(status.st_size), status.st_blocks) {
        return Ok(count);
    }
    counted(&directory, u64::MAX)
}

/// The descriptors below a number.
fn counted(directory: &OwnedFd, below: u64) -> Result<u64, Errno> {
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut count = 0;
    while let Some(entry) = entries.next() {
        let number = entry?.file_name().to_str().ok().and_then(|name| name.parse::<u64>().ok());
        count += u64::from(number.is_some_and(|number| number < below));
    }
    Ok(count)
}

/// A file of the process, or of one of its threads.
fn of_thread(thread: Option<u32>, file: &str) -> String {
    thread.map_or_else(|| file.to_owned(), |tid| format!("task/{tid}/{file}"))
}

struct ProcessStat {
    comm: String,
    /// Whether the main thread has ended.
    is_ended: bool,
    start_ticks: Option<i64>,
}

/// The start time is field 22.
fn parse_stat(stat: &[u8]) -> Option<ProcessStat> {
    let (comm, fields) = stat::fields(stat)?;
    Some(ProcessStat {
        comm: String::from_utf8_lossy(comm).into_owned(),
        is_ended: fields.clone().next().is_some_and(|state| matches!(state, "Z" | "X")),
        start_ticks: fields.clone().nth(19).and_then(|ticks| ticks.parse().ok()).map(clock::start_ticks),
    })
}

/// Whether the auxiliary vector (getauxval(3)) is that of a 32-bit program: pairs of words of the program's size, one of
/// which says how long a program header is. The kernel made it at exec; the program's file, which may be on a file system
/// that never answers, is not touched.
fn is_32_bit(auxv: &[u8]) -> Option<bool> {
    const AT_PHENT: u64 = 4;
    // `sizeof(Elf64_Phdr)`, `sizeof(Elf32_Phdr)`.
    const HEADERS: [(usize, u64, bool); 2] = [(8, 56, false), (4, 32, true)];
    let word = |bytes: &[u8]| match (<[u8; 4]>::try_from(bytes), <[u8; 8]>::try_from(bytes)) {
        (Ok(bytes), _) => u64::from(u32::from_ne_bytes(bytes)),
        (_, Ok(bytes)) => u64::from_ne_bytes(bytes),
        _ => 0,
    };
    let has = |size: usize, length: u64| {
        auxv.chunks_exact(2 * size).any(|pair| {
            let (key, value) = pair.split_at(size);
            word(key) == AT_PHENT && word(value) == length
        })
    };
    HEADERS.into_iter().find(|(size, length, _)| has(*size, *length)).map(|(_, _, is_32_bit)| is_32_bit)
}

/// Splits a command line at zero bytes; the last argument may be cut.
fn arguments(cmdline: &[u8]) -> Vec<String> {
    if cmdline.is_empty() {
        return Vec::new();
    }
    let cmdline = cmdline.strip_suffix(&[0]).unwrap_or(cmdline);
    cmdline
        .split(|byte| *byte == 0)
        .take(CMDLINE_ARGUMENTS)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// `Uid:` holds the real, effective, saved and file system user ids. The owner of the directory does not
/// help: it is root for a process that is not dumpable.
pub(crate) fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The soft limit, which is the first number.
fn open_files_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests;
