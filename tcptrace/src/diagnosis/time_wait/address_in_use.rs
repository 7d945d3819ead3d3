//! Why bind() to a local port fails with EADDRINUSE, and for how long. Pure.
//!
//! `inet_csk_bind_conflict` of net/ipv4/inet_connection_sock.c: a socket that has the port stands in the way where the
//! addresses overlap, unless both have SO_REUSEADDR and it does not listen, or both have SO_REUSEPORT and belong to one
//! user. A wildcard overlaps with each address of its family, that of IPv6 with those of IPv4 as well unless it has
//! `IPV6_V6ONLY`, and that of IPv4 with each IPv6 address whose socket lacks it (`ipv4_rcv_saddr_equal`): a socket that is
//! bound to such an address has it (`__inet6_bind` of net/ipv6/af_inet6.c), a connection that was accepted at `[::]` has
//! what its listener had. Sockets in TIME_WAIT count too: they keep the options that their connections had, which accept()
//! copies from the listener.

use std::cmp::Reverse;

use super::ports;
use crate::model::{
    advice::{AddressInUse, Advice, LeftBehind},
    connection_side::ConnectionSide,
    endpoints::Endpoint,
    kernel_version::KernelVersion,
    record::address_use::{AddressRole, AddressUse},
    sysctl_setting::Setting,
    tcp_settings::TcpSettings,
};

/// The first kernel that lists sockets which are bound, and neither listen nor are connected.
const LISTS_BOUND: KernelVersion = KernelVersion(6, 8);

/// From this many peers on, connections at one local port are those of a service.
const FEWEST_CLIENTS: u64 = 3;

/// Most addresses to give advice about for each port, worst first.
const MOST_ADDRESSES: usize = 4;

/// The connections at one local address, by what is known of their direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connections {
    /// From a port that connect() chooses, where nobody listens, by the remote port.
    pub from_clients: u64,
    /// To a port that a service may have, by the remote port.
    pub to_services: u64,
    /// Open ones that the kernel shows to have been accepted here.
    pub accepted: u64,
    /// The same of those that were connected from here.
    pub connected: u64,
}

impl Connections {
    pub(crate) fn count(&mut self, is_from_client: bool) {
        *(if is_from_client { &mut self.from_clients } else { &mut self.to_services }) += 1;
    }

    /// Counts an open connection by the side that made it, where the kernel shows that.
    pub(crate) fn count_side(&mut self, side: Option<ConnectionSide>) {
        match side {
            Some(ConnectionSide::Accepted) => self.accepted += 1,
            Some(ConnectionSide::Connected) => self.connected += 1,
            None => {}
        }
    }
}

/// Whether connections at a local port are those of a service. Somebody listens there, or did: connect() chooses no
/// port outside of the range, and accepted what was accepted. Ports are asked only where the kernel does not tell.
pub(crate) fn role(
    connections: Connections,
    is_served: bool,
    port: u16,
    range: Option<(u16, u16)>,
) -> AddressRole {
    let Connections { from_clients, to_services, accepted, connected } = connections;
    let is_chosen = range.is_some_and(|(first, last)| (first..=last).contains(&port));
    let is_from_clients = match (accepted, connected) {
        (0, 0) => from_clients >= FEWEST_CLIENTS && from_clients > to_services,
        _ => accepted > 0,
    };
    if is_served || !is_chosen || is_from_clients { AddressRole::Connection } else { AddressRole::Outgoing }
}

/// What is known about the ports that were asked for, in one network namespace.
#[derive(Clone, Debug)]
pub(crate) struct BindFacts<'a> {
    pub ports: &'a [u16],
    /// What has them.
    pub uses: &'a [AddressUse],
    pub settings: &'a TcpSettings,
    /// The running kernel, if its release can be parsed.
    pub kernel: Option<KernelVersion>,
    /// The line in a file that sets `ip_local_reserved_ports`.
    pub place: Option<Setting>,
}

/// The advice for these facts, by port, the most lasting first.
pub(crate) fn advice(facts: &BindFacts<'_>) -> Vec<Advice> {
    facts.ports.iter().flat_map(|port| of_port(facts, *port)).collect()
}

fn of_port(facts: &BindFacts<'_>, port: u16) -> Vec<Advice> {
    let uses: Vec<&AddressUse> = facts.uses.iter().filter(|one| one.local.port() == port).collect();
    let is_chosen = ports::is_chosen(facts.settings, port);
    if uses.is_empty() {
        let hides_bound = facts.kernel.is_some_and(|kernel| kernel < LISTS_BOUND);
        return vec![Advice::AddressFree { port, is_chosen, hides_bound }];
    }
    let listeners: Vec<&AddressUse> =
        uses.iter().filter(|one| one.role == AddressRole::Listener).copied().collect();
    let is_left_to = |listener: &AddressUse, one: &AddressUse| {
        one.role == AddressRole::Connection && accepts(listener, one.local)
    };
    // What a listener has accepted is said with it: bind() succeeds no sooner.
    let mut reported: Vec<&AddressUse> = uses
        .iter()
        .filter(|one| !listeners.iter().any(|listener| is_left_to(listener, one)))
        .copied()
        .collect();
    reported
        .sort_by_key(|one| (one.admits_reuseaddr() == Some(true), one.role, Reverse(wait(one)), one.local));
    let more = reported.len().saturating_sub(MOST_ADDRESSES) as u64;
    reported.truncate(MOST_ADDRESSES);
    let last = reported.len().saturating_sub(1);
    let in_use = |(nth, one): (usize, &&AddressUse)| {
        let left = uses.iter().filter(|other| one.role == AddressRole::Listener && is_left_to(one, other));
        Advice::AddressInUse(Box::new(AddressInUse {
            by: (*one).clone(),
            left_behind: left_behind(left.copied()),
            more: if nth == last { more } else { 0 },
        }))
    };
    let mut advice: Vec<Advice> = reported.iter().enumerate().map(in_use).collect();
    if is_chosen && reported.iter().any(|one| one.role == AddressRole::Outgoing) {
        advice.push(Advice::ReservePort {
            port,
            reserved: facts.settings.ip_local_reserved_ports.clone().unwrap_or_default(),
            range: facts.settings.ip_local_port_range.unwrap_or_default(),
            place: facts.place.clone(),
        });
    }
    advice
}

/// How long it stands in the way: what no timer ends, for longest.
fn wait(one: &AddressUse) -> u64 {
    if one.open() > 0 { u64::MAX } else { one.last_left_ns.unwrap_or_default() }
}

/// Whether a connection at this address can be one that the listener accepted.
fn accepts(listener: &AddressUse, local: Endpoint) -> bool {
    let is_of_both = listener.is_v6_only != Some(true);
    local.listened_at().contains(&listener.local)
        && (listener.local.ip().is_ipv4() == local.ip().is_ipv4() || is_of_both)
}

fn left_behind<'a>(uses: impl Iterator<Item = &'a AddressUse>) -> LeftBehind {
    uses.fold(LeftBehind::default(), |sum, one| LeftBehind {
        open: sum.open + one.open(),
        minisockets: sum.minisockets + one.minisockets,
        last_left_ns: sum.last_left_ns.max(one.last_left_ns),
    })
}

#[cfg(test)]
mod tests;
