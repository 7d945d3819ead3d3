//! `time-wait`: how many sockets there are and who closed first, compared with what the kernel and `ss` say of
//! namespaces in which only the test's own programs run.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::support::compare::{Comparison, number};
use crate::support::netns::Netns;
use crate::support::run::{run, run_command};
use crate::support::time_waits::{
    listed_by_ss, minisockets, namespace, of_namespace, one_look, records, with_port,
};
use crate::support::tracer::{Session, Tracer, lost_for_room};
use crate::support::waiter::Waiter;
use crate::support::{Backend, TCPTRACE, until};

on_both_backends! {
    whoever_closes_first_is_named_on_either_side_and_in_each_namespace,
    a_process_that_has_ended_is_named_all_the_same,
}

live_tests! {
    what_was_closed_before_anybody_looked_has_no_closer_but_candidates,
    sockets_in_fin_wait2_are_told_apart,
    a_service_is_recognised_after_it_has_gone,
    an_ipv4_connection_to_an_ipv6_socket_is_ipv4,
    two_sides_that_close_at_once_have_both_closed_first,
    filters_keep_what_they_say_and_sums_stay_whole,
    a_dead_setting_is_found_with_its_file_and_line,
    sockets_that_went_without_time_wait_are_counted,
    people_read_who_it_was_and_what_to_do,
}

const V4: &str = "127.0.0.1:8000";
const V6: &str = "[::1]:8001";

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

fn pids(record: &Value, list: &str) -> Vec<i64> {
    let owners = record[list].as_array().unwrap_or_else(|| panic!("{list} is no list in {record}"));
    let mut pids: Vec<i64> = owners.iter().map(|owner| owner["pid"].as_i64().expect("a pid")).collect();
    pids.sort_unstable();
    pids
}

/// Watches these namespaces during `work`. The last look, at the end of the session, sees all that `work` has done.
fn watched(backend: Backend, namespaces: &[&Netns], work: impl FnOnce()) -> Session {
    let inodes: Vec<String> = namespaces.iter().map(|netns| netns.inode().to_string()).collect();
    let mut arguments = vec!["time-wait", "--watch", "--interval", "1h"];
    for inode in &inodes {
        arguments.extend(["--netns", inode]);
    }
    let tracer = Tracer::start(backend, &arguments);
    work();
    tracer.stop()
}

fn whoever_closes_first_is_named_on_either_side_and_in_each_namespace(backend: Backend) {
    // In the first namespace the clients close first, in the second the servers do, over both families each.
    let [clients_close, servers_close] = [(); 2].map(|()| namespace());
    let servers =
        |netns: &Netns, closes: &str| [V4, V6].map(|address| Waiter::serve(netns, at(address), closes));
    let patient = servers(&clients_close, "last");
    let hasty = servers(&servers_close, "first");
    let mut clients = Vec::new();
    let session = watched(backend, &[&clients_close, &servers_close], || {
        for (netns, closes) in [(&clients_close, "first"), (&servers_close, "last")] {
            clients
                .push([(V4, "40"), (V6, "25")].map(|(address, count)| {
                    Waiter::connect(netns, at(address), closes, &["--count", count])
                }));
        }
        clients.iter().flatten().for_each(|client| drop(client.done()));
        for netns in [&clients_close, &servers_close] {
            until("all are in TIME_WAIT", || listed_by_ss(netns, "time-wait") == 65);
        }
    });
    assert_eq!(lost_for_room(session.summary()), 0);
    for netns in [&clients_close, &servers_close] {
        let (summary, destinations) = of_namespace(&session.records, netns);
        let mut compared = Comparison::of("the sums of a namespace");
        compared.field(summary, "count", listed_by_ss(netns, "time-wait"));
        compared.field(summary, "buckets_used", minisockets(netns));
        compared.field(summary, "fin_wait2", 0);
        compared.field(summary, "destinations", 2);
        compared.field(summary, "overflowed", 0);
        compared.finish(&[summary]);
        for (family, port, count) in [(4, 8000, 40), (6, 8001, 25)] {
            let is_outgoing = std::ptr::eq(netns, &raw const clients_close);
            let (field, side, closer) = if is_outgoing {
                ("rport", "outgoing", &clients[0][usize::from(family == 6)])
            } else {
                ("lport", "incoming", &hasty[usize::from(family == 6)])
            };
            let record = with_port(&destinations, field, port);
            let mut compared = Comparison::of(format!("{side} to port {port}"));
            compared.field(record, "side", side);
            compared.field(record, "family", family);
            compared.field(record, "laddr", if family == 4 { "127.0.0.1" } else { "::1" });
            compared.field(record, "raddr", if family == 4 { "127.0.0.1" } else { "::1" });
            compared.field(record, "count", count);
            compared.field(record, "fin_wait2", 0);
            compared.field(record, "closed_first_unseen", 0);
            compared.field(record, "candidates", Value::Array(Vec::new()));
            compared.field(record, if is_outgoing { "lport" } else { "rport" }, Value::Null);
            compared
                .holds(record["ports_total"].is_null() != is_outgoing, || "ports of a service".to_owned());
            let named = &record["closed_first_by"][0];
            compared.holds(pids(record, "closed_first_by") == [i64::from(closer.pid())], || {
                format!("expected {} to have closed first", closer.pid())
            });
            compared.field(named, "count", count);
            compared.field(named, "processes", 1);
            compared.field(named, "comm", "waiter");
            compared.field(named, "evidence", "none");
            compared.finish(&[record]);
        }
    }
    drop((patient, hasty));
}

