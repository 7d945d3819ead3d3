//! Names of JIT-compiled functions from /tmp/perf-PID.map, which compilers write (Java, Node.js, .NET, PHP,
//! …; tools/perf/Documentation/jit-interface.txt of the kernel): one line per function with start and size in
//! hexadecimal and the name, in the order of compilation.
//!
//! The file is untrusted: anybody can write anything there. Keeps nothing but the names asked for.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    time::SystemTime,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

use crate::process::reader::{DIRECTORY, FILE_BYTES, contents, effective_uid};

/// Most bytes read of a file. Large programs have some ten MiB.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Most bytes read of a line; the rest counts as another line.
const MAX_LINE: u64 = 4096;

/// Longest name in bytes; longer ones are cut. Names of generic code can be long.
const MAX_NAME: usize = 512;

/// Names the functions at these addresses of a process, in order; `None` without a name.
///
/// Looks for the file where the process sees it: in its own /tmp, under its pid in its own pid namespace.
///
/// # Errors
/// When the process has ended, wrote no file, or the file cannot be trusted.
pub(crate) fn names(proc_root: &Path, pid: u32, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    let file = open(proc_root, pid)?;
    look_up(BufReader::new(file.take(MAX_BYTES)), addresses)
}

/// Tells this state of the map of a process from others: its length, and when it was written to; `None` without one.
pub(super) fn state(proc_root: &Path, pid: u32) -> Option<(u64, SystemTime)> {
    let status = open(proc_root, pid).ok()?.metadata().ok()?;
    Some((status.len(), status.modified().ok()?))
}

fn open(proc_root: &Path, pid: u32) -> io::Result<File> {
    let process = openat(CWD, proc_root.join(pid.to_string()), DIRECTORY, Mode::empty())?;
    let status = contents(&process, "status", FILE_BYTES)?;
    let status = String::from_utf8_lossy(&status);
    let own_pid = own_pid(&status).unwrap_or(pid);
    let root = openat(&process, "root", DIRECTORY, Mode::empty())?;
    // A link must resolve as it does for the process, never to a file of ours, and a pipe must not block us.
    // openat2 came with Linux 5.6.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&root, format!("tmp/perf-{own_pid}.map"), flags, Mode::empty(), within)?;
    let status_of_file = fstat(&file)?;
    if FileType::from_raw_mode(status_of_file.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("its perf map is no regular file"));
    }
    // Anybody can write to /tmp; names from another user are no evidence.
    let owner = status_of_file.st_uid;
    if owner != 0 && Some(owner) != effective_uid(&status) {
        return Err(io::Error::other(format!("its perf map belongs to user {owner}, not to the process's")));
    }
    Ok(File::from(file))
}

/// `NStgid:` lists the pid in each pid namespace, the process's own namespace last (Linux 4.1).
fn own_pid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NStgid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

/// Names the functions at these addresses by the lines of a map, in order; `None` without a name.
///
/// # Errors
/// When the map cannot be read.
pub fn look_up(mut map: impl BufRead, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    let mut names = vec![None; addresses.len()];
    let mut line = Vec::new();
    while map.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        // Skips what it cannot parse: a running compiler is always about to finish its last line.
        if let Some((functions, name)) = function(&line) {
            for (address, known) in addresses.iter().zip(&mut names) {
                if functions.contains(address) {
                    // Memory is reused: the function compiled last is there now.
                    *known = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        line.clear();
    }
    Ok(names)
}

/// The address range and the name on a line.
fn function(line: &[u8]) -> Option<(std::ops::Range<u64>, &[u8])> {
    let line = line.strip_suffix(b"\n")?.trim_ascii();
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let mut number = || {
        let text = std::str::from_utf8(parts.next()?).ok()?;
        // Java writes the prefix, contrary to the convention.
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    let name = parts.next()?.trim_ascii();
    let name = name.get(..MAX_NAME).unwrap_or(name);
    (!name.is_empty()).then(|| (start..start.saturating_add(size), name))
}

#[cfg(test)]
mod tests;
