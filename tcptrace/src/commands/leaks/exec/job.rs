//! One leak and the command that is run for it: what the command is told, and how long it is waited for.

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

use crate::model::record::{Leak, Record};

/// How long the end of the session may go unnoticed while a command runs.
const GLANCE: Duration = Duration::from_millis(100);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With exit code 0.
    Well,
    /// Otherwise, or it could not even be started; in words.
    Badly(String),
    /// It took too long.
    Killed,
}

/// What a command is to be told.
#[derive(Debug)]
pub(crate) struct Job {
    record: Vec<u8>,
    /// What is not known is not set.
    variables: Vec<(&'static str, Option<String>)>,
}

impl Job {
    /// Of a leak.
    pub(crate) fn of(leak: &Leak) -> Self {
        let mut record = serde_json::to_vec(&Record::Leak(Box::new(leak.clone())))
            .unwrap_or_else(|error| error.to_string().into());
        record.push(b'\n');
        Self { record, variables: variables(leak) }
    }

    /// Runs the command and waits for its end: for `timeout`, or until `give_up`, which is asked again and again.
    pub(crate) fn run(
        self,
        command: &OsStr,
        timeout: Duration,
        give_up: impl Fn() -> Option<Instant>,
    ) -> Ended {
        let started = Instant::now();
        let mut child = match self.start(command) {
            Ok(child) => child,
            Err(error) => return Ended::Badly(format!("could not be started: {error}")),
        };
        let is_over = || {
            let now = Instant::now();
            now.duration_since(started) >= timeout || give_up().is_some_and(|give_up| give_up <= now)
        };
        match wait(&mut child, is_over) {
            Ok(Some(status)) if status.success() => Ended::Well,
            Ok(Some(status)) => Ended::Badly(format!("ended with {status}")),
            Ok(None) => Ended::Killed,
            Err(error) => Ended::Badly(format!("could not be waited for: {error}")),
        }
    }

    fn start(&self, command: &OsStr) -> io::Result<Child> {
        // A file, because a pipe would be waited for when the command does not read it.
        let mut input = File::from(memfd_create(c"tcptrace-leak", MemfdFlags::CLOEXEC)?);
        input.write_all(&self.record)?;
        input.rewind()?;
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(input);
        shell.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        // A group of its own: what it starts is killed with it, and Ctrl-C is for us alone.
        shell.process_group(0);
        for (name, value) in &self.variables {
            match value {
                Some(value) if !value.contains('\0') => shell.env(name, value),
                _ => shell.env_remove(name),
            };
        }
        shell.spawn()
    }
}

/// Waits for the end of a child; kills its process group when it is over, and returns `None` then.
fn wait(child: &mut Child, is_over: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let kill = |child: &mut Child| {
        // The child is not waited for yet, so the number is nobody else's.
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
    let glance = Timespec::try_from(GLANCE).unwrap_or_default();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if is_over() {
            kill(child)?;
            return Ok(None);
        }
        // An error would only make the loop turn faster.
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&glance));
    }
}

/// The first owner speaks for all: the others are in the record.
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
        ("TCPTRACE_OWNERS", Some(leak.owners.len().to_string())),
        ("TCPTRACE_PID", process.map(|process| process.pid.to_string())),
        ("TCPTRACE_COMM", process.map(|process| process.comm.clone())),
        ("TCPTRACE_EXE", process.and_then(|process| process.exe.clone())),
        ("TCPTRACE_UID", process.and_then(|process| process.uid).map(|uid| uid.to_string())),
        ("TCPTRACE_UNIT", process.and_then(|process| process.unit.clone())),
        ("TCPTRACE_CONTAINER", process.and_then(|process| process.container.clone())),
        ("TCPTRACE_FDS", owner.map(|owner| fds(&owner.fds))),
        ("TCPTRACE_OPENED_AT", stack.and_then(|stack| stack.site.clone())),
    ]
}
