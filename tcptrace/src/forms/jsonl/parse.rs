//! The JSON form read back. Fields that are not known are passed over, and records of types that are not known kept as
//! they are, so that what a later version writes can be read; nonsense is refused. What no form shows has a neutral value: a transition's
//! `kernel_socket` is 0, its `cause` not known, its `key` the cookie (0 without one).

pub(crate) mod leak;
pub(crate) mod summary;

use std::{borrow::Cow, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, de::Error as _};
use thiserror::Error;

use crate::model::record::{Header, Record, SCHEMA, Timed, other::Other};
use crate::model::{
    endpoints::{Endpoint, Endpoints},
    host_identity::HostIdentity,
    socket::{KernelSocket, Socket, SocketKey},
    state::State,
    task::{Comm, Task},
    transition::Transition,
};

/// A text that is no record.
#[derive(Debug, Error)]
pub enum ParseError {
    /// Not the JSON of a record.
    #[error("not a record: {0}")]
    Json(#[from] serde_json::Error),
    /// Records of a later form, which may mean something else.
    #[error("its records have the form {found}; this tcptrace reads forms up to {SCHEMA}")]
    NewerSchema {
        /// The form.
        found: u32,
    },
}

impl Record {
    /// Reads a record from the JSON object that it is written as.
    ///
    /// # Errors
    /// When the text is no record, or one of a later form.
    pub fn from_json(text: &[u8]) -> Result<Self, ParseError> {
        let kind = kind(text)?;
        Ok(match &*kind {
            "transition" => {
                Self::Transition(serde_json::from_slice::<TransitionText<'_>>(text)?.into_record()?)
            }
            "leak" => Self::Leak(Box::new(leak::leak(text)?)),
            "leak_end" => Self::LeakEnd(Box::new(leak::leak_end(text)?)),
            "header" => Self::Header(Box::new(header(text)?)),
            "summary" if let Some(summary) = summary::summary(text)? => Self::Summary(Box::new(summary)),
            other => Self::Other(Box::new(Other::from_json(other, text)?)),
        })
    }
}

/// The type of a record. This program writes it first; others may have put it anywhere.
fn kind(text: &[u8]) -> Result<Cow<'_, str>, ParseError> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    let first = text.strip_prefix(br#"{"type":""#).and_then(|rest| {
        let length = rest.iter().position(|byte| *byte == b'"')?;
        let name = rest.get(..length).filter(|name| !name.contains(&b'\\'))?;
        std::str::from_utf8(name).ok()
    });
    match first {
        Some(name) => Ok(Cow::Borrowed(name)),
        None => Ok(serde_json::from_slice::<Typed<'_>>(text)?.r#type),
    }
}

fn header(text: &[u8]) -> Result<Header, ParseError> {
    #[derive(Deserialize)]
    struct HeaderText {
        schema: u32,
        version: String,
        host: String,
        kernel: String,
        boot_id: Option<String>,
        started: Timestamp,
        command: String,
        backend: String,
    }
    let HeaderText { schema, version, host, kernel, boot_id, started, command, backend } =
        serde_json::from_slice(text)?;
    if schema > SCHEMA {
        return Err(ParseError::NewerSchema { found: schema });
    }
    Ok(Header {
        version,
        host: HostIdentity { host, kernel, boot_id },
        started,
        command: vec![command],
        backend,
    })
}

/// The fields of a task.
#[derive(Deserialize)]
struct TaskText<'a> {
    pid: u32,
    tid: u32,
    #[serde(borrow)]
    comm: Cow<'a, str>,
}

impl TaskText<'_> {
    fn into_task(self) -> Result<Task, serde_json::Error> {
        let Self { pid, tid, comm } = self;
        Ok(Task { pid, tid, comm: comm_of(&comm)? })
    }
}

/// The name that shows as this text. A byte that was no UTF-8 shows as U+FFFD, which is longer: where that leaves no
/// room, a byte that shows the same stands for it.
fn comm_of(text: &str) -> Result<Comm, serde_json::Error> {
    /// No byte of any UTF-8 text.
    const NO_CHARACTER: u8 = 0xff;
    let comm = |name: &[u8]| {
        let mut bytes = [0; 16];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        (!name.contains(&0)).then_some(Comm(bytes))
    };
    let shortened = || {
        let mut bytes = Vec::with_capacity(text.len());
        for character in text.chars() {
            match character {
                char::REPLACEMENT_CHARACTER => bytes.push(NO_CHARACTER),
                _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    };
    comm(text.as_bytes()).or_else(|| comm(&shortened())).ok_or_else(|| {
        serde_json::Error::custom(format_args!("`{}` is no name of a task", text.escape_debug()))
    })
}

/// The fields that every record about a socket has.
#[derive(Deserialize)]
struct SocketText {
    cookie: Option<u64>,
    netns: Option<u32>,
    laddr: IpAddr,
    lport: u16,
    raddr: IpAddr,
    rport: u16,
}

impl SocketText {
    fn into_socket(self) -> Socket {
        let Self { cookie, netns, laddr, lport, raddr, rport } = self;
        let endpoints = Endpoints { local: Endpoint::new(laddr, lport), remote: Endpoint::new(raddr, rport) };
        Socket { cookie, netns, endpoints }
    }
}

/// The fields of a transition. Those of the socket are not flattened into it: that costs more than all the rest.
#[derive(Deserialize)]
struct TransitionText<'a> {
    time: Timestamp,
    ktime_ns: u64,
    cookie: Option<u64>,
    netns: Option<u32>,
    laddr: IpAddr,
    lport: u16,
    raddr: IpAddr,
    rport: u16,
    old_state: State,
    new_state: State,
    dwell_ns: Option<u64>,
    #[serde(borrow)]
    oncpu: TaskText<'a>,
    cgroup_id: Option<u64>,
    #[serde(default)]
    mptcp: bool,
}

impl TransitionText<'_> {
    fn into_record(self) -> Result<Timed<Transition>, serde_json::Error> {
        let Self { time, ktime_ns, cookie, netns, laddr, lport, raddr, rport, old_state, new_state, .. } =
            self;
        let socket = SocketText { cookie, netns, laddr, lport, raddr, rport }.into_socket();
        let entered_ns = self
            .dwell_ns
            .map(|dwell| {
                ktime_ns.checked_sub(dwell).ok_or_else(|| {
                    serde_json::Error::custom("a state was entered before the machine was started")
                })
            })
            .transpose()?;
        let what = Transition {
            key: SocketKey(cookie.unwrap_or(0)),
            socket,
            is_mptcp: self.mptcp,
            ktime_ns,
            old_state,
            new_state,
            entered_ns,
            oncpu: self.oncpu.into_task()?,
            kernel_socket: KernelSocket(0),
            cause: None,
            cgroup_id: self.cgroup_id,
        };
        Ok(Timed { time, what })
    }
}

#[cfg(test)]
mod tests;
