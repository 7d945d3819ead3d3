//! A child process that ends with the test, even where the test panics.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::{clock, limit, until};

/// A test program that has not ended this long after its input did is killed.
const END_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Process {
    name: String,
    child: Child,
    /// Who gets signals.
    signalled: i32,
    stdin: Option<ChildStdin>,
    messages: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl Process {
    /// Starts a child with pipes on all three streams. The caller reads its standard output.
    pub(crate) fn start(command: &mut Command) -> (Self, ChildStdout) {
        Self::start_by(command, Command::spawn)
    }

    /// As [`Process::start`], where `spawn` is what makes the process.
    pub(crate) fn start_by(
        command: &mut Command,
        spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>,
    ) -> (Self, ChildStdout) {
        clock::watch();
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: the closure makes one system call and does not allocate.
        unsafe {
            command.pre_exec(|| {
                // A test binary that is killed runs no destructors.
                Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?)
            });
        }
        let mut child = spawn(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let signalled = child.id().cast_signed();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let messages = Arc::new(Mutex::new(Vec::new()));
        let (mut stderr, heard) = (child.stderr.take().unwrap(), Arc::clone(&messages));
        let listener = std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut some) {
                heard.lock().unwrap().extend_from_slice(&some[..count]);
            }
        });
        (Self { name, child, signalled, stdin, messages, listener }, stdout)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// A child that only started another one: that one gets the signals.
    pub(crate) fn with_signals_to(mut self, signalled: i32) -> Self {
        self.signalled = signalled;
        self
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.stdin.as_mut().expect("its standard input is closed")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.signalled).unwrap();
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// What the child has written to standard error so far.
    pub(crate) fn messages(&self) -> String {
        String::from_utf8_lossy(&self.messages.lock().unwrap()).into_owned()
    }

    /// Waits until the child has ended and its last message is read.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self
            .wait_for(limit())
            .unwrap_or_else(|| panic!("{} does not end; on standard error:\n{}", self.name, self.messages()));
        until("standard error ends with the child", || self.listener.is_finished());
        status
    }

    fn wait_for(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("cannot wait for a child") {
                return Some(status);
            }
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The test programs clean up after themselves and end when their input ends.
        if self.stdin.take().is_some() && self.name.contains("examples/") {
            let _killed_below_if_it_did_not = self.wait_for(END_TIMEOUT);
        }
        let _already_dead = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

/// Closes the end of a pipe that is read, and waits until nobody has it: a child of another test has it until it executes.
pub(crate) fn close_for_all(end: ChildStdout) {
    let other_end = format!("/proc/self/fd/{}", end.as_raw_fd());
    let other_end = File::options().write(true).open(other_end).expect("the other end");
    drop(end);
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    until("nobody reads the pipe", || {
        let mut ends = [PollFd::new(&other_end, PollFlags::empty())];
        poll(&mut ends, Some(&now)).expect("a pipe");
        ends[0].revents().contains(PollFlags::ERR)
    });
}
