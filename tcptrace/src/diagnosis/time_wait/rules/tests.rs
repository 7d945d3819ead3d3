//! Tests that each advice follows from its numbers, and that its words match them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use super::*;

fn settings() -> TcpSettings {
    TcpSettings {
        tcp_tw_reuse: Some(2),
        tcp_tw_reuse_delay: Some(1_000),
        tcp_timestamps: Some(1),
        tcp_fin_timeout: Some(60),
        tcp_max_tw_buckets: Some(131_072),
        ip_local_port_range: Some((32_768, 60_999)),
        ip_local_reserved_ports: Some(String::new()),
        ip_unprivileged_port_start: Some(1_024),
        tcp_tw_recycle: None,
    }
}

fn facts<'a>(settings: &'a TcpSettings, files: &'a [Setting]) -> TimeWaitFacts<'a> {
    TimeWaitFacts {
        kernel: Some(KernelVersion(6, 18)),
        settings,
        files,
        ports: None,
        bound_by: None,
        buckets_used: Some(10),
        listed: 10,
        overflowed: Some(0),
        overflows_per_second: None,
    }
}

fn to(remote: &str, time_wait: u64, ports: Option<FoundPorts>) -> FoundDestination {
    FoundDestination {
        destination: Destination::Outgoing {
            local: "10.0.0.1".parse().unwrap(),
            remote: remote.parse().unwrap(),
        },
        time_wait,
        fin_wait2: 0,
        open: 2,
        per_second: Some(12.5),
        is_over: false,
        last_left_ns: 55_000_000_000,
        ports,
        who: Some(Closer { name: "shop (71)".to_owned(), count: time_wait }),
        by_state: vec![(State::TimeWait, time_wait)],
        holder: None,
        other_holders: 0,
    }
}

/// All of its ports are taken by sockets in this state, which a process holds.
fn held(remote: &str, state: State, count: u64) -> FoundDestination {
    FoundDestination {
        open: count,
        per_second: None,
        who: None,
        by_state: vec![(state, count)],
        holder: Some(Closer { name: "eater (9)".to_owned(), count }),
        ..to(remote, 0, Some(ports(count, (count == 1_000).then_some(0))))
    }
}

fn service(local: &str, time_wait: u64) -> FoundDestination {
    let destination = Destination::Incoming { local: local.parse().unwrap() };
    FoundDestination { destination, ports: None, who: None, ..to("192.0.2.1:80", time_wait, None) }
}

fn ports(used: u64, dry_in_ns: Option<u64>) -> FoundPorts {
    FoundPorts { used, reusable: Some(0), total: 1_000, most_per_second: 16.4, dry_in_ns }
}

fn setting(name: &str, value: &str, line: u32) -> Setting {
    Setting {
        name: format!("net.ipv4.{name}"),
        value: value.to_owned(),
        file: "/etc/sysctl.conf".into(),
        line,
    }
}

fn ids(facts: &TimeWaitFacts<'_>, found: &[FoundDestination]) -> Vec<&'static str> {
    advice(facts, found).iter().map(Advice::id).collect()
}

fn text(facts: &TimeWaitFacts<'_>, found: &[FoundDestination], id: &str) -> String {
    let all = advice(facts, found);
    all.iter()
        .find(|advice| advice.id() == id)
        .map_or_else(|| panic!("no {id} in {all:#?}"), ToString::to_string)
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said: {text}");
    }
}

#[test]
fn a_few_sockets_are_nothing_to_talk_about() {
    let settings = settings();
    assert!(ids(&facts(&settings, &[]), &[to("192.0.2.1:80", 20, Some(ports(20, None)))]).is_empty());
    assert!(ids(&facts(&settings, &[]), &[]).is_empty());
}

