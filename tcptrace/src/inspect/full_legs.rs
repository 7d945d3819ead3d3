//! Finds event loops that stopped reading one leg of a relay because the other leg, whose peer reads nothing, takes no more.

use rustc_hash::FxHashMap;

use super::{
    descriptors::{BlockedSocket, DescriptorScan},
    dump::ListingIndex,
    inspector::Inspector,
    lookups::Lookups,
};
use crate::{
    diagnosis::reasons::{
        facts::BlockedWrite,
        legs::{rests_in_a_loop, stops_for},
    },
    model::{
        connection_side::ConnectionSide, doing::ProcessDoing, finding::Finding, owner::Evidence, pid::Pid,
        verdict::Verdict,
    },
    netlink::SocketId,
};

/// Full legs that are looked up in one look, at some microseconds each.
const MOST_LEGS: usize = 512;

/// Pairs of a stuck socket and a full leg that are compared.
const MOST_COMPARED: usize = 1 << 20;

/// A socket that waits for room, of a process that rests.
struct FullLeg<'a> {
    blocked: &'a BlockedSocket,
    /// All that the process has written to it.
    written: u64,
    side: Option<ConnectionSide>,
}

/// The full leg that each stuck socket waits for, by the index of its finding.
pub(super) fn find(
    inspector: &Inspector,
    findings: &[Finding],
    index: &ListingIndex,
    scan: &DescriptorScan,
    doing: &FxHashMap<Pid, ProcessDoing>,
) -> FxHashMap<usize, BlockedWrite> {
    let is_wanted = |finding: &Finding| {
        finding.is_stuck && matches!(finding.verdict, Some(Verdict::DataUnread | Verdict::EofUnread))
    };
    let unread: Vec<(usize, &Finding)> =
        findings.iter().enumerate().filter(|(_, finding)| is_wanted(finding)).collect();
    let legs = if unread.is_empty() { FxHashMap::default() } else { look_up(inspector, scan, doing) };
    let mut found = FxHashMap::default();
    let mut left = MOST_COMPARED;
    for (at, finding) in unread {
        let Some((_, listed)) = index.find(&finding.socket) else { continue };
        let Some(read) = listed.received_bytes.and_then(|came| came.checked_sub(listed.recv_q.into())) else {
            continue;
        };
        let side = scan.side(&finding.socket, finding.opened_how(), Some(listed));
        let [owner] = &finding.owners[..] else { continue };
        let legs = legs.get(&owner.process.pid).filter(|_| owner.evidence == Evidence::FdTable);
        let legs = legs.map(Vec::as_slice).unwrap_or_default();
        left = left.saturating_sub(legs.len());
        if left == 0 {
            break;
        }
        // A relay accepts one leg and connects the other.
        let fits = |leg: &&FullLeg<'_>| side.zip(leg.side).is_none_or(|(one, other)| one != other);
        let fitting = legs.iter().filter(fits).filter(|leg| stops_for(read, leg.written));
        let leg = fitting.min_by_key(|leg| read.abs_diff(leg.written));
        found.extend(leg.and_then(|leg| {
            let BlockedSocket { socket, bytes, holder: (pid, fd) } = leg.blocked;
            let remote = socket.endpoints.remote;
            let (pid, fd, bytes) = (pid.visible()?, *fd, *bytes);
            Some((at, BlockedWrite { pid, fd, remote, bytes, is_leg: true }))
        }));
    }
    found
}

/// The full legs of processes that rest in an event loop, by their holder.
fn look_up<'a>(
    inspector: &Inspector,
    scan: &'a DescriptorScan,
    doing: &FxHashMap<Pid, ProcessDoing>,
) -> FxHashMap<Pid, Vec<FullLeg<'a>>> {
    let mut lookups = Lookups::new(&inspector.dumper);
    let mut legs: FxHashMap<Pid, Vec<FullLeg<'a>>> = FxHashMap::default();
    let rests = |blocked: &&BlockedSocket| doing.get(&blocked.holder.0).is_some_and(rests_in_a_loop);
    for blocked in scan.blocked.iter().filter(rests).take(MOST_LEGS) {
        let Some((netns, id)) = blocked.socket.netns.zip(SocketId::of(&blocked.socket)) else { continue };
        let Some(listed) = lookups.socket(netns, &id) else { continue };
        // What waits is not on its way: the kernel probes for room only when all that was sent is acknowledged.
        let Some(sent) = listed.sent_bytes else { continue };
        let side = scan.side(&blocked.socket, None, Some(&listed));
        let written = sent.saturating_add(listed.send_q.into());
        legs.entry(blocked.holder.0).or_default().push(FullLeg { blocked, written, side });
    }
    legs
}
