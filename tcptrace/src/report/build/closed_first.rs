//! Who closed first.

use crate::report::{
    cast::Cast,
    closes::Closes,
    model::{
        closed_first::{ClosedFirst, CloserShare, PeerCloses},
        ranking::ProcessName,
    },
    series::{Axis, Series},
    side::Peer,
};

use super::{ranking::ranking, share, time, unsigned};

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, duration_ns: u64) -> f64 {
    (count as f64 / (duration_ns.max(1_000_000) as f64 / 1e9) * 100.0).round() / 100.0
}

pub(crate) fn closed_first(
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
