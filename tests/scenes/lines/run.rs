//! Runs the ways, several at a time, below one session of the tool.

use std::panic::{self, AssertUnwindSafe};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::judge::{Judged, judge};
use super::session::Session;
use super::way::{Start, Way};
use super::{board, peer};
use crate::support::processes;
use crate::support::stage::Stage;
use crate::support::truth::Side;
use crate::support::{free_port, kernel, until};

/// How many ways run at once: most of them wait most of the time.
const AT_ONCE: usize = 4;

/// Runs each way, and returns what became of it.
pub(crate) fn all(stage: &Stage, ways: &[(&str, Way)], arguments: &[&str]) -> Vec<Judged> {
    if ways.is_empty() {
        return Vec::new();
    }
    let session = Session::start(arguments);
    let (next, judged) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((group, way)) = ways.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = undisturbed(stage, &session, group, way);
            board::row(group, way, &result);
            judged.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let summary = session.stop();
    println!("openers skipped: {}, records lost: {}", summary["openers_skipped"], summary["lost"]);
    judged.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a way, and again where other programs opened so many sockets meanwhile that openers were left out.
fn undisturbed(stage: &Stage, session: &Session, group: &str, way: &Way) -> Judged {
    const TRIES: usize = 3;
    let mut tries = (0..TRIES).map(|_| {
        // A way that does not come about is one that was not named.
        let result = panic::catch_unwind(AssertUnwindSafe(|| one(stage, session, group, way)));
        result.unwrap_or_else(|_| Judged::missing("it did not come about: see above".to_owned()))
    });
    let is_disturbed = |judged: &Judged| judged.said == "over_budget";
    let mut judged = tries.next().expect("at least one try");
    while is_disturbed(&judged) {
        let Some(next) = tries.next() else { break };
        judged = next;
    }
    judged
}

fn one(stage: &Stage, session: &Session, group: &str, way: &Way) -> Judged {
    let port = free_port();
    let log = format!("{group} {}", way.name).replace(['/', ' '], "_");
    let (process, side) = match &way.start {
        Start::Connects(words, other) => {
            other.listen(port);
            (stage.start(&log, &mut command(stage, way, words, port)), Side::To(port))
        }
        Start::Accepts(words, says) => {
            let process = stage.start(&log, &mut command(stage, way, words, port));
            peer::leave(port, says);
            (process, Side::At(port))
        }
        Start::Plays(start) => (start(stage, port), Side::At(port)),
    };
    if let Some((program, arguments)) = way.afterwards.split_first() {
        let is_stuck = || !kernel::close_wait(None, &side.filter()).is_empty();
        until("the way leaks", is_stuck, || stage.log(&log));
        let pid = process.to_string();
        let arguments = arguments.iter().map(|word| word.replace("PID", &pid));
        stage.run(&log, Command::new(program).args(arguments));
    }
    let judged = match session.leak(side) {
        Ok(record) => judge(way, &record, side, process),
        Err(came) => {
            // The last lines of the tool are about other ways.
            let why = came.lines().next().unwrap_or_default();
            let shown = kernel::shown(None, &side.filter());
            Judged::missing(format!("{why}; the kernel has {shown:?}; it said {:?}", stage.log(&log)))
        }
    };
    processes::end_with_descendants(process);
    judged
}

fn command(stage: &Stage, way: &Way, words: &[String], port: u16) -> Command {
    let port = port.to_string();
    let mut words = words.iter().map(|word| word.replace("PORT", &port));
    let mut command = Command::new(words.next().expect("a program"));
    // Some leave files where they run.
    command.args(words).current_dir(stage.folder()).envs(way.environment.iter().copied());
    command
}
