//! The records as a table: RFC 4180, one row a record, the same columns for all of them. Header and
//! summary are no rows; they are left out here.
//!
//! The table is safe to open in a spreadsheet: no text begins a formula, and no name can begin a new
//! cell or line. Numbers are left as they are.

pub(crate) mod columns;
pub(crate) mod row;

use csv::WriterBuilder;

use self::{
    columns::{Column, NAMES},
    row::{Row, Spelled},
};
use super::time_text::TimeText;
use crate::model::{
    owner::{CalledBy, OpenedBy, Owner},
    record::{Age, Leak, LeakEnd, Record, Timed},
    socket::Socket,
    task::Call,
    transition::Transition,
};

/// What every table begins with.
pub(crate) const BEGINNING: &str = "type,time,ktime_ns,cookie,";

/// Room for a row on its way into the table, in bytes.
const ROW_BYTES: usize = 4096;

/// Writes rows into memory.
pub(crate) struct Table {
    writer: csv::Writer<Vec<u8>>,
    row: Row,
    times: TimeText,
}

impl Table {
    /// An empty table, without the names of its columns.
    pub(crate) fn new() -> Self {
        Self { writer: writer(Vec::new()), row: Row::default(), times: TimeText::default() }
    }

    /// The line with the names of the columns.
    pub(crate) fn heading() -> Vec<u8> {
        let mut line = NAMES.join(",").into_bytes();
        line.push(b'\n');
        line
    }

    /// Bytes so far, but for the last few rows.
    pub(crate) fn len(&self) -> usize {
        self.writer.get_ref().len()
    }

    /// Takes out what was written, and begins again with room for as much.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let next = writer(Vec::with_capacity(self.len() + ROW_BYTES));
        // Memory takes everything.
        std::mem::replace(&mut self.writer, next).into_inner().unwrap_or_default()
    }

    /// Adds a record; returns whether it is one that has a row.
    pub(crate) fn push(&mut self, record: &Record) -> bool {
        match record {
            Record::Header(_) | Record::Summary(_) | Record::Other(_) => return false,
            // Of sessions that write no tables.
            Record::TimeWait(_) | Record::TimeWaitSummary(_) | Record::Cleared(_) | Record::ClearEnd(_) => {
                return false;
            }
            Record::Transition(transition) => self.transition(transition),
            Record::Leak(leak) => self.leak(leak),
            Record::LeakEnd(end) => self.leak_end(end),
        }
        self.row.write(&mut self.writer);
        true
    }

    fn begin(&mut self, kind: &str, time: jiff::Timestamp, socket: &Socket) {
        let Self { row, times, .. } = self;
        let Socket { cookie, netns, endpoints } = socket;
        row.put(Column::Type, kind);
        row.put(Column::Time, times.of(time));
        row.put_known(Column::Cookie, cookie.as_ref());
        row.put_known(Column::Netns, netns.as_ref());
        row.put(Column::Family, endpoints.family());
        row.put(Column::Laddr, endpoints.local.ip());
        row.put(Column::Lport, endpoints.local.port());
        row.put(Column::Raddr, endpoints.remote.ip());
        row.put(Column::Rport, endpoints.remote.port());
    }

    fn transition(&mut self, Timed { time, what }: &Timed<Transition>) {
        self.begin("transition", *time, &what.socket);
        let row = &mut self.row;
        row.put(Column::KtimeNs, what.ktime_ns);
        row.put(Column::OldState, what.old_state.name());
        row.put(Column::NewState, what.new_state.name());
        row.put_known(Column::DwellNs, what.dwell_ns());
        row.put(Column::OncpuPid, what.oncpu.pid);
        row.put(Column::OncpuTid, what.oncpu.tid);
        row.put_text(Column::OncpuComm, &what.oncpu.comm.to_text());
        row.put_known(Column::CgroupId, what.cgroup_id);
        row.put(Column::Mptcp, what.is_mptcp);
    }

    fn leak(&mut self, leak: &Leak) {
        let Leak { time, socket, state, age, recv_q, send_q, verdict, owners, opened_by, eof_read_by } = leak;
        self.begin("leak", *time, socket);
        let row = &mut self.row;
        row.put(Column::State, state.name());
        put_age(row, age.as_ref());
        row.put_known(Column::RecvQ, *recv_q);
        row.put_known(Column::SendQ, *send_q);
        row.put_known(Column::Verdict, verdict.map(|verdict| verdict.name()));
        row.put(Column::Owners, owners.len());
        row.put_list(Column::OwnerPids, owners.iter().map(|owner| owner.process.pid));
        if let Some(owner) = owners.first() {
            put_owner(row, owner, &mut self.times);
        }
        if let Some(opened) = opened_by {
            put_opener(row, opened, &mut self.times);
        }
        if let Some(read) = eof_read_by {
            put_reader(row, read, &mut self.times);
        }
    }

    fn leak_end(&mut self, end: &LeakEnd) {
        let LeakEnd { time, socket, age, how, closed_by } = end;
        self.begin("leak_end", *time, socket);
        let row = &mut self.row;
        put_age(row, Some(age));
        row.put_known(Column::How, how.map(Spelled));
        if let Some(owner) = closed_by {
            row.put(Column::ClosedByPid, owner.process.pid);
            row.put_text(Column::ClosedByComm, &owner.process.comm);
            row.put_text_known(Column::ClosedByUnit, owner.process.unit.as_deref());
            row.put_text_known(Column::ClosedByContainer, owner.process.container.as_deref());
        }
    }
}

