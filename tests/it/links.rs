//! IPv6 link-local addresses: each link has its own, so that one address on two links is two, everywhere.

use std::process::Command;

use serde_json::Value;
use socket2::Socket;

use crate::support::links::{Connection, HERE, LINKS, Links, PEER, PORT};
use crate::support::process::Process;
use crate::support::run::{Ran, run, run_command};
use crate::support::time_waits::{minisockets, records};
use crate::support::tracer::Tracer;
use crate::support::{Backend, TCPTRACE, is_about_to_execute, until};

on_both_backends! {
    two_sockets_that_differ_by_their_link_alone_are_two,
    filters_go_by_the_address_on_whatever_link,
    who_fills_time_wait_is_told_link_by_link,
}

live_tests! {
    one_look_shows_the_links_by_name,
    clear_ends_each_on_its_own_link,
    an_address_that_needs_no_interface_has_none,
}

/// The port of this side on both links: the sockets have the same four numbers.
const FROM: u16 = 5000;

/// The records of a type about one of the two sockets, by its cookie.
fn about<'a>(records: &'a [Value], kind: &str, socket: &Socket) -> Vec<&'a Value> {
    let cookie = socket.cookie().unwrap();
    records.iter().filter(|record| record["type"] == kind && record["cookie"] == cookie).collect()
}

/// Expects a record about the socket on this link.
fn is_on(record: &Value, link: usize) {
    for (field, expected) in [
        ("family", Value::from(6)),
        ("laddr", HERE.to_string().into()),
        ("lport", FROM.into()),
        ("raddr", PEER.to_string().into()),
        ("rport", PORT.into()),
        ("interface", LINKS[link].into()),
    ] {
        assert_eq!(record[field], expected, "{field}: {record}");
    }
}

/// Expects a list to have one entry for the peer on each link.
fn has_both(peers: &Value, what: &str) {
    let mut interfaces: Vec<&str> = Vec::new();
    for peer in peers.as_array().unwrap_or_else(|| panic!("{what}: {peers}")) {
        assert_eq!(peer["raddr"], PEER.to_string(), "{what}: {peers}");
        assert_eq!((peer.get("count").or(peer.get("sockets"))), Some(&Value::from(1)), "{what}: {peers}");
        interfaces.push(peer["interface"].as_str().unwrap_or("none"));
    }
    interfaces.sort_unstable();
    assert_eq!(interfaces, LINKS, "{what}: {peers}");
}

