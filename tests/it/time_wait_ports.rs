//! `time-wait`: how many local ports there really are, and when they run out.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::compare::number;
use crate::support::emulated::stretched;
use crate::support::kernel_is_at_least;
use crate::support::run::run;
use crate::support::time_waits::{listed_by_ss, minisockets, of_namespace, one_look, with_ports};
use crate::support::tracer::Tracer;
use crate::support::until;
use crate::support::waiter::Waiter;

live_tests! {
    the_ports_run_out_at_the_predicted_moment,
    one_look_predicts_it_too_by_the_time_that_each_socket_has_left,
    ports_that_somebody_has_are_no_ports_to_choose_from,
    over_loopback_ports_in_time_wait_are_taken_over_and_do_not_count,
    whether_a_port_can_be_taken_over_goes_by_the_addresses_and_the_peers_timestamps,
    the_exit_code_tells_of_the_share_that_was_asked_for,
}

const SERVER: &str = "127.0.0.1:8000";

fn server() -> SocketAddr {
    SERVER.parse().expect("an address")
}

/// How long a socket has to be in TIME_WAIT before its port is taken over, in milliseconds.
const REUSE_DELAY: &str = "tcp_tw_reuse_delay";

fn the_ports_run_out_at_the_predicted_moment() {
    const PORTS: u16 = 600;
    const LASTS: Duration = Duration::from_secs(12);
    const JUDGED: Range<Duration> = Duration::from_secs(2)..Duration::from_secs(9);
    let netns = with_ports(PORTS);
    let _server = Waiter::serve(&netns, server(), "last");
    let inode = netns.inode().to_string();
    let tracer = Tracer::start_plain(&["time-wait", "--watch", "--interval", "500ms", "--netns", &inode]);
    let per_second = u64::from(PORTS) / stretched(LASTS).as_secs();
    let client = Waiter::connect(&netns, server(), "first", &["--rate", &per_second.to_string()]);
    let done = client.done();
    assert_eq!(done["is_dry"], true, "{done}");
    assert_eq!(done["made"], PORTS, "connections that the ports were enough for");
    let dry_ns = number(&done, "monotonic_ns");
    let session = tracer.stop();
    session.summary();
    // Records have wall-clock time; the moment they are compared with is in CLOCK_MONOTONIC.
    let forecasts: Vec<(u64, u64)> = session
        .records
        .iter()
        .filter(|record| record["type"] == "time_wait" && record["netns"] == netns.inode())
        .filter_map(|record| {
            let at = crate::support::clock::monotonic_of(record["time"].as_str()?);
            Some((at, record["dry_in_ns"].as_u64()?)).filter(|(at, _)| *at < dry_ns)
        })
        .collect();
    // At the beginning there are too few connections for a rate, and at the very end 10 % of nothing is nothing.
    let is_judged = stretched(JUDGED.start)..stretched(JUDGED.end);
    let judged: Vec<(u64, u64)> = forecasts
        .into_iter()
        .filter(|(at, _)| is_judged.contains(&Duration::from_nanos(dry_ns - at)))
        .collect();
    assert!(judged.len() >= 10, "{} forecasts are too few to judge: {:#?}", judged.len(), session.records);
    for (at, dry_in) in judged {
        let left = dry_ns - at;
        let error = dry_in.abs_diff(left) * 100 / left;
        assert!(error <= 10, "{left} ns before it ran dry, {dry_in} ns were predicted: {error} % off");
    }
    let last = one_look(&netns, &[]);
    let (_, destinations) = of_namespace(&last, &netns);
    assert_eq!(destinations[0]["ports_used"], PORTS, "{}", destinations[0]);
    assert_eq!(destinations[0]["dry_in_ns"], 0, "none is left now");
}

fn one_look_predicts_it_too_by_the_time_that_each_socket_has_left() {
    const PORTS: u16 = 400;
    let netns = with_ports(PORTS);
    let _server = Waiter::serve(&netns, server(), "last");
    let client = Waiter::connect(&netns, server(), "first", &["--rate", "50"]);
    until("a part of the ports is in use", || minisockets(&netns) > 150);
    let records = one_look(&netns, &[]);
    let (_, destinations) = of_namespace(&records, &netns);
    let record = destinations[0];
    let at = crate::support::clock::monotonic_of(record["time"].as_str().unwrap());
    let left = number(&client.done(), "monotonic_ns") - at;
    let dry_in = number(record, "dry_in_ns");
    assert!(dry_in.abs_diff(left) * 10 <= left, "{dry_in} ns were predicted, it was {left}: {record}");
    assert_eq!(record["per_second"], Value::Null, "nothing was traced");
    let rate = record["entered_per_second"].as_f64().expect("a rate");
    assert!((45.0..=55.0).contains(&rate), "{rate} a second");
}

