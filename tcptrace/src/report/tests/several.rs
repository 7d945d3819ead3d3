//! Several recordings: of several hosts, of one host at different times, and of one session in several files.

use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::{
    forms::reading::losses::Losses,
    model::{
        coverage::NotLookedAt,
        ended::EndedHow,
        examples,
        no_site::{NoSite, NoSiteBecause},
        owner::Owner,
        pid::Pid,
        process::ProcessIdentity,
        record::{Leak, PeerCount, ProcessSummary, Record, Totals},
        state::State,
        verdict::Verdict,
    },
    report::{
        aggregate::Aggregator,
        assemble,
        input::FileState,
        model::Report,
        words::{ending, holder},
    },
};

fn reported_files(files: &[(&str, Vec<Record>)]) -> (Aggregator, Report) {
    let mut aggregator = Aggregator::new(everything()).unwrap();
    let mut all: Vec<(Timestamp, usize, &Record)> = Vec::new();
    for (name, records) in files {
        let source = aggregator.add_source((*name).to_owned());
        // A record is due when all that stand above it are.
        let due = records.iter().scan(Timestamp::MIN, |due, record| {
            *due = record.time().max(*due);
            Some((*due, source, record))
        });
        all.extend(due);
    }
    all.sort_by_key(|(due, ..)| *due);
    for (_, source, record) in all {
        aggregator.take(source, record);
    }
    let report = assemble::report(&aggregator, &vec![FileState::default(); files.len()], 10);
    (aggregator, report)
}

/// As [`header`], for a session that began at another time.
fn header_at(host: &str, command: &str, second: f64) -> Record {
    let Record::Header(mut header) = header(host, command) else { unreachable!() };
    header.started = at(second);
    Record::Header(header)
}

#[test]
fn processes_with_one_pid_on_two_hosts_are_two() {
    let host = |name: &str| {
        vec![
            header(name, "tcptrace leaks"),
            leak(7, 30.0, exactly(10.0), vec![owner(71, "app")]),
            summary(60.0, Totals::default()),
        ]
    };
    let (_, report) = reported_files(&[("a.tct", host("a")), ("b.tct", host("b"))]);
    assert_eq!(report.close_wait.stuck, 2, "one cookie on two hosts is two sockets");
    let names: Vec<String> = report.processes.top.iter().map(|process| process.process.to_string()).collect();
    assert_eq!(names, ["app (pid 71 on a)", "app (pid 71 on b)"]);
    assert!(report.cannot_claim.iter().any(|caveat| caveat.id() == "several_clocks"));
    assert!(
        report.headline.answer.starts_with("2 processes of app on 2 hosts hold all 2"),
        "{:?}",
        report.headline
    );
}

#[test]
fn sockets_of_one_namespace_number_on_two_hosts_are_two_without_cookies_too() {
    let host = |name: &str| {
        let nameless = |record: Record| match record {
            Record::Leak(mut leak) => {
                leak.socket.cookie = None;
                Record::Leak(leak)
            }
            other => other,
        };
        vec![
            header(name, "tcptrace leaks"),
            nameless(leak(7, 30.0, exactly(10.0), vec![owner(71, "app")])),
            summary(60.0, Totals::default()),
        ]
    };
    let (_, report) = reported_files(&[("a.tct", host("a")), ("b.tct", host("b"))]);
    assert_eq!((report.close_wait.stuck, report.processes.top.len()), (2, 2));
    let (_, report) = reported_files(&[("a.tct", host("a")), ("again.tct", host("a"))]);
    assert_eq!((report.close_wait.stuck, report.processes.top.len()), (1, 1), "one host");
}