fn two_sockets_that_differ_by_their_link_alone_are_two(backend: Backend) {
    let links = Links::new();
    let (netns, folder) = (links.here.inode().to_string(), tempfile::tempdir().unwrap());
    let kept = ["tct", "jsonl", "csv"].map(|ending| folder.path().join(format!("kept.{ending}")));
    let paths: Vec<&str> = kept.iter().map(|path| path.to_str().unwrap()).collect();
    let mut arguments = vec!["leaks", "--older-than", "0s", "--netns", &netns, "-o", "-"];
    for path in &paths {
        arguments.extend(["-o", path]);
    }
    let trace = ["trace", "--netns", &netns, "--backend", backend.name()];
    // One is there first, the other comes.
    let first = links.connect(0, FROM).closed_by_peer();
    let tracer = Tracer::start_by(&[&arguments[..], &["--backend", backend.name()]].concat(), Process::start);
    let trace = Tracer::start_plain(&trace);
    let second = links.connect(1, FROM).closed_by_peer();
    let both = [&first, &second];
    let heard = |kind: &str| {
        tracer.wait(kind, |records| {
            both.iter().all(|one| !about(records, kind, one).is_empty()).then(|| records.to_vec())
        })
    };
    let leaks = heard("leak");
    for (link, socket) in both.into_iter().enumerate() {
        let [leak] = about(&leaks, "leak", socket)[..] else { panic!("one leak: {leaks:#?}") };
        is_on(leak, link);
        let owners = leak["owners"].as_array().unwrap().iter().map(|owner| &owner["pid"]);
        let pids: Vec<&Value> = owners.filter(|pid| !is_about_to_execute(pid)).collect();
        assert_eq!(pids, [&serde_json::json!(std::process::id())], "{leak}");
    }
    // The names are learned while the session runs.
    let step = trace.wait("a step with the name", |records| {
        let found = records.iter().find(|record| record["interface"] == LINKS[1]).cloned();
        // Its steps are some more.
        drop(links.connect(1, 0));
        found
    });
    assert_eq!((&step["type"], &step["rport"]), (&"transition".into(), &PORT.into()), "{step}");
    let cookies = both.map(|socket| socket.cookie().unwrap());
    drop((first, second));
    let ends = tracer.wait("both ends", |records| {
        let ends: Vec<Value> =
            records.iter().filter(|record| record["type"] == "leak_end").cloned().collect();
        (ends.len() == 2).then_some(ends)
    });
    for (link, cookie) in cookies.into_iter().enumerate() {
        is_on(ends.iter().find(|end| end["cookie"] == cookie).expect("its end"), link);
    }
    let session = tracer.stop();
    has_both(&session.summary()["processes"][0]["peers"], "the summary");
    for record in trace.stop().records.iter().filter(|record| record["type"] == "transition") {
        // Before it is known, the index stands for it.
        let interface = record["interface"].as_str().unwrap_or_else(|| panic!("no interface: {record}"));
        assert!(LINKS.contains(&interface) || interface.parse::<u32>().is_ok(), "{record}");
    }
    // What was kept says the same.
    for path in &paths[..2] {
        let ran = run(&["trace", "--replay", path, "--format", "jsonl"]);
        let again: Vec<Value> = records(&ran).into_iter().filter(|record| record["type"] == "leak").collect();
        let said: Vec<Value> =
            session.records.iter().filter(|record| record["type"] == "leak").cloned().collect();
        let interfaces = |leaks: &[Value]| {
            leaks.iter().map(|leak| (leak["cookie"].clone(), leak["interface"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(interfaces(&again), interfaces(&said), "{path}");
        let report = run(&["report", "--format", "json", path]);
        assert_eq!(report.code, Some(0), "{}", report.messages);
        let report: Value = serde_json::from_str(&report.output).unwrap();
        has_both(&report["peers"]["top"], path);
        let text = run(&["report", path]).output;
        for link in LINKS {
            assert!(text.contains(&format!("{PEER}%{link}")), "{link} is not in {path}:\n{text}");
        }
    }
    let mut table = csv::Reader::from_path(paths[2]).unwrap();
    let column = table.headers().unwrap().iter().position(|name| name == "interface").unwrap();
    for row in table.records() {
        let row = row.unwrap();
        assert!(LINKS.contains(&&row[column]), "{row:?}");
    }
}

fn filters_go_by_the_address_on_whatever_link(backend: Backend) {
    let links = Links::new();
    let netns = links.here.inode().to_string();
    for (range, expected) in [("fe80::1", 2), ("fe80::/10", 2), ("fe80::2/128", 2), ("fe80::3", 0)] {
        let tracer = Tracer::start(backend, &["trace", "--netns", &netns, "--addr", range]);
        let both = [0, 1].map(|link| links.connect(link, 0));
        let port =
            |connection: &Connection| connection.here.local_addr().unwrap().as_socket().unwrap().port();
        let ports = both.each_ref().map(port);
        let records = tracer.stop().records;
        let seen = ports.iter().filter(|port| records.iter().any(|record| record["lport"] == **port));
        assert_eq!(seen.count(), expected, "--addr {range}: {records:#?}");
    }
}

fn who_fills_time_wait_is_told_link_by_link(backend: Backend) {
    let links = Links::new();
    links.here.set("tcp_rfc1337", "1");
    let netns = links.here.inode().to_string();
    let tracer = Tracer::start(backend, &["time-wait", "--watch", "--interval", "1h", "--netns", &netns]);
    for (link, count) in [(0, 5), (1, 3)] {
        for _ in 0..count {
            let Connection { here, mut peer } = links.connect(link, 0);
            drop(here);
            std::io::Read::read_to_end(&mut peer, &mut Vec::new()).unwrap();
        }
    }
    until("all are in TIME_WAIT", || minisockets(&links.here) == 8);
    let records = tracer.stop().records;
    for (link, count) in [(0, 5), (1, 3)] {
        let is_it = |record: &&Value| record["type"] == "time_wait" && record["interface"] == LINKS[link];
        let record = records.iter().rfind(is_it).unwrap_or_else(|| panic!("{}: {records:#?}", LINKS[link]));
        assert_eq!(record["count"], count, "{record}");
        assert_eq!(
            (&record["raddr"], &record["rport"]),
            (&PEER.to_string().into(), &PORT.into()),
            "{record}"
        );
        assert_eq!(record["closed_first_by"][0]["pid"], std::process::id(), "{record}");
        assert_eq!(record["closed_first_by"][0]["count"], count, "{record}");
    }
}

fn now(links: &Links, arguments: &[&str]) -> Ran {
    let netns = links.here.inode().to_string();
    let ran = run(&[&["now", "--netns", &netns], arguments].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    ran
}

fn one_look_shows_the_links_by_name() {
    let links = Links::new();
    let both = [0, 1].map(|link| links.connect(link, FROM).closed_by_peer());
    for more in [&[][..], &["--holders", "proc"], &["--addr", "fe80::1"], &["--addr", "fe80::/64"]] {
        let found = records(&now(&links, &[&["--format", "jsonl"], more].concat()));
        for (link, socket) in both.iter().enumerate() {
            let [leak] = about(&found, "leak", socket)[..] else { panic!("{more:?}: {found:#?}") };
            is_on(leak, link);
            assert_eq!(leak["owners"][0]["pid"], std::process::id(), "{more:?}: {leak}");
        }
    }
    let (plain, by_peer) = (now(&links, &[]).output, now(&links, &["--by", "peer"]).output);
    for link in LINKS {
        assert!(plain.contains(&format!("[{PEER}%{link}]:{PORT}")), "{link} is not in\n{plain}");
        assert!(by_peer.contains(&format!("{PEER}%{link}")), "{link} is not in\n{by_peer}");
    }
}

fn clear_ends_each_on_its_own_link() {
    let links = Links::new();
    let netns = links.here.inode().to_string();
    for method in ["destroy", "shutdown"] {
        let both = [0, 1].map(|link| links.connect(link, FROM).closed_by_peer());
        let arguments = ["clear", "--yes", "--older-than", "0s", "--method", method, "--format", "jsonl"];
        let mut command = Command::new(TCPTRACE);
        command.args(arguments).args(["--netns", &netns]);
        let ran = run_command(&mut command);
        assert_eq!(ran.code, Some(0), "{}", ran.messages);
        let cleared = records(&ran);
        for (link, socket) in both.iter().enumerate() {
            let [record] = about(&cleared, "cleared", socket)[..] else { panic!("{cleared:#?}") };
            is_on(record, link);
            assert_eq!(record["outcome"], "gone", "{record}");
        }
    }
}

fn an_address_that_needs_no_interface_has_none() {
    let links = Links::new();
    let _listener = links.here.within(|| std::net::TcpListener::bind("[::1]:8001").unwrap());
    let found = records(&now(&links, &["--state", "LISTEN", "--format", "jsonl"]));
    let listener = found.iter().find(|record| record["lport"] == 8001).expect("the listener");
    assert_eq!(listener["interface"], Value::Null, "{listener}");
    assert!(listener.get("interface").is_some(), "{listener}");
}
