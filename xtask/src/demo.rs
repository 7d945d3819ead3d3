//! `cargo xtask demo`: runs a program that leaks five sockets, and tcptrace, which names it. Ends by itself and leaves
//! nothing running.

use crate::cargo::build;
use crate::prepare::Prepare;
use crate::privilege::as_root;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    prepare: Prepare,
}

impl Demo {
    /// Shows the problem, then the tool's answer to compare with it.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        self.prepare.execute()?;
        let [tcptrace, leaky] = build(true, [("--bin", "tcptrace"), ("--example", "leaky")])?;

        let leaking = Leaking::start(&leaky)?;
        let culprit = leaking.culprit.clone();
        println!(
            "A server, {culprit}, has accepted 5 connections. Its clients have closed theirs; the server never will,\n\
             so 5 sockets sit in CLOSE_WAIT and hold 5 descriptors until the process ends. tcptrace is not told any\n\
             of this. It now watches the whole host for 6 seconds:\n"
        );
        let status = as_root(&tcptrace)?
            .args(["leaks", "--older-than", "1s", "--duration", "6s"])
            .status()
            .with_context(|| format!("cannot run {}", tcptrace.display()))?;
        drop(leaking);
        if !status.success() {
            bail!("tcptrace ended with {status}: its message is above");
        }
        println!(
            "\nThe culprit is {culprit}, with 5 sockets: compare with what tcptrace said. It has been ended now, and\n\
             the sockets went with it. On a real host the command is: sudo tcptrace leaks"
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The leaking program, once it has leaked. Dropping this ends it.
struct Leaking {
    child: Child,
    /// Which process holds the sockets, as that process says.
    culprit: String,
}

impl Leaking {
    fn start(leaky: &Path) -> Result<Self> {
        let child = Command::new(leaky)
            .args(["accepted_kept", "--count", "5"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", leaky.display()))?;
        let mut leaking = Self { child, culprit: String::new() };
        let output = leaking.child.stdout.take().context("the leaking program has no output")?;
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read from the leaking program")?;
            let truth: Value = serde_json::from_str(&line).context("the leaking program printed no JSON")?;
            if truth["ready"] == true {
                return Ok(leaking);
            }
            let holder = &truth["holders"][0];
            leaking.culprit =
                format!("process {} ({})", holder["pid"], holder["comm"].as_str().unwrap_or("?"));
        }
        bail!("{} ended before it had leaked anything", leaky.display())
    }
}

impl Drop for Leaking {
    fn drop(&mut self) {
        // At the end of its input the program ends itself and what it has started. The signal is for one that does not.
        drop(self.child.stdin.take());
        for _ in 0..30 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
