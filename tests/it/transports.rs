//! Records that come by a buffer of each CPU, as on kernels without ring buffers: all of them, each socket's in order.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use crate::support::churn::{LISTENER_TRANSITIONS, TRANSITIONS};
use crate::support::compare::number;
use crate::support::run::run;
use crate::support::tracer::{Tracer, lost_for_room, one_complete_run};
use crate::support::{Backend, free_port, turn, until};

on_both_backends! {
    what_happens_to_a_socket_on_several_cpus_is_told_in_its_order,
}

live_tests! {
    a_transport_that_is_forced_is_taken_or_refused_in_words,
}

/// The two ends of each connection are on different CPUs, and what one end does makes transitions of both.
fn what_happens_to_a_socket_on_several_cpus_is_told_in_its_order(backend: Backend) {
    let _turn = turn();
    one_complete_run(3, || told_in_order(backend));
}

/// Traces connections once. Returns what is missing and not counted.
fn told_in_order(backend: Backend) -> Result<(), String> {
    const CONNECTIONS: usize = 3_000;
    let port = free_port();
    let tracer = Tracer::start(
        backend,
        &["trace", "--transport", "perf", "--sandbox", "strict", "--port", &port.to_string()],
    );
    let cpus: Vec<usize> = {
        let allowed = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
    };
    let on = |cpu: usize| {
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).unwrap();
    };
    thread::scope(|scope| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        scope.spawn(|| {
            on(*cpus.last().unwrap());
            for _ in 0..CONNECTIONS {
                let (mut server, _) = listener.accept().unwrap();
                assert_eq!(server.read(&mut [0; 8]).unwrap(), 0, "nothing was sent");
            }
            drop(listener);
        });
        scope.spawn(|| {
            on(cpus[0]);
            for _ in 0..CONNECTIONS {
                drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
            }
        });
    });
    // The last acknowledgement may be on its way.
    until("nothing but TIME_WAIT is left", || {
        let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let of_port = sockets.lines().filter(|line| line.contains(&format!(":{port:04X} ")));
        of_port.into_iter().all(|line| line.split_ascii_whitespace().nth(3) == Some("06"))
    });
    let session = tracer.stop();
    let summary = session.summary();
    let lost = number(summary, "lost");
    // The kernel may leave out a few, because other programs of ours were interrupted at the same work.
    assert_eq!(lost_for_room(summary), 0, "some found no room: {summary}");
    let told = number(summary, "records");
    let all = CONNECTIONS as u64 * TRANSITIONS + LISTENER_TRANSITIONS;
    let mut gaps = 0;
    let mut latest: BTreeMap<(u64, u64), &Value> = BTreeMap::new();
    for record in session.records.iter().filter(|record| record["type"] == "transition") {
        let ports = (number(record, "lport"), number(record, "rport"));
        // Before a socket has both ports it cannot be told from others.
        if ports.0 == 0 || ports.1 == 0 {
            continue;
        }
        if let Some(before) = latest.insert(ports, record) {
            // A port is used again once its connection is over.
            let follows = before["new_state"] == record["old_state"] || before["new_state"] == "CLOSE";
            gaps += u64::from(!follows);
            let is_later = number(before, "ktime_ns") <= number(record, "ktime_ns");
            assert!(is_later, "out of order:\n{before}\n{record}");
        }
    }
    assert!(latest.len() > CONNECTIONS, "{} sockets have made transitions", latest.len());
    assert!(told <= all, "{told} of {all} are told: {summary}");
    // The kernel may have skipped more than is missing: transitions of other ports, which the filter leaves out.
    if told + lost < all {
        return Err(format!("{told} told and {lost} lost of {all}, with {gaps} gaps"));
    }
    assert!(gaps <= lost, "{gaps} gaps, and {lost} records lost");
    Ok(())
}

fn a_transport_that_is_forced_is_taken_or_refused_in_words() {
    let _turn = turn();
    for transport in ["ring", "perf", "auto"] {
        let session =
            Tracer::start_plain(&["trace", "--transport", transport, "--duration", "100ms"]).finish();
        session.summary();
        assert_eq!(session.messages, "", "with {transport}");
    }
    let refused = run(&["trace", "--transport", "pigeon"]);
    assert_eq!(refused.code, Some(2), "{}", refused.messages);
    assert!(refused.messages.contains("[possible values: auto, ring, perf]"), "{}", refused.messages);
}
