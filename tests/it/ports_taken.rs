//! `time-wait`: what takes the local ports of a destination, in whatever state, and who holds it.

use std::collections::HashSet;
use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::compare::{Comparison, number};
use crate::support::run::run;
use crate::support::time_waits::{
    FIRST_PORT, advice, listed_by_ss, minisockets, of_namespace, one_look, records, with_port, with_ports,
};
use crate::support::until;
use crate::support::waiter::Waiter;

live_tests! {
    ports_are_taken_in_whatever_state_their_sockets_are,
    ports_taken_without_time_wait_are_told_of_each_address_family_and_by_all_holders,
    ports_of_mptcp_connections_are_held_by_whoever_holds_the_connections,
    a_healthy_pool_is_not_listed_and_a_larger_one_makes_connect_slow,
    ports_that_are_bound_are_taken_from_every_destination,
}

fn server() -> SocketAddr {
    "127.0.0.1:8000".parse().expect("an address")
}

/// So many ports of a destination are taken, by sockets in these states.
fn has_taken(record: &Value, used: u64, total: u64, by_state: &Value) {
    let mut compared = Comparison::of("the ports of a destination");
    compared.field(record, "side", "outgoing");
    compared.field(record, "ports_used", used);
    compared.field(record, "ports_total", total);
    compared.field(record, "ports_by_state", by_state.clone());
    compared.finish(&[record]);
}

/// Pids with their counts.
fn holders(record: &Value) -> Vec<(i64, u64)> {
    let holders = record["ports_held_by"].as_array().expect("a list of holders");
    let holder = |holder: &Value| {
        assert_eq!(holder["evidence"], "fd_table", "{holder}");
        (holder["pid"].as_i64().expect("a pid"), number(holder, "count"))
    };
    holders.iter().map(holder).collect()
}

fn ports_are_taken_in_whatever_state_their_sockets_are() {
    const PORTS: u16 = 40;
    let all = u64::from(PORTS);
    let netns = with_ports(PORTS);
    // To each destination all ports are taken, by sockets that stay in another state each.
    let [closing, keeping, silent, pool] =
        [8001, 8002, 8003, 8004].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let _servers = [keeping, pool].map(|address| Waiter::serve(&netns, address, "never"));
    let connect = |to| {
        let streams: Vec<TcpStream> = std::iter::from_fn(|| TcpStream::connect(to).ok()).collect();
        let error = TcpStream::connect(to).expect_err("a port that is left");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable, "{to}: {error}");
        streams
    };
    let held = netns.within(|| {
        let peer = TcpListener::bind(closing).unwrap();
        let [mut close_wait, fin_wait2, established] = [closing, keeping, pool].map(connect);
        // The peer keeps its ends, so nothing goes on to TIME_WAIT.
        let accept = |_| peer.accept().expect("a connection").0;
        let peers: Vec<TcpStream> = (0..PORTS).map(accept).collect();
        for (stream, peer) in close_wait.iter_mut().zip(&peers) {
            peer.shutdown(Shutdown::Write).expect("shutdown");
            assert_eq!(stream.read(&mut [0]).expect("the end of file"), 0);
        }
        for stream in &fin_wait2 {
            stream.shutdown(Shutdown::Write).expect("shutdown");
        }
        // A listener whose backlog is full answers no SYN.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&silent.into()).unwrap();
        listener.listen(0).unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            match socket.connect(&silent.into()) {
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => break,
                _ => waiting.push(socket),
            }
        }
        (close_wait, fin_wait2, established, waiting, listener, peers)
    });
    until("they are in FIN_WAIT2", || listed_by_ss(&netns, "fin-wait-2") == 2 * all);
    assert_eq!(minisockets(&netns), 0, "none is in TIME_WAIT");
    let records = one_look(&netns, &[]);
    let (summary, destinations) = of_namespace(&records, &netns);
    assert_eq!(destinations.len(), 4, "{destinations:#?}");
    let me = i64::from(std::process::id());
    for (to, state) in
        [(closing, "CLOSE_WAIT"), (keeping, "FIN_WAIT2"), (pool, "ESTABLISHED"), (silent, "SYN_SENT")]
    {
        let record = with_port(&destinations, "rport", to.port());
        // The backlog has room for one that nobody accepts.
        let by_state = match state {
            "SYN_SENT" => &record["ports_by_state"],
            state => &json!({ state: all }),
        };
        assert!(number(by_state, state) * 2 > all, "{record}");
        has_taken(record, all, all, by_state);
        let mut compared = Comparison::of(state);
        compared.field(record, "count", 0);
        compared.field(record, "fin_wait2", 0);
        compared.field(record, "open", all);
        compared.field(record, "dry_in_ns", 0);
        compared.field(record, "ports_held", all);
        compared.field(record, "candidates", json!([]));
        compared.holds(holders(record) == [(me, all)], || "expected this process to hold all".to_owned());
        compared.finish(&[record]);
    }
    let said = advice(summary, "ports_run_dry").expect("advice on ports that run dry");
    for word in ["40 of 40", "EADDRNOTAVAIL", &format!("({me}, \"")] {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
    assert_eq!(advice(summary, "connection_pool"), None, "nobody closed first");
    let inode = netns.inode().to_string();
    let ran = run(&["time-wait", "--exit-code", "--netns", &inode]);
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.output, ran.messages);
    for word in ["HELD BY", "40 CLOSE_WAIT", "40 FIN_WAIT2", "40 of 40 (100 %)"] {
        assert!(ran.output.contains(word), "{word:?} is not shown:\n{}", ran.output);
    }
    // Every namespace counts, also while it watches.
    for arguments in [&["--duration", "300ms"][..], &[]] {
        let ran = run(&[&["time-wait", "--format", "jsonl", "--exit-code"], arguments].concat());
        assert_eq!(ran.code, Some(1), "{arguments:?}: {}", ran.messages);
        let found = self::records(&ran);
        let (_, destinations) = of_namespace(&found, &netns);
        assert_eq!(holders(with_port(&destinations, "rport", closing.port())), [(me, all)]);
    }
    // What is closed is free.
    drop(held);
    until("the destination is not listed any more", || {
        let records = one_look(&netns, &[]);
        let (_, destinations) = of_namespace(&records, &netns);
        destinations.iter().all(|record| record["rport"] != closing.port())
    });
}