fn writer(into: Vec<u8>) -> csv::Writer<Vec<u8>> {
    WriterBuilder::new().has_headers(false).buffer_capacity(ROW_BYTES).from_writer(into)
}

fn put_age(row: &mut Row, age: Option<&Age>) {
    row.put_known(Column::CloseWaitNs, age.map(|age| age.ns));
    row.put_known(Column::CloseWaitIs, age.map(Age::kind));
    row.put_known(Column::CloseWaitAtMostNs, age.and_then(Age::at_most));
}

fn put_owner(row: &mut Row, owner: &Owner, times: &mut TimeText) {
    let Owner { process, fds, inherited, evidence } = owner;
    row.put(Column::OwnerPid, process.pid);
    row.put_text(Column::OwnerComm, &process.comm);
    row.put_text_known(Column::OwnerExe, process.exe.as_deref());
    row.put_text(Column::OwnerCmdline, &process.cmdline.join(" "));
    row.put_known(Column::OwnerUid, process.uid);
    row.put_list(Column::OwnerFds, fds.iter());
    row.put_known(Column::OwnerStarted, process.started.map(|started| times.of(started).to_owned()));
    row.put_text_known(Column::OwnerUnit, process.unit.as_deref());
    row.put_text_known(Column::OwnerContainer, process.container.as_deref());
    row.put_text_known(Column::OwnerCgroup, process.cgroup.as_deref());
    row.put_known(Column::OwnerInherited, *inherited);
    row.put(Column::OwnerEvidence, Spelled(*evidence));
}

fn put_opener(row: &mut Row, opened: &Timed<OpenedBy>, times: &mut TimeText) {
    let OpenedBy { how, called: CalledBy { call, stack } } = &opened.what;
    let Call { task, ktime_ns: _, stack: _ } = call;
    row.put(Column::OpenedByPid, task.pid);
    row.put(Column::OpenedByTid, task.tid);
    row.put_text(Column::OpenedByComm, &task.comm.to_text());
    row.put(Column::OpenedByHow, how.name());
    row.put(Column::OpenedByTime, times.of(opened.time));
    if let Some(stack) = stack {
        row.put_text(Column::OpenedByStack, &stack.frames.join(" < "));
        row.put(Column::OpenedByStackIsCut, stack.is_cut);
    }
}

fn put_reader(row: &mut Row, read: &Timed<CalledBy>, times: &mut TimeText) {
    let CalledBy { call: Call { task, ktime_ns: _, stack: _ }, stack } = &read.what;
    row.put(Column::EofReadByPid, task.pid);
    row.put(Column::EofReadByTid, task.tid);
    row.put_text(Column::EofReadByComm, &task.comm.to_text());
    row.put(Column::EofReadByTime, times.of(read.time));
    if let Some(stack) = stack {
        row.put_text(Column::EofReadByStack, &stack.frames.join(" < "));
        row.put(Column::EofReadByStackIsCut, stack.is_cut);
    }
}
