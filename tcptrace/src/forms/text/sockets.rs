//! The table of sockets of `now` and `clear`: columns that say nothing are hidden, and a narrow terminal hides more.

use super::columns::{
    Column::{Name, Number},
    Columns,
};
use crate::model::{
    endpoints::Endpoints,
    escape::{Escaped, EscapedName},
    other_end::OtherEnd,
    owner::{Evidence, Owner},
    reason::ReasonId,
    record::Age,
    state::State,
    units::Elapsed,
    verdict::{UnknownBecause, Verdict},
};

/// A socket as a row.
pub(super) struct SocketRow<'a> {
    pub age: Option<&'a Age>,
    pub state: State,
    pub owners: &'a [Owner],
    pub endpoints: &'a Endpoints,
    /// Bytes that were not read; `None` where the table does not tell.
    pub unread: Option<String>,
    pub verdict: Option<Verdict>,
    /// The most telling reason.
    pub reason: Option<ReasonId>,
    /// The other end, where it is on this host.
    pub other_end: Option<&'a OtherEnd>,
    pub unknown_because: Option<UnknownBecause>,
    /// How it would be ended; `None` where nothing is ended.
    pub by: Option<&'static str>,
}

/// Columns that are not always shown.
const AGE: usize = 0;
const STATE: usize = 1;
const LOCAL: usize = 4;
const LOCAL_PORT: usize = 5;
const RECV_Q: usize = 7;
const VERDICT: usize = 8;
const REASON: usize = 9;
const OTHER_END: usize = 10;
const BY: usize = 11;
const PLACE: usize = 12;

/// A table of these sockets, for lines of `width` characters where that matters.
pub(super) fn table(rows: &[SocketRow<'_>], width: Option<usize>) -> Columns<13> {
    let mut table = Columns::new([
        Number("AGE"),
        Name("STATE"),
        Name("PROCESS"),
        Number("FD"),
        Name("LOCAL"),
        Name("LOCAL"),
        Name("REMOTE"),
        Number("RECV-Q"),
        Name("VERDICT"),
        Name("REASON"),
        Name("OTHER END"),
        Name("BY"),
        Name("UNIT OR CONTAINER"),
    ]);
    for row in rows {
        table.push(cells(row));
    }
    let any = |is_so: fn(&SocketRow<'_>) -> bool| rows.iter().any(is_so);
    table.show(AGE, any(|row| row.age.is_some()));
    table.show(VERDICT, any(|row| row.state == State::CloseWait));
    table.show(REASON, any(|row| row.reason.is_some()));
    table.show(STATE, any(|row| row.state != State::CloseWait));
    table.show(RECV_Q, any(|row| row.unread.is_some()));
    table.show(OTHER_END, any(|row| row.other_end.is_some()));
    table.show(BY, any(|row| row.by.is_some()));
    table.show(PLACE, any(|row| place(row.owners).is_some()));
    table.show(LOCAL_PORT, false);
    // What is in the summary too, or follows from the rest, makes room first.
    for sacrifice in [PLACE, OTHER_END, REASON, LOCAL, RECV_Q] {
        if width.is_some_and(|width| table.width() > width) {
            table.show(sacrifice, false);
            table.show(LOCAL_PORT, !matches!(sacrifice, PLACE | OTHER_END | REASON));
        }
    }
    table
}

fn cells(row: &SocketRow<'_>) -> [String; 13] {
    let none = || "-".to_owned();
    let Endpoints { local, remote } = row.endpoints;
    [
        row.age.map_or_else(none, short_age),
        row.state.name().to_owned(),
        process(row.owners, row.unknown_because),
        descriptors(row.owners),
        local.to_string(),
        format!(":{}", local.port()),
        // A listener has no peer.
        if remote.port() == 0 { none() } else { remote.to_string() },
        row.unread.clone().unwrap_or_default(),
        verdict(row.state, row.verdict).to_owned(),
        row.reason.map_or_else(none, |reason| reason.to_string()),
        row.other_end.map_or_else(none, other_end),
        row.by.unwrap_or_default().to_owned(),
        place(row.owners).map_or_else(none, |place| Escaped(&place).to_string()),
    ]
}

/// Who has it, or that it was closed.
fn other_end(end: &OtherEnd) -> String {
    match (end.is_closed, end.owners.first()) {
        (Some(true), _) => "closed".to_owned(),
        (_, Some(_)) => process(&end.owners, None),
        (_, None) => end.state.name().to_owned(),
    }
}

/// The verdict; `?` where it cannot be told, `-` where there is none.
pub(super) fn verdict(state: State, verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(verdict) => verdict.name(),
        None if state == State::CloseWait => "?",
        None => "-",
    }
}

/// `2m 05s`, or `2m 05s–3m 10s` where the bounds are far apart, or `≥ 2m 05s` where there is none above.
fn short_age(age: &Age) -> String {
    /// Bounds this close to each other (a part of the age, or nanoseconds) are one and the same to a person.
    const CLOSE: u64 = 20;
    const CLOSE_NS: u64 = 100_000_000;
    let is_close = |most: u64| most.saturating_sub(age.ns) <= (age.ns / CLOSE).max(CLOSE_NS);
    let is_close = age.at_most_ns.is_some_and(is_close);
    match age.at_most_ns {
        _ if age.is_exact || is_close => Elapsed(age.ns).to_string(),
        Some(most) => format!("{}–{}", Elapsed(age.ns), Elapsed(most)),
        None => format!("≥ {}", Elapsed(age.ns)),
    }
}

fn process(owners: &[Owner], unknown_because: Option<UnknownBecause>) -> String {
    let Some(first) = owners.first() else {
        return if unknown_because.is_some() { "?" } else { "nobody" }.to_owned();
    };
    let more = match owners.len() {
        1 => String::new(),
        count => format!(" +{}", count - 1),
    };
    format!("{} ({}){more}", EscapedName(&first.process.comm), first.process.pid)
}

/// The first descriptor of the first holder. One of the listener's would be mistaken for the socket's.
fn descriptors(owners: &[Owner]) -> String {
    let Some(first) = owners.first() else { return "-".to_owned() };
    match (first.evidence, first.fds.as_slice()) {
        (Evidence::FdTable, [fd]) => fd.to_string(),
        (Evidence::FdTable, [fd, more @ ..]) => format!("{fd} +{}", more.len()),
        (Evidence::InCall, _) => "in a call".to_owned(),
        (Evidence::Mapped, _) => "mapped".to_owned(),
        (Evidence::IoUring, []) => "io_uring".to_owned(),
        (Evidence::IoUring, [ring, ..]) => format!("io_uring {ring}"),
        (Evidence::FdTable | Evidence::Listener | Evidence::Opened | Evidence::None, _) => "-".to_owned(),
    }
}

/// The container or the unit of the first holder.
fn place(owners: &[Owner]) -> Option<String> {
    owners.first()?.process.place()
}
