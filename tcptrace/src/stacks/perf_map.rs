//! The names of functions that a process made at run time, as its compiler (Java, Node.js, .NET, PHP, …) tells them in
//! /tmp/perf-PID.map (tools/perf/Documentation/jit-interface.txt of the kernel): a line of start, size, both hexadecimal,
//! and name for each function, in the order in which they were made.
//!
//! Anybody may have put such a file there, and made it what they like. Nothing of it is kept but the names asked for.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

use crate::process::reader::{DIRECTORY, FILE_BYTES, contents, effective_uid};

/// Most that is read of a file. Those of large programs have some ten MiB.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Most that is read of a line; what is behind it counts as a line of its own.
const MAX_LINE: u64 = 4096;

/// Longest name, in bytes; longer ones are cut. Those of generic code can be long.
const MAX_NAME: usize = 512;

/// Names the functions that these addresses of a process lie in, in their order; `None` where there is no name.
///
/// The file is looked for where the process sees it: in its own /tmp, under the pid that it has in its own pid namespace.
///
/// # Errors
/// When the process has gone, has told no names, or the file is not one to rely on.
pub(crate) fn names(proc_root: &Path, pid: u32, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    let file = open(proc_root, pid)?;
    look_up(BufReader::new(file.take(MAX_BYTES)), addresses)
}

fn open(proc_root: &Path, pid: u32) -> io::Result<File> {
    let process = openat(CWD, proc_root.join(pid.to_string()), DIRECTORY, Mode::empty())?;
    let status = contents(&process, "status", FILE_BYTES)?;
    let status = String::from_utf8_lossy(&status);
    let own_pid = own_pid(&status).unwrap_or(pid);
    let root = openat(&process, "root", DIRECTORY, Mode::empty())?;
    // A link in there is to lead to where it leads the process, never to a file of ours; and a pipe must not hold
    // us up. openat2 came with Linux 5.6.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&root, format!("tmp/perf-{own_pid}.map"), flags, Mode::empty(), within)?;
    let status_of_file = fstat(&file)?;
    if FileType::from_raw_mode(status_of_file.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("its perf map is no regular file"));
    }
    // /tmp is everybody's, and a stranger's names are no evidence.
    let owner = status_of_file.st_uid;
    if owner != 0 && Some(owner) != effective_uid(&status) {
        return Err(io::Error::other(format!("its perf map belongs to user {owner}, not to the process's")));
    }
    Ok(File::from(file))
}

/// `NStgid:` holds the pid in each pid namespace, the process's own last (Linux 4.1).
fn own_pid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NStgid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

fn look_up(mut map: impl BufRead, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    let mut names = vec![None; addresses.len()];
    let mut line = Vec::new();
    while map.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        // What cannot be understood is passed over: a compiler at work is always about to finish its last line.
        if let Some((functions, name)) = function(&line) {
            for (address, known) in addresses.iter().zip(&mut names) {
                if functions.contains(address) {
                    // Memory is used again, and what was made last lies there now.
                    *known = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        line.clear();
    }
    Ok(names)
}

/// The addresses that a line speaks of, and the name it gives them.
fn function(line: &[u8]) -> Option<(std::ops::Range<u64>, &[u8])> {
    let line = line.strip_suffix(b"\n")?.trim_ascii();
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let mut number = || {
        let text = std::str::from_utf8(parts.next()?).ok()?;
        // Java writes the prefix, against the convention.
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    let name = parts.next()?.trim_ascii();
    let name = name.get(..MAX_NAME).unwrap_or(name);
    (!name.is_empty()).then(|| (start..start.saturating_add(size), name))
}

#[cfg(test)]
#[path = "perf_map_tests.rs"]
mod tests;