fn ports_taken_without_time_wait_are_told_of_each_address_family_and_by_all_holders() {
    const PORTS: u16 = 30;
    let all = u64::from(PORTS);
    let netns = with_ports(PORTS);
    let v6: SocketAddr = "[::1]:8001".parse().unwrap();
    let other: SocketAddr = "127.0.0.1:8002".parse().unwrap();
    let _servers = [v6, other].map(|address| Waiter::serve(&netns, address, "never"));
    let child_of_v6 = Waiter::connect(&netns, v6, "never", &[]);
    assert_eq!(child_of_v6.done()["made"], PORTS);
    // Two processes hold a half each.
    let halves = [(); 2].map(|()| Waiter::connect(&netns, other, "never", &["--count", "15"]));
    for half in &halves {
        assert_eq!(half.done()["is_dry"], false);
    }
    let records = one_look(&netns, &[]);
    let (_, destinations) = of_namespace(&records, &netns);
    let (of_v6, of_v4) = (with_port(&destinations, "rport", 8001), with_port(&destinations, "rport", 8002));
    has_taken(of_v6, all, all, &json!({ "ESTABLISHED": all }));
    assert_eq!(of_v6["family"], 6);
    assert_eq!(holders(of_v6), [(i64::from(child_of_v6.pid()), all)], "{of_v6}");
    has_taken(of_v4, all, all, &json!({ "ESTABLISHED": all }));
    let mut both = halves.each_ref().map(|half| (i64::from(half.pid()), 15));
    both.sort_unstable();
    assert_eq!(holders(of_v4), both, "{of_v4}");
    // A process that is asked for holds one of them.
    let one = halves[0].pid().to_string();
    let records = one_look(&netns, &["--pid", &one]);
    let (_, destinations) = of_namespace(&records, &netns);
    assert_eq!(destinations.len(), 1, "{destinations:#?}");
    assert_eq!(destinations[0]["rport"], 8002);
}

