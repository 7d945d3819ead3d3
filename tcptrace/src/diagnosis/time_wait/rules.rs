//! Decides which [`Advice`] the numbers call for. Pure.

use std::net::IpAddr;

use super::{forecast::TIME_WAIT_MS, ports::PortBudget, reuse::Reuse};
use crate::model::{
    advice::{Advice, Closer},
    kernel_version::KernelVersion,
    state::State,
    sysctl_setting::Setting,
    tcp_settings::TcpSettings,
    time_wait::{Destination, FoundPorts},
};

/// Fewer minisockets need no advice: some connections are always short.
const MANY: u64 = 100;

/// Ports or buckets are scarce from this share in use.
const SCARCE_PERCENT: u64 = 80;

/// A wider port range is advised from this share in use.
const MUCH_PERCENT: u64 = 50;

/// The first kernel that never takes over a port in FIN_WAIT2. Older ones did by mistake, unless commit
/// 0d9e5df4a257 was backported.
const LEAVES_FIN_WAIT2: KernelVersion = KernelVersion(6, 12);

/// Most destinations to give advice about, worst first.
const MOST_DESTINATIONS: usize = 3;

/// Most lines reported that set what this kernel does not have.
const MOST_DEAD_LINES: usize = 8;

/// What is known about one destination.
#[derive(Clone, Debug)]
pub(crate) struct FoundDestination {
    pub destination: Destination,
    pub time_wait: u64,
    pub fin_wait2: u64,
    pub open: u64,
    pub per_second: Option<f64>,
    /// Whether no minisockets come any more.
    pub is_over: bool,
    /// Nanoseconds until the last of them is gone.
    pub last_left_ns: u64,
    /// Its ports; `None` for a service.
    pub ports: Option<FoundPorts>,
    /// Who closes most of them at present, if seen.
    pub who: Option<Closer>,
    /// The ports in use by the state of their sockets, the most frequent first.
    pub by_state: Vec<(State, u64)>,
    /// Who holds most of them, if anybody does.
    pub holder: Option<Closer>,
    /// How many others hold some.
    pub other_holders: u64,
}

/// What is known about a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct TimeWaitFacts<'a> {
    /// The running kernel, if its release can be parsed.
    pub kernel: Option<KernelVersion>,
    pub settings: &'a TcpSettings,
    /// Lines in files that set them; empty for a namespace that the files do not apply to.
    pub files: &'a [Setting],
    /// The ports that connect() chooses from.
    pub ports: Option<&'a PortBudget>,
    /// Who holds most of the sockets that have bound ports of the range.
    pub bound_by: Option<Closer>,
    /// Minisockets that count towards `tcp_max_tw_buckets`.
    pub buckets_used: Option<u64>,
    /// Minisockets that the kernel lists, whether or not they belong to a destination that is found.
    pub listed: u64,
    /// Sockets that skipped TIME_WAIT since the namespace was created.
    pub overflowed: Option<u64>,
    /// The same, per second at present.
    pub overflows_per_second: Option<f64>,
}

/// The advice for these facts, most urgent first.
pub(crate) fn advice(facts: &TimeWaitFacts<'_>, found: &[FoundDestination]) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut outgoing: Vec<&FoundDestination> = found.iter().filter(|found| found.ports.is_some()).collect();
    outgoing.sort_by_key(|found| std::cmp::Reverse(found.ports.map_or(0, |ports| ports.taken())));
    advice.extend(ports_bound(facts));
    advice.extend(outgoing.iter().filter_map(|found| ports_run_dry(facts, found)).take(MOST_DESTINATIONS));
    advice.extend(connect_is_slow(&outgoing));
    advice.extend(too_many_buckets(facts, found));
    advice.extend(recycle(facts));
    let (over, mut many): (Vec<_>, Vec<_>) =
        found.iter().filter(|found| is_much(found)).partition(|found| is_over(facts, found));
    let present = |found: &FoundDestination| found.per_second.unwrap_or_default();
    many.sort_by(|one, other| {
        let count = |found: &FoundDestination| found.time_wait + found.fin_wait2;
        present(other).total_cmp(&present(one)).then(count(other).cmp(&count(one)))
    });
    advice.extend(patterns(&many));
    advice.extend(burst_is_over(&over));
    let is_bound = facts.ports.is_some_and(|ports| ports.is_bound(MUCH_PERCENT));
    // More ports would help.
    if is_bound || outgoing.iter().any(|found| takes_many_ports(found) && !is_over(facts, found)) {
        advice.extend(wider_range(facts));
    }
    if !many.is_empty() {
        advice.extend(reuse(facts, found));
    }
    advice.extend(no_timestamps(facts, !many.is_empty()));
    advice.extend(fin_timeout(facts, found));
    advice
}