#[test]
fn what_one_session_knows_of_a_socket_another_does_not_wipe() {
    let known = |second: f64| {
        let leak = leak_of(7, second, exactly(second), vec![owner(71, "shop")], ends(40_000));
        let opened_by = Some(opened_at("shop::refund (refund.rs:8)", -1.0));
        Record::Leak(Box::new(Leak { opened_by, ..leak }))
    };
    let unknown = |second: f64, no_site| {
        let leak = leak_of(7, second, exactly(second), Vec::new(), ends(40_000));
        Record::Leak(Box::new(Leak { verdict: None, no_site, ..leak }))
    };
    let reported = |first: Record, second: Record| {
        let session =
            |at, leak| vec![header_at("a", "tcptrace leaks", at), leak, summary(90.0, Totals::default())];
        reported_files(&[("a.tct", session(0.0, first)), ("b.tct", session(1.0, second))]).1
    };
    for no_site in [None, Some(NoSite::from(NoSiteBecause::BeforeStart))] {
        let either = [
            reported(known(30.0), unknown(60.0, no_site.clone())),
            reported(unknown(30.0, no_site.clone()), known(60.0)),
        ];
        for report in either {
            let process = &report.processes.top[0];
            assert_eq!(
                (report.close_wait.stuck, process.process.to_string()),
                (1, "shop (pid 71)".to_owned())
            );
            let site = &process.sites[0].site.site;
            assert_eq!(site.as_deref(), Some("shop::refund (refund.rs:8)"));
            assert_eq!(report.verdicts[0].verdict, Some(Verdict::EofRead));
        }
    }
}

#[test]
fn a_session_in_two_files_is_one() {
    let first = vec![header("a", "tcptrace leaks"), leak(1, 30.0, exactly(10.0), vec![owner(71, "app")])];
    let second = vec![
        header("a", "tcptrace leaks"),
        leak_end(1, 90.0, exactly(70.0), EndedHow::Closed),
        summary(100.0, Totals::default()),
    ];
    // Named in the wrong order, as a shell does.
    let (_, report) = reported_files(&[("x-2.tct", second), ("x-1.tct", first)]);
    assert_eq!(report.sessions.len(), 1);
    assert_eq!(report.sessions[0].files.len(), 2);
    assert_eq!(
        (report.close_wait.stays, report.close_wait.still_stuck, report.close_wait.ended.closed),
        (1, 0, 1)
    );
    assert_eq!(report.close_wait.longest_ns, Some(70 * SECOND));
}

#[test]
fn what_a_later_look_does_not_show_any_more_has_ended() {
    let look = |second: f64, cookies: &[u64]| {
        let mut records = vec![header_at("a", &format!("tcptrace now -o {second}"), second)];
        let found =
            cookies.iter().map(|cookie| leak(*cookie, second + 0.1, exactly(second), vec![owner(1, "app")]));
        records.extend(found);
        records.push(summary(second + 0.2, Totals::default()));
        records
    };
    let looks = [("1", look(60.0, &[1, 2, 3])), ("2", look(120.0, &[2, 3])), ("3", look(180.0, &[3, 4]))];
    let (_, report) = reported_files(&looks);
    assert_eq!(
        (report.close_wait.stuck, report.close_wait.still_stuck, report.close_wait.ended.unseen),
        (4, 2, 2)
    );
    assert_eq!(report.processes.top[0].sockets, 4, "seen again is not another");
}

/// A leak that `leaks` saw until second 60, and a session that began at second 100 and does not mention it.
fn reported_with_later(leak: Record, command: &str, seconds: f64, missed: Option<NotLookedAt>) -> Report {
    let first = vec![header("a", "tcptrace leaks -o a.tct"), leak, summary(60.0, Totals::default())];
    let Record::Summary(mut end) = summary(100.0 + seconds, Totals::default()) else { unreachable!() };
    end.not_looked_at = missed;
    let later = vec![header_at("a", command, 100.0), Record::Summary(end)];
    reported_files(&[("a.tct", first), ("b.tct", later)]).1
}

fn later_report(command: &str, seconds: f64) -> Report {
    reported_with_later(leak(1, 30.0, exactly(10.0), vec![owner(71, "app")]), command, seconds, None)
}

#[test]
fn a_later_session_that_did_not_look_for_a_socket_says_nothing_of_it() {
    for (command, seconds) in [
        ("tcptrace time-wait -o b.tct", 1.0),
        ("tcptrace clear --older-than 10m", 1.0),
        ("tcptrace leaks --port 9090", 60.0),
        ("tcptrace now --rport 9090", 1.0),
        ("tcptrace now --addr 10.9.0.0/16", 1.0),
        ("tcptrace now -6", 1.0),
        ("tcptrace now --netns 5", 1.0),
        ("tcptrace trace --port 9090 -o b.tct", 60.0),
        ("tcptrace trace -o b.jsonl", 60.0),
        ("tcptrace leaks --comm nosuch", 60.0),
        ("tcptrace now --state LISTEN", 1.0),
        ("tcptrace leaks --older-than 10m", 3.0),
    ] {
        let report = later_report(command, seconds);
        let close_wait = report.close_wait;
        assert_eq!(
            (close_wait.still_stuck, close_wait.ended.unseen, close_wait.not_looked_at_again),
            (1, 0, 1),
            "{command}"
        );
        let outlook = &report.headline.outlook[0];
        assert!(outlook.starts_with("it was still stuck when last looked at"), "{command}: {outlook}");
        assert_eq!(ending(&report.worst[0]), "not looked at again", "{command}");
    }
}

