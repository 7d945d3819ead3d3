//! Whether a later session would have shown a stay that was left open: only then does its silence say that the stay is
//! over. Pure.

use std::sync::Arc;

use super::{
    entities::{Entities, Process, RecordedSession},
    session_kind::SessionKind,
    stay::Stay,
};
use crate::model::{owner::Owner, units::in_nanoseconds, verdict::Verdict};

/// A live session lists what is there once it is attached, at the latest after this long.
const ATTACHED_AFTER_NS: u64 = 5_000_000_000;

/// Whether a later session does not show this stay, which was left open, and would have: it is over.
pub(crate) fn is_superseded(stay: &Stay, entities: &Entities) -> bool {
    entities.is_in_order(stay.session)
        && entities.later_sessions(stay.session).any(|later| would_show(later, stay, &entities.processes))
}

/// Whether a session that began after this stay was seen last would have shown it.
fn would_show(later: &RecordedSession, stay: &Stay, processes: &[Process]) -> bool {
    // Without its end nobody knows how much it looked at.
    let (Some(asked), Some(summary)) = (&later.asked_for, &later.summary) else { return false };
    let missed = summary.not_looked_at.as_ref();
    let has_listed_all = missed.is_none_or(|missed| !missed.everything && missed.namespaces == 0)
        && summary.totals.evicted == 0
        && summary.totals.dropped == 0;
    let report = stay.report.as_ref();
    // Live sessions wait for such a one to be used no more.
    let is_passed_over = later.kind != SessionKind::Now
        && report.is_some_and(|report| report.verdict == Some(Verdict::HalfOpen));
    let admits_owners = || {
        asked.owners.is_empty() || {
            let holders = report.iter().flat_map(|report| report.holders.iter());
            let owners = holders.filter_map(|holder| {
                let process = processes.get(holder.process? as usize)?;
                let process = Arc::clone(&process.identity);
                Some(Owner { process, fds: Vec::new(), inherited: None, evidence: holder.evidence })
            });
            missed.is_none_or(|missed| missed.processes == 0)
                && asked.admits_owners(&owners.collect::<Vec<_>>())
        }
    };
    let is_old_enough = || {
        // The answers to keep-alive probes hide what was before the session.
        let is_age_hidden = report.is_some_and(|report| report.keeps_alive);
        let watched_ns = later.last_ns.abs_diff(later.first_ns).saturating_sub(ATTACHED_AFTER_NS);
        let age_ns = if is_age_hidden { watched_ns } else { later.last_ns.abs_diff(stay.start_ns) };
        age_ns >= in_nanoseconds(asked.older_than)
    };
    has_listed_all
        && !is_passed_over
        && asked.admits_socket(&stay.socket)
        && is_old_enough()
        && admits_owners()
}
