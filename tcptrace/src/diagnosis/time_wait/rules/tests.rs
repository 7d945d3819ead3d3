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
        buckets_used: Some(10),
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
        ports,
        who: Some(Closer { name: "shop (71)".to_owned(), count: time_wait }),
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
    let was =
        TimeWaitFacts { overflowed: Some(77), overflows_per_second: Some(3.25), ..facts(&settings, &[]) };
    says(&text(&was, &[], "tcp_max_tw_buckets"), &["77 sockets went without TIME_WAIT", "3.2 a second"]);
    assert!(ids(&TimeWaitFacts { buckets_used: Some(800), ..facts(&settings, &[]) }, &[]).is_empty());
}
