//! The part of the report on who closed first. Pure.

use super::{
    numbers::{per_second, share, unsigned},
    ranking::ranking,
};
use crate::{
    model::pid::Pid,
    report::{
        closings::ClosingCounts,
        entities::Entities,
        model::{
            closed_first::{ClosedFirst, CloserShare, PeerCloses},
            ranking::ProcessName,
        },
        series::{Axis, TimeSeries},
        side::Peer,
        time::Time,
    },
};

pub(crate) fn closed_first(
    closings: &ClosingCounts,
    entities: &Entities,
    axis: &Axis,
    span: Option<(i64, i64)>,
    top: usize,
) -> ClosedFirst {
    let [by_us, by_peer, reset] = closings.total();
    let duration_ns = span.map_or(0, |(first, last)| last.abs_diff(first));
    let amounts =
        |series: &TimeSeries| -> Vec<u64> { series.amounts(axis).into_iter().map(unsigned).collect() };
    let [us, peer, resets] = &closings.over_time;
    let closer = |((host, pid), [closed_first]): ((u32, Pid), [u64; 1])| CloserShare {
        process: ProcessName::new(closings.name((host, pid), entities), pid, entities.host_name(host)),
        closed_first,
        per_second: per_second(closed_first, duration_ns),
        share: share(closed_first, by_us),
    };
    let closers = closings.closers.top(top).into_iter().map(closer).collect();
    let of_peer = |(peer, [by_us, by_peer, reset]): (Peer, [u64; 3])| PeerCloses {
        peer,
        by_us,
        per_second: per_second(by_us, duration_ns),
        by_peer,
        reset,
    };
    let peers = closings.peers.top(top).into_iter().map(of_peer).collect();
    ClosedFirst {
        by_us,
        by_peer,
        reset,
        duration_ns,
        processes: ranking(closers, |closer: &CloserShare| closer.closed_first, &closings.closers),
        peers: ranking(peers, |peer: &PeerCloses| peer.by_us, &closings.peers),
        first: Time::from_unix_ns(axis.start_ns()),
        step_ns: unsigned(axis.step_ns()),
        by_us_over_time: amounts(us),
        by_peer_over_time: amounts(peer),
        reset_over_time: amounts(resets),
    }
}