fn a_process_that_has_ended_is_named_all_the_same(backend: Backend) {
    let netns = namespace();
    let _server = Waiter::serve(&netns, at(V4), "last");
    let mut client = 0;
    let session = watched(backend, &[&netns], || {
        let waiter = Waiter::connect(&netns, at(V4), "first", &["--count", "5", "--leave"]);
        client = waiter.pid();
        waiter.gone();
        until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 5);
    });
    let (_, destinations) = of_namespace(&session.records, &netns);
    let record = with_port(&destinations, "rport", 8000);
    assert_eq!(pids(record, "closed_first_by"), [i64::from(client)], "{record}");
    assert_eq!(record["closed_first_by"][0]["comm"], "waiter", "{record}");
    assert_eq!(record["closed_first_by"][0]["count"], 5, "{record}");
}

fn what_was_closed_before_anybody_looked_has_no_closer_but_candidates() {
    let netns = namespace();
    let hasty = Waiter::serve(&netns, at(V4), "first");
    Waiter::connect(&netns, at(V4), "last", &["--count", "7", "--leave"]).gone();
    // A second client has an open connection to where the first one has closed some.
    let _patient = Waiter::serve(&netns, at(V6), "last");
    Waiter::connect(&netns, at(V6), "first", &["--count", "9", "--leave"]).gone();
    let open = Waiter::connect(&netns, at(V6), "never", &["--count", "1"]);
    open.done();
    until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 16);
    let records = one_look(&netns, &[]);
    let (summary, destinations) = of_namespace(&records, &netns);
    assert_eq!(summary["count"], 16);
    assert_eq!(summary["buckets_used"], minisockets(&netns));
    let (incoming, outgoing) =
        (with_port(&destinations, "lport", 8000), with_port(&destinations, "rport", 8001));
    for record in [incoming, outgoing] {
        let mut compared = Comparison::of("a destination that nobody watched");
        compared.field(record, "closed_first_by", Value::Array(Vec::new()));
        compared.field(record, "closed_first_unseen", Value::Null);
        compared.field(record, "per_second", Value::Null);
        compared.holds(record["oldest_left_ns"].as_u64().is_some_and(|left| left <= 60_000_000_000), || {
            "oldest_left_ns is more than a minute, or missing".to_owned()
        });
        compared.finish(&[record]);
    }
    assert_eq!(pids(incoming, "candidates"), [i64::from(hasty.pid())], "{incoming}");
    assert_eq!(incoming["candidates"][0]["evidence"], "listener", "{incoming}");
    assert_eq!(incoming["count"], 7);
    assert_eq!(pids(outgoing, "candidates"), [i64::from(open.pid())], "{outgoing}");
    assert_eq!(outgoing["candidates"][0]["evidence"], "fd_table", "{outgoing}");
    assert_eq!((&outgoing["count"], &outgoing["open"]), (&Value::from(9), &Value::from(1)));
    assert_eq!(outgoing["ports_used"], 10, "nine in TIME_WAIT and one that is open");
}

fn sockets_in_fin_wait2_are_told_apart() {
    let netns = namespace();
    netns.set("tcp_fin_timeout", "30");
    let _deaf = Waiter::serve(&netns, at(V4), "never");
    let _client = Waiter::connect(&netns, at(V4), "first", &["--count", "6"]);
    until("they are in FIN_WAIT2", || listed_by_ss(&netns, "fin-wait-2") == 6);
    let records = one_look(&netns, &[]);
    let (summary, destinations) = of_namespace(&records, &netns);
    let record = with_port(&destinations, "rport", 8000);
    let mut compared = Comparison::of("orphans in FIN_WAIT2");
    for counted in [summary, record] {
        compared.field(counted, "count", 0);
        compared.field(counted, "fin_wait2", 6);
    }
    compared.field(summary, "buckets_used", minisockets(&netns));
    compared.field(record, "oldest_left_ns", Value::Null);
    compared.field(record, "ports_used", 6);
    let advice =
        summary["advice"].as_array().unwrap().iter().find(|advice| advice["id"] == "tcp_fin_timeout");
    let text = advice.and_then(|advice| advice["text"].as_str()).unwrap_or_default();
    compared.holds(text.contains("30 s") && text.contains("6 sockets") && text.contains("60 s"), || {
        format!("the advice about tcp_fin_timeout says: {text}")
    });
    compared.finish(&[summary, record]);
}