fn ports_that_somebody_has_are_no_ports_to_choose_from() {
    let netns = with_ports(100);
    netns.set("ip_local_reserved_ports", "62020-62029,30000");
    let _server = Waiter::serve(&netns, server(), "last");
    // connect() avoids these ports: they are taken on other addresses and in the other family, by sockets
    // that listen or are only bound.
    let taken = netns.within(|| {
        let bound = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.bind(&address.into()).unwrap();
            socket
        };
        let bound = [bound("127.0.0.9:62001"), bound("[::1]:62002")];
        // UDP has its own ports, and the other one is out of range.
        let other =
            (UdpSocket::bind("127.0.0.1:62003").unwrap(), TcpListener::bind("127.0.0.1:61999").unwrap());
        (TcpListener::bind("127.0.0.9:62000").unwrap(), bound, other)
    });
    let client = Waiter::connect(&netns, server(), "first", &[]);
    let made = number(&client.done(), "made");
    let records = one_look(&netns, &[]);
    let (summary, destinations) = of_namespace(&records, &netns);
    assert_eq!(made, 100 - 10 - 3, "connections that there were ports for");
    let ports = &summary["ports"];
    // Only later kernels list sockets that neither listen nor are connected.
    let bound = if kernel_is_at_least((6, 8)) { 3 } else { 1 };
    assert_eq!((&ports["reserved"], &ports["bound"]), (&Value::from(10), &Value::from(bound)), "{ports}");
    let expected = 100 - 10 - bound;
    assert_eq!(destinations[0]["ports_total"], expected, "{}", destinations[0]);
    assert_eq!(destinations[0]["ports_used"], made, "{}", destinations[0]);
    drop(taken);
}

fn over_loopback_ports_in_time_wait_are_taken_over_and_do_not_count() {
    let netns = with_ports(100);
    netns.set("tcp_tw_reuse", "2");
    // Where the delay cannot be set, it is a second.
    let rate = if netns.has(REUSE_DELAY) {
        netns.set(REUSE_DELAY, "200");
        "200"
    } else {
        "60"
    };
    let _server = Waiter::serve(&netns, server(), "last");
    // Unless they are taken over, a hundred ports are enough for a hundred connections.
    Waiter::connect(&netns, server(), "first", &["--count", "300", "--rate", rate, "--leave"]).gone();
    until("all have been in TIME_WAIT for long enough", || {
        let records = one_look(&netns, &[]);
        let (_, destinations) = of_namespace(&records, &netns);
        destinations[0]["ports_reusable"] == destinations[0]["ports_used"]
    });
    let inode = netns.inode().to_string();
    let look = |exit: i32| {
        let ran = run(&["time-wait", "--netns", &inode, "--exit-code", "--ports-used", "50%"]);
        assert_eq!(ran.code, Some(exit), "{}\n{}", ran.output, ran.messages);
    };
    look(0);
    // The same table with the setting off: every port counts.
    netns.set("tcp_tw_reuse", "0");
    look(1);
    let records = one_look(&netns, &[]);
    let (summary, destinations) = of_namespace(&records, &netns);
    assert!(number(destinations[0], "ports_used") >= 50, "{}", destinations[0]);
    assert_eq!(destinations[0]["ports_reusable"], 0);
    let recycled = summary["counters"]["TWRecycled"].as_u64().expect("a counter");
    assert!(recycled >= 200, "the kernel counts {recycled} ports that were taken over");
}

fn whether_a_port_can_be_taken_over_goes_by_the_addresses_and_the_peers_timestamps() {
    // An address of this host that is not a loopback address, though packets to it stay on the host.
    let netns = with_ports(60);
    netns.ip("address add 10.9.9.1/32 dev lo");
    let server: SocketAddr = "10.9.9.1:8000".parse().unwrap();
    let _server = Waiter::serve(&netns, server, "last");
    netns.set("tcp_tw_reuse", "2");
    if netns.has(REUSE_DELAY) {
        netns.set(REUSE_DELAY, "1");
    }
    let done = Waiter::connect(&netns, server, "first", &[]).done();
    assert_eq!(done["made"], 60, "with 2 the kernel takes nothing over here: {done}");
    let ports = || {
        let records = one_look(&netns, &[]);
        let (_, destinations) = of_namespace(&records, &netns);
        ["ports_used", "ports_reusable", "dry_in_ns"].map(|field| destinations[0][field].clone())
    };
    assert_eq!(ports(), [Value::from(60), Value::from(0), Value::from(0)], "with 2");
    netns.set("tcp_tw_reuse", "1");
    assert_eq!(
        ports(),
        [Value::from(60), Value::Null, Value::from(0)],
        "with 1, and nothing is known of the peer"
    );
    if !netns.has(REUSE_DELAY) {
        until("all have been in TIME_WAIT for longer than a second", || {
            let records = one_look(&netns, &[]);
            let (_, destinations) = of_namespace(&records, &netns);
            number(destinations[0], "oldest_left_ns") < 58_000_000_000
        });
    }
    let open = Waiter::connect(&netns, server, "never", &["--count", "1"]);
    assert_eq!(open.done()["made"], 1, "a port was taken over");
    until("what is in TIME_WAIT can be taken over", || ports()[1] == 59);
    assert_eq!(
        ports(),
        [Value::from(60), Value::from(59), Value::Null],
        "with 1, and the peer has timestamps"
    );
}

fn the_exit_code_tells_of_the_share_that_was_asked_for() {
    let netns = with_ports(100);
    let _server = Waiter::serve(&netns, server(), "last");
    Waiter::connect(&netns, server(), "first", &["--count", "60", "--leave"]).gone();
    until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 60);
    let inode = netns.inode().to_string();
    let exit = |arguments: &[&str]| {
        let ran = run(&[&["time-wait", "--netns", &inode, "--format", "jsonl"], arguments].concat());
        ran.code.unwrap_or_else(|| panic!("{}", ran.messages))
    };
    assert_eq!(exit(&["--exit-code", "--ports-used", "60%"]), 1);
    assert_eq!(exit(&["--exit-code", "--ports-used", "61%"]), 0);
    assert_eq!(exit(&["--exit-code"]), 0, "the default is 80 %");
    assert_eq!(exit(&["--ports-used", "10%"]), 0, "it was not asked for");
    assert_eq!(exit(&["--exit-code", "--ports-used", "60%", "--duration", "300ms"]), 1, "watched");
}