#[test]
fn a_later_session_that_would_have_shown_a_socket_tells_that_it_is_gone() {
    for (command, seconds) in [
        ("tcptrace now", 1.0),
        ("tcptrace leaks", 3.0),
        ("tcptrace leaks --port 8080 --addr 10.0.0.0/8 -4", 3.0),
        ("tcptrace leaks --comm app --unit app", 3.0),
        ("tcptrace trace --owners", 3.0),
        ("tcptrace leaks --older-than 1m", 3.0),
    ] {
        let report = later_report(command, seconds);
        let close_wait = report.close_wait;
        assert_eq!((close_wait.still_stuck, close_wait.ended.unseen), (0, 1), "{command}");
        assert!(report.headline.outlook[0].starts_with("it is stuck no more"), "{command}");
        assert_eq!(ending(&report.worst[0]), "gone, unseen how", "{command}");
    }
}

#[test]
fn sessions_of_one_file_out_of_their_order_end_no_socket_and_are_told() {
    let look = |at: f64, cookies: &[u64]| {
        let found = cookies.iter().map(|cookie| leak(*cookie, at + 0.1, exactly(at), vec![owner(1, "app")]));
        let begin = header_at("a", &format!("tcptrace now --tag {at}"), at);
        [vec![begin], found.collect(), vec![summary(at + 0.2, Totals::default())]].concat()
    };
    let (earlier, later) = (look(60.0, &[1, 2]), look(120.0, &[2]));
    let found = |files: &[(&str, Vec<Record>)]| {
        let report = reported_files(files).1;
        let is_told = report.cannot_claim.iter().any(|caveat| caveat.id() == "out_of_order");
        (report.close_wait.stuck, report.close_wait.still_stuck, is_told)
    };
    assert_eq!(found(&[("both", [earlier.clone(), later.clone()].concat())]), (2, 1, false));
    assert_eq!(found(&[("1", later.clone()), ("2", earlier.clone())]), (2, 1, false), "a file each");
    assert_eq!(found(&[("both", [later.clone(), earlier].concat())]), (2, 2, true));
    assert_eq!(found(&[("twice", [later.clone(), later].concat())]), (1, 1, false), "the same session");
}

#[test]
fn a_later_session_that_could_not_look_everywhere_says_nothing_of_a_socket() {
    let missed = |everything, namespaces, processes| {
        Some(NotLookedAt { everything, namespaces, processes, ..NotLookedAt::default() })
    };
    let still_stuck = |command: &str, missed| {
        let leak = leak(1, 30.0, exactly(10.0), vec![owner(71, "app")]);
        reported_with_later(leak, command, 3.0, missed).close_wait.still_stuck
    };
    assert_eq!(still_stuck("tcptrace now", missed(true, 0, 0)), 1);
    assert_eq!(still_stuck("tcptrace now", missed(false, 1, 0)), 1);
    assert_eq!(still_stuck("tcptrace now", missed(false, 0, 1)), 0, "listed whoever holds it");
    assert_eq!(still_stuck("tcptrace now --comm app", missed(false, 0, 1)), 1);
}

#[test]
fn answers_to_keep_alive_probes_hide_the_age_from_a_later_session() {
    let leak = leak_of(1, 30.0, exactly(10.0), vec![owner(71, "app")], ends(40_000));
    let leak = Record::Leak(Box::new(Leak { keep_alive: Some(true), ..leak }));
    let still_stuck =
        |seconds| reported_with_later(leak.clone(), "tcptrace leaks", seconds, None).close_wait.still_stuck;
    assert_eq!((still_stuck(8.0), still_stuck(30.0)), (1, 0));
}

