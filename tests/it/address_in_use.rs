//! `time-wait --lport`: why bind() fails with EADDRINUSE, by whom and for how long, held against what bind() does there.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::compare::{Comparison, number};
use crate::support::kernel_is_at_least;
use crate::support::netns::Netns;
use crate::support::run::run;
use crate::support::time_waits::{
    advice, listed_by_ss, namespace, of_namespace, one_look, records, with_ports,
};
use crate::support::tracer::Tracer;
use crate::support::until;
use crate::support::waiter::Waiter;

live_tests! {
    what_stands_in_the_way_of_bind_is_what_bind_itself_finds_there,
    a_listener_is_named_with_its_command_line,
    sockets_that_share_a_port_say_so,
    a_port_that_connect_has_chosen_is_told_with_its_process_and_the_remedy,
    bind_succeeds_when_the_last_of_them_is_gone,
    whoever_closed_first_is_named_while_it_watches,
    a_port_that_nothing_has_is_free_in_every_namespace,
    a_burst_that_is_over_is_nothing_to_act_upon,
}

const PORT: u16 = 8080;

/// A socket that may have the options.
fn socket(at: SocketAddr, reuseaddr: bool, v6_only: bool) -> Socket {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_address(reuseaddr).unwrap();
    if at.is_ipv6() {
        socket.set_only_v6(v6_only).unwrap();
    }
    socket
}

fn bound(at: &str, reuseaddr: bool, v6_only: bool) -> Socket {
    let at = at.parse().unwrap();
    let socket = socket(at, reuseaddr, v6_only);
    socket.bind(&at.into()).unwrap();
    socket
}

fn listening(at: &str, reuseaddr: bool, v6_only: bool) -> Socket {
    let socket = bound(at, reuseaddr, v6_only);
    socket.listen(16).unwrap();
    socket
}

