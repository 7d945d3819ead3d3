//! The sums, each against its truth.

use super::*;
use crate::{
    model::{
        criteria::Criteria,
        ended::EndedHow,
        owner_criteria::OwnerCriteria,
        pid::Pid,
        record::{Leak, Over, Record, Totals},
        state::State,
        verdict::Verdict,
    },
    report::{
        model::sockets::LineOf,
        sums::{Threshold, Window},
        time::unix_ns,
    },
};

const ESTABLISHED: (State, Option<f64>) = (State::Established, Some(1.0));

/// Enters CLOSE_WAIT at one second and leaves it at another.
fn stay(cookie: u64, from: f64, to: f64) -> [Record; 2] {
    [
        step(cookie, from, ESTABLISHED, State::CloseWait, ends(40_000)),
        step_by(
            7,
            "server",
            step(cookie, to, (State::CloseWait, Some(to - from)), State::LastAck, ends(40_000)),
        ),
    ]
}

/// In the order of their time.
fn ordered(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut records: Vec<Record> = records.into_iter().collect();
    records.sort_by_key(Record::time);
    records
}

#[test]
fn stays_are_rebuilt_from_transitions_alone() {
    let mut records = vec![header("a", "tcptrace trace")];
    // Ninety short ones, ten long ones, and three that do not end.
    let short = (0..90).flat_map(|n| stay(n, n as f64, n as f64 + 0.05));
    let long = (100..110).flat_map(|n| stay(n, 1.0, 31.0));
    let open = (200..203).map(|n| step(n, 50.0, ESTABLISHED, State::CloseWait, ends(40_000)));
    records.extend(ordered(short.chain(long).chain(open)));
    records.push(summary(100.0, Totals::default()));
    let report = reported(everything(), &records);
    let close_wait = report.close_wait;
    assert_eq!((close_wait.stays, close_wait.stuck, close_wait.still_stuck), (103, 13, 3));
    assert_eq!((close_wait.ended.closed, close_wait.holder_not_recorded), (10, 13));
    assert_eq!(close_wait.longest_ns, Some(50 * SECOND));
    assert!(report.processes.top.is_empty(), "the task on the CPU is no holder");
    let bars = &report.durations.bars;
    assert_eq!(bars.iter().map(|bar| bar.not_stuck).sum::<u64>(), 90);
    assert_eq!(bars.iter().map(|bar| bar.ended).sum::<u64>(), 10);
    assert_eq!(bars.iter().map(|bar| bar.still_stuck).sum::<u64>(), 3);
    assert!(report.headline.answer.contains("13 sockets were stuck"), "{:?}", report.headline);
    assert_eq!(report.worst.len(), 10);
    assert_eq!(report.worst[0].close_wait_ns, 50 * SECOND);
    assert_eq!(report.worst[0].established_ns, Some(SECOND));
    assert_eq!(report.worst[9].closed_by.as_ref().map(|process| process.pid), Some(Pid::new(7)));
    // Over time: at second 20 the ten long ones, at second 99 the three open ones.
    let over_time = report.over_time.as_ref().unwrap();
    let line = over_time.lines.iter().find(|line| line.of == LineOf::UnknownHolder).unwrap();
    let at_second = |second: i64| {
        let from_first = unix_ns(at(second as f64)) - unix_ns(over_time.first.0);
        line.values[usize::try_from(from_first.cast_unsigned() / over_time.step_ns).unwrap()]
    };
    assert_eq!([at_second(20), at_second(40), at_second(99)], [10, 0, 3]);
    assert_eq!(close_wait.peak, Some(11), "ten long ones and a short one");
}

