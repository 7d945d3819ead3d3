//! The thread by which a process is read whose main thread has ended (pthread_exit) while others go on: its own files in
//! /proc are empty then, as those of a zombie are.
//!
//! /proc shows a thread under its own number too, only not in the list (proc(5)): `/proc/TID` has what `/proc/PID` has.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, RawDir, openat},
    io::Errno,
};

use super::stat;

/// Threads that are asked whether they live. Those that have ended are gone at once, unless they are traced.
const MAX_THREADS: usize = 256;

/// Enough of `stat` for the state: the name before it has 64 bytes at most.
const STAT_BYTES: u64 = 512;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The number of a thread that lives, in a process whose main thread has ended; `None` of all other processes.
pub(crate) fn live_thread(proc_root: &Path, pid: u32) -> Option<u32> {
    let process = openat(CWD, proc_root.join(pid.to_string()), DIRECTORY, Mode::empty()).ok()?;
    live_thread_of(&process)
}

/// The same, by the directory of the process.
pub(crate) fn live_thread_of(process: &OwnedFd) -> Option<u32> {
    if lives(process, "stat")? {
        return None;
    }
    let threads = openat(process, "task", DIRECTORY, Mode::empty()).ok()?;
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(&threads, buffer.spare_capacity_mut());
    for _ in 0..MAX_THREADS {
        let entry = entries.next()?.ok()?;
        let Some(tid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        if lives(&threads, &format!("{tid}/stat")) == Some(true) {
            return Some(tid);
        }
    }
    None
}

fn lives(directory: impl AsFd, file: &str) -> Option<bool> {
    let read = || -> Result<Vec<u8>, Errno> {
        let file = openat(directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = Vec::new();
        let read = File::from(file).take(STAT_BYTES).read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(bytes)
    };
    let stat = read().ok()?;
    let (_, mut fields) = stat::fields(&stat)?;
    fields.next().map(|state| !matches!(state, "Z" | "X" | "x"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs;

    use super::*;

    fn planted(states: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, state) in states {
            fs::create_dir_all(root.path().join(path)).unwrap();
            let pid = path.rsplit('/').next().unwrap();
            fs::write(root.path().join(path).join("stat"), format!("{pid} (a) Z (b) {state} 1 7 7")).unwrap();
        }
        root
    }

    #[test]
    fn a_living_thread_stands_for_a_main_thread_that_has_ended() {
        let root = planted(&[("7", "Z"), ("7/task/7", "Z"), ("7/task/8", "X"), ("7/task/9", "S")]);
        assert_eq!(live_thread(root.path(), 7), Some(9));
    }

    #[test]
    fn nobody_stands_for_a_process_that_lives_or_has_ended() {
        let root =
            planted(&[("7", "S"), ("7/task/7", "S"), ("7/task/9", "S"), ("8", "Z"), ("8/task/8", "Z")]);
        assert_eq!(live_thread(root.path(), 7), None);
        assert_eq!(live_thread(root.path(), 8), None);
        assert_eq!(live_thread(root.path(), 9), None);
        fs::write(root.path().join("7/stat"), "7 (").unwrap();
        assert_eq!(live_thread(root.path(), 7), None);
    }
}