#[test]
fn the_worst_pattern_of_each_side_is_told_with_its_numbers() {
    let settings = settings();
    let found = [
        to("192.0.2.1:5432", 400, Some(ports(402, None))),
        to("192.0.2.2:5432", 300, Some(ports(300, None))),
        service("10.0.0.1:443", 200),
    ];
    let facts = facts(&settings, &[]);
    assert_eq!(
        ids(&facts, &found),
        ["connection_pool", "server_closes_first", "tcp_tw_reuse", "tcp_fin_timeout"]
    );
    let pool = text(&facts, &found, "connection_pool");
    says(
        &pool,
        &["shop (71)", "400 connections", "192.0.2.1:5432", "12.5 a second", "2 are open", "1 other"],
    );
    says(&text(&facts, &found, "server_closes_first"), &["200 connections", "port 443", "this side"]);
    let shared = FoundDestination {
        who: Some(Closer { name: "shop (71)".to_owned(), count: 90 }),
        ..found[0].clone()
    };
    says(&text(&facts, &[shared], "connection_pool"), &["shop (71) closed 90 of the 400 connections"]);
    says(
        &text(&facts, &found, "tcp_tw_reuse"),
        &["tcp_tw_reuse is 2", "0 of the 900 sockets", "With 1 it may be 700 to other hosts", "200 incoming"],
    );
}

#[test]
fn reuse_is_told_for_these_sockets_and_this_kernel() {
    let mut settings = settings();
    let orphans = FoundDestination { fin_wait2: 30, ..to("127.0.0.1:80", 500, Some(ports(0, None))) };
    let found = [orphans, to("192.0.2.1:80", 100, None)];
    let said = text(&facts(&settings, &[]), &found, "tcp_tw_reuse");
    says(
        &said,
        &["1.0 s", "500 of the 600 sockets", "100 to other hosts", "never takes over the 30 in FIN_WAIT2"],
    );
    let old = TimeWaitFacts { kernel: Some(KernelVersion(6, 1)), ..facts(&settings, &[]) };
    says(&text(&old, &found, "tcp_tw_reuse"), &["not meant for the 30 in FIN_WAIT2", "before 6.12"]);
    settings.tcp_tw_reuse = Some(0);
    says(
        &text(&facts(&settings, &[]), &found, "tcp_tw_reuse"),
        &["never takes over a port", "With 2", "500 over loopback", "100 to other hosts"],
    );
    settings.tcp_tw_reuse = Some(1);
    let said = text(&facts(&settings, &[]), &found, "tcp_tw_reuse");
    says(&said, &["if both ends have timestamps", "600 of the 600"]);
    assert!(!said.contains("With 1"), "{said}");
    settings.tcp_timestamps = Some(0);
    says(&text(&facts(&settings, &[]), &found, "tcp_timestamps"), &["tcp_tw_reuse = 1 has no effect"]);
}

#[test]
fn ports_that_run_dry_come_first_and_the_range_is_told() {
    let settings = TcpSettings { ip_local_port_range: Some((40_000, 40_999)), ..settings() };
    let budget = PortBudget::new(&settings).unwrap();
    let files = [setting("ip_local_port_range", "40000 40999", 7)];
    let facts = TimeWaitFacts { ports: Some(&budget), ..facts(&settings, &files) };
    let found = [to("192.0.2.1:80", 700, Some(ports(700, Some(24_000_000_000))))];
    let ids = ids(&facts, &found);
    assert_eq!(ids.first(), Some(&"ports_run_dry"), "{ids:?}");
    says(
        &text(&facts, &found, "ports_run_dry"),
        &["700 of 1000", "24.0 s", "12.5 connections a second", "16.4 connections a second"],
    );
    let range = text(&facts, &found, "ip_local_port_range");
    says(
        &range,
        &["40000 40999 (set by /etc/sysctl.conf, line 7)", "1000 ports", "\"1024 65535\" would be 64512"],
    );
    let none_left = [to("192.0.2.1:80", 1_000, Some(ports(1_000, Some(0))))];
    let said = text(&facts, &none_left, "ports_run_dry");
    says(&said, &["EADDRNOTAVAIL until one is free"]);
    assert!(!said.contains("unless"), "{said}");
    let unknown = FoundPorts { reusable: None, ..ports(1_000, Some(0)) };
    let unknown = [to("192.0.2.1:80", 1_000, Some(unknown))];
    says(&text(&facts, &unknown, "ports_run_dry"), &["unless the peer has timestamps"]);
}

