//! Reads the summary of a session.

use std::{fmt, net::IpAddr, sync::Arc};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::ParseError;
use crate::model::{
    endpoints::Endpoint,
    process::ProcessIdentity,
    record::{PeerCount, ProcessSummary, StackCount, Summary, Totals},
    stack::Stack,
    verdict::Verdict,
};

/// Counts by verdict, in the order they are written in.
struct Verdicts(Vec<(Verdict, u64)>);

impl<'de> Deserialize<'de> for Verdicts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Verdicts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("counts by verdict")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Verdicts, A::Error> {
                let mut verdicts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    verdicts.push(entry);
                }
                Ok(Verdicts(verdicts))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct PeerText {
    raddr: IpAddr,
    rport: u16,
    count: u64,
}

#[derive(Deserialize)]
struct StackText {
    count: u64,
    site: Option<String>,
    stack: Vec<String>,
    stack_is_cut: bool,
}

#[derive(Deserialize)]
struct ProcessText {
    pid: u32,
    comm: String,
    unit: Option<String>,
    container: Option<String>,
    sockets: u64,
    still_stuck: u64,
    oldest_ns: u64,
    per_minute: Option<f64>,
    verdicts: Verdicts,
    peers: Vec<PeerText>,
    #[serde(default)]
    stacks: Vec<StackText>,
    fds_used: Option<u64>,
    fds_limit: Option<u64>,
    fds_run_out_in_ns: Option<u64>,
}

impl ProcessText {
    fn into_summary(self) -> ProcessSummary {
        let peer = |PeerText { raddr, rport, count }| PeerCount { peer: Endpoint::new(raddr, rport), count };
        let stack = |StackText { count, site, stack, stack_is_cut }| StackCount {
            stack: Arc::new(Stack { frames: stack, site, is_cut: stack_is_cut }),
            count,
        };
        let process = ProcessIdentity {
            unit: self.unit,
            container: self.container,
            ..ProcessIdentity::from_name(self.pid, &self.comm)
        };
        ProcessSummary {
            process: Arc::new(process),
            sockets: self.sockets,
            still_stuck: self.still_stuck,
            oldest_ns: self.oldest_ns,
            per_minute: self.per_minute,
            verdicts: self.verdicts.0,
            peers: self.peers.into_iter().map(peer).collect(),
            stacks: self.stacks.into_iter().map(stack).collect(),
            fds_used: self.fds_used,
            fds_limit: self.fds_limit,
            fds_run_out_in_ns: self.fds_run_out_in_ns,
        }
    }
}

/// The summary; `None` when it says more than that, as `clear` does.
pub(crate) fn summary(text: &[u8]) -> Result<Option<Summary>, ParseError> {
    #[derive(Deserialize)]
    struct SummaryText {
        time: Timestamp,
        duration_ns: u64,
        #[serde(flatten)]
        totals: Totals,
        in_close_wait: Option<u64>,
        processes: Vec<ProcessText>,
        #[serde(default)]
        more_processes: u64,
        outcomes: Option<IgnoredAny>,
    }
    let SummaryText { time, duration_ns, totals, in_close_wait, processes, more_processes, outcomes } =
        serde_json::from_slice(text)?;
    if outcomes.is_some() {
        return Ok(None);
    }
    let processes = processes.into_iter().map(ProcessText::into_summary).collect();
    Ok(Some(Summary { time, duration_ns, totals, in_close_wait, processes, more_processes }))
}