fn a_service_is_recognised_after_it_has_gone() {
    let netns = namespace();
    // connect() could choose this port too.
    let service = at("127.0.0.1:40000");
    // The tool finds a namespace through a process in it.
    let _present = Waiter::serve(&netns, at(V6), "last");
    let hasty = Waiter::serve(&netns, service, "first");
    Waiter::connect(&netns, service, "last", &["--count", "8", "--leave"]).gone();
    until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 8);
    drop(hasty);
    let records = one_look(&netns, &[]);
    let (_, destinations) = of_namespace(&records, &netns);
    assert_eq!(destinations.len(), 1, "{destinations:#?}");
    let record = with_port(&destinations, "lport", 40_000);
    assert_eq!((&record["side"], &record["count"]), (&Value::from("incoming"), &Value::from(8)), "{record}");
    assert_eq!(record["peers"][0]["count"], 8, "{record}");
}

fn an_ipv4_connection_to_an_ipv6_socket_is_ipv4() {
    let netns = namespace();
    let hasty = Waiter::serve(&netns, at("[::]:8002"), "first");
    Waiter::connect(&netns, at("127.0.0.1:8002"), "last", &["--count", "4", "--leave"]).gone();
    until("all are there", || minisockets(&netns) == 4);
    // The peer's last FIN may be on its way.
    let is_settled = |records: &[Value]| {
        let (_, destinations) = of_namespace(records, &netns);
        number(with_port(&destinations, "lport", 8002), "fin_wait2") == 0
    };
    until("all are in TIME_WAIT", || is_settled(&one_look(&netns, &[])));
    let records = one_look(&netns, &[]);
    let (_, destinations) = of_namespace(&records, &netns);
    let record = with_port(&destinations, "lport", 8002);
    let mut compared = Comparison::of("a mapped address");
    for (field, expected) in [("laddr", "127.0.0.1"), ("raddr", "127.0.0.1"), ("side", "incoming")] {
        compared.field(record, field, expected);
    }
    compared.field(record, "family", 4);
    compared.field(record, "count", 4);
    compared.holds(pids(record, "candidates") == [i64::from(hasty.pid())], || "the listener".to_owned());
    compared.finish(&[record]);
}