impl TimeWaitFacts<'_> {
    /// Whether sockets may go without TIME_WAIT at present: then it is not known that no more are closed.
    fn may_go_without(&self) -> bool {
        let is_full =
            self.buckets_used.zip(self.settings.tcp_max_tw_buckets).is_some_and(|(used, most)| used >= most);
        self.overflows_per_second.map_or(is_full, |rate| rate > 0.0)
    }

    /// The line that sets `net.ipv4.NAME` last and so takes effect.
    pub(crate) fn place(&self, name: &str) -> Option<Setting> {
        self.files.iter().rfind(|setting| setting.name.strip_prefix("net.ipv4.") == Some(name)).cloned()
    }
}

/// Whether minisockets are many, or take most of the ports of which many are taken.
fn is_much(found: &FoundDestination) -> bool {
    let minisockets = found.time_wait + found.fin_wait2;
    let are_most = |ports: FoundPorts| minisockets * 2 > ports.used;
    minisockets >= MANY || (takes_many_ports(found) && found.ports.is_some_and(are_most))
}

/// Whether what it has many of goes by itself: no minisockets come any more, and no others take most of its ports.
fn is_over(facts: &TimeWaitFacts<'_>, found: &FoundDestination) -> bool {
    let minisockets = found.time_wait + found.fin_wait2;
    found.is_over && !facts.may_go_without() && found.ports.is_none_or(|ports| minisockets * 2 > ports.used)
}

fn takes_many_ports(found: &FoundDestination) -> bool {
    found.ports.is_some_and(|ports| ports.reaches(MUCH_PERCENT))
}

fn ports_run_dry(facts: &TimeWaitFacts<'_>, found: &FoundDestination) -> Option<Advice> {
    let is_scarce = |ports: &FoundPorts| ports.reaches(SCARCE_PERCENT) && !is_over(facts, found);
    let ports = found.ports.filter(|ports| ports.dry_in_ns.is_some() || is_scarce(ports))?;
    let Destination::Outgoing { local, remote } = found.destination else { return None };
    Some(Advice::PortsRunDry {
        remote,
        local,
        taken: ports.taken(),
        total: ports.total,
        per_second: found.per_second,
        most_per_second: ports.most_per_second,
        dry_in_ns: ports.dry_in_ns,
        is_up_to_peer: ports.reusable.is_none() && in_state(found, State::TimeWait) > 0,
        by_state: found.by_state.clone(),
        holder: found.holder.clone(),
        other_holders: found.other_holders,
    })
}

fn in_state(found: &FoundDestination, state: State) -> u64 {
    found.by_state.iter().filter(|(of, _)| *of == state).map(|(_, count)| count).sum()
}

/// From half of the ports on, connect() passes over all ports of one parity before it finds one of the other.
fn connect_is_slow(outgoing: &[&FoundDestination]) -> Option<Advice> {
    let is_slow = |found: &&&FoundDestination| {
        let ports = found.ports.filter(|ports| ports.reaches(MUCH_PERCENT) && ports.taken() > 0);
        ports.is_some_and(|ports| ports.taken() < ports.total)
    };
    let slow: Vec<_> = outgoing.iter().filter(is_slow).collect();
    let worst = slow.first()?;
    let ports = worst.ports?;
    let Destination::Outgoing { local, remote } = worst.destination else { return None };
    Some(Advice::ConnectIsSlow {
        remote,
        local,
        taken: ports.taken(),
        total: ports.total,
        more: slow.len() as u64 - 1,
    })
}

/// Ports that sockets have bound are none to choose from, for any destination.
fn ports_bound(facts: &TimeWaitFacts<'_>) -> Option<Advice> {
    let ports = facts.ports.filter(|ports| ports.is_bound(MUCH_PERCENT))?;
    Some(Advice::PortsBound {
        range: (*ports.range.start(), *ports.range.end()),
        bound: ports.bound,
        reserved: ports.reserved,
        usable: ports.usable,
        who: facts.bound_by.clone(),
    })
}

/// At most one advice on outgoing and one on incoming connections, each about the worst destination.
fn patterns(many: &[&FoundDestination]) -> Vec<Advice> {
    let is_outgoing = |found: &FoundDestination| matches!(found.destination, Destination::Outgoing { .. });
    let (outgoing, incoming): (Vec<_>, Vec<_>) = many.iter().partition(|found| is_outgoing(found));
    let worst = |all: Vec<&&FoundDestination>| {
        let worst = all.first()?;
        let FoundDestination { destination, time_wait, fin_wait2, open, per_second, who, .. } = worst;
        let (count, per_second, who, more) =
            (time_wait + fin_wait2, *per_second, who.clone(), all.len() as u64 - 1);
        Some(match *destination {
            Destination::Outgoing { remote, .. } => {
                Advice::ConnectionPool { remote, who, count, per_second, open: *open, more }
            }
            Destination::Incoming { local } => {
                Advice::ServerClosesFirst { local, who, count, per_second, more }
            }
        })
    };
    [outgoing, incoming].into_iter().filter_map(worst).collect()
}

/// Many minisockets that go by themselves: nothing has to be done about them.
fn burst_is_over(over: &[&FoundDestination]) -> Option<Advice> {
    let count = over.iter().map(|found| found.time_wait + found.fin_wait2).sum();
    let last_left_ns = over.iter().map(|found| found.last_left_ns).max()?;
    Some(Advice::BurstIsOver { count, destinations: over.len() as u64, last_left_ns })
}

