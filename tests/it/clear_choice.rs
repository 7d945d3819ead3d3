//! Which sockets `clear` selects, what it refuses to do, and where it records what it did.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::CapabilitySet;

use crate::support::clear::{Clear, clear, command};
use crate::support::leaky::Leaky;
use crate::support::own_pair::OwnPair;
use crate::support::run::{run, run_command};

live_tests! {
    age_verdict_and_limit_choose_and_the_oldest_come_first,
    every_action_is_recorded_with_who_how_and_what_was_asked_for,
    what_cannot_be_recorded_is_not_done,
    without_the_right_to_destroy_it_shuts_down_what_it_can_and_refuses_the_rest,
    without_the_rights_that_everything_needs_nothing_is_begun,
}

#[test]
fn what_is_dangerous_or_makes_no_sense_is_refused_with_a_remedy() {
    run(&["clear"]).refuses(2, &["--older-than", "CLOSE_WAIT", "5m"]);
    run(&["clear", "--state", "FIN_WAIT2", "--state", "CLOSE_WAIT"]).refuses(2, &["--older-than"]);
    for state in ["LISTEN", "ESTABLISHED", "SYN_SENT", "CLOSE"] {
        let typed = ["clear", "--older-than", "1s", "--state", state];
        run(&typed).refuses(2, &[state, "FIN_WAIT2", "ss --kill"]);
    }
    run(&["clear", "--older-than", "1s", "--verdict", "nonsense"]).refuses(2, &["nonsense", "eof_read"]);
    run(&["clear", "--older-than", "1s", "--limit", "0"]).refuses(2, &["--limit"]);
    run(&["clear", "--older-than", "1s", "--method", "kill"]).refuses(2, &["destroy", "shutdown"]);
}

fn age_verdict_and_limit_choose_and_the_oldest_come_first() {
    let pairs = [OwnPair::left(), OwnPair::unread(b"data"), OwnPair::left()];
    let truths = pairs.each_ref().map(|pair| pair.truth.clone());
    let outcomes = |arguments: &[&str]| {
        let session = clear(&truths, arguments);
        assert_eq!(session.ran.code, Some(0), "{}", session.ran.messages);
        truths.each_ref().map(|truth| match truth.records("cleared", &session.records)[..] {
            [] => "left out".to_owned(),
            [record] => record["outcome"].as_str().unwrap().to_owned(),
            ref records => panic!("several records about {}: {records:?}", truth.name()),
        })
    };
    assert_eq!(outcomes(&["--older-than", "1h", "--yes"]), ["left out"; 3]);
    let unread = ["--older-than", "0s", "--verdict", "data_unread"];
    assert_eq!(outcomes(&unread), ["left out", "dry_run", "left out"]);
    let stranger = ["--older-than", "0s", "--pid", "1", "--yes"];
    assert_eq!(outcomes(&stranger), ["left out"; 3]);
    // The kernel's clock is coarse: the ages have to differ by more than its step.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let late = OwnPair::left();
    let all = [&truths[..], std::slice::from_ref(&late.truth)].concat();
    let session = clear(&all, &["--older-than", "0s", "--limit", "3", "--yes"]);
    assert_eq!(truths.each_ref().map(|truth| session.outcome(truth)), [("gone", Some(0)); 3]);
    assert_eq!(late.truth.records("cleared", &session.records).len(), 0, "the youngest");
    let both = ["--older-than", "0s", "--verdict", "eof_read", "--verdict", "eof_unread", "--yes"];
    assert_eq!(clear(&all, &both).outcome(&late.truth), ("gone", Some(0)));
}

