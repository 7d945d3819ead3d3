//! The limit of open files: raised for this process as far as it may be without asking anybody, and put back for the
//! commands that it runs.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::Command,
    sync::OnceLock,
};

use rustix::{
    event::EventfdFlags,
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// The limit that this process was started with; not set where it was left as it is.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one. A process that may not have more is no worse off.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum || limit.current.is_none() {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        ORIGINAL.get_or_init(|| limit);
    }
}

/// Descriptors of the run-time's signals and timers, and of an output: what every command needs.
pub(crate) const FEW: usize = 12;

/// Those of programs, maps and links in the kernel besides, of namespaces and of files that are read: 52 with `leaks --deep`.
pub(crate) const FOR_TRACING: usize = 64;

/// Makes sure that so many descriptors are left: what runs into the limit later says nothing of it, or that the kernel
/// lacks something.
///
/// # Errors
/// When they are not.
pub(crate) fn require(needed: usize) -> io::Result<()> {
    let taken: Result<Vec<OwnedFd>, Errno> =
        (0..needed).map(|_| rustix::event::eventfd(0, EventfdFlags::CLOEXEC)).collect();
    drop(taken?);
    Ok(())
}

/// What helps where an error says that no descriptor is left; empty for others.
pub(crate) fn remedy(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            let limit = getrlimit(Resource::Nofile)
                .current
                .map_or_else(String::new, |limit| format!(" above {limit}"));
            format!("; raise the limit of open files{limit}: `ulimit -n 1024`")
        }
        Some(Errno::NFILE) => "; raise the limit of open files of the system: fs.file-max".to_owned(),
        _ => String::new(),
    }
}

/// Has the command run with the limit that this process was started with: what is beyond 1024 is too much for a
/// program that uses select(2).
pub(crate) fn restore_for(command: &mut Command) {
    let Some(original) = ORIGINAL.get() else { return };
    let limit = *original;
    let restore = move || setrlimit(Resource::Nofile, limit).map_err(io::Error::from);
    // SAFETY: the closure makes one system call, and neither allocates nor locks.
    unsafe { command.pre_exec(restore) };
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_for_this_process_and_put_back_for_its_commands() {
        let limit = getrlimit(Resource::Nofile);
        let low = Rlimit { current: Some(limit.current.unwrap_or(1024).min(512)), ..limit };
        setrlimit(Resource::Nofile, low).unwrap();
        raise();
        assert_eq!(getrlimit(Resource::Nofile), limit_of(limit.maximum));
        let mut shell = Command::new("/bin/sh");
        restore_for(shell.args(["-c", "ulimit -Sn"]));
        let said = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        assert_eq!(said.trim().parse().ok(), low.current, "the limit of the command");
    }

    fn limit_of(maximum: Option<u64>) -> Rlimit {
        Rlimit { current: maximum, maximum }
    }
}