#[test]
fn reusable_ports_are_not_scarce() {
    let settings = settings();
    let reusable = FoundPorts { reusable: Some(990), ..ports(1_000, None) };
    assert_eq!(reusable.taken(), 10);
    let ids = ids(&facts(&settings, &[]), &[to("127.0.0.1:80", 1_000, Some(reusable))]);
    assert!(!ids.contains(&"ports_run_dry") && !ids.contains(&"ip_local_port_range"), "{ids:?}");
}

#[test]
fn dead_and_misunderstood_settings_are_named_where_they_stand() {
    let mut settings = settings();
    settings.tcp_fin_timeout = Some(15);
    let files = [
        setting("tcp_tw_recycle", "1", 3),
        setting("tcp_fin_timeout", "30", 4),
        setting("tcp_fin_timeout", "15", 9),
        setting("tcp_tw_recycle", "1", 12),
    ];
    let all = advice(&facts(&settings, &files), &[]);
    let given: Vec<(&str, Option<u32>)> =
        all.iter().map(|advice| (advice.id(), advice.place().map(|place| place.line))).collect();
    // Of a setting that is there twice the last line counts; dead lines are all worth deleting.
    let expected = [("tcp_tw_recycle", Some(3)), ("tcp_tw_recycle", Some(12)), ("tcp_fin_timeout", Some(9))];
    assert_eq!(given, expected);
    says(&all[2].to_string(), &["15 s", "line 9", "does not shorten TIME_WAIT", "60 s"]);
    // No advice on a kernel that has the setting after all.
    settings.tcp_tw_recycle = Some(0);
    assert!(!ids(&facts(&settings, &files), &[]).contains(&"tcp_tw_recycle"));
}

#[test]
fn a_full_table_is_told_whether_it_is_full_now_or_was() {
    let settings = TcpSettings { tcp_max_tw_buckets: Some(1_000), ..settings() };
    let files = [setting("tcp_max_tw_buckets", "1000", 2)];
    let nearly = TimeWaitFacts { buckets_used: Some(801), ..facts(&settings, &files) };
    says(&text(&nearly, &[], "tcp_max_tw_buckets"), &["801 of at most 1000", "line 2", "raise it"]);
    let is =
        TimeWaitFacts { overflowed: Some(77), overflows_per_second: Some(3.25), ..facts(&settings, &[]) };
    says(&text(&is, &[], "tcp_max_tw_buckets"), &["77 sockets went without TIME_WAIT", "3.2 a second"]);
    for rate in [None, Some(0.0)] {
        let was = TimeWaitFacts { overflows_per_second: rate, ..is.clone() };
        assert!(ids(&was, &[]).is_empty(), "what went without some day says nothing of today: {rate:?}");
    }
    assert!(ids(&TimeWaitFacts { buckets_used: Some(800), ..facts(&settings, &[]) }, &[]).is_empty());
}

#[test]
fn ports_that_no_timer_frees_run_dry_with_their_states_and_their_holder() {
    let settings = settings();
    let facts = facts(&settings, &[]);
    let found = [held("192.0.2.1:80", State::CloseWait, 1_000)];
    assert_eq!(ids(&facts, &found), ["ports_run_dry"], "nobody closed first: nothing is said of it");
    let said = text(&facts, &found, "ports_run_dry");
    says(
        &said,
        &["1000 of 1000", "(1000 in CLOSE_WAIT)", "held by eater (9)", "EADDRNOTAVAIL", "calls close()"],
    );
    assert!(!said.contains("connections a second") && !said.contains("others"), "{said}");
    let shared = FoundDestination { other_holders: 3, ..found[0].clone() };
    says(&text(&facts, &[shared], "ports_run_dry"), &["eater (9) and 3 others"]);
    for (state, remedy) in [
        (State::FinWait2, "without any limit"),
        (State::SynSent, "tcp_syn_retries"),
        (State::LastAck, "tcp_orphan_retries"),
        (State::Established, "close those that are not used"),
    ] {
        says(&text(&facts, &[held("192.0.2.1:80", state, 1_000)], "ports_run_dry"), &[remedy, state.name()]);
    }
    let mixed = vec![
        (State::CloseWait, 900),
        (State::Established, 60),
        (State::SynSent, 30),
        (State::LastAck, 7),
        (State::FinWait1, 3),
    ];
    let mixed = FoundDestination { by_state: mixed, ..found[0].clone() };
    let states = "(900 in CLOSE_WAIT, 60 in ESTABLISHED, 30 in SYN_SENT, 10 in other states)";
    says(&text(&facts, &[mixed], "ports_run_dry"), &[states]);
}

