//! The JSON form of each record: one object, fields in the order and by the names that are promised.
//! A value that is not known is `null`.

pub(crate) mod time_wait;

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq as _},
};

use crate::model::record::{
    Age, Header, Leak, LeakEnd, PeerCount, ProcessSummary, Record, SCHEMA, StackCount, Summary, Timed,
};
use crate::model::{
    owner::{CalledBy, OpenedBy, Owner},
    process::ProcessIdentity,
    socket::Socket,
    state::State,
    task::{Call, Task},
    transition::Transition,
};

/// Writes a value as the string it displays as, without allocating.
pub(crate) struct Shown<T>(pub T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Header(header) => header.serialize(serializer),
            Self::Transition(transition) => transition.serialize(serializer),
            Self::Leak(leak) => leak.serialize(serializer),
            Self::LeakEnd(end) => end.serialize(serializer),
            Self::TimeWait(destination) => destination.serialize(serializer),
            Self::TimeWaitSummary(namespace) => namespace.serialize(serializer),
            Self::Cleared(cleared) => cleared.serialize(serializer),
            Self::Summary(summary) => summary.serialize(serializer),
            Self::ClearEnd(end) => end.serialize(serializer),
            Self::Other(other) => other.serialize(serializer),
        }
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { version, host, started, command, backend } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "header")?;
        map.serialize_entry("schema", &SCHEMA)?;
        map.serialize_entry("version", version)?;
        map.serialize_entry("host", &host.host)?;
        map.serialize_entry("kernel", &host.kernel)?;
        map.serialize_entry("boot_id", &host.boot_id)?;
        map.serialize_entry("started", &Shown(started))?;
        map.serialize_entry("command", &command.join(" "))?;
        map.serialize_entry("backend", backend)?;
        map.end()
    }
}

/// The fields that every record about a socket has.
pub(crate) fn socket_fields<M: SerializeMap>(map: &mut M, socket: &Socket) -> Result<(), M::Error> {
    let Socket { cookie, netns, endpoints } = socket;
    map.serialize_entry("cookie", cookie)?;
    map.serialize_entry("netns", netns)?;
    map.serialize_entry("family", &endpoints.family())?;
    map.serialize_entry("laddr", &endpoints.local.ip())?;
    map.serialize_entry("lport", &endpoints.local.port())?;
    map.serialize_entry("raddr", &endpoints.remote.ip())?;
    map.serialize_entry("rport", &endpoints.remote.port())
}

pub(crate) fn age_fields<M: SerializeMap>(map: &mut M, age: Option<&Age>) -> Result<(), M::Error> {
    map.serialize_entry("close_wait_ns", &age.map(|age| age.ns))?;
    map.serialize_entry("close_wait_is", &age.map(Age::kind))?;
    map.serialize_entry("close_wait_at_most_ns", &age.and_then(Age::at_most))
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { pid, tid, comm } = self;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("pid", pid)?;
        map.serialize_entry("tid", tid)?;
        map.serialize_entry("comm", &comm.to_text())?;
        map.end()
    }
}

impl Serialize for Timed<Transition> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { time, what } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "transition")?;
        map.serialize_entry("time", &Shown(NanosecondTime(time)))?;
        map.serialize_entry("ktime_ns", &what.ktime_ns)?;
        socket_fields(&mut map, &what.socket)?;
        map.serialize_entry("old_state", &what.old_state)?;
        map.serialize_entry("new_state", &what.new_state)?;
        map.serialize_entry("dwell_ns", &what.dwell_ns())?;
        map.serialize_entry("oncpu", &what.oncpu)?;
        map.serialize_entry("cgroup_id", &what.cgroup_id)?;
        map.serialize_entry("mptcp", &what.is_mptcp)?;
        map.end()
    }
}

/// RFC 3339 with all nine digits of the nanoseconds, so that lines are of one width and sort as text.
pub(crate) struct NanosecondTime<'a>(pub &'a jiff::Timestamp);

impl fmt::Display for NanosecondTime<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.9}", self.0)
    }
}

/// The fields of a call on a socket; `how` says which call, where that is not clear.
fn call_fields<M: SerializeMap>(
    map: &mut M,
    time: &jiff::Timestamp,
    called: &CalledBy,
    how: Option<&str>,
) -> Result<(), M::Error> {
    let CalledBy { call: Call { task: Task { pid, tid, comm }, ktime_ns: _, stack: _ }, stack } = called;
    map.serialize_entry("pid", pid)?;
    map.serialize_entry("tid", tid)?;
    map.serialize_entry("comm", &comm.to_text())?;
    if let Some(how) = how {
        map.serialize_entry("how", how)?;
    }
    map.serialize_entry("time", &Shown(NanosecondTime(time)))?;
    map.serialize_entry("site", &stack.as_ref().and_then(|stack| stack.site.as_ref()))?;
    map.serialize_entry("stack", &stack.as_ref().map(|stack| &stack.frames))?;
    map.serialize_entry("stack_is_cut", &stack.as_ref().map(|stack| stack.is_cut))
}

impl Serialize for Timed<OpenedBy> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OpenedBy { how, called } = &self.what;
        let mut map = serializer.serialize_map(None)?;
        call_fields(&mut map, &self.time, called, Some(how.name()))?;
        map.end()
    }
}

