//! Terminals that take nothing, or little: the session goes on without a loss, and ends when it is told to.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::churn::{churn, churn_in_turn};
use crate::support::leaky::Leaky;
use crate::support::recorder::{lines, read, received, transitions};
use crate::support::terminal::{SlowTerminal, Terminal};
use crate::support::{TCPTRACE, free_port, turn, until};

live_tests! {
    a_terminal_that_takes_nothing_loses_no_record_and_the_session_ends_at_once,
    a_slow_terminal_shows_the_summary_after_a_second_signal,
    the_terminal_has_the_summary_when_the_reader_of_the_pipe_ends_by_the_same_signal,
}

/// More transitions than the ring of the tests holds.
const CONNECTIONS: u64 = 9_000;
const TRANSITIONS: u64 = 90_002;

fn a_terminal_that_takes_nothing_loses_no_record_and_the_session_ends_at_once() {
    // It must lose nothing: loads of others would keep the processor from its reader.
    let turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let port = free_port();
    let mut command = Command::new(TCPTRACE);
    command.args(["trace", "--port", &port.to_string(), "--ring-size", "8M", "-o"]).arg(&path);
    let mut session = SlowTerminal::start(&mut command);
    until("the session has begun", || path.metadata().is_ok_and(|file| file.len() > 0));
    session.stop();
    churn_in_turn(&turn, CONNECTIONS, port);
    session.signal(Signal::INT);
    // The last messages are waited for while something is taken, and for two seconds at most.
    assert_eq!(session.code_within(Duration::from_secs(5)), Some(0), "{}", session.rest());
    let records = lines(&path);
    let expected = received(records.last().unwrap(), TRANSITIONS);
    assert_eq!(transitions(&records).len() as u64, expected);
}

fn a_slow_terminal_shows_the_summary_after_a_second_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tct");
    let port = free_port();
    let mut command = Command::new(TCPTRACE);
    command.args(["trace", "--port", &port.to_string(), "-o", "-", "-o"]).arg(&path);
    let mut session = SlowTerminal::start(&mut command);
    until("the session has begun", || path.metadata().is_ok_and(|file| file.len() > 0));
    // Minutes of text for this terminal.
    churn(CONNECTIONS, port, 4);
    session.signal(Signal::INT);
    // What the terminal's own buffer holds comes first: 64 KiB.
    let shown = session.read_slowly(8_000, Duration::from_mins(1), "Ctrl-C ends that");
    assert!(shown.contains("Ctrl-C ends that"), "{shown}");
    session.signal(Signal::INT);
    let shown = session.read_slowly(8_000, Duration::from_secs(10), "missing in standard output");
    assert_eq!(session.code_within(Duration::from_secs(5)), Some(4), "{shown}");
    let shown = shown + &session.rest();
    assert!(
        shown.contains("No socket was stuck in CLOSE_WAIT") && shown.contains("missing in standard output"),
        "{shown}"
    );
    let (records, losses) = read(&path);
    assert!(losses.has_ended && !losses.is_cut, "{losses:?}");
    received(records.last().unwrap(), TRANSITIONS);
}

/// As `tcptrace leaks | tee`, which Ctrl-C ends too.
fn the_terminal_has_the_summary_when_the_reader_of_the_pipe_ends_by_the_same_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    for outputs in [vec!["-o", "-"], Vec::new()] {
        let leaky = Leaky::start("accepted_kept", &[]);
        let port = leaky.truths[0].lport.to_string();
        let mut command = Command::new(TCPTRACE);
        command.args(["leaks", "--older-than", "100ms", "--lport", &port]).args(&outputs);
        if !outputs.is_empty() {
            command.arg("-o").arg(&path);
        }
        let mut session = Terminal::start(&mut command);
        session.wait_for_output("LEAK");
        let left = session.end_with_its_reader("stuck in CLOSE_WAIT at the end");
        assert_eq!(left.code, Some(0), "{}", left.screen);
    }
}
