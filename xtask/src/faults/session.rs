//! The tool while it runs, seen from outside: its process, its files, its messages.

use super::ground::{Ground, until};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything may take that has no promise of its own: the machine is busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// A process of the tool. Dropping it kills it.
pub(crate) struct Session {
    pub child: Child,
    messages: tempfile::NamedTempFile,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to standard error.
    pub messages: String,
    /// From the moment at which its end was asked for, or waited for.
    pub took: Duration,
}

impl Session {
    /// Starts the tool. Its standard output goes where `command` says.
    pub(crate) fn start(ground: &Ground, command: &mut Command) -> Result<Self> {
        let messages = tempfile::NamedTempFile::new_in(ground.scratch()).context("cannot make a file")?;
        command.stdin(Stdio::null()).stderr(messages.reopen().context("cannot open a file again")?);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self { child, messages })
    }

    /// A process whose messages go elsewhere.
    pub(crate) fn of(ground: &Ground, child: Child) -> Result<Self> {
        let messages = tempfile::NamedTempFile::new_in(ground.scratch()).context("cannot make a file")?;
        Ok(Self { child, messages })
    }

    /// Starts a session that writes this file, and returns once it is attached: the file is begun then.
    pub(crate) fn attached(ground: &Ground, command: &mut Command, file: &Path) -> Result<Self> {
        let mut session = Self::start(ground, command.stdout(Stdio::null()))?;
        session.wait_until_attached(file)?;
        Ok(session)
    }

    /// Waits until it has begun this file, which it does once it is attached.
    pub(crate) fn wait_until_attached(&mut self, file: &Path) -> Result<()> {
        self.wait_for(&format!("{} is begun", file.display()), || {
            Ok(fs::metadata(file).is_ok_and(|file| file.len() > 0))
        })?;
        Ok(())
    }

    /// Waits for what it will do. Fails when it ends before.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        mut condition: impl FnMut() -> Result<bool>,
    ) -> Result<Duration> {
        let Self { child, messages } = self;
        let said = || fs::read_to_string(messages.path()).unwrap_or_default();
        until(what, LIMIT, || {
            if condition()? {
                return Ok(true);
            }
            if let Some(status) = child.try_wait()? {
                bail!("it ended with {status} before {what}: {}", said().trim());
            }
            Ok(false)
        })
        .with_context(|| format!("its messages: {:?}", said().trim()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("cannot signal the tool")
    }

    /// What it has written to standard error so far.
    pub(crate) fn messages(&self) -> String {
        let bytes = fs::read(self.messages.path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Asks for its end, as Ctrl-C does, and waits.
    pub(crate) fn stop(self) -> Result<Ended> {
        self.stop_within(LIMIT)
    }

    /// As [`Session::stop`], where it may take longer.
    pub(crate) fn stop_within(self, limit: Duration) -> Result<Ended> {
        self.signal(Signal::INT)?;
        self.end(limit)
    }

    /// Waits for its end, but no longer than `limit`.
    pub(crate) fn end(mut self, limit: Duration) -> Result<Ended> {
        let child = &mut self.child;
        let mut status = None;
        let waited = until("it ends", limit, || {
            status = child.try_wait()?;
            Ok(status.is_some())
        });
        let messages = self.messages();
        let took = waited.with_context(|| format!("its messages: {:?}", messages.trim()))?;
        let status = status.context("it has no status")?;
        Ok(Ended { code: status.code(), signal: status.signal(), messages, took })
    }
}

impl Ended {
    /// Fails unless it ended with this exit code.
    pub(crate) fn expect(&self, code: i32) -> Result<()> {
        ensure!(
            self.code == Some(code),
            "it ended with {}, where {code} was expected; its messages: {:?}",
            self.how(),
            self.messages.trim()
        );
        Ok(())
    }

    /// Its exit code or its signal, in words.
    pub(crate) fn how(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "nothing".to_owned(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
