//! Reads the records about sockets that are stuck, and about whoever holds them.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, de::Error as _};

use super::{ParseError, SocketText, TaskText};
use crate::model::{
    owner::{CalledBy, Evidence, OpenedBy, Owner},
    process::ProcessIdentity,
    record::{Age, EndedHow, Leak, LeakEnd, Timed},
    stack::Stack,
    state::State,
    task::{Call, OpenedHow},
    verdict::Verdict,
};

/// Whether an age is certain.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum AgeIs {
    Exact,
    AtLeast,
}

#[derive(Deserialize)]
struct AgeText {
    close_wait_ns: Option<u64>,
    close_wait_is: Option<AgeIs>,
    close_wait_at_most_ns: Option<u64>,
}

impl AgeText {
    fn into_age(self) -> Result<Option<Age>, serde_json::Error> {
        match self {
            Self { close_wait_ns: None, .. } => Ok(None),
            Self { close_wait_is: None, .. } => Err(serde_json::Error::missing_field("close_wait_is")),
            Self { close_wait_ns: Some(ns), close_wait_is: Some(AgeIs::Exact), .. } => {
                Ok(Some(Age { ns, is_exact: true, at_most_ns: None }))
            }
            Self { close_wait_ns: Some(ns), close_wait_is: Some(AgeIs::AtLeast), close_wait_at_most_ns } => {
                Ok(Some(Age { ns, is_exact: false, at_most_ns: close_wait_at_most_ns }))
            }
        }
    }
}

#[derive(Deserialize)]
struct OwnerText {
    pid: u32,
    comm: String,
    exe: Option<String>,
    cmdline: Vec<String>,
    uid: Option<u32>,
    fds: Vec<u32>,
    started: Option<Timestamp>,
    unit: Option<String>,
    container: Option<String>,
    cgroup: Option<String>,
    inherited: Option<bool>,
    evidence: Evidence,
}

impl OwnerText {
    fn into_owner(self) -> Owner {
        let Self { pid, comm, exe, cmdline, uid, fds, started, unit, container, cgroup, inherited, evidence } =
            self;
        let start_ticks = None;
        let process =
            ProcessIdentity { pid, comm, exe, cmdline, uid, started, start_ticks, cgroup, unit, container };
        Owner { process: Arc::new(process), fds, inherited, evidence }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum HowText {
    Accept,
    Connect,
}

#[derive(Deserialize)]
struct CallText<'a> {
    pid: u32,
    tid: u32,
    #[serde(borrow)]
    comm: Cow<'a, str>,
    how: Option<HowText>,
    time: Timestamp,
    site: Option<String>,
    stack: Option<Vec<String>>,
    stack_is_cut: Option<bool>,
}

impl CallText<'_> {
    fn into_called(self) -> Result<Timed<CalledBy>, serde_json::Error> {
        let Self { pid, tid, comm, how: _, time, site, stack, stack_is_cut } = self;
        let task = TaskText { pid, tid, comm }.into_task()?;
        let stack =
            stack.map(|frames| Arc::new(Stack { frames, site, is_cut: stack_is_cut.unwrap_or(false) }));
        let call = Call { task, ktime_ns: 0, stack: None };
        Ok(Timed { time, what: CalledBy { call, stack } })
    }

    fn into_opened(self) -> Result<Timed<OpenedBy>, serde_json::Error> {
        let how = match self.how {
            Some(HowText::Accept) => OpenedHow::Accept,
            Some(HowText::Connect) => OpenedHow::Connect,
            None => return Err(serde_json::Error::missing_field("how")),
        };
        let Timed { time, what: called } = self.into_called()?;
        Ok(Timed { time, what: OpenedBy { how, called } })
    }
}

pub(crate) fn leak(text: &[u8]) -> Result<Leak, ParseError> {
    #[derive(Deserialize)]
    struct LeakText<'a> {
        time: Timestamp,
        #[serde(flatten)]
        socket: SocketText,
        state: State,
        #[serde(flatten)]
        age: AgeText,
        recv_q: Option<u32>,
        send_q: Option<u32>,
        verdict: Option<Verdict>,
        owners: Vec<OwnerText>,
        #[serde(borrow)]
        opened_by: Option<CallText<'a>>,
        #[serde(borrow)]
        eof_read_by: Option<CallText<'a>>,
    }
    let LeakText { time, socket, state, age, recv_q, send_q, verdict, owners, opened_by, eof_read_by } =
        serde_json::from_slice(text)?;
    Ok(Leak {
        time,
        socket: socket.into_socket(),
        state,
        age: age.into_age()?,
        recv_q,
        send_q,
        verdict,
        owners: owners.into_iter().map(OwnerText::into_owner).collect(),
        opened_by: opened_by.map(CallText::into_opened).transpose()?,
        eof_read_by: eof_read_by.map(CallText::into_called).transpose()?,
    })
}

pub(crate) fn leak_end(text: &[u8]) -> Result<LeakEnd, ParseError> {
    #[derive(Deserialize)]
    struct LeakEndText {
        time: Timestamp,
        #[serde(flatten)]
        socket: SocketText,
        #[serde(flatten)]
        age: AgeText,
        how: Option<EndedHow>,
        closed_by: Option<OwnerText>,
    }
    let LeakEndText { time, socket, age, how, closed_by } = serde_json::from_slice(text)?;
    let age = age.into_age()?.ok_or_else(|| serde_json::Error::missing_field("close_wait_ns"))?;
    let closed_by = closed_by.map(OwnerText::into_owner);
    Ok(LeakEnd { time, socket: socket.into_socket(), age, how, closed_by })
}