#[test]
fn from_half_of_the_ports_on_connect_is_slow_until_it_fails() {
    let settings = settings();
    let facts = facts(&settings, &[]);
    let slow = |counts: &[u64]| {
        let found: Vec<_> =
            counts.iter().map(|count| held("192.0.2.1:80", State::Established, *count)).collect();
        ids(&facts, &found).contains(&"connect_is_slow")
    };
    assert_eq!([499, 500, 999, 1_000].map(|count| slow(&[count])), [false, true, true, false]);
    assert!(slow(&[1_000, 600]), "that one has run dry, and another one is slow");
    let found = [600, 700].map(|count| held("192.0.2.1:80", State::Established, count));
    says(
        &text(&facts, &found, "connect_is_slow"),
        &["700 of 1000", "every second port", "1 other destination"],
    );
    // What can be taken over is found at once.
    let reusable = FoundPorts { reusable: Some(700), ..ports(900, None) };
    assert!(!ids(&facts, &[to("127.0.0.1:80", 900, Some(reusable))]).contains(&"connect_is_slow"));
}

#[test]
fn ports_that_are_bound_or_reserved_are_none_for_any_destination() {
    let settings = TcpSettings { ip_local_port_range: Some((40_000, 40_099)), ..settings() };
    let with_bound = |count: u16| {
        let mut budget = PortBudget::new(&settings).unwrap();
        (0..count).for_each(|nth| budget.bind(40_000 + nth));
        budget
    };
    let (some, much, all) = (with_bound(49), with_bound(50), with_bound(100));
    let of = |budget| {
        let bound_by = Some(Closer { name: "binder (9)".to_owned(), count: 50 });
        TimeWaitFacts { ports: Some(budget), bound_by, ..facts(&settings, &[]) }
    };
    assert!(ids(&of(&some), &[]).is_empty());
    assert_eq!(ids(&of(&much), &[]), ["ports_bound", "ip_local_port_range"]);
    says(
        &text(&of(&much), &[], "ports_bound"),
        &["50 ports of 40000-40099", "leaves 50", "binder (9) holds 50"],
    );
    says(&text(&of(&all), &[], "ports_bound"), &["leaves 0", "whatever destination"]);
    let reserved =
        TcpSettings { ip_local_reserved_ports: Some("40000-40099".to_owned()), ..settings.clone() };
    let reserved = PortBudget::new(&reserved).unwrap();
    assert!(reserved.is_bound(100) && !some.is_bound(50) && much.is_bound(50));
    says(&text(&of(&reserved), &[], "ports_bound"), &["100 are reserved", "leaves 0"]);
}

/// So many minisockets, of which no more come.
fn over(found: FoundDestination) -> FoundDestination {
    FoundDestination { is_over: true, per_second: Some(0.0), ..found }
}

#[test]
fn a_burst_that_is_over_calls_for_nothing() {
    let settings = settings();
    let facts = facts(&settings, &[]);
    for found in [
        to("192.0.2.1:80", 400, Some(ports(400, None))),
        // Half of the ports, and most of them: no reason for a wider range.
        to("192.0.2.1:80", 600, Some(ports(600, None))),
        to("192.0.2.1:80", 900, Some(ports(900, None))),
        FoundDestination { time_wait: 0, fin_wait2: 400, ..to("192.0.2.1:80", 0, Some(ports(400, None))) },
        service("10.0.0.1:443", 5_000),
    ] {
        let all = advice(&facts, &[over(found.clone())]);
        assert!(!all.iter().any(Advice::is_urgent), "{all:#?}");
        let ids: Vec<&str> = all.iter().map(Advice::id).filter(|id| *id != "connect_is_slow").collect();
        assert_eq!(ids, ["burst_is_over"], "{found:#?}");
        assert!(!self::ids(&facts, &[found]).contains(&"burst_is_over"), "while more come");
    }
    assert!(ids(&facts, &[over(to("192.0.2.1:80", 20, None))]).is_empty(), "a few are nothing to talk about");
}

