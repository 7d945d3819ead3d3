//! The stays of a report: over time, by length, and the longest ones. Pure.

use std::collections::HashMap;

use super::{numbers::unsigned, ranking::process_name};
use crate::report::{
    durations::bounds_ns,
    entities::Entities,
    model::{
        ranking::{ProcessName, Site},
        sockets::{Bar, CountLine, Durations, HolderName, LineOf, OverTime, WorstSocket},
    },
    series::{Axis, TimeSeries},
    stay::Holder,
    sums::{LongestStay, Sums},
    time::Time,
};

/// Processes with a line of their own over time.
const LINES: usize = 5;

pub(crate) fn over_time(
    sums: &Sums,
    entities: &Entities,
    order: &[usize],
    axis: &Axis,
    top: usize,
) -> OverTime {
    let levels =
        |series: &TimeSeries| -> Vec<u64> { series.levels(axis).into_iter().map(unsigned).collect() };
    let of = |index: &usize| sums.processes.get(*index).map(|process| &process.changes);
    let lines = LINES.min(top);
    let mut all: Vec<CountLine> = order
        .iter()
        .take(lines)
        .enumerate()
        .filter_map(|(place, index)| {
            let name = process_name(entities, *index)?.to_string();
            Some(CountLine { of: LineOf::Process, process: Some(place), name, values: levels(of(index)?) })
        })
        .collect();
    let mut others = levels(&sums.other_changes);
    for series in order.iter().skip(lines).filter_map(of) {
        others.iter_mut().zip(levels(series)).for_each(|(sum, value)| *sum += value);
    }
    let further = [
        (LineOf::OtherProcesses, "other processes", others),
        (LineOf::UnknownHolder, "holder not known", levels(&sums.unknown_changes)),
        (LineOf::Passing, "not stuck: left in time", levels(&sums.passing_changes)),
    ];
    let seen = further.into_iter().filter(|(_, _, values)| values.iter().any(|value| *value > 0));
    all.extend(seen.map(|(of, name, values)| CountLine { of, process: None, name: name.to_owned(), values }));
    OverTime { first: Time::from_unix_ns(axis.start_ns()), step_ns: unsigned(axis.step_ns()), lines: all }
}

pub(crate) fn peak(over_time: &OverTime) -> u64 {
    let steps = over_time.lines.first().map_or(0, |line| line.values.len());
    let at = |step: usize| over_time.lines.iter().filter_map(|line| line.values.get(step)).sum();
    (0..steps).map(at).max().unwrap_or_default()
}

pub(crate) fn lengths(sums: &Sums) -> Durations {
    let kinds = [&sums.passing, &sums.ended, &sums.open];
    let mut all = sums.passing.clone();
    all.merge(&sums.ended);
    all.merge(&sums.open);
    let quantile = |part| all.quantile_ns(part);
    let bars = quantile(0.0).zip(quantile(1.0)).map_or_else(Vec::new, |(shortest, longest)| {
        let bounds = bounds_ns(shortest, longest);
        let [not_stuck, ended, still_stuck] = kinds.map(|durations| durations.bars(bounds));
        let from = std::iter::once(0).chain(bounds.iter().copied());
        let below = bounds.iter().copied().chain([u64::MAX]);
        let counts = not_stuck.into_iter().zip(ended).zip(still_stuck);
        let bars =
            from.zip(below).zip(counts).map(|((from_ns, below_ns), ((not_stuck, ended), still_stuck))| Bar {
                from_ns,
                below_ns,
                not_stuck,
                ended,
                still_stuck,
            });
        without_empty_ends(bars.collect())
    });
    Durations {
        began_unseen: sums.began_unseen,
        median_ns: quantile(0.5),
        p90_ns: quantile(0.9),
        p99_ns: quantile(0.99),
        longest_ns: quantile(1.0),
        bars,
    }
}

pub(crate) fn without_empty_ends(mut bars: Vec<Bar>) -> Vec<Bar> {
    while bars.last().is_some_and(|bar| bar.stays() == 0) {
        bars.pop();
    }
    let first = bars.iter().position(|bar| bar.stays() > 0).unwrap_or(bars.len());
    bars.split_off(first)
}

pub(crate) fn worst(sums: &Sums, entities: &Entities, top: usize) -> Vec<WorstSocket> {
    let mut all: Vec<&LongestStay> = sums.worst.iter().map(|worst| &worst.0).collect();
    all.sort_by(|a, b| b.cmp(a));
    // Each holder's longest comes before anybody's second longest: a hundred alike say no more than one.
    let mut ranks: HashMap<Option<u32>, usize> = HashMap::new();
    let mut ranked: Vec<(usize, &LongestStay)> = all
        .into_iter()
        .map(|worst| {
            let first = worst.stay.report.as_ref().and_then(|report| report.holders.first());
            let rank = ranks.entry(first.and_then(|holder| holder.process)).or_default();
            *rank += 1;
            (*rank, worst)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(top);
    ranked.sort_by(|(_, a), (_, b)| b.cmp(a));
    ranked.into_iter().filter_map(|(_, worst)| worst_socket(worst, entities)).collect()
}

pub(crate) fn worst_socket(worst: &LongestStay, entities: &Entities) -> Option<WorstSocket> {
    let LongestStay { duration_ns, is_open, is_left, stay } = worst;
    let session = entities.sessions.get(stay.session as usize)?;
    let host = entities.host_name(session.host).map(str::to_owned);
    let report = stay.report.as_ref();
    let end = stay.end.as_ref();
    let site = |index: u32| Some(Site::of(entities.stack_at(index)?));
    let holders = report.iter().flat_map(|report| report.holders.iter());
    let holder = |holder: &Holder| {
        let process = process_name(entities, holder.process? as usize)?;
        Some(HolderName { process, fd: holder.fd, evidence: holder.evidence })
    };
    Some(WorstSocket {
        cookie: stay.socket.cookie,
        netns: stay.socket.netns,
        local: stay.socket.endpoints.local,
        remote: stay.socket.endpoints.remote,
        since: Time::from_unix_ns(stay.start_ns),
        since_is_exact: stay.start_is_exact,
        until: Time::from_unix_ns(stay.start_ns.saturating_add_unsigned(*duration_ns)),
        close_wait_ns: *duration_ns,
        is_open: *is_open,
        how: end.and_then(|end| end.how),
        closed_by: end
            .and_then(|end| end.closed_by.clone())
            .map(|(pid, comm)| ProcessName::new(comm, pid, host.as_deref())),
        established_ns: stay.established_ns,
        verdict: report.and_then(|report| report.verdict),
        reason: report.and_then(|report| report.reason),
        is_looked_at: report.is_some(),
        holders: holders.filter_map(holder).collect(),
        opened: report.and_then(|report| report.opened).map(|(_, at_ns)| Time::from_unix_ns(at_ns)),
        site: report
            .and_then(|report| report.stack)
            .and_then(site)
            .unwrap_or(Site { site: None, no_site: None }),
        eof_read: report.and_then(|report| report.eof_read).map(|(at_ns, _)| Time::from_unix_ns(at_ns)),
        eof_read_site: report
            .and_then(|report| report.eof_read)
            .and_then(|(_, stack)| stack)
            .and_then(site)
            .and_then(|site| site.site),
        not_looked_at_again: *is_left,
        host,
    })
}
