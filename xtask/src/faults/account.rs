//! What a kept session has of the transitions that were made: read in the file, counted as lost, or missing without a
//! word.

use super::ground::Ground;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Transitions by a TCP timer pass the tracepoint without any program being run, which nothing counts (Limits): two in
/// two million were seen. Of so many, one may be missing without a word.
const ONE_IN: u64 = 200_000;

/// The counts of one session.
#[derive(Debug)]
pub(crate) struct Account {
    /// Transitions in the file.
    pub found: u64,
    /// Those that found the ring full, by its summary.
    pub lost: u64,
    /// Those that found the output's queue full, by its summary.
    pub dropped: u64,
    /// Runs of its programs, of all transitions of the host, that the kernel left out; by its summary.
    skipped: u64,
    undecodable: u64,
}

impl Account {
    /// Reads a kept session to its end, as its user would: by a replay.
    pub(crate) fn of(ground: &Ground, file: &Path) -> Result<Self> {
        let mut replay = ground.tool(["trace", "--replay"]);
        replay.arg(file).args(["--format", "jsonl"]);
        let mut child = replay.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("a child without output")?;
        let (mut found, mut last) = (0, Vec::new());
        for line in BufReader::with_capacity(1 << 20, output).split(b'\n') {
            let line = line.context("cannot read a replay")?;
            if line.starts_with(b"{\"type\":\"transition\"") {
                found += 1;
            } else {
                last = line;
            }
        }
        child.wait()?;
        let summary: Value = serde_json::from_slice(&last).context("a replay without records")?;
        ensure!(summary["type"] == "summary", "{} does not end with a summary: {summary}", file.display());
        let counter = |name: &str| summary[name].as_u64().unwrap_or(0);
        let records = counter("records");
        let (lost, dropped, skipped) = (counter("lost"), counter("dropped"), counter("lost_skipped"));
        let undecodable = counter("undecodable");
        ensure!(
            found + dropped == records,
            "its summary has {records} records, of them {dropped} dropped: {found} are in the file"
        );
        Ok(Self { found, lost: lost - skipped, dropped, skipped, undecodable })
    }

    /// Fails unless these are all transitions that were made. Returns how many are missing without a word.
    pub(crate) fn adds_up(&self, made: u64) -> Result<u64> {
        let Self { found, lost, dropped, skipped, undecodable } = self;
        let said = found + lost + dropped + undecodable;
        ensure!(
            said <= made,
            "{made} were made, and it says {said}: {found} read, {lost} lost, {dropped} dropped"
        );
        let missing = (made - said).saturating_sub(*skipped);
        ensure!(
            missing <= 1 + made / ONE_IN,
            "{missing} of {made} are missing without a word: {found} read, {lost} lost, {skipped} skipped, {dropped} \
             dropped"
        );
        Ok(missing)
    }

    /// In words, beside what was made.
    pub(crate) fn words(&self, made: u64, missing: u64) -> String {
        let Self { found, lost, dropped, skipped, .. } = self;
        let mut words = format!("{} read + {} lost", grouped(*found), grouped(*lost));
        for (count, what) in [(dropped, "dropped"), (skipped, "skipped by the kernel"), (&missing, "unseen")]
        {
            if *count > 0 {
                // Writing into memory does not fail.
                let _ = write!(words, " + {} {what}", grouped(*count));
            }
        }
        format!("{words} = {} made", grouped(made))
    }
}

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(found: u64, lost: u64, skipped: u64) -> Account {
        Account { found, lost, dropped: 0, skipped, undecodable: 0 }
    }

    #[test]
    fn what_is_missing_without_a_word_is_found_out() {
        assert!(account(900_000, 100_000, 0).adds_up(1_000_000).is_ok_and(|missing| missing == 0));
        assert!(account(900_000, 99_997, 1).adds_up(1_000_000).is_ok_and(|missing| missing == 2));
        assert!(account(900_000, 99_000, 0).adds_up(1_000_000).is_err());
        assert!(account(900_000, 100_001, 0).adds_up(1_000_000).is_err());
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
    }
}
