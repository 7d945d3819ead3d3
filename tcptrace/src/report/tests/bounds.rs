//! What has no room is counted, and the sums stay whole.

use super::*;
use crate::{
    forms::reading::losses::Losses,
    model::{
        examples,
        record::{
            Record, Totals,
            cleared::{ClearEnd, Outcomes},
        },
        state::State,
    },
    report::{
        aggregate::ReportScope,
        assemble,
        entities::MOST_PROCESSES,
        input::FileState,
        model::{Report, sockets::LineOf},
        sums::MOST_WORST,
    },
};

const ESTABLISHED: (State, Option<f64>) = (State::Established, Some(1.0));

fn ids(report: &Report) -> Vec<&'static str> {
    report.cannot_claim.iter().map(super::super::caveats::Caveat::id).collect()
}

#[test]
fn more_processes_than_there_is_room_for_are_counted_together() {
    let held = MOST_PROCESSES as u64 + 500;
    let mut records = vec![header("a", "tcptrace leaks")];
    records.extend(
        (0..held).map(|n| leak(n, 20.0, exactly(10.0), vec![owner(u32::try_from(n).unwrap() + 1, "many")])),
    );
    records.push(summary(30.0, Totals::default()));
    let report = reported(everything(), &records);
    assert_eq!(report.close_wait.stuck, held);
    assert_eq!((report.processes.top.len(), report.processes.others), (10, held - 10));
    assert!(ids(&report).contains(&"too_many_processes"), "{:?}", report.cannot_claim);
    let over_time = report.over_time.unwrap();
    let last = |of: LineOf| -> u64 {
        over_time.lines.iter().filter(|line| line.of == of).filter_map(|line| line.values.last()).sum()
    };
    assert_eq!((last(LineOf::Process), last(LineOf::OtherProcesses)), (5, held - 5));
}

#[test]
fn a_peer_that_stands_out_is_found_among_very_many() {
    let mut records = vec![header("a", "tcptrace trace")];
    for n in 0..60_000_u32 {
        let [_, b, c, d] = n.to_be_bytes();
        let noise = format!("198.{b}.{c}.{d}:443");
        records.push(step(u64::from(n), 1.0, ESTABLISHED, State::FinWait1, towards(&noise, 50_000)));
        if n % 10 == 0 {
            let busy = towards("10.9.9.9:443", 50_001);
            records.push(step(1 << 40 | u64::from(n), 1.0, ESTABLISHED, State::FinWait1, busy));
        }
    }
    records.push(summary(30.0, Totals::default()));
    let report = reported(everything(), &records);
    assert!(ids(&report).contains(&"lower_bounds"), "{:?}", report.cannot_claim);
    let closed = report.closed_first.unwrap();
    assert_eq!(closed.by_us, 66_000);
    assert_eq!(closed.peers.top[0].peer.to_string(), "10.9.9.9:443");
    assert_eq!(closed.peers.top[0].by_us, 6_000);
    let listed: u64 = closed.peers.top.iter().map(|peer| peer.by_us).sum();
    assert_eq!(listed + closed.peers.others, 66_000);
}

#[test]
fn sockets_beyond_those_that_are_followed_are_counted() {
    let wanted = ReportScope { max_sockets: 100, ..everything() };
    let mut records = vec![header("a", "tcptrace trace")];
    records.extend((0..150).map(|n| step(n, 1.0, ESTABLISHED, State::CloseWait, ends(40_000))));
    // Those that were followed leave, and make room.
    records
        .extend((0..100).map(|n| step(n, 2.0, (State::CloseWait, Some(1.0)), State::LastAck, ends(40_000))));
    records.extend((200..250).map(|n| step(n, 3.0, ESTABLISHED, State::CloseWait, ends(40_000))));
    records.push(summary(30.0, Totals::default()));
    let aggregator = taken(wanted.clone(), &records);
    assert_eq!((aggregator.stays.len(), aggregator.stays.evicted()), (50, 50));
    let report = reported(wanted, &records);
    assert_eq!((report.close_wait.stays, report.close_wait.still_stuck), (150, 50));
    let said: Vec<String> = report.cannot_claim.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|said| said.contains("the same time as 100 others")), "{said:?}");
    assert!(report.headline.answer.starts_with("at least 50 sockets were stuck"), "{:?}", report.headline);
}

#[test]
fn a_holder_of_all_that_were_counted_does_not_hold_all_where_some_were_left_out() {
    let mut records = vec![header("a", "tcptrace leaks")];
    records.extend((0..6).map(|n| leak(n, 20.0, exactly(10.0), vec![owner(1, "shop")])));
    records.push(summary(30.0, Totals::default()));
    let answer =
        |max_sockets| reported(ReportScope { max_sockets, ..everything() }, &records).headline.answer;
    assert!(answer(6).starts_with("shop (pid 1) holds all 6 stuck sockets"), "{}", answer(6));
    assert!(answer(4).starts_with("shop (pid 1) holds 4 of at least 4 stuck sockets"), "{}", answer(4));
}

