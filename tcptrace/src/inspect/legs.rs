//! Finds the other legs of relays: a process read the end of one connection, and passed it on by shutting down another
//! one, whose far end has not answered with its own.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    descriptors::{DescriptorScan, HeldSocket, ScanTarget},
    dump::ListingIndex,
    inspector::Inspector,
    other_ends::{HALF_CLOSED, HalfClosed},
};
use crate::{
    diagnosis::reasons::{
        facts::OtherLeg,
        legs::{LegBytes, LegTimes, distance_ms, passing_ms, waits_only_for},
    },
    model::{
        activity::ActivityTimes,
        connection_side::ConnectionSide,
        doing::ProcessDoing,
        endpoints::Endpoints,
        finding::Finding,
        owner::{Evidence, Owner},
        pid::Pid,
        socket::{Socket, TcpFlavour},
        state::{State, StateSet},
        verdict::Verdict,
    },
    netlink::SocketId,
};

/// Most half-closed sockets that are looked up, at some microseconds each.
const MOST_LEGS: usize = 512;

/// Pairs of a stuck socket and a leg that are compared.
const MOST_COMPARED: usize = 1 << 20;

/// A half-closed socket of a process that also has stuck ones.
struct Leg {
    pid: Pid,
    fd: u32,
    socket: Socket,
    fin_sequence: u32,
    side: Option<ConnectionSide>,
    times: LegTimes,
    activity: ActivityTimes,
    bytes: LegBytes,
    /// Whether its peer has acknowledged all, the end too.
    has_sent_all: bool,
    /// When it was looked at (CLOCK_MONOTONIC, nanoseconds).
    asked_ns: u64,
}

/// How well a leg fits a stuck socket; the least fits best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Misfit {
    /// Not all that came in on one went out on the other.
    bytes: bool,
    /// Milliseconds between what arrived last and what was sent on last, where the kernel counts in steps of ten at most.
    passing_ms: u64,
    /// Milliseconds between the two ends, for certain.
    apart_ms: u64,
    /// Relays open both legs one after the other.
    descriptors: u32,
}

impl Misfit {
    /// Whether this leg is the one, and not that.
    fn is_clearly_better(self, other: Self) -> bool {
        /// Twice a step of the kernel's clock.
        const CLEARLY_MS: u64 = 20;
        (!self.bytes && other.bytes) || other.passing_ms > self.passing_ms.saturating_add(CLEARLY_MS)
    }
}

/// The other leg of each stuck socket that has one, by the index of its finding.
pub(super) fn find(
    inspector: &mut Inspector,
    findings: &[Finding],
    index: &ListingIndex,
    scan: &DescriptorScan,
    doing: &FxHashMap<Pid, ProcessDoing>,
) -> FxHashMap<usize, OtherLeg> {
    let read: Vec<(usize, &Finding, &Owner)> = findings
        .iter()
        .enumerate()
        .filter(|(_, finding)| finding.is_stuck && finding.verdict == Some(Verdict::EofRead))
        .filter_map(|(at, finding)| Some((at, finding, finding.owners.first()?)))
        .filter(|(_, _, owner)| owner.evidence == Evidence::FdTable)
        .collect();
    let holders: FxHashSet<Pid> = read.iter().map(|(_, _, owner)| owner.process.pid).collect();
    let legs = look_up(inspector, scan, &holders);
    let mut pairs: Vec<(Misfit, usize, usize)> = Vec::new();
    let possible = read.iter().flat_map(|stuck| legs.iter().enumerate().map(move |leg| (stuck, leg)));
    for ((at, finding, owner), (number, leg)) in possible.take(MOST_COMPARED) {
        let listed = index.find(&finding.socket).map(|(_, listed)| listed);
        let side = scan.side(&finding.socket, finding.opened_how(), listed);
        let sides = side.zip(leg.side);
        // A relay accepts one leg and connects the other.
        let is_relay = sides.is_none_or(|(one, other)| one != other);
        let is_itself = leg.socket.endpoints == finding.socket.endpoints.mirrored();
        if owner.process.pid != leg.pid || !is_relay || is_itself {
            continue;
        }
        let (least_ns, most_ns) = finding.since.age_at(leg.asked_ns);
        let stuck = LegTimes::of_ages_ns(least_ns, most_ns);
        let Some(apart_ms) = distance_ms(stuck, leg.times) else { continue };
        let bytes = listed.map_or_else(LegBytes::default, |listed| LegBytes {
            sent: listed.sent_bytes,
            // The FIN counts.
            received: listed.received_bytes.map(|bytes| bytes.saturating_sub(1)),
        });
        let later_ms = leg.asked_ns.saturating_sub(index.asked_ns()) / 1_000_000;
        // One that ends TLS passes on other bytes than it gets: it is known by what it waits for.
        let is_awaited = || doing.get(&leg.pid).is_some_and(|doing| waits_only_for(doing, leg.fd));
        if leg.has_sent_all && bytes.are_others_than(leg.bytes) && !is_awaited() {
            continue;
        }
        let passing_ms = listed
            .and_then(|listed| listed.times)
            .map_or(u64::MAX, |times| passing_ms(times, leg.activity, later_ms));
        let fd = owner.fds.first().copied().unwrap_or_default();
        let misfit = Misfit {
            bytes: !bytes.are_passed_on(leg.bytes),
            passing_ms,
            apart_ms,
            descriptors: fd.abs_diff(leg.fd),
        };
        pairs.push((misfit, *at, number));
    }
    pairs.sort_unstable();
    let (mut taken, mut found) = (FxHashSet::default(), FxHashMap::default());
    for (nth, (misfit, at, number)) in pairs.iter().enumerate() {
        if !found.contains_key(at) && taken.insert(*number) {
            let next = pairs.iter().skip(nth + 1).find(|(_, other, _)| other == at);
            let is_certain = next.is_none_or(|(next, _, _)| misfit.is_clearly_better(*next));
            found.insert(*at, (*number, is_certain));
        }
    }
    let far = if found.is_empty() { FxHashMap::default() } else { far_ends(inspector, scan, &legs) };
    let leg = |(at, (number, is_certain)): (usize, (usize, bool))| {
        let leg = legs.get(number)?;
        Some((
            at,
            OtherLeg {
                pid: leg.pid.visible()?,
                fd: leg.fd,
                remote: leg.socket.endpoints.remote,
                for_ns: Some(leg.times.least_ms * 1_000_000),
                // Of several that may be it, nobody is named.
                far: far.get(&number).filter(|_| is_certain).cloned(),
            },
        ))
    };
    found.into_iter().filter_map(leg).collect()
}

