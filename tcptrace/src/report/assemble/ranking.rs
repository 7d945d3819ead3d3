//! The rankings of a report: holders, peers and opening stacks, the top ones and the sum of the others. Pure.

use std::{collections::BTreeSet, hash::Hash};

use super::numbers::share;
use crate::{
    model::record::ProcessSummary,
    report::{
        bounded::BoundedCounts,
        entities::Entities,
        model::ranking::{
            PeerShare, ProcessName, ProcessShare, ProgramShare, Ranking, ReasonTally, Site, SiteCount,
            StackShare, VerdictCount,
        },
        shared::SharedSockets,
        side::Peer,
        sums::{ProcessSums, Sums},
        time::Time,
    },
};

/// Peers and opening lines listed for one process.
const OF_ONE: usize = 5;

pub(crate) fn process_name(entities: &Entities, index: usize) -> Option<ProcessName> {
    let process = entities.processes.get(index)?;
    let (comm, pid) = (process.identity.comm.clone(), process.identity.pid);
    Some(ProcessName::new(comm, pid, entities.host_name(process.host)))
}

pub(crate) fn processes(
    sums: &Sums,
    entities: &Entities,
    order: &[usize],
    top: usize,
) -> Ranking<ProcessShare> {
    let shared = SharedSockets::new(sums, entities, order);
    let entry = |index: &usize| process(*index, sums, entities, &shared);
    let (listed, rest) = order.split_at(top.min(order.len()));
    Ranking {
        top: listed.iter().filter_map(entry).collect(),
        others: shared.held_by_none_of(listed) + sums.of_others.ever,
        other_entries: rest.len() as u64 + u64::from(sums.of_others.ever > 0),
        is_lower_bound: false,
    }
}

/// The processes that are called as the worst one is.
pub(crate) fn program(sums: &Sums, entities: &Entities, order: &[usize]) -> Option<ProgramShare> {
    let process = |index: usize| entities.processes.get(index);
    let comm = &process(*order.first()?)?.identity.comm;
    let of_it = |index: &usize| process(*index).is_some_and(|process| process.identity.comm == *comm);
    let indices: Vec<usize> = order.iter().copied().filter(of_it).collect();
    let shared = SharedSockets::new(sums, entities, order);
    let hosts: BTreeSet<u32> = indices.iter().filter_map(|index| Some(process(*index)?.host)).collect();
    Some(ProgramShare {
        comm: comm.clone(),
        processes: indices.len() as u64,
        // A socket with several holders is one socket.
        sockets: indices.iter().map(|index| shared.first_of_program(*index)).sum(),
        hosts: hosts.len() as u64,
    })
}

fn process(
    index: usize,
    sums: &Sums,
    entities: &Entities,
    shared: &SharedSockets<'_>,
) -> Option<ProcessShare> {
    let identity = &entities.processes.get(index)?.identity;
    let all = sums.stuck.ever;
    let ProcessSums { stuck, longest_ns, verdicts, reasons, peers, stacks, changes: _ } =
        sums.processes.get(index)?;
    let partners = shared.partners(index);
    let summary = last_summary(entities, index);
    let site = |(stack, [sockets]): (u32, [u64; 1])| {
        Some(SiteCount { site: Site::of(entities.stack_at(stack)?), sockets })
    };
    let mut verdicts: Vec<VerdictCount> = verdicts
        .iter()
        .map(|(verdict, sockets)| VerdictCount { verdict: *verdict, sockets: *sockets })
        .collect();
    verdicts.sort_by_key(|count| std::cmp::Reverse(count.sockets));
    let mut reasons: Vec<ReasonTally> =
        reasons.iter().map(|(id, sockets)| ReasonTally { id: *id, sockets: *sockets }).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.sockets));
    Some(ProcessShare {
        process: process_name(entities, index)?,
        exe: identity.exe.clone(),
        cmdline: identity.cmdline.clone(),
        command: identity.command().or_else(|| summary?.command.clone()),
        uid: identity.uid,
        started: identity.started.map(Time),
        unit: identity.unit.clone(),
        container: identity.container.clone(),
        container_name: identity.container_name.clone(),
        pod: identity.pod.clone(),
        pod_namespace: identity.pod_namespace.clone(),
        place: identity.place(),
        sockets: stuck.ever,
        still_stuck: stuck.still,
        share: share(stuck.ever, all),
        longest_ns: *longest_ns,
        per_minute: summary.and_then(|summary| summary.per_minute),
        fds_used: summary.and_then(|summary| summary.fds_used),
        fds_limit: summary.and_then(|summary| summary.fds_limit),
        fds_run_out_in_ns: summary.and_then(|summary| summary.fds_run_out_in_ns),
        verdicts,
        reasons,
        peers: peers_of(peers, OF_ONE, stuck.ever),
        sites: stacks.top(OF_ONE).into_iter().filter_map(site).collect(),
        fds_per_minute: summary.and_then(|summary| summary.fds_per_minute),
        accept_queue: summary.and_then(|summary| summary.accept_queue),
        accept_queue_limit: summary.and_then(|summary| summary.accept_queue_limit),
        accept_queue_full_in_ns: summary.and_then(|summary| summary.accept_queue_full_in_ns),
        shared: shared.of(index),
        shared_with: partners.len() as u64,
        shares_all_with: partners.iter().filter(|(_, count)| *count == stuck.ever).count() as u64,
        partner: partners.first().and_then(|(partner, _)| process_name(entities, *partner)),
    })
}

/// The process in the latest summary of its host that mentions it.
pub(crate) fn last_summary(entities: &Entities, index: usize) -> Option<&ProcessSummary> {
    let process = entities.processes.get(index)?;
    let of_host = entities.sessions.iter().filter(|session| session.host == process.host);
    let mut summaries: Vec<_> = of_host.filter_map(|session| session.summary.as_ref()).collect();
    summaries.sort_by_key(|summary| summary.time);
    let of_process = |summary: &ProcessSummary| {
        summary.process.pid == process.identity.pid && summary.process.comm == process.identity.comm
    };
    summaries
        .into_iter()
        .rev()
        .find_map(|summary| summary.processes.iter().find(|process| of_process(process)))
}

fn peers_of(peers: &BoundedCounts<Peer>, top: usize, all: u64) -> Vec<PeerShare> {
    let entry = |(peer, [sockets]): (Peer, [u64; 1])| PeerShare { peer, sockets, share: share(sockets, all) };
    peers.top(top).into_iter().map(entry).collect()
}

pub(crate) fn peers(peers: &BoundedCounts<Peer>, top: usize, all: u64) -> Ranking<PeerShare> {
    let listed = peers_of(peers, top, all);
    ranking(listed, |peer| peer.sockets, peers)
}

/// A ranking whose `top` entries come from `counts`.
pub(crate) fn ranking<T, K, const N: usize>(
    top: Vec<T>,
    count: impl Fn(&T) -> u64,
    counts: &BoundedCounts<K, N>,
) -> Ranking<T>
where
    K: Hash + Ord + Clone,
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

pub(crate) fn stacks(sums: &Sums, entities: &Entities, top: usize) -> Ranking<StackShare> {
    let entry = |(index, [sockets]): (u32, [u64; 1])| {
        let stack = entities.stack_at(index)?;
        Some(StackShare {
            site: Site::of(stack),
            stack: stack.frames.clone(),
            stack_is_cut: stack.is_cut,
            sockets,
            share: share(sockets, sums.stuck.ever),
        })
    };
    ranking(sums.stacks.top(top).into_iter().filter_map(entry).collect(), |stack| stack.sockets, &sums.stacks)
}