#[test]
fn a_burst_that_is_over_is_told_with_its_end() {
    let settings = settings();
    let facts = facts(&settings, &[]);
    let later = FoundDestination { last_left_ns: 43_200_000_000, ..service("10.0.0.1:443", 300) };
    let sooner = FoundDestination { last_left_ns: 9_000_000_000, ..to("192.0.2.1:80", 400, None) };
    let said = text(&facts, &[over(later), over(sooner)], "burst_is_over");
    says(&said, &["700 sockets of 2 destinations", "no more come", "it is over in 43.2 s"]);
}

#[test]
fn ports_that_are_gone_are_urgent_though_no_more_are_asked_for() {
    let settings = settings();
    let facts = facts(&settings, &[]);
    let all = advice(&facts, &[over(to("192.0.2.1:80", 1_000, Some(ports(1_000, Some(0)))))]);
    let gone = all.iter().find(|advice| advice.id() == "ports_run_dry").unwrap();
    assert!(gone.is_urgent());
    // Scarce ports that open connections hold: nothing ends by itself, and nothing is about to break.
    let held = over(held("192.0.2.1:80", State::Established, 900));
    let all = advice(&facts, &[held]);
    let scarce = all.iter().find(|advice| advice.id() == "ports_run_dry").unwrap();
    assert!(!scarce.is_urgent());
}

#[test]
fn the_pattern_that_goes_on_is_told_and_not_the_larger_one_that_is_over() {
    let settings = settings();
    let facts = facts(&settings, &[]);
    let large = over(to("192.0.2.1:5432", 9_000, None));
    let slow =
        FoundDestination { per_second: Some(2.0), ..to("192.0.2.2:5432", 800, Some(ports(400, None))) };
    let fast =
        FoundDestination { per_second: Some(9.0), ..to("192.0.2.3:5432", 150, Some(ports(150, None))) };
    let large = FoundDestination { ports: Some(FoundPorts { total: 20_000, ..ports(9_000, None) }), ..large };
    let found = [large, slow, fast];
    assert_eq!(ids(&facts, &found), ["connection_pool", "burst_is_over", "tcp_tw_reuse", "tcp_fin_timeout"]);
    says(
        &text(&facts, &found, "connection_pool"),
        &["192.0.2.3:5432", "9.0 a second", "1 other destination"],
    );
    says(&text(&facts, &found, "burst_is_over"), &["9000 sockets of 1 destination"]);
}

#[test]
fn a_full_table_is_urgent_while_it_is_filled() {
    let settings = TcpSettings { tcp_max_tw_buckets: Some(1_000), ..settings() };
    let is_urgent = |used, rate, found: &[FoundDestination]| {
        let facts = TimeWaitFacts {
            buckets_used: Some(used),
            listed: used,
            overflowed: Some(9),
            overflows_per_second: rate,
            ..facts(&settings, &[])
        };
        let all = advice(&facts, found);
        let full = all.iter().find(|advice| advice.id() == "tcp_max_tw_buckets");
        full.map(|advice| (advice.is_urgent(), advice.to_string().contains("No more come at present")))
    };
    let growing = [service("10.0.0.1:443", 1_000)];
    let ended = [over(service("10.0.0.1:443", 1_000))];
    // A filter hides the others.
    let hidden = [over(service("10.0.0.1:443", 400))];
    for (used, rate, found, expected) in [
        (1_000, None, &growing, Some((true, false))),
        // Where none find room, none come, whatever is closed.
        (1_000, None, &ended, Some((true, false))),
        (1_000, Some(0.0), &ended, Some((false, true))),
        (900, None, &hidden, Some((false, false))),
        (1_000, Some(0.0), &growing, Some((false, false))),
        (1_000, Some(0.5), &ended, Some((true, false))),
        (900, None, &growing, Some((false, false))),
        (900, None, &ended, Some((false, true))),
        (300, Some(0.5), &growing, Some((true, false))),
        (300, None, &growing, None),
    ] {
        assert_eq!(is_urgent(used, rate, found), expected, "{used} {rate:?}");
    }
    let full = TimeWaitFacts { buckets_used: Some(1_000), ..facts(&settings, &[]) };
    assert!(!ids(&full, &ended).contains(&"burst_is_over"), "more may be closed, which find no room");
}
