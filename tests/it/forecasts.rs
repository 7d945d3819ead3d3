//! Forecasts: when descriptors run out, an accept queue is full, or the ports of a destination are taken, compared with
//! rates that the tests make; and that nothing is forecast of what is over.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::clock::monotonic_of;
use crate::support::compare::{Comparison, number};
use crate::support::emulated::stretched;
use crate::support::time_waits::{namespace, of_namespace, one_look, with_ports};
use crate::support::tracer::Tracer;
use crate::support::waiter::Waiter;
use crate::support::{Backend, until};

on_both_backends! {
    descriptors_run_out_at_the_rate_at_which_they_are_taken,
    a_burst_that_is_over_forecasts_nothing,
    sockets_that_nobody_accepts_fill_a_queue_and_no_descriptor_table,
}

live_tests! {
    ports_that_are_held_run_out_at_the_predicted_moment,
    ports_that_a_burst_took_are_not_forecast_to_run_out,
}

const PER_SECOND: u64 = 5;

fn server() -> SocketAddr {
    "127.0.0.1:8000".parse().expect("an address")
}

/// Watches a namespace for leaks.
fn watch(backend: Backend, netns: u64) -> Tracer {
    Tracer::start(backend, &["leaks", "--older-than", "200ms", "--netns", &netns.to_string()])
}

/// Waits until so many leaks have been reported.
fn await_leaks(tracer: &Tracer, count: usize) {
    let leaks = |records: &[Value]| records.iter().filter(|record| record["type"] == "leak").count();
    tracer.wait("the leaks", |records| (leaks(records) >= count).then_some(()));
}

/// The process of a summary with this pid.
fn process(summary: &Value, pid: i32) -> &Value {
    let processes = summary["processes"].as_array().expect("processes");
    processes.iter().find(|process| process["pid"] == pid).unwrap_or_else(|| panic!("no {pid} in {summary}"))
}

/// Whether a number is within a quarter of what it ought to be.
fn is_about(found: &Value, expected: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - expected).abs() <= expected / 4.0)
}

fn descriptors_run_out_at_the_rate_at_which_they_are_taken(backend: Backend) {
    let netns = namespace();
    let _server = Waiter::serve(&netns, server(), "first");
    let tracer = watch(backend, netns.inode());
    let leaking = Waiter::connect(&netns, server(), "never", &["--rate", &PER_SECOND.to_string()]);
    await_leaks(&tracer, 75);
    let session = tracer.stop();
    let process = process(session.summary(), leaking.pid());
    let left = number(process, "fds_limit") - number(process, "fds_used");
    let mut compared = Comparison::of("a process that leaks five sockets a second");
    for field in ["per_minute", "fds_per_minute"] {
        compared.holds(is_about(&process[field], PER_SECOND as f64 * 60.0), || field.to_owned());
    }
    let run_out = left as f64 / PER_SECOND as f64 * 1e9;
    compared.holds(is_about(&process["fds_run_out_in_ns"], run_out), || format!("expected {run_out} ns"));
    compared.field(process, "accept_queue", Value::Null);
    compared.field(process, "accept_queue_full_in_ns", Value::Null);
    compared.finish(&[process]);
}

fn a_burst_that_is_over_forecasts_nothing(backend: Backend) {
    let netns = namespace();
    let _server = Waiter::serve(&netns, server(), "first");
    let tracer = watch(backend, netns.inode());
    let began = Instant::now();
    let leaking = Waiter::connect(&netns, server(), "never", &["--rate", "20", "--count", "100"]);
    leaking.done();
    await_leaks(&tracer, 100);
    // Longer than twice any pause that there was in it.
    let over = Instant::now() + began.elapsed() * 2 + Duration::from_secs(4);
    std::thread::sleep(over - Instant::now());
    let session = tracer.stop();
    let process = process(session.summary(), leaking.pid());
    let mut compared = Comparison::of("a burst");
    compared.field(process, "still_stuck", 100);
    compared.field(process, "per_minute", 0.0);
    compared.field(process, "fds_run_out_in_ns", Value::Null);
    compared.finish(&[process]);
}