impl Serialize for Timed<CalledBy> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        call_fields(&mut map, &self.time, &self.what, None)?;
        map.end()
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { process, fds, inherited, evidence } = self;
        let ProcessIdentity {
            pid,
            comm,
            exe,
            cmdline,
            uid,
            started,
            start_ticks: _,
            cgroup,
            unit,
            container,
        } = process.as_ref();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("pid", pid)?;
        map.serialize_entry("comm", comm)?;
        map.serialize_entry("exe", exe)?;
        map.serialize_entry("cmdline", cmdline)?;
        map.serialize_entry("uid", uid)?;
        map.serialize_entry("fds", fds)?;
        map.serialize_entry("started", &started.as_ref().map(Shown))?;
        map.serialize_entry("unit", unit)?;
        map.serialize_entry("container", container)?;
        map.serialize_entry("cgroup", cgroup)?;
        map.serialize_entry("inherited", inherited)?;
        map.serialize_entry("evidence", evidence)?;
        map.end()
    }
}

impl Serialize for Leak {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { time, socket, state, age, recv_q, send_q, verdict, owners, opened_by, eof_read_by } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "leak")?;
        map.serialize_entry("time", &Shown(NanosecondTime(time)))?;
        socket_fields(&mut map, socket)?;
        map.serialize_entry("state", state)?;
        age_fields(&mut map, age.as_ref())?;
        map.serialize_entry("recv_q", recv_q)?;
        map.serialize_entry("send_q", send_q)?;
        map.serialize_entry("verdict", verdict)?;
        map.serialize_entry("owners", owners)?;
        map.serialize_entry("opened_by", opened_by)?;
        map.serialize_entry("eof_read_by", eof_read_by)?;
        map.end()
    }
}

impl Serialize for LeakEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { time, socket, age, how, closed_by } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "leak_end")?;
        map.serialize_entry("time", &Shown(NanosecondTime(time)))?;
        socket_fields(&mut map, socket)?;
        age_fields(&mut map, Some(age))?;
        map.serialize_entry("how", how)?;
        map.serialize_entry("closed_by", closed_by)?;
        map.end()
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        summary_fields(&mut map, self)?;
        map.end()
    }
}

/// The fields of the last record of every session.
pub(crate) fn summary_fields<M: SerializeMap>(map: &mut M, summary: &Summary) -> Result<(), M::Error> {
    let Summary { time, duration_ns, totals, in_close_wait, processes, more_processes } = summary;
    map.serialize_entry("type", "summary")?;
    map.serialize_entry("time", &Shown(NanosecondTime(time)))?;
    map.serialize_entry("duration_ns", duration_ns)?;
    map.serialize_entry("records", &totals.records)?;
    map.serialize_entry("lost", &totals.lost)?;
    map.serialize_entry("undecodable", &totals.undecodable)?;
    map.serialize_entry("evicted", &totals.evicted)?;
    map.serialize_entry("unattributed", &totals.unattributed)?;
    map.serialize_entry("openers_skipped", &totals.openers_skipped)?;
    map.serialize_entry("dropped", &totals.dropped)?;
    map.serialize_entry("in_close_wait", in_close_wait)?;
    map.serialize_entry("processes", processes)?;
    // Sessions that had not heard of it are replayed as they were.
    if *more_processes > 0 {
        map.serialize_entry("more_processes", more_processes)?;
    }
    Ok(())
}

impl Serialize for ProcessSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Verdicts<'a>(&'a ProcessSummary);
        impl Serialize for Verdicts<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.verdicts.iter().map(|(verdict, count)| (verdict.name(), count)))
            }
        }
        struct Peers<'a>(&'a [PeerCount]);
        impl Serialize for Peers<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[derive(Serialize)]
                struct Peer {
                    raddr: std::net::IpAddr,
                    rport: u16,
                    count: u64,
                }
                let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
                for PeerCount { peer, count } in self.0 {
                    sequence.serialize_element(&Peer {
                        raddr: peer.ip(),
                        rport: peer.port(),
                        count: *count,
                    })?;
                }
                sequence.end()
            }
        }
        struct Stacks<'a>(&'a [StackCount]);
        impl Serialize for Stacks<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[derive(Serialize)]
                struct Line<'a> {
                    count: u64,
                    site: Option<&'a str>,
                    stack: &'a [String],
                    stack_is_cut: bool,
                }
                let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
                for StackCount { stack, count } in self.0 {
                    sequence.serialize_element(&Line {
                        count: *count,
                        site: stack.site.as_deref(),
                        stack: &stack.frames,
                        stack_is_cut: stack.is_cut,
                    })?;
                }
                sequence.end()
            }
        }
        let Self {
            process,
            sockets,
            still_stuck,
            oldest_ns,
            per_minute,
            verdicts: _,
            peers,
            stacks,
            fds_used,
            fds_limit,
            fds_run_out_in_ns,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("pid", &process.pid)?;
        map.serialize_entry("comm", &process.comm)?;
        map.serialize_entry("unit", &process.unit)?;
        map.serialize_entry("container", &process.container)?;
        map.serialize_entry("sockets", sockets)?;
        map.serialize_entry("still_stuck", still_stuck)?;
        map.serialize_entry("oldest_ns", oldest_ns)?;
        map.serialize_entry("per_minute", per_minute)?;
        map.serialize_entry("verdicts", &Verdicts(self))?;
        map.serialize_entry("peers", &Peers(peers))?;
        map.serialize_entry("stacks", &Stacks(stacks))?;
        map.serialize_entry("fds_used", fds_used)?;
        map.serialize_entry("fds_limit", fds_limit)?;
        map.serialize_entry("fds_run_out_in_ns", fds_run_out_in_ns)?;
        map.end()
    }
}
