//! Runs the tool to its end, for commands that end by themselves.

use std::process::{ChildStdout, Command};

use super::TCPTRACE;
use super::process::Process;

/// Exit code and both streams, as text.
#[derive(Clone)]
pub(crate) struct Ran {
    pub code: Option<i32>,
    pub output: String,
    pub messages: String,
}

/// Runs `tcptrace` with these arguments until it ends by itself.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    run_command(Command::new(TCPTRACE).args(arguments))
}

/// As [`run`], with a command that the caller has prepared.
pub(crate) fn run_command(command: &mut Command) -> Ran {
    finish(Process::start(command))
}

/// Reads what a process prints until it has ended.
pub(crate) fn finish((mut process, mut stdout): (Process, ChildStdout)) -> Ran {
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut output).expect("standard output can be read");
        output
    });
    let status = process.wait();
    let output = reader.join().expect("the thread that reads");
    Ran {
        code: status.code(),
        output: String::from_utf8_lossy(&output).into_owned(),
        messages: process.messages(),
    }
}

impl Ran {
    /// Expects this exit code, all of `words` in its messages, nothing on standard output, and no panic.
    pub(crate) fn refuses(&self, code: i32, words: &[&str]) {
        let Self { messages, .. } = self;
        assert_eq!(self.code, Some(code), "the exit code; its messages:\n{messages}");
        assert!(!messages.contains("panicked"), "it panicked:\n{messages}");
        assert!(!messages.contains("stack backtrace"), "it shows a backtrace:\n{messages}");
        for word in words {
            let is_said = messages.to_lowercase().contains(&word.to_lowercase());
            assert!(is_said, "the message does not say {word:?}:\n{messages}");
        }
        assert_eq!(self.output, "", "nothing belongs on standard output");
    }
}
