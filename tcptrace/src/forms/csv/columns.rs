//! The columns of the table: their order and names are a promise (docs/records.md). New ones go to the end.
//!
//! A column is a path into the JSON form of a record, and is named by it: `oncpu.pid` is `oncpu_pid`. Of
//! several owners, the first has columns of its own (`owner`).

use Cell::{Count, Each, Numbers, Plain, Text, Time, Words};
use jiff::Timestamp;
use serde_json::Value;

use super::row::Row;
use crate::{
    forms::time_text::TimeText,
    model::{
        endpoints::Endpoints,
        record::{Record, Timed},
        socket::Socket,
        task::Task,
        transition::Transition,
    },
};

/// How a cell shows a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    /// A number, a time, an address, or a word of this program's own: as it is.
    Plain,
    /// Text that a stranger chose; several, with this between them.
    Text(&'static str),
    /// A time, with all digits.
    Time,
    /// Numbers, with spaces between them.
    Numbers,
    /// The number of entries.
    Count,
    /// Of a list of the record, this field of each entry that has it: numbers, with spaces between them.
    Each(&'static str, &'static str),
    /// This field of each entry: words of this program's own, with spaces between them.
    Words(&'static str),
}

const NAME: Cell = Text("");
const ARGUMENTS: Cell = Text(" ");
const FRAMES: Cell = Text(" < ");
const PIDS: Cell = Each("owners", "pid");

/// The columns in their order. Those of a transition come first, as the row writes them that does not come by JSON.
pub(crate) const COLUMNS: [(&str, Cell); 85] = [
    ("type", Plain),
    ("time", Plain),
    ("ktime_ns", Plain),
    ("cookie", Plain),
    ("netns", Plain),
    ("family", Plain),
    ("laddr", Plain),
    ("lport", Plain),
    ("raddr", Plain),
    ("rport", Plain),
    ("old_state", Plain),
    ("new_state", Plain),
    ("dwell_ns", Plain),
    ("oncpu.pid", Plain),
    ("oncpu.tid", Plain),
    ("oncpu.comm", NAME),
    ("cgroup_id", Plain),
    ("mptcp", Plain),
    ("state", Plain),
    ("close_wait_ns", Plain),
    ("close_wait_is", Plain),
    ("close_wait_at_most_ns", Plain),
    ("recv_q", Plain),
    ("send_q", Plain),
    ("verdict", Plain),
    ("owners", Count),
    ("owner_pids", PIDS),
    ("owner.pid", Plain),
    ("owner.comm", NAME),
    ("owner.exe", NAME),
    ("owner.cmdline", ARGUMENTS),
    ("owner.uid", Plain),
    ("owner.fds", Numbers),
    ("owner.started", Time),
    ("owner.unit", NAME),
    ("owner.container", NAME),
    ("owner.cgroup", NAME),
    ("owner.inherited", Plain),
    ("owner.evidence", Plain),
    ("opened_by.pid", Plain),
    ("opened_by.tid", Plain),
    ("opened_by.comm", NAME),
    ("opened_by.how", Plain),
    ("opened_by.time", Plain),
    ("opened_by.stack", FRAMES),
    ("opened_by.stack_is_cut", Plain),
    ("eof_read_by.pid", Plain),
    ("eof_read_by.tid", Plain),
    ("eof_read_by.comm", NAME),
    ("eof_read_by.time", Plain),
    ("eof_read_by.stack", FRAMES),
    ("eof_read_by.stack_is_cut", Plain),
    ("how", Plain),
    ("closed_by.pid", Plain),
    ("closed_by.comm", NAME),
    ("closed_by.unit", NAME),
    ("closed_by.container", NAME),
    ("owner.host_pid", Plain),
    ("over.how", Plain),
    ("over.ns", Plain),
    ("other_end.state", Plain),
    ("other_end.closed", Plain),
    ("keep_alive", Plain),
    ("opened_by.host_pid", Plain),
    ("eof_read_by.host_pid", Plain),
    ("closed_by.host_pid", Plain),
    ("owner.container_name", NAME),
    ("owner.pod", NAME),
    ("owner.pod_namespace", NAME),
    ("closed_by.container_name", NAME),
    ("closed_by.pod", NAME),
    ("closed_by.pod_namespace", NAME),
    ("unknown_because", Plain),
    ("owner.is_32_bit", Plain),
    ("fds_used", Plain),
    ("fds_limit", Plain),
    ("interface", Plain),
    ("because", Words("id")),
    ("opened_by.site", NAME),
    ("opened_by.no_site.because", Plain),
    ("opened_by.no_site.of", NAME),
    ("no_site.because", Plain),
    ("no_site.of", NAME),
    ("opened_by.found_by.callers", ARGUMENTS),
    ("opened_by.found_by.name", Plain),
];

/// Where a transition has its interface.
const INTERFACE: usize = 76;

/// The line with the names of the columns, without its end.
pub(crate) fn names() -> String {
    COLUMNS.map(|(path, _)| path.replace('.', "_")).join(",")
}

/// Puts the cells of a record.
pub(crate) fn put_record(row: &mut Row, record: &Record) {
    // No record has a key that is not text.
    put_cells(row, &serde_json::to_value(record).unwrap_or_default());
}

/// The short way for transitions, the one record that there are many of: puts the same cells as [`put_record`] does.
pub(crate) fn put_transition(row: &mut Row, times: &mut TimeText, Timed { time, what }: &Timed<Transition>) {
    let Transition {
        key: _,
        socket: Socket { cookie, netns, endpoints },
        is_mptcp,
        ktime_ns,
        old_state,
        new_state,
        entered_ns: _,
        oncpu: Task { pid, tid, comm },
        kernel_socket: _,
        cause: _,
        cgroup_id,
    } = what;
    let Endpoints { local, remote } = endpoints;
    row.put("transition");
    row.put(times.of(*time));
    row.put(ktime_ns);
    row.put_known(*cookie);
    row.put_known(*netns);
    row.put(endpoints.family());
    row.put(local.ip());
    row.put(local.port());
    row.put(remote.ip());
    row.put(remote.port());
    row.put(old_state.name());
    row.put(new_state.name());
    row.put_known(what.dwell_ns());
    row.put_known(pid.visible());
    row.put_known(tid.visible());
    row.put_text(&comm.to_text());
    row.put_known(*cgroup_id);
    row.put(is_mptcp);
    if let Some(interface) = local.address().interface().or_else(|| remote.address().interface()) {
        row.put_at(INTERFACE, interface);
    }
}

/// Puts all cells of a record in its JSON form.
fn put_cells(row: &mut Row, record: &Value) {
    for (path, cell) in COLUMNS {
        put_cell(row, record, at(record, path), cell);
    }
}

/// The value that a path leads to; null where there is none.
fn at<'a>(record: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(record, |value, name| match name {
        "owner" => value["owners"].get(0).unwrap_or(&Value::Null),
        name => &value[name],
    })
}

fn put_cell(row: &mut Row, record: &Value, value: &Value, cell: Cell) {
    let numbers = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
    match (cell, value) {
        (Each(list, field), _) => {
            let entries = record[list].as_array().map_or(&[][..], Vec::as_slice);
            let known = |field: &Value| (!field.is_null()).then(|| field.clone());
            let fields: Vec<Value> = entries.iter().filter_map(|entry| known(&entry[field])).collect();
            row.put(numbers(&fields));
        }
        (Words(field), Value::Array(entries)) => {
            let words: Vec<&str> = entries.iter().filter_map(|entry| entry[field].as_str()).collect();
            row.put(words.join(" "));
        }
        (Text(_), Value::String(text)) => row.put_text(text),
        (Text(between), Value::Array(texts)) => {
            let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
            row.put_text(&texts.join(between));
        }
        (Numbers, Value::Array(values)) => row.put(numbers(values)),
        (Count, Value::Array(values)) => row.put(values.len()),
        (Time, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => row.put(format_args!("{time:.9}")),
            Err(_) => row.put(text),
        },
        (_, Value::Null) => row.put(""),
        (_, Value::String(text)) => row.put(text),
        (_, value) => row.put(value),
    }
}