/// What went without TIME_WAIT some day says nothing of today: the table is short of room while it is nearly full, or
/// while sockets go without.
fn too_many_buckets(facts: &TimeWaitFacts<'_>, found: &[FoundDestination]) -> Option<Advice> {
    let (used, most) = (facts.buckets_used?, facts.settings.tcp_max_tw_buckets?);
    let are_going_without = facts.overflows_per_second.is_some_and(|rate| rate > 0.0);
    (are_going_without || used.saturating_mul(100) > most.saturating_mul(SCARCE_PERCENT)).then(|| {
        Advice::TooManyBuckets {
            used,
            most,
            overflowed: facts.overflowed.unwrap_or_default(),
            per_second: facts.overflows_per_second,
            is_over: are_all_over(facts, found),
            place: facts.place("tcp_max_tw_buckets"),
        }
    })
}

/// Whether no minisockets come any more, to whatever destination: not known where a filter hides some.
fn are_all_over(facts: &TimeWaitFacts<'_>, found: &[FoundDestination]) -> bool {
    let count = |found: &FoundDestination| found.time_wait + found.fin_wait2;
    let over: u64 = found.iter().filter(|found| found.is_over).map(count).sum();
    over > 0 && over >= facts.listed && !facts.may_go_without()
}

/// Lines that set `tcp_tw_recycle`, which this kernel does not have.
fn recycle(facts: &TimeWaitFacts<'_>) -> Vec<Advice> {
    if facts.settings.tcp_tw_recycle.is_some() {
        return Vec::new();
    }
    let is_recycle = |setting: &&Setting| setting.name == "net.ipv4.tcp_tw_recycle";
    let dead = facts.files.iter().filter(is_recycle).take(MOST_DEAD_LINES).cloned();
    dead.map(|place| Advice::RecycleIsDead { place }).collect()
}

fn wider_range(facts: &TimeWaitFacts<'_>) -> Option<Advice> {
    /// Ports below are privileged; the kernel refuses a range that begins below `ip_unprivileged_port_start`.
    const LOWEST: u16 = 1_024;
    let ports = facts.ports?;
    let (first, last) = (*ports.range.start(), *ports.range.end());
    let lowest = facts.settings.ip_unprivileged_port_start.unwrap_or(LOWEST).max(LOWEST);
    (first > lowest || last < u16::MAX).then(|| Advice::WidenPortRange {
        range: (first, last),
        reserved: ports.reserved,
        bound: ports.bound,
        lowest,
        place: facts.place("ip_local_port_range"),
    })
}

fn reuse(facts: &TimeWaitFacts<'_>, found: &[FoundDestination]) -> Option<Advice> {
    let value = facts.settings.tcp_tw_reuse?;
    let (mut loopback, mut elsewhere, mut incoming, mut fin_wait2) = (0, 0, 0, 0);
    for found in found {
        fin_wait2 += found.fin_wait2;
        *match found.destination {
            Destination::Outgoing { local, remote } if is_loopback(local, remote.ip()) => &mut loopback,
            Destination::Outgoing { .. } => &mut elsewhere,
            Destination::Incoming { .. } => &mut incoming,
        } += found.time_wait;
    }
    Some(Advice::Reuse {
        value,
        delay_ms: Reuse::delay_ms(facts.settings),
        loopback,
        elsewhere,
        incoming,
        fin_wait2,
        leaves_fin_wait2: facts.kernel.is_some_and(|kernel| kernel >= LEAVES_FIN_WAIT2),
        place: facts.place("tcp_tw_reuse"),
    })
}

fn is_loopback(local: IpAddr, remote: IpAddr) -> bool {
    local.is_loopback() || remote.is_loopback()
}

fn no_timestamps(facts: &TimeWaitFacts<'_>, are_many: bool) -> Option<Advice> {
    let reuse = facts.settings.tcp_tw_reuse.filter(|reuse| *reuse > 0)?;
    let place = facts.place("tcp_timestamps");
    let is_off = facts.settings.tcp_timestamps == Some(0);
    (is_off && (are_many || place.is_some())).then_some(Advice::NoTimestamps { reuse, place })
}

/// Given when the setting was changed or minisockets are many: it is what people try first.
fn fin_timeout(facts: &TimeWaitFacts<'_>, found: &[FoundDestination]) -> Option<Advice> {
    let seconds = facts.settings.tcp_fin_timeout?;
    let place = facts.place("tcp_fin_timeout");
    let fin_wait2 = found.iter().map(|found| found.fin_wait2).sum();
    let present = found.iter().filter(|found| !found.is_over || facts.may_go_without());
    let count: u64 = present.map(|found| found.time_wait + found.fin_wait2).sum();
    let is_changed = place.is_some() || seconds.saturating_mul(1_000) != TIME_WAIT_MS;
    (is_changed || count >= MANY).then_some(Advice::FinTimeout { seconds, fin_wait2, place })
}

#[cfg(test)]
mod tests;
