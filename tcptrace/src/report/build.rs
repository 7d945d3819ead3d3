//! Makes the report of what was added up. Pure; changes nothing, so that it can be done again as a recording grows.

use std::collections::HashMap;

use super::{
    aggregate::{Aggregator, Source, Wanted},
    bounded::BoundedCounts,
    cast::{Cast, Kind},
    caveats::Caveat,
    closes::Closes,
    durations::bounds_ns,
    headline::{self, Headline},
    model::{
        Asked, Bar, CloseWait, ClosedFirst, CloserShare, Durations, Ended, FileReport, HolderName, Line, LineOf, OverTime,
        PeerCloses, PeerShare, ProcessName, ProcessShare, Ranking, Report, SessionReport, SiteCount, Span, StackShare,
        Time, VerdictCount, VerdictShare, WorstSocket,
    },
    series::{Axis, Series},
    side::Peer,
    sums::{OfProcess, Stuck, Sums, Window, Worst},
    timestamp,
};
use crate::{
    diagnosis::Verdict,
    owners::{filter::OwnerFilter, symbols::Stack},
    reading::Losses,
    record::{EndedHow, ProcessSummary, Totals},
};

/// Version of the JSON form.
const SCHEMA: u32 = 1;

/// Processes that have a line of their own over time.
const LINES: usize = 5;

/// Peers and opening lines listed for one process.
const OF_ONE: usize = 5;

/// What became of a file.
#[derive(Clone, Debug, Default)]
pub struct FileState {
    /// What is missing in it.
    pub losses: Losses,
    /// Why it could not be read to its end.
    pub error: Option<String>,
}

/// Makes the report; `files` are the states of the aggregator's sources in their order, `top` how many of everything
/// are listed.
pub fn report(aggregator: &Aggregator, files: &[FileState], top: usize) -> Report {
    let wanted = aggregator.wanted();
    let cast = &aggregator.cast;
    let span = span(cast, wanted.window);
    let axis = span.map(|(first, last)| Axis::covering(first, last));
    let sums = aggregator.sums(axis.map_or(0, |axis| axis.step_ns()));
    let order = worst_first(&sums);
    let sessions = sessions(aggregator, files);
    let processes = processes(&sums, cast, &order, top);
    let mut report = Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        headline: Headline::default(),
        asked: asked(wanted),
        span: span.map(|(first, last)| Span {
            first: time(first),
            last: time(last),
            duration_ns: last.abs_diff(first),
        }),
        records: aggregator.taken,
        close_wait: close_wait(&sums),
        over_time: axis
            .filter(|_| sessions.iter().any(|session| session.kind != Kind::Now))
            .map(|axis| over_time(&sums, cast, &order, &axis, top)),
        durations: lengths(&sums),
        verdicts: verdicts(&sums),
        processes,
        peers: peers(&sums.peers, top, sums.stuck.ever),
        stacks: stacks(&sums, cast, top),
        worst: worst(&sums, cast, top),
        closed_first: axis
            .filter(|_| aggregator.taken.transitions > 0 || sessions.iter().any(|session| session.kind == Kind::Trace))
            .map(|axis| closed_first(&aggregator.closes, cast, &axis, span, top)),
        cannot_claim: Vec::new(),
        sessions,
    };
    report.close_wait.peak = report.over_time.as_ref().map(peak);
    report.cannot_claim = caveats(aggregator, &sums, &report);
    report.headline = headline::of(&report);
    report
}

fn time(unix_ns: i64) -> Time {
    Time(timestamp(unix_ns))
}

fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

/// A part of all, 0 to 1.
#[allow(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (part as f64 / all as f64 * 10_000.0).round() / 10_000.0 }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, duration_ns: u64) -> f64 {
    (count as f64 / (duration_ns.max(1_000_000) as f64 / 1e9) * 100.0).round() / 100.0
}

fn span(cast: &Cast, window: Window) -> Option<(i64, i64)> {
    let first = cast.sessions.iter().map(|session| session.first_ns).min()?.max(window.from_ns);
    let last = cast.sessions.iter().map(|session| session.last_ns).max()?.min(window.to_ns);
    (first <= last).then_some((first, last))
}

