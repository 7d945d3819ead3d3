//! Assembles a report from the sums. Pure; changes no sum, so it can run again as a recording grows.

pub(crate) mod closed_first;
pub(crate) mod numbers;
pub(crate) mod over;
pub(crate) mod ranking;
pub(crate) mod sockets;
pub(crate) mod sources;

use std::collections::BTreeMap;

use self::{
    closed_first::closed_first,
    ranking::{peers, processes, program, stacks},
    sockets::{lengths, over_time, peak, worst},
    sources::{caveats, reach, sessions, without_records},
};
use super::{
    aggregate::{Aggregator, ReportScope},
    headline,
    input::FileState,
    model::{
        Asked, Report, Span,
        headline::Headline,
        ranking::{ReasonShare, VerdictShare},
        sockets::{CloseWait, EndCounts},
    },
    series::Axis,
    session_kind::SessionKind,
    sums::{ProcessSums, Stuck, Sums, Window},
    time::Time,
};
use crate::{
    diagnosis,
    model::{ended::EndedHow, reason::ReasonId, verdict::Verdict},
    output::replace::MARK,
};

/// Version of the JSON form.
const SCHEMA: u32 = 1;

/// Assembles the report. `files` are the states of the aggregator's sources, in their order; `top` bounds each list.
pub(crate) fn report(aggregator: &Aggregator, files: &[FileState], top: usize) -> Report {
    let wanted = aggregator.wanted();
    let entities = &aggregator.entities;
    let Window { from_ns, to_ns } = wanted.window;
    let span = reach(aggregator, files).map(|(first, last)| (first.max(from_ns), last.min(to_ns)));
    let span = span.filter(|(first, last)| first <= last);
    let axis = span.map(|(first, last)| Axis::covering(first, last));
    let sums = aggregator.sums(axis.map_or(0, |axis| axis.step_ns()));
    let order = worst_first(&sums);
    let sessions = sessions(aggregator, files);
    let processes = processes(&sums, entities, &order, top);
    let mut report = Report {
        r#type: MARK,
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        headline: Headline::default(),
        asked: asked(wanted),
        span: span.map(|(first, last)| Span {
            first: Time::from_unix_ns(first),
            last: Time::from_unix_ns(last),
            duration_ns: last.abs_diff(first),
        }),
        records: aggregator.taken,
        close_wait: close_wait(&sums, aggregator.filtered_out.len() as u64),
        over_time: axis
            .filter(|_| {
                sessions.iter().any(|session| session.kind != SessionKind::Now && session.records_close_wait)
            })
            .map(|axis| over_time(&sums, entities, &order, &axis, top)),
        durations: lengths(&sums),
        verdicts: verdicts(&sums, &aggregator.examples),
        processes,
        program: program(&sums, entities, &order),
        peers: peers(&sums.peers, top, sums.stuck.ever),
        stacks: stacks(&sums, entities, top),
        worst: worst(&sums, entities, top),
        connections_over: over::over(&aggregator.kept_over, entities, top),
        closed_first: axis
            .filter(|_| {
                aggregator.taken.transitions > 0
                    || sessions.iter().any(|session| session.kind == SessionKind::Trace)
            })
            .map(|axis| closed_first(&aggregator.closings, entities, &axis, span, top)),
        cannot_claim: Vec::new(),
        without_records: without_records(aggregator, files),
        sessions,
    };
    report.close_wait.peak = report.over_time.as_ref().map(peak);
    report.cannot_claim = caveats(aggregator, &sums, &report);
    report.headline = headline::of(&report, aggregator.has_observations);
    report
}

fn asked(wanted: &ReportScope) -> Asked {
    let ReportScope { threshold, window, criteria, max_sockets: _ } = wanted;
    Asked {
        from: (window.from_ns > i64::MIN).then(|| Time::from_unix_ns(window.from_ns)),
        to: (window.to_ns < i64::MAX).then(|| Time::from_unix_ns(window.to_ns)),
        older_than_ns: threshold.ns,
        is_filtered: criteria.is_filter(),
    }
}

fn close_wait(sums: &Sums, filtered_out: u64) -> CloseWait {
    let ended = |how| sums.ends.get(&how).copied().unwrap_or_default();
    CloseWait {
        stays: sums.stays,
        stuck: sums.stuck.ever,
        still_stuck: sums.stuck.still,
        half_open: sums.half_open,
        unattributed: sums.unattributed.ever,
        holder_not_recorded: sums.not_looked_at.ever,
        longest_ns: sums.worst.iter().map(|worst| worst.0.duration_ns).max(),
        peak: None,
        ended: EndCounts {
            closed: ended(Some(EndedHow::Closed)),
            reset: ended(Some(EndedHow::Reset)),
            destroyed: ended(Some(EndedHow::Destroyed)),
            owner_exited: ended(Some(EndedHow::OwnerExited)),
            unseen: ended(None),
            timed_out: ended(Some(EndedHow::TimedOut)),
            shut_down: ended(Some(EndedHow::ShutDown)),
        },
        filtered_out,
        not_looked_at_again: sums.not_looked_at_again,
    }
}

/// The indices of processes with stuck sockets, worst first.
fn worst_first(sums: &Sums) -> Vec<usize> {
    let mut order: Vec<(usize, &ProcessSums)> =
        sums.processes.iter().enumerate().filter(|(_, process)| process.stuck.ever > 0).collect();
    order.sort_by_key(|(index, process)| {
        let Stuck { ever, still } = process.stuck;
        (std::cmp::Reverse((ever, still, process.longest_ns)), *index)
    });
    order.into_iter().map(|(index, _)| index).collect()
}

/// What a verdict with its reason means, also where there is none.
fn advice(verdict: Option<Verdict>, reason: Option<ReasonId>) -> &'static str {
    verdict.map_or("could not be told: the kernel does not show what was read of it", |verdict| {
        diagnosis::advice::advice(verdict, reason)
    })
}

fn verdicts(sums: &Sums, examples: &BTreeMap<(Option<Verdict>, ReasonId), String>) -> Vec<VerdictShare> {
    let reasons = |verdict: Option<Verdict>| {
        let of_verdict = sums.reasons.iter().filter(|((of, _), _)| *of == verdict);
        let mut reasons: Vec<ReasonShare> = of_verdict
            .map(|((_, id), stuck)| ReasonShare {
                id: *id,
                sockets: stuck.ever,
                still_stuck: stuck.still,
                text: examples.get(&(verdict, *id)).cloned().unwrap_or_default(),
                advice: advice(verdict, Some(*id)),
            })
            .collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.sockets));
        reasons
    };
    let entry = |(verdict, stuck): (&Option<Verdict>, &Stuck)| {
        let reasons = reasons(*verdict);
        VerdictShare {
            verdict: *verdict,
            sockets: stuck.ever,
            still_stuck: stuck.still,
            advice: advice(*verdict, reasons.first().map(|reason| reason.id)),
            reasons,
        }
    };
    let mut all: Vec<VerdictShare> = sums.verdicts.iter().map(entry).collect();
    all.sort_by_key(|share| std::cmp::Reverse(share.sockets));
    all
}