fn every_action_is_recorded_with_who_how_and_what_was_asked_for() {
    let pair = OwnPair::left();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let mut command = command(std::slice::from_ref(&pair.truth), &["--older-than", "0s", "--yes", "-4"]);
    let own_pid = std::process::id();
    command.args(["--limit", "7", "--pid", &own_pid.to_string()]);
    command.arg("--output").arg(&file).env("SUDO_USER", "alice\u{1b}[2J");
    let ran = run_command(&mut command);
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), ""), "{}", ran.messages);
    let text = std::fs::read_to_string(&file).unwrap();
    let session = Clear::from(crate::support::run::Ran { output: text, ..ran });
    let kinds: Vec<_> = session.records.iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["header", "cleared", "summary"]);
    let record = session.record(&pair.truth);
    assert_eq!(record["method"], "destroy");
    assert_eq!(record["outcome"], "gone");
    assert_eq!(record["cleared_by"]["uid"], 0);
    assert_eq!(record["cleared_by"]["sudo_user"], "alice\u{1b}[2J");
    assert!(record["cleared_by"]["pid"].is_u64(), "{record}");
    let asked = &record["selection"];
    assert_eq!(asked["state"], serde_json::json!(["CLOSE_WAIT"]));
    assert_eq!(asked["older_than_ns"], 0);
    assert_eq!(asked["lport"], serde_json::json!([pair.truth.lport]));
    assert_eq!(asked["rport"], serde_json::json!([pair.truth.rport]));
    assert_eq!(asked["pid"], serde_json::json!([own_pid]));
    assert_eq!((&asked["limit"], &asked["family"]), (&7.into(), &4.into()));
    let summary = session.records.last().unwrap();
    assert_eq!((&summary["outcomes"]["gone"], &summary["descriptors_kept"]), (&1.into(), &1.into()));
}

fn what_cannot_be_recorded_is_not_done() {
    let pair = OwnPair::left();
    let mut command = command(std::slice::from_ref(&pair.truth), &["--older-than", "0s", "--yes"]);
    let ran = run_command(command.args(["--output", "/dev/full", "--format", "jsonl"]));
    ran.refuses(4, &["/dev/full"]);
    assert_eq!(
        clear(std::slice::from_ref(&pair.truth), &["--older-than", "0s"]).outcome(&pair.truth).0,
        "dry_run"
    );
}

fn without_the_right_to_destroy_it_shuts_down_what_it_can_and_refuses_the_rest() {
    let pair = OwnPair::left();
    let unaccepted = Leaky::start("never_accepted", &[]);
    let truths = [pair.truth.clone(), unaccepted.truth().clone()];

    let mut asked = command(&truths, &["--older-than", "0s", "--yes", "--method", "destroy"]);
    let ran = run_command(without(&mut asked, &[CapabilitySet::NET_ADMIN]));
    ran.refuses(3, &["CAP_NET_ADMIN", "run as root", "--method shutdown"]);

    let mut unasked = command(&truths, &["--older-than", "0s", "--yes", "--format", "jsonl"]);
    let session = Clear::of(without(&mut unasked, &[CapabilitySet::NET_ADMIN]));
    assert_eq!(session.outcome(&truths[0]), ("gone", Some(3)), "{}", session.ran.messages);
    assert_eq!(session.record(&truths[0])["method"], "shutdown");
    assert_eq!(session.outcome(&truths[1]), ("refused", Some(3)));
    let reason = session.record(&truths[1])["reason"].as_str().unwrap();
    assert!(reason.contains("SOCK_DESTROY"), "{reason}");
    let messages = &session.ran.messages;
    assert!(
        messages.contains("shutdown(2) is used") && messages.contains("1 socket could not"),
        "{messages}"
    );
    assert_eq!(clear(&truths[1..], &["--older-than", "0s"]).outcome(&truths[1]), ("dry_run", Some(0)));
}

fn without_the_rights_that_everything_needs_nothing_is_begun() {
    let mut command = Command::new(crate::support::TCPTRACE);
    command.args(["clear", "--older-than", "1h", "--yes"]);
    let lost = &[CapabilitySet::SYS_ADMIN, CapabilitySet::BPF];
    run_command(without(&mut command, lost)).refuses(3, &["CAP_BPF", "sudo"]);
}

/// Has the command run as root but without these capabilities.
fn without<'a>(command: &'a mut Command, lost: &'static [CapabilitySet]) -> &'a mut Command {
    let lose = move || {
        for capability in lost {
            rustix::thread::remove_capability_from_bounding_set(*capability)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls and does not allocate.
    unsafe { command.pre_exec(lose) }
}