/// The part of a summary about a process that held so many sockets of these clients at the end.
fn held_at_end(pid: u32, comm: &str, still_stuck: u64, clients: std::ops::Range<u16>) -> ProcessSummary {
    let peer = |client| PeerCount { peer: ends(client).remote, count: 1 };
    ProcessSummary {
        process: Arc::new(ProcessIdentity::from_name(Pid::new(pid), comm)),
        sockets: clients.len() as u64,
        still_stuck,
        peers: clients.map(peer).collect(),
        command: Some(format!("{comm} --serve")),
        ..examples::process_summary()
    }
}

/// A session that reported three sockets of these holders, and this end.
fn handed_over(holders: &[Owner], processes: Vec<ProcessSummary>) -> Report {
    let found = (1..4).map(|client: u16| {
        let leak = leak_of(client.into(), 30.0, exactly(10.0), holders.to_vec(), ends(client));
        Record::Leak(Box::new(leak))
    });
    let Record::Summary(mut end) = summary(60.0, Totals::default()) else { unreachable!() };
    end.processes = processes;
    let mut records = vec![header("a", "tcptrace leaks -o a.tct")];
    records.extend(found);
    records.push(Record::Summary(end));
    reported_files(&[("a.tct", records)]).1
}

#[test]
fn who_got_the_sockets_of_a_process_that_ended_holds_them() {
    let old = || held_at_end(71, "old", 0, 1..4);
    let report = handed_over(&[owner(71, "old")], vec![held_at_end(72, "new", 3, 1..4), old()]);
    assert!(report.headline.answer.starts_with("new (pid 72) holds all 3"), "{:?}", report.headline);
    assert_eq!(holder(&report.worst[0]), "new (pid 72)");
    let [new] = report.processes.top.as_slice() else { panic!("{:?}", report.processes) };
    assert_eq!((new.sockets, new.still_stuck, new.command.as_deref()), (3, 3, Some("new --serve")));

    let workers = vec![held_at_end(72, "worker", 3, 1..4), held_at_end(73, "worker", 3, 1..4), old()];
    let report = handed_over(&[owner(71, "old")], workers);
    assert_eq!(report.processes.top.len(), 2, "each inherited all of them");
    assert_eq!(holder(&report.worst[0]), "worker (pid 72) +1");

    let parts = vec![held_at_end(72, "new", 2, 1..3), held_at_end(73, "other", 1, 3..4), old()];
    let report = handed_over(&[owner(71, "old")], parts);
    let named = |client| {
        let socket = report.worst.iter().find(|socket| socket.remote == ends(client).remote);
        socket.map(holder).unwrap_or_default()
    };
    assert_eq!([named(1), named(2), named(3)], ["new (pid 72)", "new (pid 72)", "other (pid 73)"]);
}

#[test]
fn who_was_reported_holds_the_sockets_unless_the_summary_says_that_others_do() {
    let first = |holders: &[Owner], processes| handed_over(holders, processes).worst[0].clone();
    let one = [owner(71, "old")];
    assert_eq!(holder(&first(&one, Vec::new())), "old (pid 71)");
    assert_eq!(holder(&first(&one, vec![held_at_end(71, "old", 0, 1..4)])), "old (pid 71)");
    let executed = vec![held_at_end(71, "new", 3, 1..4), held_at_end(9, "idle", 0, 7..8)];
    assert_eq!(holder(&first(&one, executed)), "old (pid 71)", "the same, by another name");
    let strangers = vec![held_at_end(72, "new", 3, 7..10), held_at_end(71, "old", 0, 1..4)];
    assert_eq!(holder(&first(&one, strangers)), "old (pid 71)", "of other peers");
    let both = [owner(71, "old"), owner(72, "new")];
    let left = vec![held_at_end(72, "new", 3, 1..4), held_at_end(71, "old", 0, 1..4)];
    assert_eq!(holder(&first(&both, left)), "new (pid 72)");
}

