//! Finds out by watching how old sockets are whose age the answers to keep-alive probes hide. Ends nothing.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::{
    inspect::{inspector::Inspector, snapshot::HostSnapshot},
    model::{
        criteria::Criteria,
        finding::Finding,
        state::State,
        units::{Elapsed, in_nanoseconds, plural},
    },
};

/// What a socket looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    recv_q: Option<u32>,
    send_q: Option<u32>,
    looked_at_ns: u64,
}

/// Sockets in CLOSE_WAIT with keep-alive, by cookie.
pub(crate) struct Watched(FxHashMap<u64, Look>);

impl Watched {
    /// Takes note of what the sockets look like.
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let hidden = findings
            .iter()
            .filter(|finding| finding.state == State::CloseWait && finding.keep_alive == Some(true));
        Self(hidden.filter_map(|finding| Some((finding.socket.cookie?, look(finding)))).collect())
    }

    /// Waits for as long as the sockets have to be stuck, of which the age of so many is `hidden`, and looks again. Signals do what they do by default: nothing
    /// has been touched.
    pub(crate) async fn again(
        &self,
        inspector: &mut Inspector,
        criteria: &Criteria,
        hidden: u64,
    ) -> HostSnapshot {
        /// The kernel's times and ours are not taken at the same moment.
        const MARGIN: Duration = Duration::from_millis(100);
        let age = criteria.older_than;
        log::warn!(
            "watching {} for {}, because answers to keep-alive probes hide how old they are",
            plural(hidden, "socket"),
            Elapsed(in_nanoseconds(age)),
        );
        tokio::time::sleep(age.saturating_add(MARGIN)).await;
        let mut found = inspector.snapshot(criteria);
        for finding in &mut found.findings {
            self.add_age(finding);
        }
        found
    }

    /// A socket does not come back to CLOSE_WAIT: one that is in it again has been all the time. One that was used
    /// meanwhile is not what was asked for.
    fn add_age(&self, finding: &mut Finding) {
        let Some(before) = finding.socket.cookie.and_then(|cookie| self.0.get(&cookie)) else { return };
        let now = look(finding);
        if finding.state == State::CloseWait && (now.recv_q, now.send_q) == (before.recv_q, before.send_q) {
            finding.since = finding.since.known_at(before.looked_at_ns);
        }
    }
}

fn look(finding: &Finding) -> Look {
    Look { recv_q: finding.recv_q, send_q: finding.send_q, looked_at_ns: finding.looked_at_ns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        close_wait::Since,
        examples::{self, SECOND},
    };

    /// With keep-alive, looked at so many seconds after the start; the peer has just answered a probe.
    fn probed(second: u64) -> Finding {
        let now_ns = (1_000 + second) * SECOND;
        let since = Since::within(Some(500 * SECOND), now_ns - SECOND);
        Finding { keep_alive: Some(true), ..examples::finding(State::CloseWait, since, now_ns) }
    }

    fn age_after(mut finding: Finding) -> (u64, Option<u64>) {
        Watched::of(&[probed(0)]).add_age(&mut finding);
        finding.since.age_at(finding.looked_at_ns)
    }

    #[test]
    fn a_socket_that_was_stuck_before_is_at_least_as_old_as_that() {
        assert_eq!(age_after(probed(30)), (30 * SECOND, Some(530 * SECOND)));
    }

    #[test]
    fn one_that_was_used_meanwhile_or_is_another_is_as_young_as_before() {
        assert_eq!(age_after(Finding { recv_q: Some(9), ..probed(30) }).0, SECOND);
        let mut other = probed(30);
        other.socket.cookie = Some(4_711);
        assert_eq!(age_after(other).0, SECOND);
    }
}
