//! What a report says about processes, peers, opening stacks and verdicts.

use std::fmt;

use serde::Serialize;

use crate::{
    model::{
        escape::{Escaped, EscapedName},
        no_site::NoSite,
        pid::Pid,
        reason::ReasonId,
        stack::Stack,
        verdict::Verdict,
    },
    report::{side::Peer, time::Time},
};

/// The top entries, and the sum of the others.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ranking<T> {
    pub top: Vec<T>,
    /// Sockets of entries not in `top`.
    pub others: u64,
    /// Entries not in `top`, at least.
    pub other_entries: u64,
    /// Too many entries to count each: the counts in `top` are lower bounds.
    pub is_lower_bound: bool,
}

/// The sockets with one verdict.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VerdictShare {
    /// `None` when the facts did not suffice.
    pub verdict: Option<Verdict>,
    pub sockets: u64,
    /// Still stuck when last seen.
    pub still_stuck: u64,
    /// What the verdict means and what to do, in one sentence; with its most frequent reason, where reasons were recorded.
    pub advice: &'static str,
    /// Why, by the most telling reason of each socket, the most frequent first; empty where reasons were not recorded.
    pub reasons: Vec<ReasonShare>,
}

/// The sockets with one verdict and one most telling reason.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReasonShare {
    pub id: ReasonId,
    pub sockets: u64,
    /// Still stuck when last seen.
    pub still_stuck: u64,
    /// What is so of the first of them.
    pub text: String,
    /// What it means and what to do, in one sentence.
    pub advice: &'static str,
}

/// Sockets of a process with one most telling reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReasonTally {
    pub id: ReasonId,
    pub sockets: u64,
}

/// What all processes of one name held.
#[derive(Clone, Debug)]
pub(crate) struct ProgramShare {
    pub comm: String,
    pub processes: u64,
    /// Stuck sockets, each once.
    pub sockets: u64,
    /// Hosts on which they ran.
    pub hosts: u64,
}

/// What one process held.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProcessShare {
    #[serde(flatten)]
    pub process: ProcessName,
    pub exe: Option<String>,
    pub cmdline: Vec<String>,
    /// The same, shortened for people: in no document.
    #[serde(skip)]
    pub command: Option<String>,
    pub uid: Option<u32>,
    pub started: Option<Time>,
    pub unit: Option<String>,
    pub container: Option<String>,
    /// What people call the container.
    pub container_name: Option<String>,
    /// The Kubernetes pod.
    pub pod: Option<String>,
    /// Its namespace in Kubernetes.
    pub pod_namespace: Option<String>,
    /// Where it runs, as people call it: in no document.
    #[serde(skip)]
    pub place: Option<String>,
    /// Stuck sockets it held.
    pub sockets: u64,
    /// Still stuck when last seen.
    pub still_stuck: u64,
    /// Its share of all stuck sockets, 0 to 1. A socket with several holders counts for each.
    pub share: f64,
    /// The longest stay among them.
    pub longest_ns: u64,
    /// Growth in sockets per minute, from the session's summary.
    pub per_minute: Option<f64>,
    /// Descriptors in use at the end of the session.
    pub fds_used: Option<u64>,
    /// Its limit of descriptors.
    pub fds_limit: Option<u64>,
    /// Time until they run out at this rate.
    pub fds_run_out_in_ns: Option<u64>,
    pub verdicts: Vec<VerdictCount>,
    /// Empty where reasons were not recorded.
    pub reasons: Vec<ReasonTally>,
    /// Shares are of this process's sockets.
    pub peers: Vec<PeerShare>,
    /// Where its sockets were opened.
    pub sites: Vec<SiteCount>,
    /// Growth of its descriptors in use per minute.
    pub fds_per_minute: Option<f64>,
    /// Connections that wait for accept().
    pub accept_queue: Option<u64>,
    /// How many there is room for.
    pub accept_queue_limit: Option<u64>,
    /// Time until there is none left.
    pub accept_queue_full_in_ns: Option<u64>,
    /// Its sockets that other processes hold as well.
    pub shared: u64,
    /// How many other processes hold some of its sockets.
    pub shared_with: u64,
    /// How many others hold all of its sockets, and maybe more.
    #[serde(skip)]
    pub shares_all_with: u64,
    /// The one that holds most of its sockets as well.
    #[serde(skip)]
    pub partner: Option<ProcessName>,
}

/// Sockets with one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VerdictCount {
    /// `None` when the facts did not suffice.
    pub verdict: Option<Verdict>,
    pub sockets: u64,
}

/// Sockets opened at one line of code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SiteCount {
    #[serde(flatten)]
    pub site: Site,
    pub sockets: u64,
}

/// The frame to look at first, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Site {
    pub site: Option<String>,
    /// `None` where there is a line, and where the reason was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_site: Option<NoSite>,
}

impl Site {
    pub(crate) fn of(stack: &Stack) -> Self {
        let line = stack.line().map(str::to_owned);
        match &stack.no_site {
            Some(no_site) if line.is_none() => Self { site: None, no_site: Some(no_site.clone()) },
            _ => Self { site: Some(line.unwrap_or_else(|| "?".to_owned())), no_site: None },
        }
    }

    /// Whether there is anything to say.
    pub(crate) fn is_known(&self) -> bool {
        self.site.is_some() || self.no_site.is_some()
    }

    /// `all were opened at serve (main.go:12)`, or `the line of code of 7 is not known: …`.
    pub(crate) fn clause(&self, subject: &str, be: &str) -> String {
        let words = match &self.no_site {
            Some(no_site) => no_site.to_string(),
            None => format!("opened at {self}"),
        };
        match words.strip_prefix(NoSite::NOT_KNOWN) {
            None => format!("{subject} {be} {words}"),
            Some(why) if subject == "it" => format!("its line of code is not known: {why}"),
            Some(why) => format!("the line of code of {subject} is not known: {why}"),
        }
    }
}

/// Below a heading that says "opened at".
impl fmt::Display for Site {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { no_site: Some(no_site), .. } => no_site.fmt(formatter),
            Self { site, .. } => Escaped(site.as_deref().unwrap_or("?")).fmt(formatter),
        }
    }
}

/// Identifies a process to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessName {
    pub comm: String,
    pub pid: Pid,
    /// Set when the report covers several hosts.
    pub host: Option<String>,
    /// The pid on the host, where the process was not visible to the tool.
    pub host_pid: Option<u32>,
}

impl ProcessName {
    pub(crate) fn new(comm: String, pid: Pid, host: Option<&str>) -> Self {
        Self { comm, pid, host: host.map(str::to_owned), host_pid: pid.on_host() }
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comm, pid, host, host_pid: _ } = self;
        write!(formatter, "{} (pid {pid}", EscapedName(comm))?;
        match host {
            Some(host) => write!(formatter, " on {})", Escaped(host)),
            None => write!(formatter, ")"),
        }
    }
}

/// Stuck sockets towards one peer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerShare {
    #[serde(flatten)]
    pub peer: Peer,
    /// Stuck sockets.
    pub sockets: u64,
    /// The share of all, 0 to 1.
    pub share: f64,
}

/// Stuck sockets opened from one stack.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StackShare {
    #[serde(flatten)]
    pub site: Site,
    /// The whole stack, innermost first.
    pub stack: Vec<String>,
    /// The stack ends early.
    pub stack_is_cut: bool,
    /// Stuck sockets.
    pub sockets: u64,
    /// The share of all stuck sockets, 0 to 1.
    pub share: f64,
}
