//! Filters keep exactly what they promise: one load is traced without a filter and with each of them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::churn::{churn, churn_in};
use crate::support::netns::Netns;
use crate::support::tracer::{Session, Tracer, until_unskipped};
use crate::support::{Backend, free_port, turn};

on_both_backends! {
    filters_on_ports_keep_what_they_say,
    filters_on_addresses_and_families_keep_what_they_say,
    filters_on_states_keep_what_they_say,
    the_filter_on_the_namespace_keeps_what_it_says,
}

/// Connections over IPv4, over IPv6, over IPv4 into an IPv6 socket, and in another namespace.
struct Load {
    ipv4: u16,
    ipv6: u16,
    mapped: u16,
    elsewhere: u16,
    netns: Netns,
}

impl Load {
    fn new() -> Self {
        let [ipv4, ipv6, mapped, elsewhere] = [(); 4].map(|()| free_port());
        Self { ipv4, ipv6, mapped, elsewhere, netns: Netns::new() }
    }

    fn run(&self) {
        churn(5, self.ipv4, 4);
        churn(5, self.ipv6, 6);
        mapped(self.mapped);
        churn_in(&self.netns, 5, self.elsewhere);
    }

    fn is_about(&self, record: &Value) -> bool {
        let is_transition = record["type"] == "transition";
        let ports = [self.ipv4, self.ipv6, self.mapped, self.elsewhere];
        is_transition && ports.iter().any(|port| record["lport"] == *port || record["rport"] == *port)
    }
}

/// A filter, and whether it should keep a record.
type Case = (Vec<String>, Box<dyn Fn(&Value) -> bool>);

fn case(arguments: &[&str], keeps: impl Fn(&Value) -> bool + 'static) -> Case {
    (arguments.iter().map(|&argument| argument.to_owned()).collect(), Box::new(keeps))
}

/// Traces the load without a filter and with each of them.
fn compare(backend: Backend, load: &Load, cases: &[Case]) {
    let start = |arguments: &[String]| {
        let arguments: Vec<&str> =
            std::iter::once("trace").chain(arguments.iter().map(String::as_str)).collect();
        Tracer::start(backend, &arguments)
    };
    let _turn = turn();
    let (everything, filtered) = until_unskipped(|| {
        let everything = start(&[]);
        let filtered: Vec<Tracer> = cases.iter().map(|(arguments, _)| start(arguments)).collect();
        load.run();
        let everything = everything.stop();
        let filtered: Vec<Session> = filtered.into_iter().map(Tracer::stop).collect();
        let is_unskipped = filtered.iter().chain([&everything]).all(Session::is_unskipped);
        is_unskipped.then_some((everything, filtered))
    });
    let about_load = |session: Session| -> Vec<Value> {
        assert_eq!(session.summary()["lost"], 0, "records were lost");
        session.records.into_iter().filter(|record| load.is_about(record)).collect()
    };
    let everything = about_load(everything);
    assert!(everything.len() > 150, "{} transitions are too few for the load", everything.len());
    for ((arguments, keeps), session) in cases.iter().zip(filtered) {
        let kept = summarise(about_load(session).iter());
        let expected = summarise(everything.iter().filter(|record| keeps(record)));
        assert!(!expected.is_empty(), "{arguments:?} keeps nothing, so the test proves nothing");
        let surplus: Vec<_> = kept.iter().filter(|one| !expected.contains(one)).take(5).collect();
        let missing: Vec<_> = expected.iter().filter(|one| !kept.contains(one)).take(5).collect();
        assert!(
            kept == expected,
            "{arguments:?} keeps {} transitions instead of {}\ntoo many: {surplus:#?}\nmissing: {missing:#?}",
            kept.len(),
            expected.len(),
        );
    }
}

/// What identifies each transition, whichever tracer reported it, sorted.
fn summarise<'a>(records: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let fields = ["netns", "family", "laddr", "lport", "raddr", "rport", "old_state", "new_state"];
    let mut transitions: Vec<String> =
        records.map(|record| fields.map(|field| record[field].to_string()).join(" ")).collect();
    transitions.sort();
    transitions
}

fn filters_on_ports_keep_what_they_say(backend: Backend) {
    let load = Load::new();
    let (port, other) = (load.ipv4, load.ipv6);
    let (text, other_text) = (port.to_string(), other.to_string());
    let on_either_side = move |record: &Value, port: u16| record["lport"] == port || record["rport"] == port;
    let cases = vec![
        case(&["--port", &text], move |record| on_either_side(record, port)),
        case(&["--lport", &text], move |record| record["lport"] == port),
        case(&["--rport", &text], move |record| record["rport"] == port),
        case(&["--port", &text, "--port", &other_text], move |record| {
            on_either_side(record, port) || on_either_side(record, other)
        }),
        // Only the listener has no remote port.
        case(&["--lport", &text, "--rport", "0"], move |record| {
            record["lport"] == port && record["rport"] == 0
        }),
        case(&["--port", &text, "--state", "LISTEN"], move |record| {
            on_either_side(record, port)
                && (record["old_state"] == "LISTEN" || record["new_state"] == "LISTEN")
        }),
    ];
    compare(backend, &load, &cases);
}

fn filters_on_addresses_and_families_keep_what_they_say(backend: Backend) {
    let load = Load::new();
    let is_ipv4 = |record: &Value| record["family"] == 4;
    let has = |record: &Value, address: &str| record["laddr"] == address || record["raddr"] == address;
    let within_127 = |record: &Value| {
        ["laddr", "raddr"].iter().any(|side| record[side].as_str().unwrap().starts_with("127."))
    };
    let cases = vec![
        case(&["-4"], is_ipv4),
        case(&["-6"], move |record| !is_ipv4(record)),
        case(&["--addr", "::1"], move |record| has(record, "::1")),
        case(&["--addr", "127.0.0.1"], move |record| has(record, "127.0.0.1")),
        case(&["--addr", "127.0.0.0/8"], within_127),
        case(&["--addr", "::1/128", "--addr", "127.0.0.0/8"], move |record| {
            has(record, "::1") || within_127(record)
        }),
    ];
    compare(backend, &load, &cases);
}

fn filters_on_states_keep_what_they_say(backend: Backend) {
    let load = Load::new();
    let touches = |record: &Value, state: &str| record["old_state"] == state || record["new_state"] == state;
    let cases = vec![
        case(&["--state", "CLOSE_WAIT"], move |record| touches(record, "CLOSE_WAIT")),
        case(&["--state", "syn-sent"], move |record| touches(record, "SYN_SENT")),
        case(&["--state", "LISTEN", "--state", "LAST_ACK"], move |record| {
            touches(record, "LISTEN") || touches(record, "LAST_ACK")
        }),
    ];
    compare(backend, &load, &cases);
}

fn the_filter_on_the_namespace_keeps_what_it_says(backend: Backend) {
    let load = Load::new();
    let (netns, port) = (load.netns.inode(), load.elsewhere);
    let cases = vec![
        case(&["--netns", &netns.to_string()], move |record| record["netns"] == netns),
        case(&["--netns", "/proc/self/ns/net"], move |record| {
            record["netns"] != netns && record["lport"] != port && record["rport"] != port
        }),
    ];
    compare(backend, &load, &cases);
}

/// Makes one connection of an IPv4 client to a socket that listens on IPv6.
fn mapped(port: u16) {
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    listener.set_only_v6(false).unwrap();
    listener.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(client);
    assert_eq!(std::io::Read::read(&mut &server, &mut [0; 8]).expect("the end of file"), 0);
}