fn two_sides_that_close_at_once_have_both_closed_first() {
    let netns = namespace();
    let _present = Waiter::serve(&netns, at(V6), "last");
    let work = || {
        let listener = TcpListener::bind(V4).unwrap();
        let mut client = TcpStream::connect(V4).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // Unread data holds back the other end's FIN, so both are in FIN_WAIT1.
        let much = vec![0; 65_536];
        for stream in [&mut client, &mut server] {
            stream.set_nonblocking(true).unwrap();
            while stream.write(&much).is_ok() {}
            stream.set_nonblocking(false).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
        // The client receives the server's FIN before its own is acknowledged: CLOSING.
        client.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(listed_by_ss(&netns, "closing"), 1, "the client is not in CLOSING");
        server.read_to_end(&mut Vec::new()).unwrap();
        drop((client, server));
        until("both are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 2);
        listener
    };
    let mut listener = None;
    let session = watched(Backend::Btf, &[&netns], || listener = Some(netns.within(work)));
    let (_, destinations) = of_namespace(&session.records, &netns);
    for (field, side) in [("rport", "outgoing"), ("lport", "incoming")] {
        let record = with_port(&destinations, field, 8000);
        assert_eq!((&record["side"], &record["count"]), (&Value::from(side), &Value::from(1)), "{record}");
        assert_eq!(pids(record, "closed_first_by"), [i64::from(std::process::id())], "{record}");
    }
}

#[test]
fn wrong_options_are_refused_with_the_remedy() {
    for wrong in ["0", "101%", "most"] {
        run(&["time-wait", "--ports-used", wrong]).refuses(2, &["--ports-used", "80%"]);
    }
    run(&["time-wait", "--interval", "1s"]).refuses(2, &["--interval", "--watch", "--duration"]);
    run(&["time-wait", "--watch", "--interval", "0s"]).refuses(2, &["--interval"]);
    run(&["time-wait", "--duration", "soon"]).refuses(2, &["--duration", "30s"]);
}

fn filters_keep_what_they_say_and_sums_stay_whole() {
    let netns = namespace();
    let _servers = [V4, V6].map(|address| Waiter::serve(&netns, at(address), "last"));
    for (address, count) in [(V4, "3"), (V6, "4")] {
        Waiter::connect(&netns, at(address), "first", &["--count", count, "--leave"]).gone();
    }
    until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 7);
    for (filter, kept) in [
        (vec!["-4"], vec![8000]),
        (vec!["-6"], vec![8001]),
        (vec!["--rport", "8001"], vec![8001]),
        (vec!["--addr", "127.0.0.0/8"], vec![8000]),
        (vec!["--lport", "8000"], vec![]),
        (vec!["--comm", "nobody-at-all"], vec![]),
    ] {
        let records = one_look(&netns, &filter);
        let (summary, destinations) = of_namespace(&records, &netns);
        let ports: Vec<u64> = destinations.iter().map(|record| number(record, "rport")).collect();
        assert_eq!(ports, kept, "{filter:?}");
        assert_eq!(summary["count"], 7, "{filter:?} changes the sum of the namespace");
    }
}

fn a_dead_setting_is_found_with_its_file_and_line() {
    // Mounted over /etc/sysctl.d in a mount namespace of the tool's own.
    let planted = tempfile::tempdir().unwrap();
    let text = "# old wisdom\nnet.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_fin_timeout = 15\n";
    std::fs::write(planted.path().join("30-old.conf"), text).unwrap();
    let source = std::ffi::CString::new(planted.path().to_str().unwrap()).unwrap();
    let mut command = Command::new(TCPTRACE);
    command.args(["time-wait", "--format", "jsonl", "--netns", "/proc/self/ns/net"]);
    let plant = move || {
        use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
        // SAFETY: of what a process shares with others, only its view of the mounts is left.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS)? };
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        Ok(mount_bind(source.as_c_str(), "/etc/sysctl.d")?)
    };
    // SAFETY: the closure makes system calls and does not allocate.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, plant) };
    let ran = run_command(&mut command);
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    let records = records(&ran);
    let summary = records.iter().find(|record| record["type"] == "time_wait_summary").expect("a summary");
    for (id, line, words) in [
        ("tcp_tw_recycle", 2, ["4.12", "/etc/sysctl.d/30-old.conf"]),
        ("tcp_fin_timeout", 3, ["does not shorten TIME_WAIT", "/etc/sysctl.d/30-old.conf"]),
    ] {
        let advice = summary["advice"].as_array().unwrap().iter().find(|advice| advice["id"] == id);
        let advice = advice.unwrap_or_else(|| panic!("no advice {id}: {summary}"));
        assert_eq!(advice["file"], "/etc/sysctl.d/30-old.conf", "{advice}");
        assert_eq!(advice["line"], line, "{advice}");
        for word in words {
            assert!(advice["text"].as_str().unwrap().contains(word), "{advice} does not say {word:?}");
        }
    }
}

fn sockets_that_went_without_time_wait_are_counted() {
    let netns = namespace();
    netns.set("tcp_max_tw_buckets", "10");
    let _server = Waiter::serve(&netns, at(V4), "last");
    Waiter::connect(&netns, at(V4), "first", &["--count", "30", "--leave"]).gone();
    until("the table is full", || minisockets(&netns) == 10);
    let records = one_look(&netns, &[]);
    let (summary, _) = of_namespace(&records, &netns);
    let mut compared = Comparison::of("a table that is full");
    compared.field(summary, "max_buckets", 10);
    compared.field(summary, "count", 10);
    compared.field(summary, "overflowed", 20);
    compared.field(&summary["counters"], "TCPTimeWaitOverflow", 20);
    compared.field(&summary["sysctls"], "tcp_max_tw_buckets", 10);
    let is_said =
        summary["advice"].as_array().unwrap().iter().any(|advice| advice["id"] == "tcp_max_tw_buckets");
    compared.holds(is_said, || "there is no advice about it".to_owned());
    compared.finish(&[summary]);
}

fn people_read_who_it_was_and_what_to_do() {
    let netns = namespace();
    let _server = Waiter::serve(&netns, at(V4), "last");
    let client = Waiter::connect(&netns, at(V4), "first", &["--count", "120"]);
    client.done();
    until("all are in TIME_WAIT", || listed_by_ss(&netns, "time-wait") == 120);
    let ran = run(&["time-wait", "--netns", &netns.inode().to_string()]);
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    for word in ["120 sockets in TIME_WAIT", "127.0.0.1:8000", "connection_pool", "tcp_tw_reuse", "--watch"] {
        assert!(ran.output.contains(word), "{word:?} is not said:\n{}", ran.output);
    }
    assert!(!ran.output.contains('\u{1b}'), "no terminal, no colours:\n{}", ran.output);
}
