//! Sorts the transitions of the churn program into the connections they belong to.
//!
//! It sorts by ports alone, so that it asks the same of both backends.

use std::collections::BTreeMap;

use serde_json::Value;

use super::churn::{CLIENT, SERVER};
use super::compare::{Comparison, number, text};
use super::kernel_is_at_least;

/// The states that a socket went through: one record for each step.
pub(crate) struct Life {
    pub steps: Vec<Value>,
}

/// All lives behind one port: clients and servers by the client's port, and the listener.
pub(crate) struct Connections {
    pub clients: BTreeMap<u64, Life>,
    pub servers: BTreeMap<u64, Life>,
    pub listener: Life,
}

impl Connections {
    /// Sorts the records of type `transition` that have this port on one side.
    pub(crate) fn behind(port: u16, records: &[Value]) -> Self {
        let empty = || Life { steps: Vec::new() };
        let mut all = Self { clients: BTreeMap::new(), servers: BTreeMap::new(), listener: empty() };
        // A client takes its first step before it has a port: the kernel chooses one afterwards
        // (tcp_v4_connect). The program connects one after the other, so the order shows which client it is.
        let mut dialling = None;
        // A server may take its first step while it is still a copy of its listener; its next one follows at once.
        let mut arriving = None;
        for record in records.iter().filter(|record| record["type"] == "transition") {
            if record["rport"] == port {
                if record["old_state"] == "CLOSE" {
                    dialling = Some(record.clone());
                    continue;
                }
                let client = all.clients.entry(number(record, "lport")).or_insert_with(empty);
                if record["old_state"] == "SYN_SENT" {
                    client.steps.extend(dialling.take());
                }
                client.steps.push(record.clone());
            } else if is_being_made(record) {
                arriving = Some(record.clone());
            } else if record["lport"] == port {
                let is_listener = record["rport"] == 0;
                let life = match number(record, "rport") {
                    _ if is_listener => &mut all.listener,
                    client => all.servers.entry(client).or_insert_with(empty),
                };
                if record["old_state"] == "SYN_RECV" {
                    life.steps.extend(arriving.take());
                }
                life.steps.push(record.clone());
            }
        }
        all
    }

    /// Expects every connection to have made all its transitions, in order.
    pub(crate) fn check(&self, expected: usize) {
        assert_eq!(self.clients.len(), expected, "clients seen, by port");
        assert_eq!(self.servers.len(), expected, "servers seen, by port");
        self.clients.values().for_each(|life| life.check(&CLIENT));
        self.servers.values().for_each(|life| life.check(&SERVER));
        self.listener.check(&["CLOSE", "LISTEN", "CLOSE"]);
        assert!(
            self.clients.keys().eq(self.servers.keys()),
            "the clients of the servers have other ports than the clients"
        );
    }

    pub(crate) fn lives(&self) -> impl Iterator<Item = &Life> {
        self.clients.values().chain(self.servers.values())
    }
}

/// Whether this is the step of a connection that has no port and no cookie of its own yet, which only older kernels
/// report.
pub(crate) fn is_being_made(record: &Value) -> bool {
    let is_nameless = record["new_state"] == "SYN_RECV" && record["rport"] == 0;
    assert!(!is_nameless || !kernel_is_at_least((6, 18)), "this kernel knows the port by then: {record}");
    is_nameless
}

impl Life {
    fn check(&self, states: &[&str]) {
        let mut comparison = Comparison::of("the transitions of a socket");
        let steps: Vec<(&str, &str)> =
            self.steps.iter().map(|step| (text(step, "old_state"), text(step, "new_state"))).collect();
        let expected: Vec<(&str, &str)> = states.windows(2).map(|pair| (pair[0], pair[1])).collect();
        comparison.holds(steps == expected, || format!("expected {expected:?}, are {steps:?}"));
        let mut before: Option<&Value> = None;
        for step in &self.steps {
            let dwell = before.map(|before| number(step, "ktime_ns") - number(before, "ktime_ns"));
            // A connection that is being made has no cookie. Where times are kept by cookie, this one is missing.
            let is_unknown = before.is_some_and(is_being_made) && step["dwell_ns"].is_null();
            if !is_unknown {
                comparison.field(step, "dwell_ns", dwell);
            }
            comparison.holds(!is_being_made(step) || step["cookie"].is_null(), || {
                format!("cookie: a copy of the listener's, {}", step["cookie"])
            });
            before = Some(step);
        }
        let cookies: Vec<&Value> = self.steps.iter().map(|step| &step["cookie"]).collect();
        let is_one = cookies.iter().all(|cookie| cookie.is_null() || *cookie == cookies[cookies.len() - 1]);
        comparison.holds(is_one, || format!("one socket has several cookies: {cookies:?}"));
        comparison.finish(&self.steps.iter().collect::<Vec<_>>());
    }
}
