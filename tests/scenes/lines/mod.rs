//! Which line of code the tool names, for the ways in which software of a dozen runtimes leaks: one short program a
//! language in `apps/`, its ways beside it.
//!
//! `cargo xtask test --real` runs it and shows the scoreboard. Each program states the truth by itself: a comment "opened
//! here: FUNCTION" marks the line that has to be named.

mod board;
mod build;
mod daemons;
mod java;
mod judge;
mod native;
mod peer;
mod python;
mod run;
mod scripts;
mod session;
mod way;

use crate::support::stage::Stage;
use way::{Group, Way};

/// The languages, each with its ways. Building comes first: what is compiled is not measured.
fn groups(stage: &Stage) -> Vec<(Group, Vec<Way>)> {
    [native::groups(stage), java::groups(stage), python::groups(), scripts::groups(stage), daemons::groups()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
#[ignore = "needs root and the software of others: cargo xtask test --real"]
fn lines_of_code_of_real_software() {
    let stage = Stage::new();
    let wanted = std::env::var(board::ONLY).unwrap_or_default();
    let mut ways = Vec::new();
    for (group, of_group) in groups(&stage) {
        board::group(&group);
        let names = of_group.into_iter().map(|way| (group.name, way));
        ways.extend(names.filter(|(group, way)| format!("{group}: {}", way.name).contains(&wanted)));
    }
    let (deep, plain): (Vec<_>, Vec<_>) = ways.into_iter().partition(|(_, way)| way.reads_the_end);
    let misleading = [(plain, &[][..]), (deep, &["--deep"])]
        .into_iter()
        .flat_map(|(ways, arguments)| run::all(&stage, &ways, arguments))
        .filter(judge::Judged::is_false)
        .count();
    assert!(misleading == 0, "{misleading} ways with a wrong process or a misleading line");
}