fn asked(wanted: &Wanted) -> Asked {
    let Wanted { threshold, window, connections, netns, owners, max_sockets: _ } = wanted;
    Asked {
        from: (window.from_ns > i64::MIN).then(|| time(window.from_ns)),
        to: (window.to_ns < i64::MAX).then(|| time(window.to_ns)),
        older_than_ns: threshold.ns,
        is_filtered: connections.family != 0
            || !connections.ports.is_empty()
            || !connections.addresses.is_empty()
            || !netns.is_empty()
            || *owners != OwnerFilter::default(),
    }
}

fn sessions(aggregator: &Aggregator, files: &[FileState]) -> Vec<SessionReport> {
    let cast = &aggregator.cast;
    let of_session = |index: usize| {
        let files = aggregator.sources.iter().zip(files);
        files.filter(move |(source, _)| source.session.is_some_and(|session| session as usize == index))
    };
    let file = |(source, state): (&Source, &FileState)| {
        let Losses {
            totals: _,
            dropped,
            missing,
            damaged,
            is_cut,
            unknown,
            before,
            replaced: _,
            truncated,
            has_ended: _,
        } = state.losses;
        FileReport {
            name: source.name.clone(),
            records: source.records,
            before,
            dropped,
            missing,
            damaged,
            unknown,
            truncated,
            is_cut,
            error: state.error.clone(),
        }
    };
    cast.sessions
        .iter()
        .enumerate()
        .map(|(index, session)| {
            let header = session.header.as_ref();
            let identity = header.map(|header| &header.host);
            SessionReport {
                files: of_session(index).map(file).collect(),
                host: identity.map(|identity| identity.host.clone()),
                kernel: identity.map(|identity| identity.kernel.clone()),
                boot_id: identity.and_then(|identity| identity.boot_id.clone()),
                command: header.map(|header| header.command.join(" ")),
                kind: session.kind,
                backend: header.map(|header| header.backend.clone()),
                started: time(session.first_ns),
                last: time(session.last_ns),
                has_ended: session.summary.is_some(),
                lost: session
                    .summary
                    .as_ref()
                    .map(|summary| summary.totals)
                    // A session that did not end has written its counters now and then.
                    .or_else(|| of_session(index).map(|(_, state)| state.losses.totals).max_by_key(|totals| totals.records))
                    .unwrap_or_default(),
            }
        })
        .collect()
}

fn close_wait(sums: &Sums) -> CloseWait {
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
        ended: Ended {
            closed: ended(Some(EndedHow::Closed)),
            reset: ended(Some(EndedHow::Reset)),
            destroyed: ended(Some(EndedHow::Destroyed)),
            owner_exited: ended(Some(EndedHow::OwnerExited)),
            unseen: ended(None),
        },
    }
}

/// Indices of processes that held stuck sockets, the worst first.
fn worst_first(sums: &Sums) -> Vec<usize> {
    let mut order: Vec<(usize, &OfProcess)> =
        sums.processes.iter().enumerate().filter(|(_, process)| process.stuck.ever > 0).collect();
    order.sort_by_key(|(index, process)| {
        let Stuck { ever, still } = process.stuck;
        (std::cmp::Reverse((ever, still, process.longest_ns)), *index)
    });
    order.into_iter().map(|(index, _)| index).collect()
}

