//! The last record of a session.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::timed::nanoseconds;
use crate::model::{
    coverage::NotLookedAt,
    endpoints::Endpoint,
    interface::Interface,
    process::ProcessIdentity,
    reason::ReasonId,
    stack::{self, Stack},
    verdict::Verdict,
};

/// What became of the records of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Records that came from the kernel side.
    pub records: u64,
    /// Records that found the ring buffer full, and transitions for which the kernel left the program out.
    pub lost: u64,
    /// Records that made no sense.
    pub undecodable: u64,
    /// Sockets that found a table full, in the kernel or here.
    pub evicted: u64,
    /// Reported sockets for which nobody could be named.
    pub unattributed: u64,
    /// Sockets whose opener was not kept, because too many were opened at once.
    pub openers_skipped: u64,
    /// Stacks that were not copied for want of room, so that callers may be missing. Where there are none, nothing is said
    /// of it: sessions that had not heard of it are replayed as they were.
    #[serde(skip_serializing_if = "is_zero")]
    pub stacks_dropped: u64,
    /// Records that this output is without, because it could not be written as fast as they came, or at all.
    pub dropped: u64,
    /// Of `lost`, those for which the kernel left the program out. Where there are none, nothing is said of it: sessions that
    /// had not heard of it are replayed as they were.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost_skipped: u64,
}

impl Totals {
    /// Records that found the ring full.
    #[must_use]
    pub fn lost_in_ring(&self) -> u64 {
        self.lost.saturating_sub(self.lost_skipped)
    }

    /// Whether so many records found the ring full that the session's answer is incomplete: more than one in a thousand.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        const ONE_IN: u64 = 1_000;
        let lost = self.lost_in_ring();
        lost.saturating_mul(ONE_IN) > self.records.saturating_add(lost)
    }
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    #[serde(with = "nanoseconds")]
    pub time: Timestamp,
    /// How long it was, in nanoseconds.
    pub duration_ns: u64,
    #[serde(flatten)]
    pub totals: Totals,
    /// Sockets in CLOSE_WAIT at the end, stuck or not; `None` where that was not looked at.
    pub in_close_wait: Option<u64>,
    /// One entry a process that held a stuck socket, the worst first.
    pub processes: Vec<ProcessSummary>,
    /// Processes that have no entry any more: there were too many, and all their sockets are closed. Where
    /// there are none, nothing is said of it: sessions that had not heard of it are replayed as they were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_processes: u64,
    /// Sockets that were reported, each once; `None` where none are, or of an earlier version.
    #[serde(default)]
    pub sockets: Option<u64>,
    /// Of these, how many are still stuck.
    #[serde(default)]
    pub still_stuck: Option<u64>,
    /// Of those, descriptors whose connection is over; `None` where that was not looked at.
    #[serde(default)]
    pub connections_over: Option<u64>,
    /// What could not be looked at, for a session that looked at sockets which were there; `None` for others, and where
    /// that was not recorded.
    #[serde(default)]
    pub not_looked_at: Option<NotLookedAt>,
}

/// What one process held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct ProcessSummary {
    /// Its name, and where it runs: no more of it is recorded here. What its container is called comes last of all
    /// (`container_names`).
    #[serde(flatten, with = "process_name")]
    pub process: Arc<ProcessIdentity>,
    /// Sockets that were reported for it.
    pub sockets: u64,
    /// Of these, how many are still in CLOSE_WAIT.
    pub still_stuck: u64,
    /// The longest time in CLOSE_WAIT, in nanoseconds.
    pub oldest_ns: u64,
    /// Growth: stuck sockets a minute at present, as the median of all slopes, so that a burst is no trend; `None` when
    /// there was too little to tell.
    pub per_minute: Option<f64>,
    /// How many sockets had which verdict.
    #[serde(with = "by_verdict")]
    pub verdicts: Vec<(Verdict, u64)>,
    /// Peers, the most frequent first; bounded.
    pub peers: Vec<PeerCount>,
    /// Stacks that opened the sockets, the most frequent first; bounded.
    #[serde(default)]
    pub stacks: Vec<StackCount>,
    /// Descriptors in use, when known.
    pub fds_used: Option<u64>,
    /// The process's limit of descriptors, when known.
    pub fds_limit: Option<u64>,
    /// At the rate at which those in use become more, they run out in so many nanoseconds; `None` when they do not.
    pub fds_run_out_in_ns: Option<u64>,
    /// Growth of the descriptors in use, a minute; `None` when there was too little to tell.
    #[serde(default)]
    pub fds_per_minute: Option<f64>,
    /// Connections that wait for accept(), where that is why its sockets are stuck.
    #[serde(default)]
    pub accept_queue: Option<u64>,
    /// The backlog: the kernel drops connections when there are more.
    #[serde(default)]
    pub accept_queue_limit: Option<u64>,
    /// The queue is full in so many nanoseconds; `None` when it is not going to be.
    #[serde(default)]
    pub accept_queue_full_in_ns: Option<u64>,
    /// Its command line, shortened for people; `None` where there is none that says more than the name, and where that was
    /// not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How many sockets had which verdict with which most telling reason, the most frequent first; `None` where reasons were
    /// not recorded, and nothing is said of them then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<ReasonCount>>,
}

