//! What was looked at, and what came of it: the words that the answer is made of. Looks at nothing.

use jiff::Timestamp;
use serde::Serialize;

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Topic {
    Kernel,
    Host,
    Clear,
    Programs,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    Missing,
    /// What it takes to try it is missing.
    NotTried,
}

/// One thing that was looked at. Its names in JSON are a promise (docs/commands.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) id: &'static str,
    pub(super) topic: Topic,
    pub(super) name: String,
    pub(super) state: State,
    /// What is there; or why it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    /// What cannot be done without it, where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost: Option<String>,
    /// How to get it, where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
    /// Whether the main job cannot do without it.
    pub(super) is_needed: bool,
}

impl Check {
    /// Something that is as it should be.
    pub(super) fn ok(topic: Topic, id: &'static str, name: &str, detail: impl Into<String>) -> Self {
        let detail = Some(detail.into()).filter(|detail| !detail.is_empty());
        let name = name.to_owned();
        Self { id, topic, name, state: State::Ok, detail, lost: None, remedy: None, is_needed: false }
    }

    /// Something that is missing.
    pub(super) fn missing(
        topic: Topic,
        id: &'static str,
        name: &str,
        detail: impl Into<String>,
        (lost, remedy): (&str, &str),
    ) -> Self {
        Self {
            state: State::Missing,
            lost: Some(lost.to_owned()),
            remedy: Some(remedy.to_owned()).filter(|remedy| !remedy.is_empty()),
            ..Self::ok(topic, id, name, detail)
        }
    }

    /// The same, as something that the main job needs.
    pub(super) fn needed(self) -> Self {
        Self { is_needed: true, ..self }
    }
}

/// A program that holds sockets, with all its processes that have the same to name lines of code by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProgramRow {
    pub(super) comm: String,
    pub(super) pids: Vec<u32>,
    /// TCP sockets, listeners too.
    pub(super) sockets: usize,
    pub(super) state: State,
    /// What names its lines of code; or why nothing does.
    pub(super) lines: String,
}

/// The whole answer. Its names in JSON are a promise (docs/commands.md).
#[derive(Debug, Serialize)]
pub(super) struct Diagnosis {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) schema: u32,
    pub(super) version: &'static str,
    pub(super) time: Timestamp,
    pub(super) host: String,
    pub(super) kernel: String,
    /// What holds for the main job.
    pub(super) main_job: MainJob,
    /// What is missing comes first.
    pub(super) checks: Vec<Check>,
    /// Those with the most sockets first.
    pub(super) programs: Vec<ProgramRow>,
    /// Processes with sockets that were not looked at, because there are too many.
    pub(super) more_processes: usize,
}

/// Whether `tcptrace leaks` does its job here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MainJob {
    Works,
    /// Without what is missing.
    WorksInPart,
    Fails,
}

impl Diagnosis {
    /// What the checks mean for the main job.
    pub(super) fn main_job(checks: &[Check]) -> MainJob {
        let missing = || checks.iter().filter(|check| check.state == State::Missing);
        match (missing().any(|check| check.is_needed), missing().next()) {
            (true, _) => MainJob::Fails,
            (false, Some(_)) => MainJob::WorksInPart,
            (false, None) => MainJob::Works,
        }
    }
}

/// What is missing first, and of that what is needed; otherwise in the order of the looks.
pub(super) fn sort(checks: &mut [Check]) {
    checks.sort_by_key(|check| {
        let rank = match check.state {
            State::Missing => 0,
            State::NotTried => 1,
            State::Ok => 2,
        };
        (rank, check.state == State::Missing && !check.is_needed)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(id: &'static str) -> Check {
        Check::missing(Topic::Host, id, id, "", ("much", "buy it"))
    }

    #[test]
    fn the_main_job_fails_only_for_want_of_what_it_needs() {
        let ok = Check::ok(Topic::Kernel, "btf", "BTF", "");
        assert_eq!(Diagnosis::main_job(std::slice::from_ref(&ok)), MainJob::Works);
        assert_eq!(Diagnosis::main_job(&[ok.clone(), missing("a")]), MainJob::WorksInPart);
        assert_eq!(Diagnosis::main_job(&[ok.clone().needed(), missing("a")]), MainJob::WorksInPart);
        assert_eq!(Diagnosis::main_job(&[ok, missing("a"), missing("b").needed()]), MainJob::Fails);
    }

    #[test]
    fn what_is_missing_comes_first_and_what_is_needed_before_all() {
        let ok = Check::ok(Topic::Kernel, "ok", "", "");
        let untried = Check { state: State::NotTried, ..Check::ok(Topic::Kernel, "untried", "", "") };
        let mut checks = [ok, untried, missing("wanted"), missing("needed").needed()];
        sort(&mut checks);
        assert_eq!(checks.map(|check| check.id), ["needed", "wanted", "untried", "ok"]);
    }

    #[test]
    fn what_is_in_order_has_no_loss_and_no_remedy_in_json() {
        let json = serde_json::to_value(Check::ok(Topic::Kernel, "btf", "BTF", "")).unwrap_or_default();
        let expected = serde_json::json!(
            {"id": "btf", "topic": "kernel", "name": "BTF", "state": "ok", "is_needed": false}
        );
        assert_eq!(json, expected);
    }
}