/// Both ends of a connection to a listener: the client's, and the one that was accepted.
fn connection(listener: &Socket, to: &str) -> (TcpStream, Socket) {
    let client = TcpStream::connect(to).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Whether bind() and listen() succeed. No other error may come.
fn binds(at: SocketAddr, reuseaddr: bool, v6_only: bool) -> bool {
    let socket = socket(at, reuseaddr, v6_only);
    let tried: Result<(), Error> = socket.bind(&at.into()).and_then(|()| socket.listen(1));
    if let Err(error) = &tried {
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{at}: {error}");
    }
    tried.is_ok()
}

/// Whether bind() succeeds, tried again for a while where it should: a child that another test is starting has a copy of
/// the socket that was closed last, until it calls execve().
fn binds_as(expected: bool, tried: impl Fn() -> bool) -> bool {
    let since = Instant::now();
    loop {
        let succeeds = tried();
        if succeeds || !expected || since.elapsed() > Duration::from_secs(5) {
            return succeeds;
        }
    }
}

/// Whether an address in use overlaps with one that is to be bound.
fn overlaps(used: &Value, at: SocketAddr, v6_only: bool) -> bool {
    let of: std::net::IpAddr = used["laddr"].as_str().unwrap().parse().unwrap();
    if of.is_ipv4() == at.is_ipv4() {
        return of == at.ip() || of.is_unspecified() || at.ip().is_unspecified();
    }
    // A wildcard of IPv6 takes IPv4 as well, unless it must not.
    if of.is_ipv6() {
        of.is_unspecified() && used["v6_only"] == false
    } else {
        at.ip().is_unspecified() && !v6_only
    }
}

/// Looks at the port, then has bind() tried at every kind of address, with and without SO_REUSEADDR. Returns what has it.
fn judged(netns: &Netns, scene: &str) -> Vec<Value> {
    let found = one_look(netns, &["--lport", &PORT.to_string()]);
    let (summary, _) = of_namespace(&found, netns);
    let uses = summary["address_uses"].as_array().expect("what has the port").clone();
    for (ip, v6_only) in [
        (Ipv4Addr::LOCALHOST.into(), false),
        (Ipv4Addr::new(127, 0, 0, 2).into(), false),
        (Ipv4Addr::UNSPECIFIED.into(), false),
        (Ipv6Addr::LOCALHOST.into(), false),
        (Ipv6Addr::UNSPECIFIED.into(), false),
        (Ipv6Addr::UNSPECIFIED.into(), true),
    ] {
        let at = SocketAddr::new(ip, PORT);
        let in_the_way: Vec<&Value> = uses.iter().filter(|used| overlaps(used, at, v6_only)).collect();
        let binds = |reuse, expected| binds_as(expected, || netns.within(|| binds(at, reuse, v6_only)));
        let plain = binds(false, in_the_way.is_empty());
        assert_eq!(plain, in_the_way.is_empty(), "{scene}: bind() to {at}, v6_only {v6_only}: {uses:#?}");
        let answers = || in_the_way.iter().map(|used| &used["bind_with_reuseaddr"]);
        // What is not known may go either way.
        if answers().all(|answer| !answer.is_null()) {
            let expected = answers().all(|answer| answer == true);
            assert_eq!(
                binds(true, expected),
                expected,
                "{scene}: with SO_REUSEADDR to {at}, v6_only {v6_only}: {uses:#?}"
            );
        }
    }
    let ids: Vec<&Value> = summary["advice"].as_array().unwrap().iter().map(|advice| &advice["id"]).collect();
    let is_free = ids.iter().any(|id| **id == "address_free");
    assert_eq!(is_free, uses.is_empty(), "{scene}: {summary}");
    assert_eq!(
        ids.iter().any(|id| **id == "address_in_use" || **id == "needs_so_reuseaddr"),
        !is_free,
        "{scene}"
    );
    uses
}

/// What is expected of the only use: its role, its sockets by state, and whether bind() succeeds with SO_REUSEADDR.
fn is(uses: &[Value], scene: &str, role: &str, by_state: &Value, with_reuseaddr: Option<bool>) {
    assert_eq!(uses.len(), 1, "{scene}: {uses:#?}");
    let mut compared = Comparison::of(scene);
    compared.field(&uses[0], "role", role);
    compared.field(&uses[0], "by_state", by_state.clone());
    compared.field(&uses[0], "bind_with_reuseaddr", json!(with_reuseaddr));
    compared.finish(&[&uses[0]]);
}

fn what_stands_in_the_way_of_bind_is_what_bind_itself_finds_there() {
    for reuseaddr in [false, true] {
        for (at, v6_only) in
            [("127.0.0.1:8080", false), ("0.0.0.0:8080", false), ("[::]:8080", false), ("[::]:8080", true)]
        {
            let netns = namespace();
            let _present = netns.inhabitant();
            let scene = format!("{at}, v6_only {v6_only}, SO_REUSEADDR {reuseaddr}");
            assert_eq!(judged(&netns, &scene), [] as [Value; 0]);
            if kernel_is_at_least((6, 8)) {
                let held = netns.within(|| bound(at, reuseaddr, v6_only));
                let uses = judged(&netns, &format!("bound to {scene}"));
                is(&uses, &scene, "bound", &json!({ "CLOSE": 1 }), Some(reuseaddr));
                drop(held);
            }
            let listener = netns.within(|| listening(at, reuseaddr, v6_only));
            let uses = judged(&netns, &format!("listens on {scene}"));
            is(&uses, &scene, "listener", &json!({ "LISTEN": 1 }), Some(false));
            // Connections outlive their listener.
            let to = if v6_only { "[::1]:8080" } else { "127.0.0.1:8080" };
            let (client, accepted) = netns.within(|| connection(&listener, to));
            judged(&netns, &format!("has accepted on {scene}"));
            drop(listener);
            let uses = judged(&netns, &format!("accepted on {scene}"));
            is(&uses, &scene, "connection", &json!({ "ESTABLISHED": 1 }), Some(reuseaddr));
            assert_eq!(uses[0]["held_by"][0]["pid"], std::process::id(), "{}", uses[0]);
            // Of what nobody holds any more, the option is not known.
            drop(accepted);
            until("it is in FIN_WAIT2", || listed_by_ss(&netns, "fin-wait-2") == 1);
            let uses = judged(&netns, &format!("closed first, accepted on {scene}"));
            is(&uses, &scene, "connection", &json!({ "FIN_WAIT2": 1 }), None);
            drop(client);
            until("it is in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 1);
            let uses = judged(&netns, &format!("in TIME_WAIT, accepted on {scene}"));
            is(&uses, &scene, "connection", &json!({ "TIME_WAIT": 1 }), None);
            let left = number(&uses[0], "last_left_ns");
            assert!((50_000_000_000..=60_000_000_000).contains(&left), "{left} ns are left");
        }
    }
}

fn a_listener_is_named_with_its_command_line() {
    let netns = namespace();
    let at: SocketAddr = ([127, 0, 0, 1], PORT).into();
    let server = Waiter::serve(&netns, at, "never");
    let client = Waiter::connect(&netns, at, "never", &["--count", "3"]);
    client.done();
    let found = one_look(&netns, &["--lport", &PORT.to_string()]);
    let (summary, _) = of_namespace(&found, &netns);
    let said = advice(summary, "address_in_use").expect("who is in the way");
    let who = format!("waiter ({}, \"", server.pid());
    for word in [&who, "listens on 127.0.0.1:8080", "3 connections may stay", "with SO_REUSEADDR too"] {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
    let uses = summary["address_uses"].as_array().unwrap();
    let by = uses.iter().find(|used| used["role"] == "listener").map(|used| &used["held_by"][0]).unwrap();
    assert_eq!((&by["pid"], &by["evidence"]), (&json!(server.pid()), &json!("fd_table")), "{by}");
    // People read it before anything else.
    let ran = run(&["time-wait", "--netns", &netns.inode().to_string(), "--lport", &PORT.to_string()]);
    let (first, rest) = ran.output.split_once("\nNetwork namespace").expect("the namespace");
    assert!(first.contains(&format!("bind() in network namespace {}:", netns.inode())), "{}", ran.output);
    assert!(first.contains(&who) && !rest.contains("address_in_use"), "{}", ran.output);
    assert_eq!(ran.code, Some(0), "that a port is in use is no finding");
    // Without the question, there is no answer.
    let found = one_look(&netns, &[]);
    let (summary, _) = of_namespace(&found, &netns);
    assert_eq!(summary["address_uses"], Value::Null);
    assert_eq!(advice(summary, "address_in_use"), None);
}

fn sockets_that_share_a_port_say_so() {
    let netns = namespace();
    let _present = netns.inhabitant();
    let at: SocketAddr = ([127, 0, 0, 1], PORT).into();
    let shared = || {
        let socket = socket(at, false, false);
        socket.set_reuse_port(true).unwrap();
        socket.bind(&at.into()).unwrap();
        socket.listen(1).unwrap();
        socket
    };
    let first = netns.within(shared);
    let uses = judged(&netns, "one of SO_REUSEPORT");
    assert_eq!((&uses[0]["reuseport"], &uses[0]["uid"]), (&json!(true), &json!(0)), "{}", uses[0]);
    let second = netns.within(shared);
    let uses = judged(&netns, "two of SO_REUSEPORT");
    assert_eq!(uses[0]["by_state"], json!({ "LISTEN": 2 }));
    drop((first, second));
    // One that does not listen shares it as well, and what it is said to need is enough.
    let with_reuseport = || {
        let socket = socket(at, false, false);
        socket.set_reuse_port(true).unwrap();
        socket.bind(&at.into()).map(|()| socket)
    };
    if kernel_is_at_least((6, 8)) {
        let bound = netns.within(with_reuseport).unwrap();
        judged(&netns, "bound with SO_REUSEPORT");
        let found = one_look(&netns, &["--lport", &PORT.to_string()]);
        let said = advice(of_namespace(&found, &netns).0, "address_in_use").expect("what is in the way");
        assert!(said.contains("SO_REUSEPORT does the same for sockets of user 0"), "{said}");
        netns.within(with_reuseport).expect("bind() with SO_REUSEPORT");
        drop(bound);
    }
    // What a process holds is not what TCP lists.
    let mptcp = netns.within(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).expect("an MPTCP socket");
        socket.bind(&at.into()).unwrap();
        socket.listen(1).unwrap();
        socket
    });
    let uses = judged(&netns, "a listener of MPTCP");
    assert_eq!(uses[0]["held_by"][0]["pid"], std::process::id(), "{}", uses[0]);
    drop(mptcp);
}

fn a_port_that_connect_has_chosen_is_told_with_its_process_and_the_remedy() {
    // connect() has one port to choose from, which a service wants.
    let netns = with_ports(1);
    netns.set("ip_local_port_range", "8080 8080");
    let server: SocketAddr = ([127, 0, 0, 1], 8000).into();
    let _server = Waiter::serve(&netns, server, "last");
    let client = Waiter::connect(&netns, server, "never", &["--count", "1"]);
    assert_eq!(client.done()["made"], 1);
    let uses = judged(&netns, "an outgoing connection");
    is(&uses, "an outgoing connection", "outgoing", &json!({ "ESTABLISHED": 1 }), Some(false));
    assert_eq!((&uses[0]["raddr"], &uses[0]["rport"]), (&json!("127.0.0.1"), &json!(8000)));
    let found = one_look(&netns, &["--lport", &PORT.to_string()]);
    let (summary, _) = of_namespace(&found, &netns);
    let said = advice(summary, "address_in_use").expect("who is in the way");
    let who = format!("waiter ({}, \"", client.pid());
    for word in [&who, "a connection to 127.0.0.1:8000 (ESTABLISHED)", "connect() chose it"] {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
    let said = advice(summary, "ip_local_reserved_ports").expect("the remedy");
    assert!(said.contains("\"8080\" keeps it"), "{said}");
    netns.set("ip_local_reserved_ports", "8080");
    let found = one_look(&netns, &["--lport", &PORT.to_string()]);
    assert_eq!(advice(of_namespace(&found, &netns).0, "ip_local_reserved_ports"), None, "it is reserved now");
}

fn bind_succeeds_when_the_last_of_them_is_gone() {
    let netns = namespace();
    netns.set("tcp_fin_timeout", "6");
    let _present = netns.inhabitant();
    let at = "127.0.0.1:8080";
    // The peers never close: the minisockets stay for tcp_fin_timeout. The second one comes later.
    let clients = netns.within(|| {
        let listener = listening(at, true, false);
        let [one, two] = [(); 2].map(|()| connection(&listener, at));
        drop((listener, one.1));
        std::thread::sleep(Duration::from_secs(2));
        drop(two.1);
        (one.0, two.0)
    });
    let uses = judged(&netns, "two minisockets");
    is(&uses, "two minisockets", "connection", &json!({ "FIN_WAIT2": 2 }), None);
    let (left, looked) = (Duration::from_nanos(number(&uses[0], "last_left_ns")), Instant::now());
    assert!(
        Duration::from_secs(4) < left && left <= Duration::from_secs(6),
        "{left:?} is not that of the last"
    );
    netns.within(|| {
        let at: SocketAddr = at.parse().unwrap();
        assert!(binds(at, true, false), "with SO_REUSEADDR bind() succeeds now");
        until("bind() succeeds without it", || binds(at, false, false));
    });
    let took = looked.elapsed();
    println!("{left:?} were left, and it took {took:?}");
    // The timers of the kernel are late by a part of their length, never early; looking and trying takes time too.
    assert!(
        left < took + Duration::from_millis(500) && took < left + Duration::from_secs(3),
        "{left:?}: {took:?}"
    );
    drop(clients);
}

fn whoever_closed_first_is_named_while_it_watches() {
    let netns = namespace();
    let at: SocketAddr = ([127, 0, 0, 1], PORT).into();
    // The tool finds a namespace through a process in it.
    let _present = netns.inhabitant();
    let inode = netns.inode().to_string();
    let tracer = Tracer::start_plain(&[
        "time-wait",
        "--watch",
        "--interval",
        "1h",
        "--netns",
        &inode,
        "--lport",
        "8080",
    ]);
    let server = Waiter::serve(&netns, at, "first");
    Waiter::connect(&netns, at, "last", &["--count", "5", "--leave"]).gone();
    until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 5);
    let pid = server.pid();
    drop(server);
    let session = tracer.stop();
    let (summary, _) = of_namespace(&session.records, &netns);
    let used = &summary["address_uses"][0];
    let by = &used["closed_first_by"][0];
    assert_eq!((&by["pid"], &by["count"]), (&json!(pid), &json!(5)), "{used}");
    let said = advice(summary, "needs_so_reuseaddr").expect("why a restart fails");
    assert!(said.contains("closed 5 of 5 first") && said.contains("5 sockets in TIME_WAIT"), "{said}");
}

fn a_port_that_nothing_has_is_free_in_every_namespace() {
    let (first, second) = (namespace(), namespace());
    let (_present, _there) = (first.inhabitant(), second.inhabitant());
    let inodes = [&first, &second].map(|netns| netns.inode().to_string());
    let look = |form: &str| {
        let [one, other] = &inodes;
        let ran = run(&["time-wait", "--netns", one, "--netns", other, "--lport", "8080", "--format", form]);
        assert_eq!(ran.code, Some(0), "{}", ran.messages);
        ran
    };
    let found = records(&look("jsonl"));
    for netns in [&first, &second] {
        let (summary, _) = of_namespace(&found, netns);
        assert_eq!(summary["address_uses"], json!([]), "{summary}");
        let said = advice(summary, "address_free").expect("that it is free");
        let free = "no TCP socket has port 8080: bind() to it succeeds";
        let unlisted = ". Linux before 6.8 does not list sockets that are bound, and neither listen nor are \
                        connected: one may have it";
        assert_eq!(
            said,
            if kernel_is_at_least((6, 8)) { free.to_owned() } else { format!("{free}{unlisted}") }
        );
    }
    let text = look("text").output;
    assert!(text.contains("bind() in 2 network namespaces that were looked at:"), "{text}");
    // In one of them something has it.
    let listener = second.within(|| TcpListener::bind("0.0.0.0:8080").unwrap());
    let text = look("text").output;
    let heading = format!("bind() in network namespace {}:", second.inode());
    for word in [&heading, "No TCP socket has port 8080 in the 1 other network namespace that was looked at."]
    {
        assert!(text.contains(word), "{word:?} is not said:\n{text}");
    }
    assert_eq!(text.matches("address_free").count(), 0, "{text}");
    drop(listener);
}

fn a_burst_that_is_over_is_nothing_to_act_upon() {
    let netns = namespace();
    let at: SocketAddr = ([127, 0, 0, 1], PORT).into();
    let _server = Waiter::serve(&netns, at, "last");
    let client = Waiter::connect(&netns, at, "first", &["--count", "150"]);
    client.done();
    until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 150);
    let found = one_look(&netns, &[]);
    let summary = of_namespace(&found, &netns).0;
    assert!(advice(summary, "connection_pool").is_some(), "just now: {summary}");
    let look = || of_namespace(&one_look(&netns, &[]), &netns).0.clone();
    until("nothing came for a while", || advice(&look(), "burst_is_over").is_some());
    let last = look();
    let said = advice(&last, "burst_is_over").unwrap();
    assert!(said.contains("150 sockets of 1 destination"), "{said}");
    for id in ["connection_pool", "ports_run_dry", "tcp_tw_reuse", "tcp_fin_timeout"] {
        assert_eq!(advice(&last, id), None, "{last}");
    }
}
