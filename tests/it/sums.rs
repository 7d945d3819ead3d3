//! Sums of a session: one socket is one in every total, however many processes hold it, and if nobody does.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::compare::{Comparison, number};
use crate::support::leaky::Leaky;
use crate::support::process::Process;
use crate::support::run::run;
use crate::support::tracer::Tracer;
use crate::support::{Backend, TCPTRACE};

on_both_backends! {
    sockets_that_several_processes_hold_are_counted_once,
    leaks_that_nobody_holds_are_in_the_sums,
}

live_tests! {
    people_read_how_many_sockets_and_leaks_there_are,
}

/// Waits for the leaks of a case, and returns the summary of the session with its exit code.
fn summed_up(backend: Backend, leaky: &Leaky) -> (Value, Option<i32>) {
    let port = leaky.truths[0].lport.to_string();
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "500ms", "--lport", &port, "--exit-code"]);
    tracer.wait_for_each("leak", &leaky.truths);
    let session = tracer.stop();
    (session.records.last().expect("a summary").clone(), session.code)
}

fn sockets_that_several_processes_hold_are_counted_once(backend: Backend) {
    for case in ["fork_both_hold", "never_accepted_prefork"] {
        let leaky = Leaky::start(case, &[]);
        let all = leaky.truths.len() as u64;
        let (summary, code) = summed_up(backend, &leaky);
        let mut compared = Comparison::of(case);
        compared.field(&summary, "sockets", all);
        compared.field(&summary, "still_stuck", all);
        let processes = summary["processes"].as_array().expect("processes");
        compared.holds(processes.len() > 1, || "only one process answers for them".to_owned());
        let by_process: u64 = processes.iter().map(|process| number(process, "still_stuck")).sum();
        compared.holds(by_process > all, || format!("{by_process} by process"));
        compared.holds(code == Some(1), || format!("exit code {code:?}"));
        compared.finish(&[&summary]);
    }
}

fn leaks_that_nobody_holds_are_in_the_sums(backend: Backend) {
    let leaky = Leaky::start("scm_rights_in_flight", &[]);
    let (summary, code) = summed_up(backend, &leaky);
    let mut compared = Comparison::of("a socket in flight");
    compared.field(&summary, "sockets", 1);
    compared.field(&summary, "still_stuck", 1);
    compared.holds(code == Some(1), || format!("exit code {code:?}"));
    compared.finish(&[&summary]);
}

fn people_read_how_many_sockets_and_leaks_there_are() {
    // All of them are there before: the kernel reports nothing of them.
    let told = |case: &str| {
        let leaky = Leaky::start(case, &[]);
        let port = leaky.truths[0].lport.to_string();
        let file = tempfile::NamedTempFile::with_suffix(".tct").unwrap();
        let path = file.path().to_str().unwrap();
        let mut command = Command::new(TCPTRACE);
        command.args(["leaks", "--older-than", "100ms", "--lport", &port, "-o", "-", "-o", path]);
        let (mut process, stdout) = Process::start(&mut command);
        let mut output = String::new();
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut output).expect("a leak");
        process.signal(Signal::INT);
        stdout.read_to_string(&mut output).expect("the summary");
        assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
        (output, run(&["report", path]).output)
    };
    let says = |text: &str, words: &[&str]| {
        for word in words {
            assert!(text.contains(word), "{word:?} is not said:\n{text}");
        }
        assert!(!text.contains(" 0 records") && !text.contains("\n0 records"), "{text}");
    };
    let (text, report) = told("fork_both_hold");
    says(&text, &["1 socket stuck in CLOSE_WAIT at the end; 2 processes had some", "1 leak in "]);
    let headline = report.lines().next().unwrap_or_default();
    assert!(headline.contains(") and ") && headline.contains("hold the only stuck socket"), "{headline}");
    let (text, _) = told("scm_rights_in_flight");
    says(&text, &["1 socket stuck in CLOSE_WAIT at the end; ", "1 leak in "]);
}
