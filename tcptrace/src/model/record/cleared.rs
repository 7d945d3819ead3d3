//! The account of ended sockets: the outcome of each, who ended it, and what was asked for.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny, ser::SerializeMap as _};

use super::{
    age::{self, Age},
    snapshot::Scope,
    summary::Summary,
    timed::nanoseconds,
};
use crate::model::{
    clearing::{Method, Outcome},
    criteria::{Criteria, Side},
    other_end::OtherEnd,
    owner::Owner,
    owner_criteria::OwnerCriteria,
    process::ProcessIdentity,
    reason::Reason,
    socket::Socket,
    state::State,
    units::in_nanoseconds,
    verdict::{UnknownBecause, Verdict},
};

/// A socket that was to be ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cleared {
    /// When it was acted upon; for a dry run, when it was looked at.
    #[serde(with = "nanoseconds")]
    pub time: Timestamp,
    #[serde(flatten)]
    pub socket: Socket,
    /// Its state before.
    pub state: State,
    /// The way; `None` when none fits.
    pub method: Option<Method>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Time in CLOSE_WAIT; `None` in other states.
    #[serde(flatten, with = "age::optional")]
    pub age: Option<Age>,
    /// Why it was stuck; `None` when that cannot be told, and in other states.
    pub verdict: Option<Verdict>,
    /// Who held it, each with the evidence; their descriptors stay open.
    pub owners: Vec<Owner>,
    /// Who ended it.
    #[serde(serialize_with = "shared")]
    pub cleared_by: Arc<Actor>,
    /// What was asked for.
    #[serde(serialize_with = "shared")]
    pub selection: Arc<Selection>,
    /// The other end, where it is on this host; `None` when it is elsewhere, or could not be looked for.
    pub other_end: Option<OtherEnd>,
    /// Why there is no verdict or no owner; `None` when both are known.
    pub unknown_because: Option<UnknownBecause>,
    /// Why it was stuck, the most telling reason first.
    pub because: Vec<Reason>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub criteria: Criteria,
    /// At most so many sockets, the oldest first.
    pub limit: Option<usize>,
}

fn shared<T: Serialize, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}

/// Who runs the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Process id of tcptrace.
    pub pid: u32,
    /// Its real user id.
    pub uid: u32,
    /// Whom sudo named as the user behind it; anybody who is root already can say what they like here.
    pub sudo_user: Option<String>,
}

/// How many sockets had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// No more.
    pub gone: u64,
    /// On their way.
    pub closing: u64,
    /// Could not be ended.
    pub refused: u64,
    /// Not touched.
    pub changed: u64,
    /// Only listed.
    pub dry_run: u64,
}

impl Outcomes {
    pub fn count(&mut self, outcome: &Outcome) {
        let Self { gone, closing, refused, changed, dry_run } = self;
        *match outcome {
            Outcome::Gone => gone,
            Outcome::Closing(_) => closing,
            Outcome::Refused(_) => refused,
            Outcome::Changed(_) => changed,
            Outcome::DryRun(_) => dry_run,
        } += 1;
    }
}

/// Descriptors of ended sockets that a process keeps until it closes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub process: Arc<ProcessIdentity>,
    pub descriptors: u64,
    /// Descriptors in use, when known.
    pub fds_used: Option<u64>,
    /// The process's limit of descriptors, when known.
    pub fds_limit: Option<u64>,
}

/// The end of a session that ended sockets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClearEnd {
    /// The sums, of the sockets that were chosen.
    #[serde(flatten)]
    pub summary: Summary,
    /// What became of them.
    pub outcomes: Outcomes,
    /// What stays open, the most first.
    #[serde(rename = "descriptors_kept", serialize_with = "sum_of_descriptors")]
    pub kept: Vec<Kept>,
}

fn sum_of_descriptors<S: Serializer>(kept: &[Kept], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(kept.iter().map(|kept| kept.descriptors).sum())
}

/// Tells the summary of a session that ended sockets from others.
#[derive(Deserialize)]
pub(crate) struct Ended {
    pub outcomes: Option<IgnoredAny>,
}

/// Sockets that were asked for in all but one respect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Too young, or of an age that is not known.
    pub too_young: u64,
    /// Sockets whose age answers to keep-alive probes hide.
    pub age_hidden: u64,
    /// Half-closed, and still used.
    pub still_used: u64,
    pub beyond_limit: u64,
}

/// What is to be ended, before anything is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClearPlan {
    /// The sockets, the oldest first.
    pub planned: Vec<Cleared>,
    /// Of these, how many are also held by a process that was not asked for.
    pub shared: u64,
    /// What was nearly chosen.
    pub left_out: LeftOut,
    /// What was looked at.
    pub scope: Scope,
    /// How long that took, in nanoseconds.
    pub duration_ns: u64,
    /// Descriptors that will stay open, the most first.
    pub kept: Vec<Kept>,
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct OutcomeFields {
            outcome: &'static str,
            reason: Option<String>,
        }
        OutcomeFields { outcome: self.name(), reason: self.reason() }.serialize(serializer)
    }
}

/// By the names of the options; a list is empty where nothing was asked for.
impl Serialize for Selection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { criteria, limit } = self;
        let Criteria { states, family, ports, addresses, netns, owners, older_than, verdicts } = criteria;
        let OwnerCriteria { pids, comms, units, containers, pods, namespaces } = owners;
        let states: Vec<State> = State::ALL.into_iter().filter(|state| states.contains(*state)).collect();
        let ports =
            |side| ports.iter().filter(|(_, of)| *of == side).map(|(port, _)| *port).collect::<Vec<_>>();
        let addresses: Vec<String> = addresses.iter().map(IpNet::to_string).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("state", &states)?;
        map.serialize_entry("older_than_ns", &in_nanoseconds(*older_than))?;
        map.serialize_entry("verdict", verdicts)?;
        map.serialize_entry("port", &ports(Side::Either))?;
        map.serialize_entry("lport", &ports(Side::Local))?;
        map.serialize_entry("rport", &ports(Side::Remote))?;
        map.serialize_entry("addr", &addresses)?;
        map.serialize_entry("family", &family.map(|family| family as u8))?;
        map.serialize_entry("netns", netns)?;
        map.serialize_entry("pid", pids)?;
        map.serialize_entry("comm", comms)?;
        map.serialize_entry("unit", units)?;
        map.serialize_entry("container", containers)?;
        map.serialize_entry("limit", limit)?;
        map.serialize_entry("pod", pods)?;
        map.serialize_entry("namespace", namespaces)?;
        map.end()
    }
}