#[test]
fn a_leak_and_the_transitions_of_its_socket_are_one_stay() {
    let closing = |cookie, end_first: bool| {
        let transition = step(cookie, 60.0, (State::CloseWait, Some(50.0)), State::LastAck, ends(40_000));
        let end = leak_end(cookie, 60.0, exactly(50.0), EndedHow::OwnerExited);
        if end_first { [end, transition] } else { [transition, end] }
    };
    let mut records = vec![header("a", "tcptrace trace --owners")];
    for cookie in [1, 2] {
        records.push(step(cookie, 10.0, ESTABLISHED, State::CloseWait, ends(40_000)));
        records.push(leak(cookie, 20.0, exactly(10.0), vec![owner(71, "holder")]));
    }
    records.extend(closing(1, false));
    records.extend(closing(2, true));
    let report = reported(everything(), &records);
    assert_eq!((report.close_wait.stays, report.close_wait.stuck, report.close_wait.still_stuck), (2, 2, 0));
    assert_eq!(
        report.close_wait.ended.owner_exited, 2,
        "what `leak_end` says counts: {:?}",
        report.close_wait.ended
    );
    assert_eq!(report.processes.top[0].sockets, 2);
    assert_eq!(report.close_wait.longest_ns, Some(50 * SECOND));
}

#[test]
fn the_culprit_its_lines_and_its_shares_are_told() {
    let mut records = vec![header("a", "tcptrace leaks")];
    for cookie in 0..198 {
        let site = if cookie < 143 { "handle_refund (refunds.rs:120)" } else { "handle_order (orders.rs:8)" };
        let leak = leak_of(cookie, 30.0, exactly(10.0), vec![owner(28_397, "leaky-holder")], ends(40_000));
        records.push(Record::Leak(Box::new(Leak { opened_by: Some(opened_at(site, 1.0)), ..leak })));
    }
    for cookie in 198..214 {
        let leak =
            leak_of(cookie, 30.0, exactly(10.0), vec![owner(5, "other")], towards("10.9.9.9:5432", 50_000));
        records.push(Record::Leak(Box::new(Leak { verdict: Some(Verdict::EofUnread), ..leak })));
    }
    records.push(summary(40.0, Totals::default()));
    let report = reported(everything(), &records);
    assert_eq!(
        report.headline.answer,
        "leaky-holder (pid 28397) holds 198 of 214 stuck sockets; 143 were opened at handle_refund (refunds.rs:120)"
    );
    let first = &report.processes.top[0];
    assert_eq!((first.sockets, first.still_stuck, first.share), (198, 198, 0.9252));
    assert_eq!(first.sites.iter().map(|site| site.sockets).collect::<Vec<_>>(), [143, 55]);
    assert_eq!(first.longest_ns, 20 * SECOND, "it goes on to the end of the session");
    let peers: Vec<(String, u64)> =
        report.peers.top.iter().map(|peer| (peer.peer.to_string(), peer.sockets)).collect();
    assert_eq!(peers, [("192.0.2.7 to port 8080".to_owned(), 198), ("10.9.9.9:5432".to_owned(), 16)]);
    let verdicts: Vec<_> = report.verdicts.iter().map(|share| (share.verdict, share.sockets)).collect();
    assert_eq!(verdicts, [(Some(Verdict::EofRead), 198), (Some(Verdict::EofUnread), 16)]);
    assert_eq!(report.stacks.top[0].stack.len(), 3);
    let ids: Vec<&str> = report.cannot_claim.iter().map(super::super::caveats::Caveat::id).collect();
    assert_eq!(ids, ["stacks_known", "only_leaks"]);
}