fn sockets_that_nobody_accepts_fill_a_queue_and_no_descriptor_table(backend: Backend) {
    const BACKLOG: u16 = 120;
    let netns = namespace();
    // The tool finds a namespace through a process in it.
    let _present = Waiter::serve(&netns, "127.0.0.1:8001".parse().unwrap(), "last");
    let tracer = watch(backend, netns.inode());
    let _listener = netns.within(|| {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&server().into()).unwrap();
        listener.listen(BACKLOG.into()).unwrap();
        let began = Instant::now();
        for nth in 0..75 {
            let due = Duration::from_millis(nth * 1_000 / PER_SECOND);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            drop(TcpStream::connect(server()).expect("room in the queue"));
        }
        listener
    });
    await_leaks(&tracer, 75);
    let session = tracer.stop();
    let process = process(session.summary(), std::process::id().cast_signed());
    let mut compared = Comparison::of("a listener that accepts nothing");
    compared.field(&process["verdicts"], "never_accepted", 75);
    compared.field(process, "accept_queue", 75);
    compared.field(process, "accept_queue_limit", BACKLOG);
    let full = f64::from(BACKLOG + 1 - 75) / PER_SECOND as f64 * 1e9;
    compared.holds(is_about(&process["accept_queue_full_in_ns"], full), || format!("expected {full} ns"));
    compared.finish(&[process]);
}

fn ports_that_are_held_run_out_at_the_predicted_moment() {
    const PORTS: u16 = 80;
    let netns = with_ports(PORTS);
    let _server = Waiter::serve(&netns, server(), "never");
    let inode = netns.inode().to_string();
    let tracer = Tracer::start_plain(&["time-wait", "--watch", "--interval", "500ms", "--netns", &inode]);
    let client = Waiter::connect(&netns, server(), "never", &["--rate", &PER_SECOND.to_string()]);
    let done = client.done();
    assert_eq!((&done["is_dry"], &done["made"]), (&Value::from(true), &Value::from(PORTS)), "{done}");
    let dry_ns = number(&done, "monotonic_ns");
    let session = tracer.stop();
    session.summary();
    let forecasts: Vec<(u64, u64)> = session
        .records
        .iter()
        .filter(|record| record["type"] == "time_wait" && record["rport"] == server().port())
        .filter_map(|record| Some((monotonic_of(record["time"].as_str()?), record["dry_in_ns"].as_u64()?)))
        .filter(|(at, _)| (1_500_000_000..9_000_000_000).contains(&dry_ns.saturating_sub(*at)))
        .collect();
    assert!(forecasts.len() >= 4, "{} forecasts are too few: {:#?}", forecasts.len(), session.records);
    for (at, dry_in) in forecasts {
        let left = dry_ns - at;
        assert!(dry_in.abs_diff(left) * 5 <= left, "{left} ns before, {dry_in} ns were predicted");
    }
}

fn ports_that_a_burst_took_are_not_forecast_to_run_out() {
    let netns = with_ports(200);
    let _server = Waiter::serve(&netns, server(), "last");
    let inode = netns.inode().to_string();
    let tracer = Tracer::start_plain(&["time-wait", "--watch", "--interval", "500ms", "--netns", &inode]);
    let began = Instant::now();
    let client = Waiter::connect(&netns, server(), "first", &["--count", "120"]);
    client.done();
    let is_within_one_look = stretched(began.elapsed()) < Duration::from_millis(500);
    let destination = || {
        let records = one_look(&netns, &[]);
        let (_, destinations) = of_namespace(&records, &netns);
        destinations[0].clone()
    };
    until("the burst is over for one look", || {
        let look = destination();
        look["entered_per_second"].as_f64() == Some(0.0) && look["count"] == 120
    });
    let record = destination();
    assert_eq!(record["dry_in_ns"], Value::Null, "{record}");
    tracer.wait("the burst to be over", |records| {
        let is_over = |record: &&Value| record["type"] == "time_wait" && record["per_second"] == 0.0;
        records.iter().find(is_over).map(|_| ())
    });
    let session = tracer.stop();
    session.summary();
    let mut looks = session.records.iter().filter(|record| record["type"] == "time_wait");
    let mut compared = Comparison::of("a burst that was watched");
    // What takes longer, on a slow host, is no burst to a look that saw it go on: something may be forecast until it is over.
    let is_judged = |look: &&Value| is_within_one_look || look["per_second"] == 0.0;
    for look in looks.clone().rev().take_while(is_judged) {
        compared.field(look, "dry_in_ns", Value::Null);
    }
    let last = looks.next_back().expect("a look");
    compared.field(last, "per_second", 0.0);
    compared.finish(&[last]);
}
