//! Records made in code. Times are seconds after [`start`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::{
    model::{
        criteria::Criteria,
        ended::EndedHow,
        endpoints::{Endpoint, Endpoints},
        examples,
        host_identity::HostIdentity,
        owner::{CalledBy, Evidence, OpenedBy, Owner},
        pid::Pid,
        process::ProcessIdentity,
        record::{Age, Header, Leak, LeakEnd, Record, Summary, Timed, Totals},
        socket::{Socket, SocketKey},
        stack::Stack,
        state::State,
        task::{Call, Comm, OpenedHow, Task},
        transition::Transition,
        verdict::Verdict,
    },
    report::{
        aggregate::{Aggregator, ReportScope},
        assemble,
        input::FileState,
        model::Report,
        sums::{Threshold, Window},
    },
};

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn at(second: f64) -> Timestamp {
    start() + SignedDuration::from_secs_f64(second)
}

/// A connection of a client that came from this port to the service on port 8080.
pub(crate) fn ends(client: u16) -> Endpoints {
    Endpoints { local: ([10, 0, 0, 1], 8080).into(), remote: ([192, 0, 2, 7], client).into() }
}

/// A connection of this host to the service at this address.
pub(crate) fn towards(service: &str, local_port: u16) -> Endpoints {
    let remote = service.parse().unwrap_or(Endpoint::UNSPECIFIED);
    Endpoints { local: ([10, 0, 0, 1], local_port).into(), remote }
}

pub(crate) fn socket(cookie: u64, endpoints: Endpoints) -> Socket {
    Socket { cookie: Some(cookie), netns: Some(4_026_531_840), endpoints }
}

pub(crate) fn transition(
    cookie: u64,
    second: u64,
    old: State,
    new: State,
    endpoints: Endpoints,
) -> Transition {
    Transition {
        key: SocketKey(cookie),
        socket: socket(cookie, endpoints),
        ktime_ns: second * SECOND,
        old_state: old,
        new_state: new,
        oncpu: Task { pid: Pid::new(1), tid: Pid::new(1), ..examples::task(b"swapper/0") },
        ..examples::transition()
    }
}

pub(crate) fn header(host: &str, command: &str) -> Record {
    Record::Header(Box::new(Header {
        host: HostIdentity {
            host: host.to_owned(),
            boot_id: Some(format!("boot of {host}")),
            ..examples::header().host
        },
        started: start(),
        command: command.split(' ').map(str::to_owned).collect(),
        ..examples::header()
    }))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tests run for positive minutes")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * SECOND as f64) as u64
}

pub(crate) fn summary(second: f64, totals: Totals) -> Record {
    let (time, duration_ns) = (at(second), nanoseconds(second));
    Record::Summary(Box::new(Summary { time, duration_ns, totals, ..examples::summary() }))
}

/// A transition with the time spent in the old state, if it was seen.
pub(crate) fn step(
    cookie: u64,
    second: f64,
    from: (State, Option<f64>),
    new: State,
    ends: Endpoints,
) -> Record {
    let (old, dwell) = from;
    // The machine was up for a while before.
    let ktime_ns = nanoseconds(1_000.0 + second);
    let entered_ns = dwell.map(|dwell| ktime_ns - nanoseconds(dwell));
    let what = Transition { ktime_ns, entered_ns, ..transition(cookie, 0, old, new, ends) };
    Record::Transition(Timed { time: at(second), what })
}

/// As [`step`], by this task.
pub(crate) fn step_by(pid: u32, comm: &str, record: Record) -> Record {
    let Record::Transition(Timed { time, what }) = record else { return record };
    let oncpu = Task { pid: Pid::new(pid), tid: Pid::new(pid), ..examples::task(comm.as_bytes()) };
    Record::Transition(Timed { time, what: Transition { oncpu, ..what } })
}

pub(crate) fn owner(pid: u32, comm: &str) -> Owner {
    let mut process = ProcessIdentity::from_name(Pid::new(pid), comm);
    process.started = Some(at(-100.0));
    process.unit = Some(format!("{comm}.service"));
    Owner { process: Arc::new(process), fds: vec![7], inherited: Some(false), evidence: Evidence::FdTable }
}

pub(crate) fn opened_at(site: &str, second: f64) -> Timed<OpenedBy> {
    let frames = vec!["accept4 (libc.so.6)".to_owned(), site.to_owned(), "main (main.rs:1)".to_owned()];
    let stack = Stack { frames, site: Some(site.to_owned()), is_cut: false, no_site: None, found_by: None };
    let task = Task { pid: Pid::new(1), tid: Pid::new(1), comm: Comm::default() };
    let call = Call { task, ktime_ns: 0, stack: None };
    let called = CalledBy { call, stack: Some(Arc::new(stack)) };
    Timed { time: at(second), what: OpenedBy { how: OpenedHow::Accept, called } }
}

pub(crate) fn exactly(seconds: f64) -> Age {
    Age { ns: nanoseconds(seconds), is_exact: true, at_most_ns: None }
}

pub(crate) fn leak_of(cookie: u64, second: f64, age: Age, owners: Vec<Owner>, ends: Endpoints) -> Leak {
    Leak {
        time: at(second),
        socket: socket(cookie, ends),
        state: State::CloseWait,
        age: Some(age),
        recv_q: Some(0),
        send_q: Some(0),
        verdict: Some(Verdict::EofRead),
        owners,
        opened_by: None,
        no_site: None,
        eof_read_by: None,
        over: None,
        other_end: None,
        keep_alive: None,
        fds_used: None,
        fds_limit: None,
        unknown_because: None,
        because: None,
    }
}

pub(crate) fn leak(cookie: u64, second: f64, age: Age, owners: Vec<Owner>) -> Record {
    Record::Leak(Box::new(leak_of(cookie, second, age, owners, ends(40_000))))
}

pub(crate) fn leak_end(cookie: u64, second: f64, age: Age, how: EndedHow) -> Record {
    Record::LeakEnd(Box::new(LeakEnd {
        time: at(second),
        socket: socket(cookie, ends(40_000)),
        age,
        how: Some(how),
        closed_by: None,
    }))
}

pub(crate) fn everything() -> ReportScope {
    ReportScope {
        threshold: Threshold { ns: 10 * SECOND, is_asked_for: false },
        window: Window::ALL,
        criteria: Criteria::default(),
        max_sockets: 1_000_000,
    }
}

/// Takes the records of one file.
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
pub(crate) fn taken(wanted: ReportScope, records: &[Record]) -> Aggregator {
    let mut aggregator = Aggregator::new(wanted).unwrap();
    let source = aggregator.add_source("session.jsonl".to_owned());
    for record in records {
        aggregator.take(source, record);
    }
    aggregator
}

/// The report on the records of one file that is whole.
pub(crate) fn reported(wanted: ReportScope, records: &[Record]) -> Report {
    let aggregator = taken(wanted, records);
    assemble::report(&aggregator, &vec![FileState::default(); aggregator.sources.len()], 10)
}