/// The half-closed sockets of these processes, with their times.
fn look_up(inspector: &mut Inspector, scan: &DescriptorScan, holders: &FxHashSet<Pid>) -> Vec<Leg> {
    let mut by_netns: FxHashMap<u32, Vec<(Pid, u32, HalfClosed<'_>)>> = FxHashMap::default();
    let held = scan.other_ends.half_closed().filter_map(|leg| {
        let (pid, fds) = leg.holders.iter().find(|(pid, _)| holders.contains(pid))?;
        Some((*pid, *fds.first()?, leg))
    });
    for (pid, fd, leg) in held.take(MOST_LEGS) {
        by_netns.entry(leg.socket.netns.unwrap_or_default()).or_default().push((pid, fd, leg));
    }
    let mut legs = Vec::new();
    for (netns, held) in by_netns {
        let Ok(mut diag) = inspector.dumper.open(netns) else { continue };
        let asked_ns = inspector.dumper.world().clocks.monotonic_ns();
        for (pid, fd, leg) in held {
            let Some(id) = SocketId::of(&leg.socket) else { continue };
            let Ok(Some(listed)) = diag.lookup(TcpFlavour::Tcp, &id, true) else { continue };
            let is_half_closed =
                State::from_number(listed.state).is_some_and(|state| HALF_CLOSED.contains(state));
            let Some(times) = listed.times.filter(|_| is_half_closed) else { continue };
            legs.push(Leg {
                pid,
                fd,
                socket: leg.socket,
                fin_sequence: leg.fin_sequence,
                side: scan.side(&leg.socket, None, Some(&listed)).or(leg.side),
                times: LegTimes::of_half_closed(times),
                activity: times,
                asked_ns,
                bytes: LegBytes { sent: listed.sent_bytes, received: listed.received_bytes },
                has_sent_all: State::from_number(listed.state) == Some(State::FinWait2),
            });
        }
    }
    legs
}

/// Who holds the far ends of legs, where those are on this host, by the number of the leg.
fn far_ends(
    inspector: &mut Inspector,
    scan: &DescriptorScan,
    legs: &[Leg],
) -> FxHashMap<usize, (Option<u32>, String)> {
    // A scan for some sockets does not have all of the others.
    let all = inspector.tables.scan(ScanTarget::States(StateSet::CLOSE_WAIT));
    let scan = all.as_ref().unwrap_or(scan);
    let held: FxHashMap<Endpoints, &HeldSocket> =
        scan.all_held().map(|held| (held.socket.endpoints, held)).collect();
    let mut found = FxHashMap::default();
    for (number, leg) in legs.iter().enumerate() {
        let Some(far) = held.get(&leg.socket.endpoints.mirrored()) else { continue };
        let is_same = far.fin_sequence == 0 || leg.fin_sequence == 0 || far.fin_sequence == leg.fin_sequence;
        let owners = inspector.processes.owners(&far.holders, Evidence::FdTable, None);
        if let Some(owner) = owners.first().filter(|_| is_same) {
            found.insert(number, (owner.process.pid.visible(), owner.process.comm.clone()));
        }
    }
    found
}
