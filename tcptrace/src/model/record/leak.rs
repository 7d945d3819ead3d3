//! The records about sockets that are stuck.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    age::{self, Age},
    timed::{Timed, nanoseconds},
};
use crate::model::{
    ended::EndedHow,
    no_site::NoSite,
    other_end::OtherEnd,
    owner::{CalledBy, OpenedBy, Owner},
    reason::Reason,
    socket::Socket,
    stack::Stack,
    state::State,
    verdict::{UnknownBecause, Verdict},
};

/// A socket that has been in CLOSE_WAIT for longer than the threshold, whose connection is over while its descriptor
/// stays, or that was asked for by its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// When it was looked at.
    #[serde(with = "nanoseconds")]
    pub time: Timestamp,
    #[serde(flatten)]
    pub socket: Socket,
    /// Its state: CLOSE_WAIT, or CLOSE when its connection is over, unless others were asked for.
    pub state: State,
    /// Time in CLOSE_WAIT; `None` in other states.
    #[serde(flatten, with = "age::optional")]
    pub age: Option<Age>,
    /// Bytes the application has not read, the FIN counting as one; `None` when not known.
    pub recv_q: Option<u32>,
    /// Bytes the peer has not acknowledged; `None` when not known.
    pub send_q: Option<u32>,
    /// Why; `None` when that cannot be told.
    pub verdict: Option<Verdict>,
    /// Who holds it, each with the evidence.
    pub owners: Vec<Owner>,
    /// Who opened it, when that was seen.
    pub opened_by: Option<Timed<OpenedBy>>,
    /// The first read that returned the end of file; `None` when that was not watched (`--deep`), when
    /// nobody read it, when it was read by splice() or before it was watched, and when one read took it
    /// together with the last data: that one returned a length, and only another one tells the application.
    pub eof_read_by: Option<Timed<CalledBy>>,
    /// The end of its connection, for a descriptor that stayed; `None` while the connection lasts.
    #[serde(default)]
    pub over: Option<Over>,
    /// The other end, where it is on this host; `None` when it is elsewhere, or could not be looked for.
    #[serde(default)]
    pub other_end: Option<OtherEnd>,
    /// Whether keep-alive probes are at work, whose answers keep the least age small; `None` when not known.
    #[serde(default)]
    pub keep_alive: Option<bool>,
    /// Descriptors in use by the first process that answers for it. When they reach the limit, accept() cannot succeed.
    #[serde(default)]
    pub fds_used: Option<u64>,
    /// The limit of that process.
    #[serde(default)]
    pub fds_limit: Option<u64>,
    /// Why there is no verdict or no owner; `None` when both are known, and where that was not recorded.
    #[serde(default)]
    pub unknown_because: Option<UnknownBecause>,
    /// Why it is stuck, the most telling reason first; `None` where reasons were not recorded, and nothing is said of them
    /// then: sessions that had not heard of them are replayed as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Vec<Reason>>,
    /// Why `opened_by` is not known; `None` where it is, and where that was not recorded. With `opened_by`, its `site` or
    /// `no_site` says it: each leak of a live session has a line or the reason that it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_site: Option<NoSite>,
}

impl Leak {
    /// The most telling reason.
    #[must_use]
    pub fn first_reason(&self) -> Option<&Reason> {
        self.because.as_ref()?.first()
    }

    /// The stack that opened it, or what stands for one that nobody has; `None` where neither was recorded.
    #[must_use]
    pub fn opening_stack(&self) -> Option<Arc<Stack>> {
        match (&self.opened_by, &self.no_site) {
            (Some(opened), _) => opened.what.called.stack.clone(),
            (None, no_site) => no_site.clone().map(|no_site| Arc::new(Stack::unknown(no_site))),
        }
    }
}

/// The end of a connection whose descriptor stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// How it ended; `None` when that cannot be told any more.
    pub how: Option<EndedHow>,
    /// Nanoseconds since then; `None` when nobody saw it.
    pub ns: Option<u64>,
}

/// A socket that had been reported left CLOSE_WAIT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakEnd {
    #[serde(with = "nanoseconds")]
    pub time: Timestamp,
    #[serde(flatten)]
    pub socket: Socket,
    /// The whole time in CLOSE_WAIT.
    #[serde(flatten)]
    pub age: Age,
    /// How; `None` when the transition itself was not seen.
    pub how: Option<EndedHow>,
    /// Who closed it: seen in that process's own context.
    pub closed_by: Option<Owner>,
}