#[test]
fn what_is_missing_in_a_file_is_told() {
    let records = [header("a", "tcptrace leaks"), leak(1, 30.0, exactly(10.0), vec![owner(71, "app")])];
    let aggregator = taken(everything(), &records);
    let losses = Losses {
        missing: 120,
        damaged: 2,
        is_cut: true,
        dropped: 7,
        before: 5,
        unknown: 1,
        ..Losses::default()
    };
    let state = FileState { losses, error: Some("input/output error".to_owned()) };
    let report = assemble::report(&aggregator, &[state], 10);
    let texts: Vec<String> = report.cannot_claim.iter().map(ToString::to_string).collect();
    for sentence in [
        "7 records were dropped because the output could not be written fast enough: counts are lower bounds",
        "session.jsonl is incomplete: 120 records are missing in 2 damaged parts, so counts are lower bounds",
        "session.jsonl ends in the middle of a record: what came after is not known",
        "session.jsonl has no summary: the session was killed or goes on, and what it lost at its end is not known",
        "session.jsonl could not be read to its end: input/output error",
        "5 records are in earlier files of a session that was rotated, or damaged: name those files as well",
        "1 record is of a kind that this version does not know, and left out: a newer tcptrace reads more",
    ] {
        assert!(texts.iter().any(|text| text == sentence), "{sentence:?} is not in {texts:#?}");
    }
    let losses = Losses { goes_on: true, ..Losses::default() };
    let report = assemble::report(&aggregator, &[FileState { losses, error: None }], 10);
    let ids: Vec<&str> = report.cannot_claim.iter().map(super::super::caveats::Caveat::id).collect();
    assert!(ids.contains(&"later_files") && !ids.contains(&"not_ended"), "{ids:?}");
}

#[test]
fn a_later_file_alone_tells_of_its_own_time_only() {
    let records = [
        header("a", "tcptrace leaks"),
        leak_end(1, 3_630.0, exactly(30.0), EndedHow::Closed),
        summary(3_660.0, Totals::default()),
    ];
    let aggregator = taken(everything(), &records);
    let losses = Losses { before: 1_000, ..Losses::default() };
    let report = assemble::report(&aggregator, &[FileState { losses, error: None }], 10);
    assert_eq!(report.span.unwrap().duration_ns, 30 * SECOND);
    let whole = assemble::report(&aggregator, &[FileState::default()], 10);
    assert_eq!(whole.span.unwrap().duration_ns, 3_660 * SECOND);
}

#[test]
fn a_file_without_records_is_told_of() {
    let mut aggregator =
        taken(everything(), &[header("a", "tcptrace leaks"), summary(60.0, Totals::default())]);
    aggregator.add_source("ruined.tct".to_owned());
    let losses = Losses { damaged: 3, ..Losses::default() };
    let report =
        assemble::report(&aggregator, &[FileState::default(), FileState { losses, error: None }], 10);
    let texts: Vec<String> = report.cannot_claim.iter().map(ToString::to_string).collect();
    assert!(texts.contains(&"ruined.tct has no record that could be read".to_owned()), "{texts:#?}");
    assert!(
        texts.iter().any(|text| text.starts_with("ruined.tct is incomplete: 3 parts were damaged")),
        "{texts:#?}"
    );
    assert_eq!(report.without_records.len(), 1);
}

#[test]
fn a_file_of_fewer_transitions_than_its_summary_counts_has_earlier_ones() {
    let established = (State::Established, Some(1.0));
    let early = vec![
        header("a", "tcptrace trace -o x.jsonl"),
        step(1, 1.0, established, State::CloseWait, ends(1)),
        step(2, 2.0, established, State::CloseWait, ends(2)),
    ];
    let late = |command: &str, records: u64| {
        vec![
            header("a", command),
            step(3, 3.0, established, State::CloseWait, ends(3)),
            summary(4.0, Totals { records, ..Totals::default() }),
        ]
    };
    let said = |files: &[(&str, Vec<Record>)]| {
        let (_, report) = reported_files(files);
        let earlier = report.cannot_claim.iter().filter(|caveat| caveat.id() == "earlier_files");
        earlier.map(ToString::to_string).collect::<Vec<_>>()
    };
    let trace = "tcptrace trace -o x.jsonl";
    let alone = said(&[("x.jsonl", late(trace, 3))]);
    assert!(alone.len() == 1 && alone[0].starts_with("2 of 3 transitions"), "{alone:?}");
    let none: [String; 0] = [];
    assert_eq!(said(&[("x-1.jsonl", early), ("x.jsonl", late(trace, 3))]), none);
    assert_eq!(said(&[("x.jsonl", late(trace, 1))]), none);
    // These count what they do not write.
    assert_eq!(said(&[("x.jsonl", late("tcptrace trace --state LISTEN", 3))]), none);
    assert_eq!(said(&[("x.jsonl", late("tcptrace leaks -o x.jsonl", 3))]), none);
}
