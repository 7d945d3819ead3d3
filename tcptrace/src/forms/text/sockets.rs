//! The table of sockets of `now` and `clear`: columns that say nothing are hidden, and a narrow terminal hides more.

use super::columns::{
    Column::{Name, Number},
    Columns,
};
use crate::model::{
    endpoints::Endpoints,
    escape::Escaped,
    owner::{Evidence, Owner},
    record::Age,
    state::State,
    units::Elapsed,
    verdict::Verdict,
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
const BY: usize = 9;
const PLACE: usize = 10;

/// A table of these sockets, for lines of `width` characters where that matters.
pub(super) fn table(rows: &[SocketRow<'_>], width: Option<usize>) -> Columns<11> {
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
        Name("BY"),
        Name("UNIT OR CONTAINER"),
    ]);
    for row in rows {
        table.push(cells(row));
    }
    let any = |is_so: fn(&SocketRow<'_>) -> bool| rows.iter().any(is_so);
    table.show(AGE, any(|row| row.age.is_some()));
    table.show(VERDICT, any(|row| row.state == State::CloseWait));
    table.show(STATE, any(|row| row.state != State::CloseWait));
    table.show(RECV_Q, any(|row| row.unread.is_some()));
    table.show(BY, any(|row| row.by.is_some()));
    table.show(PLACE, any(|row| place(row.owners).is_some()));
    table.show(LOCAL_PORT, false);
    // What is in the summary too, or follows from the rest, makes room first.
    for sacrifice in [PLACE, LOCAL, RECV_Q] {
        if width.is_some_and(|width| table.width() > width) {
            table.show(sacrifice, false);
            table.show(LOCAL_PORT, sacrifice != PLACE);
        }
    }
    table
}

fn cells(row: &SocketRow<'_>) -> [String; 11] {
    let none = || "-".to_owned();
    let Endpoints { local, remote } = row.endpoints;
    [
        row.age.map_or_else(none, short_age),
        row.state.name().to_owned(),
        process(row.owners),
        descriptors(row.owners),
        local.to_string(),
        format!(":{}", local.port()),
        // A listener has no peer.
        if remote.port() == 0 { none() } else { remote.to_string() },
        row.unread.clone().unwrap_or_default(),
        verdict(row.state, row.verdict).to_owned(),
        row.by.unwrap_or_default().to_owned(),
        place(row.owners).map_or_else(none, |place| Escaped(place).to_string()),
    ]
}

/// The verdict; `?` where it cannot be told, `-` where there is none.
pub(super) fn verdict(state: State, verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(verdict) => verdict.name(),
        None if state == State::CloseWait => "?",
        None => "-",
    }
}

/// `2m 05s`, or `≥ 2m 05s` where the upper bound is not known or is far off.
fn short_age(age: &Age) -> String {
    /// Bounds this close to each other (a part of the age) are one and the same to a person.
    const CLOSE: u64 = 20;
    let is_close = age.at_most_ns.is_some_and(|most| most - most.min(age.ns) <= age.ns / CLOSE);
    if age.is_exact || is_close { Elapsed(age.ns).to_string() } else { format!("≥ {}", Elapsed(age.ns)) }
}

fn process(owners: &[Owner]) -> String {
    let Some(first) = owners.first() else { return "nobody".to_owned() };
    let more = match owners.len() {
        1 => String::new(),
        count => format!(" +{}", count - 1),
    };
    format!("{} ({}){more}", Escaped(&first.process.comm), first.process.pid)
}

/// The first descriptor of the first holder. One of the listener's would be mistaken for the socket's.
fn descriptors(owners: &[Owner]) -> String {
    let held = owners.first().filter(|owner| owner.evidence == Evidence::FdTable);
    match held.map(|owner| owner.fds.as_slice()) {
        None | Some([]) => "-".to_owned(),
        Some([fd]) => fd.to_string(),
        Some([fd, more @ ..]) => format!("{fd} +{}", more.len()),
    }
}

/// The container or the unit of the first holder.
fn place(owners: &[Owner]) -> Option<&str> {
    let process = &owners.first()?.process;
    process.container.as_deref().or(process.unit.as_deref())
}
