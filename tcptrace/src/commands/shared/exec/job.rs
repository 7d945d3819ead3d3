//! The command run for a leak: its input, its environment, its end. Never outlives its timeout.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Seek as _, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use crate::{
    host::open_files,
    model::record::{Leak, Record},
};

/// How often a running command is checked against the end of the session.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommandEnd {
    /// It exited with code 0.
    Succeeded,
    /// It exited otherwise or could not start; the reason in words.
    Failed(String),
    /// It took too long and was killed.
    Killed,
}

/// The input of a command.
#[derive(Debug)]
pub(crate) struct LeakCommand {
    record: Vec<u8>,
    /// Unknown values are unset.
    variables: Vec<(&'static str, Option<String>)>,
}

impl LeakCommand {
    pub(crate) fn of(leak: &Leak) -> Self {
        let mut record = serde_json::to_vec(&Record::Leak(Box::new(leak.clone())))
            .unwrap_or_else(|error| error.to_string().into());
        record.push(b'\n');
        Self { record, variables: variables(leak) }
    }

    /// Runs the command and waits for its end, for `timeout` or until `give_up`, which is polled.
    pub(crate) fn run(
        self,
        command: &OsStr,
        timeout: Duration,
        give_up: impl Fn() -> Option<Instant>,
    ) -> CommandEnd {
        let started = Instant::now();
        let mut child = match self.start(command) {
            Ok(child) => child,
            Err(error) => return CommandEnd::Failed(format!("could not be started: {error}")),
        };
        let is_over = || {
            let now = Instant::now();
            now.duration_since(started) >= timeout || give_up().is_some_and(|give_up| give_up <= now)
        };
        match wait(&mut child, is_over) {
            Ok(Some(status)) if status.success() => CommandEnd::Succeeded,
            Ok(Some(status)) => CommandEnd::Failed(format!("ended with {status}")),
            Ok(None) => CommandEnd::Killed,
            Err(error) => CommandEnd::Failed(format!("could not be waited for: {error}")),
        }
    }

    fn start(&self, command: &OsStr) -> io::Result<Child> {
        // A file, because a pipe would block us if the command does not read it.
        let mut input = File::from(memfd_create(c"tcptrace-leak", MemfdFlags::CLOEXEC)?);
        input.write_all(&self.record)?;
        input.rewind()?;
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(input);
        shell.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        // A process group of its own: its children are killed with it, and Ctrl-C reaches only us.
        shell.process_group(0);
        open_files::restore_for(&mut shell);
        for (name, value) in &self.variables {
            match value {
                Some(value) if !value.contains('\0') => shell.env(name, value),
                _ => shell.env_remove(name),
            };
        }
        shell.spawn()
    }
}

/// Waits for the end of a child. Once `is_over`, kills its process group and returns `None`.
fn wait(child: &mut Child, is_over: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let kill = |child: &mut Child| {
        // The child has not been reaped, so its pid cannot be reused yet.
        let _ = kill_process_group(pid, Signal::KILL);
        child.wait()
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(errno) => {
            kill(child)?;
            return Err(errno.into());
        }
    };
    let interval = Timespec::try_from(POLL_INTERVAL).unwrap_or_default();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if is_over() {
            kill(child)?;
            return Ok(None);
        }
        // On an error the loop only turns faster.
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&interval));
    }
}

/// The variables describe the first owner; the record has all.
fn variables(leak: &Leak) -> Vec<(&'static str, Option<String>)> {
    let endpoints = &leak.socket.endpoints;
    let owner = leak.owners.first();
    let process = owner.map(|owner| owner.process.as_ref());
    let stack = leak.opened_by.as_ref().and_then(|opened| opened.what.called.stack.as_ref());
    let fds = |fds: &[u32]| fds.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    vec![
        ("TCPTRACE_COOKIE", leak.socket.cookie.map(|cookie| cookie.to_string())),
        ("TCPTRACE_NETNS", leak.socket.netns.map(|netns| netns.to_string())),
        ("TCPTRACE_FAMILY", Some(endpoints.family().to_string())),
        ("TCPTRACE_LADDR", Some(endpoints.local.ip().to_string())),
        ("TCPTRACE_LPORT", Some(endpoints.local.port().to_string())),
        ("TCPTRACE_RADDR", Some(endpoints.remote.ip().to_string())),
        ("TCPTRACE_RPORT", Some(endpoints.remote.port().to_string())),
        ("TCPTRACE_CLOSE_WAIT_NS", leak.age.map(|age| age.ns.to_string())),
        ("TCPTRACE_VERDICT", leak.verdict.map(|verdict| verdict.name().to_owned())),
        ("TCPTRACE_REASON", leak.first_reason().map(|reason| reason.id.name().to_owned())),
        ("TCPTRACE_OWNERS", Some(leak.owners.len().to_string())),
        // A script may signal it, so it is nothing but a number that is right here.
        ("TCPTRACE_PID", process.and_then(|process| process.pid.visible()).map(|pid| pid.to_string())),
        ("TCPTRACE_HOST_PID", process.and_then(|process| process.pid.on_host()).map(|pid| pid.to_string())),
        ("TCPTRACE_COMM", process.map(|process| process.comm.clone())),
        ("TCPTRACE_EXE", process.and_then(|process| process.exe.clone())),
        ("TCPTRACE_UID", process.and_then(|process| process.uid).map(|uid| uid.to_string())),
        ("TCPTRACE_UNIT", process.and_then(|process| process.unit.clone())),
        ("TCPTRACE_CONTAINER", process.and_then(|process| process.container.clone())),
        ("TCPTRACE_CONTAINER_NAME", process.and_then(|process| process.container_name.clone())),
        ("TCPTRACE_POD", process.and_then(|process| process.pod.clone())),
        ("TCPTRACE_POD_NAMESPACE", process.and_then(|process| process.pod_namespace.clone())),
        ("TCPTRACE_FDS", owner.map(|owner| fds(&owner.fds))),
        ("TCPTRACE_OPENED_AT", stack.and_then(|stack| stack.site.clone())),
    ]
}
