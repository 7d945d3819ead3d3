//! The ways in which a socket leaves CLOSE_WAIT, each distinguished from the others.

use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::Backend;
use crate::support::compare::Comparison;
use crate::support::leaky::Leaky;
use crate::support::own_pair::OwnPair;
use crate::support::sock_destroy::destroy;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;

on_both_backends! {
    sockets_that_were_seen_coming_end_as_they_do,
    sockets_that_were_there_first_end_as_they_do,
    a_socket_that_is_closed_in_time_is_not_mentioned,
}

/// Sockets that will end in different ways, and what ends them.
struct Ensemble {
    closing: Leaky,
    dying: Leaky,
    destroyed: Leaky,
    reset: OwnPair,
}

impl Ensemble {
    fn start() -> Self {
        Self {
            closing: Leaky::start("accepted_kept", &[]),
            dying: Leaky::start("connect_kept", &[]),
            destroyed: Leaky::start("accepted_kept", &["--family", "6"]),
            reset: OwnPair::left(),
        }
    }

    fn truths(&self) -> Vec<Truth> {
        let of_programs = [&self.closing, &self.dying, &self.destroyed].map(|leaky| leaky.truth().clone());
        of_programs.into_iter().chain([self.reset.truth.clone()]).collect()
    }
}

fn sockets_that_were_seen_coming_end_as_they_do(backend: Backend) {
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "1s"]);
    let ensemble = Ensemble::start();
    end_all(ensemble, tracer, "exact");
}

fn sockets_that_were_there_first_end_as_they_do(backend: Backend) {
    let ensemble = Ensemble::start();
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "200ms"]);
    end_all(ensemble, tracer, "at_least");
}

fn end_all(mut ensemble: Ensemble, tracer: Tracer, close_wait_is: &str) {
    let truths = ensemble.truths();
    tracer.wait_for_each("leak", &truths);

    ensemble.closing.close();
    let dying = truths[1].holders[0].pid;
    kill_process(Pid::from_raw(dying).unwrap(), Signal::KILL).expect("the holder is there");
    let Truth { laddr, lport, raddr, rport, cookie, .. } = &truths[2];
    let end = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port);
    destroy(end(laddr, *lport), end(raddr, *rport), cookie.unwrap()).expect("SOCK_DESTROY");
    let _still_open = ensemble.reset.reset();

    let ends = tracer.wait_for_each("leak_end", &truths);
    let expected = [
        ("closed", json!(truths[0].holders[0].pid)),
        ("owner_exited", json!(dying)),
        ("destroyed", Value::Null),
        ("reset", Value::Null),
    ];
    for ((truth, end), (how, closed_by)) in truths.iter().zip(&ends).zip(expected) {
        let mut comparison = Comparison::of(format!("leak_end of {}, expected to be {how}", truth.name()));
        comparison.socket(end, truth);
        comparison.field(end, "how", how);
        comparison.field(end, "close_wait_is", close_wait_is);
        comparison.present(end, "closed_by");
        let actual = end["closed_by"].get("pid").unwrap_or(&Value::Null);
        comparison.holds(*actual == closed_by, || format!("closed_by: expected {closed_by}, is {actual}"));
        if how == "owner_exited" {
            // The process is gone, but its name was known before.
            comparison.field(&end["closed_by"], "comm", truth.holders[0].comm.as_str());
        }
        comparison.finish(&[end]);
    }
    let session = tracer.stop();
    session.summary();
    for truth in &truths {
        assert_eq!(truth.records("leak_end", &session.records).len(), 1, "ends of {}", truth.name());
    }
}

fn a_socket_that_is_closed_in_time_is_not_mentioned(backend: Backend) {
    let tracer = Tracer::start(backend, &["leaks", "--older-than", "2s"]);
    let in_time = Leaky::start("closed_in_time", &["--count", "20"]);
    for truth in &in_time.truths {
        let dwell = truth.left_after_ns.unwrap() - truth.entered_before_ns;
        assert!(dwell < 2_000_000_000, "the machine is too slow for this test: {dwell} ns in CLOSE_WAIT");
    }
    // When a leak that began later is reported, the others would have been reported too.
    let kept = Leaky::start("accepted_kept", &[]);
    tracer.wait_for_each("leak", &kept.truths);
    let session = tracer.stop();
    session.summary();
    for truth in &in_time.truths {
        let mentioned = session.records.iter().find(|record| truth.is_about(record));
        assert!(mentioned.is_none(), "{} was closed in time and is reported: {mentioned:?}", truth.name());
    }
}
