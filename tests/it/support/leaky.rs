//! Runs the program that leaks on purpose and prints the truth about it.

use std::io::Write as _;
use std::process::{ChildStdout, Command};

use serde_json::Value;

use super::example;
use super::process::Process;
use super::stream::Stream;
use super::truth::Truth;

pub(crate) struct Leaky {
    process: Process,
    output: Stream,
    pub truths: Vec<Truth>,
}

impl Leaky {
    /// Builds a case, and returns when its sockets are in CLOSE_WAIT.
    pub(crate) fn start(case: &str, arguments: &[&str]) -> Self {
        Self::try_start(case, arguments).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`Leaky::start`].
    ///
    /// # Errors
    /// Why this host cannot build the case.
    pub(crate) fn try_start(case: &str, arguments: &[&str]) -> Result<Self, String> {
        Self::try_start_by(case, arguments, Process::start)
    }

    /// As [`Leaky::start`], where `start` is what starts the program.
    pub(crate) fn start_by(
        case: &str,
        arguments: &[&str],
        start: impl FnOnce(&mut Command) -> (Process, ChildStdout),
    ) -> Self {
        Self::try_start_by(case, arguments, start).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_start_by(
        case: &str,
        arguments: &[&str],
        start: impl FnOnce(&mut Command) -> (Process, ChildStdout),
    ) -> Result<Self, String> {
        let mut command = Command::new(example("leaky"));
        command.arg(case).args(arguments);
        let (process, stdout) = start(&mut command);
        let output = Stream::of(stdout);
        let ready = |line: &Value| line["ready"] == true;
        let lines = output
            .wait(|lines| lines.iter().any(ready).then(|| lines.to_vec()))
            .map_err(|came| format!("{command:?} is not ready: {came}\n{}", process.messages()))?;
        let truths = lines
            .into_iter()
            .take_while(|line| !ready(line))
            .map(|line| serde_json::from_value::<Truth>(line).expect("a truth has other fields"))
            .map(Truth::for_this_kernel)
            .collect();
        Ok(Self { process, output, truths })
    }

    /// The names of all cases.
    pub(crate) fn cases() -> Vec<String> {
        let list = Command::new(example("leaky")).arg("--list").output().expect("leaky --list");
        String::from_utf8(list.stdout).expect("names").lines().map(str::to_owned).collect()
    }

    /// The only socket of a case.
    pub(crate) fn truth(&self) -> &Truth {
        let [truth] = &self.truths[..] else { panic!("one socket, not {}", self.truths.len()) };
        truth
    }

    /// Has the holders close their sockets as they ought to have. Returns CLOCK_MONOTONIC before and after.
    pub(crate) fn close(&mut self) -> (u64, u64) {
        writeln!(self.process.stdin(), "close").expect("the leaking program has gone");
        let closed = |lines: &[Value]| lines.iter().find(|line| line["closed"] == true).cloned();
        let closed = self
            .output
            .wait(closed)
            .unwrap_or_else(|came| panic!("the sockets are not closed: {came}\n{}", self.process.messages()));
        let reading = |name: &str| closed[name].as_u64().expect("a clock reading");
        (reading("monotonic_before_ns"), reading("monotonic_after_ns"))
    }
}
