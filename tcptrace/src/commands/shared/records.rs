//! Builds records from findings, and the header of a session.

use jiff::Timestamp;

use crate::{
    host::{clock::WallClock, identity, world::World},
    model::{
        finding::Finding,
        owner::{CalledBy, OpenedBy},
        record::{Age, Header, Leak, Over, Timed},
        state::State,
    },
};

/// What was found out about a socket, as a record.
pub(crate) fn leak_record(finding: &Finding, clock: WallClock) -> Leak {
    let opened =
        |opened: &OpenedBy| Timed { time: clock.at(opened.called.call.ktime_ns), what: opened.clone() };
    let called = |called: &CalledBy| Timed { time: clock.at(called.call.ktime_ns), what: called.clone() };
    Leak {
        time: clock.at(finding.looked_at_ns),
        socket: finding.socket,
        state: finding.state,
        age: (finding.state == State::CloseWait).then(|| Age::at(finding.since, finding.looked_at_ns)),
        recv_q: finding.recv_q,
        send_q: finding.send_q,
        verdict: finding.verdict,
        owners: finding.owners.clone(),
        opened_by: finding.opened_by.as_ref().map(opened),
        eof_read_by: finding.eof_read_by.as_ref().map(called),
        over: (finding.state == State::Close).then(|| Over {
            how: finding.ended_how,
            ns: finding.since.is_exact().then(|| finding.since.age_at(finding.looked_at_ns).0),
        }),
        other_end: finding.other_end.clone(),
        keep_alive: finding.keep_alive,
        fds_used: finding.descriptors.and_then(|descriptors| descriptors.used),
        fds_limit: finding.descriptors.and_then(|descriptors| descriptors.limit),
        unknown_because: finding.unknown_because,
        because: Some(finding.because.clone()),
        no_site: finding.no_site.clone(),
    }
}

pub(crate) fn session_header(world: &World, backend: impl std::fmt::Display, started: Timestamp) -> Header {
    Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: identity::read(&world.proc),
        started,
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        backend: backend.to_string(),
    }
}
