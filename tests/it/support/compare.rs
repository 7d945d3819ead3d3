//! Compares records with the truth, and reports all differences at once: field, expected, actual.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::clock;
use super::facts::Facts;
use super::truth::Truth;

/// The age of a socket that existed before the tool is computed from times that the kernel counts in jiffies, of at
/// most ten milliseconds.
const JIFFY_NS: u64 = 10_000_000;

/// Collects what differs about one thing.
pub(crate) struct Comparison {
    about: String,
    wrong: Vec<String>,
}

impl Comparison {
    pub(crate) fn of(about: impl Display) -> Self {
        Self { about: about.to_string(), wrong: Vec::new() }
    }

    /// Expects the field to exist and to have this value.
    pub(crate) fn field(&mut self, record: &Value, field: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        match record.get(field) {
            None => self.wrong.push(format!("{field}: expected {expected}, the field is missing")),
            Some(actual) if *actual != expected => {
                self.wrong.push(format!("{field}: expected {expected}, is {actual}"));
            }
            Some(_) => {}
        }
    }

    /// Expects the field to exist, with any value.
    pub(crate) fn present(&mut self, record: &Value, field: &str) {
        self.holds(record.get(field).is_some(), || format!("{field} is missing"));
    }

    /// Expects a number to lie in a range.
    pub(crate) fn within(&mut self, what: &str, actual: u64, expected: &RangeInclusive<u64>) {
        self.holds(expected.contains(&actual), || {
            format!("{what}: expected {} to {}, is {actual}", expected.start(), expected.end())
        });
    }

    pub(crate) fn holds(&mut self, is_right: bool, otherwise: impl FnOnce() -> String) {
        if !is_right {
            self.wrong.push(otherwise());
        }
    }

    /// Fails the test if anything differs, and shows `records` for context.
    pub(crate) fn finish(self, records: &[&Value]) {
        if self.wrong.is_empty() {
            return;
        }
        let shown: Vec<String> = records.iter().map(|record| format!("  {record}")).collect();
        panic!("{}:\n- {}\nrecords:\n{}", self.about, self.wrong.join("\n- "), shown.join("\n"));
    }

    /// Compares the fields that every record about a socket has.
    pub(crate) fn socket(&mut self, record: &Value, truth: &Truth) {
        if let Some(cookie) = truth.cookie {
            self.field(record, "cookie", cookie);
        } else {
            self.present(record, "cookie");
        }
        self.field(record, "netns", truth.netns);
        self.field(record, "family", truth.family);
        self.field(record, "laddr", truth.laddr.as_str());
        self.field(record, "lport", truth.lport);
        self.field(record, "raddr", truth.raddr.as_str());
        self.field(record, "rport", truth.rport);
    }

    /// Compares a `leak` whose socket the tool saw entering CLOSE_WAIT, and whose holders have descriptors of it.
    pub(crate) fn leak(&mut self, record: &Value, truth: &Truth) {
        self.socket(record, truth);
        self.field(record, "close_wait_is", "exact");
        self.field(record, "recv_q", truth.recv_q);
        self.field(record, "send_q", 0);
        self.field(record, "verdict", truth.verdict.clone());
        self.present(record, "opened_by");
        let opened = &record["opened_by"];
        let answers = [&opened["site"], &opened["no_site"]["because"], &record["no_site"]["because"]];
        let count = answers.iter().filter(|answer| answer.is_string()).count();
        self.holds(count == 1, || format!("a line, or the reason that there is none: {opened}, {record}"));
        let age = number(record, "close_wait_ns");
        let entered = clock::monotonic_of(text(record, "time")).saturating_sub(age);
        let bracket = clock::bracket(truth.entered_before_ns, truth.entered_after_ns);
        self.within("time less close_wait_ns", entered, &bracket);
        self.owners(record, truth);
    }

    /// Compares the age, at a time in CLOCK_MONOTONIC, of a socket that existed before the tool.
    pub(crate) fn age_at(&mut self, record: &Value, at_ns: u64, truth: &Truth) {
        let (early, late) = clock::bracket(at_ns, at_ns).into_inner();
        let age = early.saturating_sub(truth.entered_after_ns)..=late - truth.entered_before_ns;
        self.age_within(record, &age);
    }

    /// Compares the age with a range that the true one lies in: the lower bound must not exceed it, the upper
    /// bound must not fall short of it.
    pub(crate) fn age_within(&mut self, record: &Value, age: &RangeInclusive<u64>) {
        self.field(record, "close_wait_is", "at_least");
        self.within("close_wait_ns", number(record, "close_wait_ns"), &(0..=age.end() + JIFFY_NS));
        self.present(record, "close_wait_at_most_ns");
        if let Some(most) = record["close_wait_at_most_ns"].as_u64() {
            let least = age.start().saturating_sub(JIFFY_NS);
            self.within("close_wait_at_most_ns", most, &(least..=u64::MAX));
        }
    }

    /// Expects the owners to be exactly the holders, each with all that identifies it.
    pub(crate) fn owners(&mut self, record: &Value, truth: &Truth) {
        let owners = record["owners"].as_array().cloned().unwrap_or_default();
        let pids = |list: Vec<i64>| {
            let mut list = list;
            list.sort_unstable();
            format!("{list:?}")
        };
        let actual = pids(owners.iter().filter_map(|owner| owner["pid"].as_i64()).collect());
        let expected = pids(truth.holders.iter().map(|holder| i64::from(holder.pid)).collect());
        self.holds(actual == expected, || format!("pids of owners: expected {expected}, are {actual}"));
        for holder in &truth.holders {
            let Some(owner) = owners.iter().find(|owner| owner["pid"] == holder.pid) else { continue };
            let facts = Facts::of(holder.pid);
            self.field(owner, "comm", holder.comm.as_str());
            self.field(owner, "fds", holder.fds.clone());
            self.field(owner, "evidence", "fd_table");
            self.field(owner, "exe", facts.exe);
            self.field(owner, "cmdline", facts.cmdline);
            self.field(owner, "uid", facts.uid);
            self.holds(facts.cgroups.iter().any(|path| owner["cgroup"] == path.as_str()), || {
                format!("cgroup: expected one of {:?}, is {}", facts.cgroups, owner["cgroup"])
            });
            for field in ["started", "unit", "container", "inherited"] {
                self.present(owner, field);
            }
        }
    }
}

pub(crate) fn number(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap_or_else(|| panic!("{field} is no number in {record}"))
}

pub(crate) fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {record}"))
}