#[test]
fn a_socket_with_several_holders_counts_for_each_and_is_drawn_once() {
    let records = [
        header("a", "tcptrace leaks"),
        leak(1, 30.0, exactly(10.0), vec![owner(1, "parent"), owner(2, "child")]),
        leak(2, 30.0, exactly(10.0), Vec::new()),
        summary(40.0, Totals::default()),
    ];
    let report = reported(everything(), &records);
    assert_eq!(report.close_wait.stuck, 2);
    assert_eq!(report.processes.top.iter().map(|process| process.sockets).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(report.close_wait.unattributed, 1);
    let over_time = report.over_time.unwrap();
    let last: Vec<u64> = over_time.lines.iter().map(|line| *line.values.last().unwrap()).collect();
    assert_eq!(last.iter().sum::<u64>(), 2, "{:?}", over_time.lines);
}

#[test]
fn a_report_in_which_filters_leave_nothing_says_what_they_left_out() {
    let mut records = vec![header("a", "tcptrace leaks")];
    records.extend((0..3).map(|n| leak(n, 30.0, exactly(10.0), vec![owner(71, "shop")])));
    // The same socket, reported once more.
    records.push(leak(2, 35.0, exactly(15.0), vec![owner(71, "shop")]));
    let half_open = leak_of(9, 36.0, exactly(20.0), vec![owner(71, "shop")], ends(40_000));
    records.push(Record::Leak(Box::new(Leak { verdict: Some(Verdict::HalfOpen), ..half_open })));
    records.push(leak(4, 40.0, exactly(10.0), vec![owner(72, "web")]));
    records.push(summary(60.0, Totals::default()));
    let of = |comm: &str| {
        let mut wanted = everything();
        wanted.criteria.owners.comms = vec![comm.to_owned()];
        let report = reported(wanted, &records);
        (report.headline, report.close_wait.filtered_out)
    };
    let (headline, filtered_out) = of("nosuch");
    assert_eq!(headline.answer, "None of the sockets asked for was stuck in CLOSE_WAIT, but 4 others were");
    assert_eq!(filtered_out, 4);
    let (headline, _) = of("web");
    assert!(headline.answer.starts_with("web (pid 72) holds the only stuck socket"), "{headline:?}");
    let last = headline.outlook.last().unwrap();
    assert_eq!(last, "3 others that were reported stuck do not pass the filters");
    let (headline, _) = of("shop");
    let last = headline.outlook.last().unwrap();
    assert_eq!(last, "1 other that was reported stuck does not pass the filters");
    // Nobody reported sockets: how many there were is not known.
    let mut wanted = everything();
    wanted.criteria.owners.comms = vec!["shop".to_owned()];
    let quiet = reported(wanted, &[header("a", "tcptrace trace"), summary(60.0, Totals::default())]);
    assert_eq!(quiet.headline.answer, "None of the sockets asked for was stuck in CLOSE_WAIT");
}

#[test]
fn a_half_close_is_no_leak() {
    let leak = leak_of(1, 30.0, exactly(20.0), vec![owner(1, "busy")], ends(40_000));
    let leak = Record::Leak(Box::new(Leak { verdict: Some(Verdict::HalfOpen), ..leak }));
    let report =
        reported(everything(), &[header("a", "tcptrace now"), leak, summary(0.1, Totals::default())]);
    assert_eq!((report.close_wait.stuck, report.close_wait.half_open), (0, 1));
    assert_eq!(report.headline.answer, "No socket was stuck in CLOSE_WAIT");
    assert!(report.over_time.is_none(), "a snapshot has no course over time");
}

#[test]
fn a_threshold_that_is_asked_for_holds_for_reports_too() {
    let records = [
        header("a", "tcptrace leaks --older-than 1s"),
        leak(1, 2.0, exactly(1.0), vec![owner(1, "brief")]),
        leak_end(1, 5.0, exactly(4.0), EndedHow::Closed),
        leak(2, 2.0, exactly(1.0), vec![owner(2, "lasting")]),
        summary(60.0, Totals::default()),
    ];
    assert_eq!(reported(everything(), &records).close_wait.stuck, 2);
    let threshold = Threshold { ns: 10 * SECOND, is_asked_for: true };
    let report = reported(crate::report::aggregate::ReportScope { threshold, ..everything() }, &records);
    assert_eq!(report.close_wait.stuck, 1);
    assert_eq!(report.processes.top[0].process.pid, Pid::new(2));
}

#[test]
fn who_closed_first_is_counted_by_process_peer_and_time() {
    let mut records = vec![header("a", "tcptrace trace")];
    for n in 0..60_u16 {
        let second = f64::from(n);
        let ends = towards("10.9.9.9:443", 50_000 + n);
        let cookie = u64::from(n);
        records.push(step(cookie, second, (State::SynSent, None), State::Established, ends));
        let new = match n % 3 {
            0 => State::FinWait1,
            1 => State::CloseWait,
            _ => State::Close,
        };
        let pid = if n < 30 { 100 } else { 200 };
        records.push(step_by(pid, "client", step(cookie, second, ESTABLISHED, new, ends)));
    }
    records.push(summary(60.0, Totals::default()));
    let report = reported(everything(), &records);
    let closed = report.closed_first.unwrap();
    assert_eq!((closed.by_us, closed.by_peer, closed.reset), (20, 20, 20));
    let by_process: Vec<(Option<u32>, u64)> = closed
        .processes
        .top
        .iter()
        .map(|closer| (closer.process.pid.visible(), closer.closed_first))
        .collect();
    assert_eq!(by_process, [(Some(100), 10), (Some(200), 10)]);
    assert_eq!(closed.processes.top[0].process.comm, "client");
    assert_eq!(closed.processes.top[0].per_second.to_string(), "0.17");
    assert_eq!(closed.peers.top.len(), 1);
    assert_eq!(closed.peers.top[0].peer.to_string(), "10.9.9.9:443");
    assert_eq!(closed.by_us_over_time.iter().sum::<u64>(), 20);
    assert_eq!(closed.by_us_over_time.len(), closed.reset_over_time.len());
}

#[test]
fn what_lies_outside_of_the_window_is_left_out_and_what_reaches_into_it_is_not() {
    let window = Window { from_ns: unix_ns(at(100.0)), to_ns: unix_ns(at(200.0)) };
    let wanted = crate::report::aggregate::ReportScope { window, ..everything() };
    let mut records = vec![header("a", "tcptrace trace")];
    records.extend(ordered(
        [
            stay(1, 10.0, 50.0),
            stay(2, 60.0, 150.0),
            stay(3, 120.0, 180.0),
            stay(4, 190.0, 290.0),
            stay(5, 210.0, 280.0),
        ]
        .into_iter()
        .flatten(),
    ));
    records.push(summary(300.0, Totals::default()));
    let report = reported(wanted, &records);
    assert_eq!((report.close_wait.stuck, report.close_wait.still_stuck), (3, 1));
    assert_eq!(report.records.transitions, 4, "two entered and two left within the window");
    let span = report.span.unwrap();
    assert_eq!((span.first.0, span.last.0), (at(100.0), at(200.0)));
    assert_eq!(report.closed_first.unwrap().by_peer, 2);
    let late = Window { from_ns: unix_ns(at(1_000.0)), to_ns: i64::MAX };
    let report = reported(crate::report::aggregate::ReportScope { window: late, ..everything() }, &records);
    assert!(report.span.is_none() && report.headline.answer.contains("nothing in the recordings"));
}

#[test]
fn filters_hold_for_connections_and_for_owners() {
    let other = leak_of(2, 30.0, exactly(10.0), vec![owner(2, "b")], towards("10.9.9.9:5432", 50_000));
    let records = [
        header("a", "tcptrace trace --owners"),
        step(9, 1.0, ESTABLISHED, State::CloseWait, ends(40_000)),
        leak(1, 30.0, exactly(10.0), vec![owner(1, "a")]),
        Record::Leak(Box::new(other)),
        step_by(1, "a", step(4, 31.0, ESTABLISHED, State::FinWait1, ends(40_001))),
        step_by(2, "b", step(5, 32.0, ESTABLISHED, State::FinWait1, ends(40_002))),
        summary(60.0, Totals::default()),
    ];
    let report = reported(everything(), &records);
    assert_eq!((report.close_wait.stuck, report.closed_first.unwrap().by_us), (3, 2));
    let addresses = vec!["10.9.9.0/24".parse().unwrap()];
    let criteria = Criteria { addresses, ..Criteria::default() };
    let report = reported(crate::report::aggregate::ReportScope { criteria, ..everything() }, &records);
    assert_eq!((report.close_wait.stuck, report.processes.top[0].process.pid), (1, Pid::new(2)));
    assert!(report.asked.is_filtered);
    let owners = OwnerCriteria { comms: vec!["a".to_owned()], ..OwnerCriteria::default() };
    let criteria = Criteria { owners, ..Criteria::default() };
    let report = reported(crate::report::aggregate::ReportScope { criteria, ..everything() }, &records);
    assert_eq!((report.close_wait.stuck, report.processes.top[0].process.pid), (1, Pid::new(1)));
    assert_eq!(report.closed_first.unwrap().by_us, 1);
}

#[test]
fn a_container_or_pod_that_nobody_ran_in_is_told_with_those_that_are_there() {
    let mut in_pod = owner(1, "a");
    let process = std::sync::Arc::make_mut(&mut in_pod.process);
    process.container = Some("0123456789ab".to_owned());
    process.container_name = Some("app".to_owned());
    process.pod = Some("web-7d9f".to_owned());
    process.pod_namespace = Some("shop".to_owned());
    let records = [
        header("a", "tcptrace leaks"),
        leak(1, 30.0, exactly(10.0), vec![in_pod, owner(2, "b")]),
        leak(2, 31.0, exactly(10.0), vec![owner(3, "c")]),
        summary(60.0, Totals::default()),
    ];
    let of = |owners| {
        let criteria = Criteria { owners, ..Criteria::default() };
        let report = reported(crate::report::aggregate::ReportScope { criteria, ..everything() }, &records);
        let told: Vec<String> = report
            .cannot_claim
            .iter()
            .filter(|caveat| caveat.id() == "nobody_called")
            .map(ToString::to_string)
            .collect();
        (report.close_wait.stuck, told)
    };
    let pods = |name: &str| OwnerCriteria { pods: vec![name.to_owned()], ..OwnerCriteria::default() };
    assert_eq!(of(pods("web-7d9f")), (1, Vec::new()));
    assert_eq!(of(pods("shop/web-7d9f")), (1, Vec::new()));
    let (stuck, told) = of(pods("web-7d9\u{1b}"));
    let expected = r"no stuck socket was held in a Kubernetes pod called web-7d9\u{1b}: those that were held in one, in pod shop/web-7d9f, container app";
    assert_eq!((stuck, told), (0, vec![expected.to_owned()]));
    let namespaces = OwnerCriteria { namespaces: vec!["shop".to_owned()], ..OwnerCriteria::default() };
    assert_eq!(of(namespaces), (1, Vec::new()));
    let containers = vec!["app".to_owned(), "db".to_owned()];
    let (stuck, told) = of(OwnerCriteria { containers, ..OwnerCriteria::default() });
    assert_eq!((stuck, told.len()), (1, 1));
}

#[test]
fn a_descriptor_whose_connection_is_over_is_no_stay_and_counts_once() {
    let over = |cookie: u64, second: f64, pid: u32| {
        let leak = leak_of(cookie, second, exactly(0.0), vec![owner(pid, "keeper")], ends(40_000));
        Record::Leak(Box::new(Leak {
            state: State::Close,
            age: None,
            verdict: Some(Verdict::ConnectionOver),
            over: Some(Over { how: Some(EndedHow::Reset), ns: Some(1_000_000_000) }),
            opened_by: Some(opened_at("shop::serve", 1.0)),
            ..leak
        }))
    };
    let report = reported(
        everything(),
        &[
            header("web-1", "tcptrace leaks"),
            over(1, 10.0, 7),
            over(1, 20.0, 7),
            over(2, 20.0, 7),
            over(3, 20.0, 8),
        ],
    );
    assert_eq!((report.close_wait.stays, report.close_wait.stuck), (0, 0));
    let kept = report.connections_over.unwrap();
    assert_eq!((kept.descriptors, kept.processes.len()), (3, 2));
    assert_eq!(
        (kept.processes[0].descriptors, kept.processes[0].ways()),
        (2, "2 reset by the peer".to_owned())
    );
    assert_eq!(kept.processes[0].site.site.as_deref(), Some("shop::serve"));
    let sentence = "keeper (pid 7) keeps 2 of 3 descriptors whose connections are over";
    assert_eq!(report.headline.outlook, [sentence]);
}
