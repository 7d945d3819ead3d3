//! Which line of code the tool names, for the ways in which software of a dozen runtimes leaks: one short program a
//! language in `apps/`, its ways beside it.
//!
//! `cargo xtask test --real` runs it and shows the scoreboard. Each program states the truth by itself: a comment "opened
//! here: FUNCTION" marks the line that has to be named.

mod board;
mod build;
mod c;
mod daemons;
mod go;
mod java;
mod judge;
mod peer;
mod python;
mod run;
mod rust;
mod scripts;
mod session;
mod way;

use std::process::Command;

use rustix::thread::UnshareFlags;

use crate::support::stage::Stage;
use way::{Group, Way};

/// The languages, each with its ways. Building comes first: what is compiled is not measured.
fn groups(stage: &Stage) -> Vec<(Group, Vec<Way>)> {
    let native = vec![c::c(stage), c::cpp(stage), rust::rust(stage), go::go(stage)];
    [native, java::groups(stage), python::groups(stage), scripts::groups(stage), daemons::groups()]
        .into_iter()
        .flatten()
        .collect()
}

/// A network namespace for this thread, and for all that it starts.
struct Network(String);

impl Network {
    fn unshare() -> Self {
        // SAFETY: a network namespace has nothing to do with memory or descriptors.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
        let is_up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(is_up.is_ok_and(|status| status.success()), "loopback is down");
        let thread = rustix::thread::gettid().as_raw_nonzero();
        Self(format!("/proc/{}/task/{thread}/ns/net", std::process::id()))
    }
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
    let own_network = Network::unshare();
    let (deep, plain): (Vec<_>, Vec<_>) = ways.into_iter().partition(|(_, way)| way.reads_the_end);
    // What other programs open meanwhile takes no room.
    let network = ["--netns", &own_network.0];
    let misleading = [(plain, &network[..]), (deep, &[&network[..], &["--deep"]].concat())]
        .into_iter()
        .flat_map(|(ways, arguments)| run::all(&stage, &ways, arguments))
        .filter(judge::Judged::is_false)
        .count();
    assert!(misleading == 0, "{misleading} ways with a wrong process or a misleading line");
}