/// How many stuck sockets had one verdict and one most telling reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    pub verdict: Verdict,
    /// `None` where no reason was found.
    pub id: Option<ReasonId>,
    pub count: u64,
    /// The reasons of the first of them, in words.
    pub text: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How many stuck sockets go to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PeerFields", into = "PeerFields")]
pub struct PeerCount {
    pub peer: Endpoint,
    pub count: u64,
}

#[derive(Serialize, Deserialize)]
struct PeerFields {
    raddr: IpAddr,
    rport: u16,
    count: u64,
    /// Of a link-local address.
    #[serde(default)]
    interface: Option<Interface>,
}

impl From<PeerCount> for PeerFields {
    fn from(PeerCount { peer, count }: PeerCount) -> Self {
        Self { raddr: peer.ip(), rport: peer.port(), count, interface: peer.address().interface() }
    }
}

impl From<PeerFields> for PeerCount {
    fn from(PeerFields { raddr, rport, count, interface }: PeerFields) -> Self {
        Self { peer: Endpoint::new(raddr, rport).on(interface), count }
    }
}

/// How many stuck sockets were opened from one stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackCount {
    pub count: u64,
    #[serde(flatten, with = "stack::required")]
    pub stack: Arc<Stack>,
}

mod process_name {
    use std::{borrow::Cow, sync::Arc};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::{pid::Pid, process::ProcessIdentity};

    #[derive(Serialize, Deserialize)]
    struct Fields<'a> {
        pid: Pid,
        comm: Cow<'a, str>,
        unit: Option<Cow<'a, str>>,
        container: Option<Cow<'a, str>>,
        #[serde(default)]
        host_pid: Option<u32>,
    }

    pub(super) fn serialize<S: Serializer>(
        process: &Arc<ProcessIdentity>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let fields = Fields {
            pid: process.pid,
            comm: Cow::from(&process.comm),
            unit: process.unit.as_deref().map(Cow::from),
            container: process.container.as_deref().map(Cow::from),
            host_pid: process.pid.on_host(),
        };
        fields.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<ProcessIdentity>, D::Error> {
        let Fields { pid, comm, unit, container, host_pid } = Fields::deserialize(deserializer)?;
        Ok(Arc::new(ProcessIdentity {
            unit: unit.map(Cow::into_owned),
            container: container.map(Cow::into_owned),
            ..ProcessIdentity::from_name(pid.or_of_host(host_pid), &comm)
        }))
    }
}

/// Puts what people call the container behind the other fields of a process: records grow at their end.
mod container_names {
    use std::{borrow::Cow, sync::Arc};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ProcessSummary;

    #[derive(Serialize, Deserialize)]
    struct Fields<'a, T> {
        #[serde(flatten)]
        summary: T,
        container_name: Option<Cow<'a, str>>,
        pod: Option<Cow<'a, str>>,
        pod_namespace: Option<Cow<'a, str>>,
    }

    #[derive(Serialize)]
    struct Others<'a>(#[serde(serialize_with = "ProcessSummary::serialize")] &'a ProcessSummary);

    #[derive(Deserialize)]
    struct Read(#[serde(deserialize_with = "ProcessSummary::deserialize")] ProcessSummary);

    impl Serialize for ProcessSummary {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let text = |name: &'_ Option<String>| name.clone().map(Cow::from);
            let fields = Fields {
                summary: Others(self),
                container_name: text(&self.process.container_name),
                pod: text(&self.process.pod),
                pod_namespace: text(&self.process.pod_namespace),
            };
            fields.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for ProcessSummary {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let Fields { summary: Read(mut summary), container_name, pod, pod_namespace } =
                Fields::<Read>::deserialize(deserializer)?;
            let process = Arc::make_mut(&mut summary.process);
            process.container_name = container_name.map(Cow::into_owned);
            process.pod = pod.map(Cow::into_owned);
            process.pod_namespace = pod_namespace.map(Cow::into_owned);
            Ok(summary)
        }
    }
}

/// Counts by verdict: a JSON object, in the order of the list.
mod by_verdict {
    use std::fmt;

    use serde::{
        Deserializer, Serializer,
        de::{MapAccess, Visitor},
    };

    use crate::model::verdict::Verdict;

    pub(super) fn serialize<S: Serializer>(
        verdicts: &[(Verdict, u64)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(verdicts.iter().copied())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(Verdict, u64)>, D::Error> {
        struct Counts;
        impl<'de> Visitor<'de> for Counts {
            type Value = Vec<(Verdict, u64)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("counts by verdict")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut verdicts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    verdicts.push(entry);
                }
                Ok(verdicts)
            }
        }
        deserializer.deserialize_map(Counts)
    }
}