#[test]
fn recordings_of_which_nothing_could_be_read_do_not_say_that_nothing_was_stuck() {
    let answer = |losses: Losses, records: &[Record]| {
        let aggregator = taken(everything(), records);
        let files = [FileState { losses, error: None }];
        assemble::report(&aggregator, &files, 10).headline.answer
    };
    let quiet = [header("a", "tcptrace leaks"), summary(30.0, Totals::default())];
    let passing = [
        header("a", "tcptrace trace"),
        step(1, 1.0, ESTABLISHED, State::CloseWait, ends(40_000)),
        step(1, 2.0, (State::CloseWait, Some(1.0)), State::LastAck, ends(40_000)),
        summary(30.0, Totals::default()),
    ];
    let damaged = Losses { damaged: 31, ..Losses::default() };
    assert_eq!(answer(Losses::default(), &quiet), "No socket was stuck in CLOSE_WAIT");
    assert_eq!(answer(damaged, &quiet), "No record about a socket could be read");
    assert_eq!(answer(damaged, &passing), "No socket was stuck in CLOSE_WAIT in what could be read");
    let rotated = Losses { before: 7, ..Losses::default() };
    assert_eq!(answer(rotated, &passing), "No socket was stuck in CLOSE_WAIT in what could be read");
}

#[test]
fn where_nobody_looked_at_close_wait_a_report_does_not_say_none() {
    let ended = |command: &str| vec![header("a", command), summary(30.0, Totals::default())];
    let cleared = vec![
        header("a", "tcptrace clear --older-than 1s"),
        Record::Cleared(Box::new(examples::cleared())),
        Record::ClearEnd(Box::new(ClearEnd {
            summary: examples::summary(),
            outcomes: Outcomes::default(),
            kept: Vec::new(),
        })),
    ];
    let blind = [
        ended("tcptrace time-wait -o x.jsonl"),
        ended("tcptrace now --state CLOSE"),
        ended("tcptrace trace --state=time-wait -o x.jsonl"),
        cleared,
    ];
    for records in blind {
        let report = reported(everything(), &records);
        assert!(!report.headline.answer.contains("No socket"), "{:?}", report.headline);
        assert!(report.over_time.is_none() && report.sessions[0].has_ended, "{records:?}");
        let ids = ids(&report);
        assert!(ids.contains(&"close_wait_not_recorded") && !ids.contains(&"not_ended"), "{ids:?}");
        assert!(!taken(everything(), &records).has_looked());
    }
    let looked = [
        ended("tcptrace now --state CLOSE --state CLOSE_WAIT"),
        ended("tcptrace trace --state TIME_WAIT --owners"),
        ended("/usr/bin/tcptrace -q -o x.tct"),
    ];
    for records in looked {
        let report = reported(everything(), &records);
        assert_eq!(report.headline.answer, "No socket was stuck in CLOSE_WAIT");
        assert!(taken(everything(), &records).has_looked());
    }
}

#[test]
fn the_beginning_of_a_recording_does_not_say_that_nothing_was_stuck() {
    let begun = [header("a", "tcptrace leaks")];
    let answer = |losses: Losses| {
        let files = [FileState { losses, error: None }];
        assemble::report(&taken(everything(), &begun), &files, 10).headline.answer
    };
    let cut = Losses { is_cut: true, ..Losses::default() };
    assert_eq!(answer(cut), "No record about a socket could be read");
    assert_eq!(answer(Losses::default()), "There is nothing in the recordings but their beginning");
    assert!(!taken(everything(), &begun).has_looked());
}

#[test]
fn what_is_kept_does_not_grow_with_the_recording() {
    let mut aggregator = taken(everything(), &[header("a", "tcptrace trace")]);
    for n in 0..200_000_u64 {
        let second = n as f64 / 10.0;
        let [.., c, d] = n.to_be_bytes();
        let ends = towards(&format!("198.51.{c}.{d}:443"), 50_000);
        aggregator.take(0, &step(n, second, ESTABLISHED, State::CloseWait, ends));
        aggregator.take(0, &step(n, second + 20.0, (State::CloseWait, Some(20.0)), State::LastAck, ends));
        assert_eq!(aggregator.stays.len(), 0);
    }
    let sums = aggregator.sums(0);
    assert_eq!(sums.stuck.ever, 200_000);
    assert!(sums.worst.len() <= MOST_WORST && sums.peers.len() <= 8_192 && sums.processes.is_empty());
}

#[test]
fn the_same_ends_are_used_again_where_there_are_no_cookies() {
    let without_cookie = |record: Record| match record {
        Record::Transition(mut transition) => {
            transition.what.socket.cookie = None;
            Record::Transition(transition)
        }
        other => other,
    };
    let mut records = vec![header("a", "tcptrace trace")];
    for n in 0..3_u32 {
        let second = f64::from(n) * 20.0;
        records.push(step(0, second, ESTABLISHED, State::CloseWait, ends(40_000)));
        records.push(step(0, second + 15.0, (State::CloseWait, Some(15.0)), State::LastAck, ends(40_000)));
    }
    // One whose end was lost, and another on the same ends after it.
    records.push(step(0, 80.0, ESTABLISHED, State::CloseWait, ends(40_000)));
    records.push(step(0, 95.0, ESTABLISHED, State::CloseWait, ends(40_000)));
    records.push(summary(120.0, Totals::default()));
    let records: Vec<Record> = records.into_iter().map(without_cookie).collect();
    let report = reported(everything(), &records);
    assert_eq!((report.close_wait.stays, report.close_wait.still_stuck), (5, 1));
}