fn over_time(sums: &Sums, cast: &Cast, order: &[usize], axis: &Axis, top: usize) -> OverTime {
    let levels = |series: &Series| -> Vec<u64> { series.levels(axis).into_iter().map(unsigned).collect() };
    let of = |index: &usize| sums.processes.get(*index).map(|process| &process.changes);
    let lines = LINES.min(top);
    let mut all: Vec<Line> = order
        .iter()
        .take(lines)
        .enumerate()
        .filter_map(|(place, index)| {
            let name = process_name(cast, *index)?.to_string();
            Some(Line { of: LineOf::Process, process: Some(place), name, values: levels(of(index)?) })
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
    all.extend(seen.map(|(of, name, values)| Line { of, process: None, name: name.to_owned(), values }));
    OverTime { first: time(axis.start_ns()), step_ns: unsigned(axis.step_ns()), lines: all }
}

fn peak(over_time: &OverTime) -> u64 {
    let steps = over_time.lines.first().map_or(0, |line| line.values.len());
    let at = |step: usize| over_time.lines.iter().filter_map(|line| line.values.get(step)).sum();
    (0..steps).map(at).max().unwrap_or_default()
}

fn lengths(sums: &Sums) -> Durations {
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
        let bars = from.zip(below).zip(counts).map(|((from_ns, below_ns), ((not_stuck, ended), still_stuck))| Bar {
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

fn without_empty_ends(mut bars: Vec<Bar>) -> Vec<Bar> {
    while bars.last().is_some_and(|bar| bar.stays() == 0) {
        bars.pop();
    }
    let first = bars.iter().position(|bar| bar.stays() > 0).unwrap_or(bars.len());
    bars.split_off(first)
}

/// What a verdict means, also where there is none.
fn advice(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("why could not be told: nobody looked, or the kernel does not show it", Verdict::advice)
}

fn verdicts(sums: &Sums) -> Vec<VerdictShare> {
    let entry = |(verdict, stuck): (&Option<Verdict>, &Stuck)| VerdictShare {
        verdict: *verdict,
        sockets: stuck.ever,
        still_stuck: stuck.still,
        advice: advice(*verdict),
    };
    let mut all: Vec<VerdictShare> = sums.verdicts.iter().map(entry).collect();
    all.sort_by_key(|share| std::cmp::Reverse(share.sockets));
    all
}

fn process_name(cast: &Cast, index: usize) -> Option<ProcessName> {
    let process = cast.processes.get(index)?;
    Some(ProcessName {
        comm: process.identity.comm.clone(),
        pid: process.identity.pid,
        host: cast.host_name(process.host).map(str::to_owned),
    })
}

fn processes(sums: &Sums, cast: &Cast, order: &[usize], top: usize) -> Ranking<ProcessShare> {
    let all = sums.stuck.ever;
    let entry = |index: &usize| process(*index, sums.processes.get(*index)?, cast, all);
    let rest = order.get(top..).unwrap_or_default();
    let held = rest.iter().filter_map(|index| sums.processes.get(*index)).map(|process| process.stuck.ever);
    Ranking {
        top: order.iter().take(top).filter_map(entry).collect(),
        others: held.sum::<u64>() + sums.of_others.ever,
        other_entries: rest.len() as u64 + u64::from(sums.of_others.ever > 0),
        is_lower_bound: false,
    }
}

fn process(index: usize, of: &OfProcess, cast: &Cast, all: u64) -> Option<ProcessShare> {
    let identity = &cast.processes.get(index)?.identity;
    let OfProcess { stuck, longest_ns, verdicts, peers, stacks, changes: _ } = of;
    let summary = last_summary(cast, index);
    let site = |(stack, [sockets]): (u32, [u64; 1])| {
        Some(SiteCount { site: site(cast.stacks.get_index(stack as usize)?), sockets })
    };
    let mut verdicts: Vec<VerdictCount> =
        verdicts.iter().map(|(verdict, sockets)| VerdictCount { verdict: *verdict, sockets: *sockets }).collect();
    verdicts.sort_by_key(|count| std::cmp::Reverse(count.sockets));
    Some(ProcessShare {
        process: process_name(cast, index)?,
        exe: identity.exe.clone(),
        cmdline: identity.cmdline.clone(),
        uid: identity.uid,
        started: identity.started.map(Time),
        unit: identity.unit.clone(),
        container: identity.container.clone(),
        sockets: stuck.ever,
        still_stuck: stuck.still,
        share: share(stuck.ever, all),
        longest_ns: *longest_ns,
        per_minute: summary.and_then(|summary| summary.per_minute),
        fds_used: summary.and_then(|summary| summary.fds_used),
        fds_limit: summary.and_then(|summary| summary.fds_limit),
        fds_run_out_in_ns: summary.and_then(|summary| summary.fds_run_out_in_ns),
        verdicts,
        peers: peers_of(peers, OF_ONE, stuck.ever),
        sites: stacks.top(OF_ONE).into_iter().filter_map(site).collect(),
    })
}

/// What the last session that ended says of a process.
fn last_summary(cast: &Cast, index: usize) -> Option<&ProcessSummary> {
    let process = cast.processes.get(index)?;
    let of_host = cast.sessions.iter().filter(|session| session.host == process.host);
    let mut summaries: Vec<_> = of_host.filter_map(|session| session.summary.as_ref()).collect();
    summaries.sort_by_key(|summary| summary.time);
    let of_process = |summary: &ProcessSummary| {
        summary.process.pid == process.identity.pid && summary.process.comm == process.identity.comm
    };
    summaries.into_iter().rev().find_map(|summary| summary.processes.iter().find(|process| of_process(process)))
}

/// The line of a stack to look at.
fn site(stack: &Stack) -> String {
    stack.site.as_ref().or(stack.frames.first()).cloned().unwrap_or_else(|| "?".to_owned())
}

fn peers_of(peers: &BoundedCounts<Peer>, top: usize, all: u64) -> Vec<PeerShare> {
    let entry = |(peer, [sockets]): (Peer, [u64; 1])| PeerShare { peer, sockets, share: share(sockets, all) };
    peers.top(top).into_iter().map(entry).collect()
}

fn peers(peers: &BoundedCounts<Peer>, top: usize, all: u64) -> Ranking<PeerShare> {
    let listed = peers_of(peers, top, all);
    ranking(listed, |peer| peer.sockets, peers)
}

fn ranking<T, K, const N: usize>(
    top: Vec<T>,
    count: impl Fn(&T) -> u64,
    counts: &BoundedCounts<K, N>,
) -> Ranking<T>
where
    K: std::hash::Hash + Ord + Clone,
{
    let listed: u64 = top.iter().map(count).sum();
    let all: u64 = counts.total().first().copied().unwrap_or_default();
    Ranking {
        others: all.saturating_sub(listed),
        other_entries: counts.len().saturating_sub(top.len()) as u64,
        is_lower_bound: counts.has_let_go(),
        top,
    }
}

fn stacks(sums: &Sums, cast: &Cast, top: usize) -> Ranking<StackShare> {
    let entry = |(index, [sockets]): (u32, [u64; 1])| {
        let stack = cast.stacks.get_index(index as usize)?;
        Some(StackShare {
            site: site(stack),
            stack: stack.frames.clone(),
            stack_is_cut: stack.is_cut,
            sockets,
            share: share(sockets, sums.stuck.ever),
        })
    };
    ranking(sums.stacks.top(top).into_iter().filter_map(entry).collect(), |stack| stack.sockets, &sums.stacks)
}

fn worst(sums: &Sums, cast: &Cast, top: usize) -> Vec<WorstSocket> {
    let mut all: Vec<&Worst> = sums.worst.iter().map(|worst| &worst.0).collect();
    all.sort_by(|a, b| b.cmp(a));
    // The longest of each holder before the second longest of any: a hundred that look alike tell no more than one.
    let mut ranks: HashMap<Option<u32>, usize> = HashMap::new();
    let mut ranked: Vec<(usize, &Worst)> = all
        .into_iter()
        .map(|worst| {
            let first = worst.episode.report.as_ref().and_then(|report| report.holders.first());
            let rank = ranks.entry(first.and_then(|holder| holder.process)).or_default();
            *rank += 1;
            (*rank, worst)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(top);
    ranked.sort_by(|(_, a), (_, b)| b.cmp(a));
    ranked.into_iter().filter_map(|(_, worst)| worst_socket(worst, cast)).collect()
}

fn worst_socket(worst: &Worst, cast: &Cast) -> Option<WorstSocket> {
    let Worst { duration_ns, is_open, episode } = worst;
    let session = cast.sessions.get(episode.session as usize)?;
    let host = cast.host_name(session.host).map(str::to_owned);
    let report = episode.report.as_deref();
    let end = episode.end.as_ref();
    let stack = |index: u32| Some(site(cast.stacks.get_index(index as usize)?));
    let holders = report.map(|report| report.holders.as_slice()).unwrap_or_default();
    let holder = |holder: &super::episode::Holder| {
        let process = process_name(cast, holder.process? as usize)?;
        Some(HolderName { process, fd: holder.fd, evidence: holder.evidence })
    };
    Some(WorstSocket {
        cookie: episode.socket.cookie,
        netns: episode.socket.netns,
        local: episode.socket.endpoints.local,
        remote: episode.socket.endpoints.remote,
        since: time(episode.start_ns),
        since_is_exact: episode.start_is_exact,
        until: time(episode.start_ns.saturating_add_unsigned(*duration_ns)),
        close_wait_ns: *duration_ns,
        is_open: *is_open,
        how: end.and_then(|end| end.how),
        closed_by: end.and_then(|end| end.closed_by.clone()).map(|(pid, comm)| ProcessName {
            comm,
            pid,
            host: host.clone(),
        }),
        established_ns: episode.established_ns,
        verdict: report.and_then(|report| report.verdict),
        is_looked_at: report.is_some(),
        holders: holders.iter().filter_map(holder).collect(),
        opened: report.and_then(|report| report.opened).map(|(_, at_ns)| time(at_ns)),
        site: report.and_then(|report| report.stack).and_then(stack),
        eof_read: report.and_then(|report| report.eof_read).map(|(at_ns, _)| time(at_ns)),
        eof_read_site: report.and_then(|report| report.eof_read).and_then(|(_, stack)| stack).and_then(stack),
        host,
    })
}

fn closed_first(
    closes: &Closes,
    cast: &Cast,
    axis: &Axis,
    span: Option<(i64, i64)>,
    top: usize,
) -> ClosedFirst {
    let [by_us, by_peer, reset] = closes.total();
    let duration_ns = span.map_or(0, |(first, last)| last.abs_diff(first));
    let amounts = |series: &Series| -> Vec<u64> { series.amounts(axis).into_iter().map(unsigned).collect() };
    let [us, peer, resets] = &closes.over_time;
    let closer = |((host, pid), [closed_first]): ((u32, u32), [u64; 1])| CloserShare {
        process: ProcessName {
            comm: closes.name((host, pid), cast),
            pid,
            host: cast.host_name(host).map(str::to_owned),
        },
        closed_first,
        per_second: per_second(closed_first, duration_ns),
        share: share(closed_first, by_us),
    };
    let closers = closes.closers.top(top).into_iter().map(closer).collect();
    let of_peer = |(peer, [by_us, by_peer, reset]): (Peer, [u64; 3])| PeerCloses {
        peer,
        by_us,
        per_second: per_second(by_us, duration_ns),
        by_peer,
        reset,
    };
    let peers = closes.peers.top(top).into_iter().map(of_peer).collect();
    ClosedFirst {
        by_us,
        by_peer,
        reset,
        duration_ns,
        processes: ranking(closers, |closer: &CloserShare| closer.closed_first, &closes.closers),
        peers: ranking(peers, |peer: &PeerCloses| peer.by_us, &closes.peers),
        first: time(axis.start_ns()),
        step_ns: unsigned(axis.step_ns()),
        by_us_over_time: amounts(us),
        by_peer_over_time: amounts(peer),
        reset_over_time: amounts(resets),
    }
}

/// Everything that the report cannot claim, losses first.
fn caveats(aggregator: &Aggregator, sums: &Sums, report: &Report) -> Vec<Caveat> {
    let sessions = &report.sessions;
    let files = || sessions.iter().flat_map(|session| &session.files);
    let names = |is_so: &dyn Fn(&FileReport) -> bool| -> Vec<String> {
        files().filter(|file| is_so(file)).map(|file| file.name.clone()).collect()
    };
    let sum = |count: &dyn Fn(&Totals) -> u64| sessions.iter().map(|session| count(&session.lost)).sum::<u64>();
    let all_are = |kind: Kind| !sessions.is_empty() && sessions.iter().all(|session| session.kind == kind);
    let of_sessions = |is_so: &dyn Fn(&SessionReport) -> bool| -> Vec<String> {
        let sessions = sessions.iter().filter(|session| is_so(session));
        sessions.filter_map(|session| session.files.last()).map(|file| file.name.clone()).collect()
    };
    let records = files().map(|file| file.missing).sum();
    let damaged = files().map(|file| file.damaged).sum();
    let mut caveats = Vec::new();
    let mut add = |is_so: bool, caveat: Caveat| {
        if is_so {
            caveats.push(caveat);
        }
    };
    let counted = |count: u64, caveat: fn(u64) -> Caveat| (count > 0, caveat(count));
    for (is_so, caveat) in [
        counted(sum(&|totals| totals.lost), Caveat::LostInRing),
        counted(files().map(|file| file.dropped).sum(), Caveat::DroppedByWriter),
        counted(sum(&|totals| totals.undecodable), Caveat::Undecodable),
        counted(sum(&|totals| totals.evicted), Caveat::Evicted),
    ] {
        add(is_so, caveat);
    }
    // Of a session that was rotated, the first file that was read tells what came before it.
    let before = sessions.iter().filter_map(|session| session.files.iter().map(|file| file.before).min()).sum();
    add(before > 0, Caveat::EarlierFiles(before));
    let truncated = names(&|file| file.truncated > 0);
    add(!truncated.is_empty(), Caveat::Truncated(truncated));
    let incomplete = names(&|file| file.missing + file.damaged > 0);
    add(!incomplete.is_empty(), Caveat::Missing { files: incomplete, records, damaged });
    let cut = names(&|file| file.is_cut);
    add(!cut.is_empty(), Caveat::Cut(cut));
    for file in files() {
        if let Some(error) = &file.error {
            add(true, Caveat::Unreadable { file: file.name.clone(), error: error.clone() });
        }
    }
    let not_ended = of_sessions(&|session| !session.has_ended);
    add(!not_ended.is_empty(), Caveat::NotEnded(not_ended));
    let no_beginning = of_sessions(&|session| session.host.is_none());
    add(!no_beginning.is_empty(), Caveat::NoBeginning(no_beginning));
    let closed_first = report.closed_first.as_ref();
    let is_lower_bound = report.peers.is_lower_bound
        || closed_first.is_some_and(|closed| closed.peers.is_lower_bound || closed.processes.is_lower_bound);
    for (is_so, caveat) in [
        counted(files().map(|file| file.unknown).sum(), Caveat::UnknownRecords),
        counted(aggregator.episodes.evicted(), Caveat::TooManySockets),
        counted(sums.of_others.ever, Caveat::TooManyProcesses),
        (is_lower_bound, Caveat::LowerBounds),
        counted(sums.unattributed.ever, Caveat::Unattributed),
        counted(sum(&|totals| totals.openers_skipped), Caveat::OpenersSkipped),
        counted(sums.not_looked_at.ever, Caveat::HolderNotRecorded),
    ] {
        add(is_so, caveat);
    }
    let (known, stuck) = (sums.stacks.total()[0], sums.stuck.ever);
    add(known < stuck && stuck > sums.not_looked_at.ever, Caveat::StacksKnown { known, stuck });
    add(sums.began_unseen > 0, Caveat::BeganUnseen(sums.began_unseen));
    add(all_are(Kind::Now), Caveat::OnlyMoments);
    add(all_are(Kind::Leaks), Caveat::OnlyLeaks);
    let hosts = aggregator.cast.hosts.len();
    add(hosts > 1, Caveat::SeveralClocks(hosts));
    caveats
}