fn ports_of_mptcp_connections_are_held_by_whoever_holds_the_connections() {
    const PORTS: u16 = 20;
    let netns = with_ports(PORTS);
    // The tool finds a namespace through a process in it.
    let _present = Waiter::serve(&netns, "127.0.0.1:8001".parse().unwrap(), "last");
    let mptcp = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).expect("an MPTCP socket");
    let made = netns.within(|| {
        let listener = mptcp();
        listener.bind(&server().into()).unwrap();
        listener.listen(128).unwrap();
        let mut made = Vec::new();
        loop {
            let socket = mptcp();
            match socket.connect(&server().into()) {
                Ok(()) => made.push((socket, listener.accept().expect("a connection"))),
                Err(_) => break (made, listener),
            }
        }
    });
    let records = one_look(&netns, &[]);
    let (_, destinations) = of_namespace(&records, &netns);
    let all = u64::from(PORTS);
    let record = with_port(&destinations, "rport", server().port());
    has_taken(record, all, all, &json!({ "ESTABLISHED": all }));
    assert_eq!(record["ports_held"], all, "{record}");
    assert_eq!(holders(record), [(i64::from(std::process::id()), all)], "{record}");
    // The look has not asked the listener for its cookie, which later connections would share.
    let (_, listener) = &made;
    let cookies: HashSet<u64> = netns.within(|| {
        let accepted = [5, 6].map(|last| {
            let socket = mptcp();
            socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
            socket.connect(&server().into()).unwrap();
            (listener.accept().expect("a connection").0, socket)
        });
        accepted.iter().map(|(accepted, _)| accepted.cookie().unwrap()).collect()
    });
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    drop(made);
}

fn a_healthy_pool_is_not_listed_and_a_larger_one_makes_connect_slow() {
    let netns = with_ports(100);
    let _server = Waiter::serve(&netns, server(), "never");
    let found = |arguments: &[&str]| {
        let records = one_look(&netns, arguments);
        let (summary, destinations) = of_namespace(&records, &netns);
        (destinations.len(), advice(summary, "connect_is_slow").map(str::to_owned))
    };
    let pool = Waiter::connect(&netns, server(), "never", &["--count", "9"]);
    pool.done();
    assert_eq!(found(&[]), (0, None), "nine ports of a hundred");
    assert_eq!(found(&["--ports-used", "9%"]), (1, None), "the share that was asked for");
    let more = Waiter::connect(&netns, server(), "never", &["--count", "40"]);
    more.done();
    assert_eq!(found(&[]), (1, None), "49 ports");
    let last = Waiter::connect(&netns, server(), "never", &["--count", "1"]);
    last.done();
    let (listed, said) = found(&[]);
    assert!(said.as_ref().is_some_and(|said| said.contains("50 of 100")), "{listed} listed: {said:?}");
}

fn ports_that_are_bound_are_taken_from_every_destination() {
    let netns = with_ports(10);
    let taken = netns.within(|| {
        let listen = |nth| TcpListener::bind(("127.0.0.9", FIRST_PORT + nth)).unwrap();
        (0..10).map(listen).collect::<Vec<_>>()
    });
    let _server = Waiter::serve(&netns, server(), "last");
    assert_eq!(Waiter::connect(&netns, server(), "first", &[]).done()["made"], 0);
    let inode = netns.inode().to_string();
    let ran = run(&["time-wait", "--format", "jsonl", "--netns", &inode, "--exit-code"]);
    assert_eq!(ran.code, Some(1), "{}", ran.messages);
    let found = records(&ran);
    let (summary, destinations) = of_namespace(&found, &netns);
    assert!(destinations.is_empty(), "{destinations:#?}");
    let said = advice(summary, "ports_bound").expect("advice on ports that are bound");
    let me = i64::from(std::process::id());
    assert!(said.contains("10 ports") && said.contains(&format!("({me}, \"")), "{said}");
    assert!(said.contains("holds 10 such sockets"), "{said}");
    let by = &summary["ports_bound_by"][0];
    assert_eq!((&by["pid"], &by["count"]), (&Value::from(me), &Value::from(10)), "{summary}");
    // The namespace is told of without being asked for.
    let found = records(&run(&["time-wait", "--format", "jsonl"]));
    of_namespace(&found, &netns);
    drop(taken);
}
