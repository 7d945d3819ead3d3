//! Which sockets are wanted: the one answer for every command, live and offline. The kernel side applies a part of it
//! to transitions (`kernel::filter`). Pure.

use std::{net::IpAddr, time::Duration};

use ipnet::{IpNet, Ipv6Net};

use super::{
    endpoints::Endpoints,
    finding::Finding,
    other_end::OtherEnd,
    owner::{Evidence, Owner},
    owner_criteria::OwnerCriteria,
    socket::Socket,
    state::{State, StateSet},
    verdict::{ACTIVE_WINDOW_MS, UnknownBecause, Verdict},
};

/// IPv4 or IPv6. A connection between IPv4-mapped addresses is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    V4 = 4,
    V6 = 6,
}

/// The side of a connection that a port has to be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Local,
    Remote,
    Either,
}

impl Side {
    /// Every side.
    pub const ALL: [Self; 3] = [Self::Either, Self::Local, Self::Remote];

    fn has_port(self, endpoints: &Endpoints, port: u16) -> bool {
        let Endpoints { local, remote } = endpoints;
        (self != Self::Remote && local.port() == port) || (self != Self::Local && remote.port() == port)
    }
}

/// Which sockets are wanted. Entries of one kind are alternatives; all kinds have to match. An empty kind admits
/// everything, except `states`. Not every command uses each part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// Sockets in these states, and transitions out of or into them.
    pub states: StateSet,
    pub family: Option<Family>,
    /// Ports with the side that they have to be on. Each side is a kind of its own.
    pub ports: Vec<(u16, Side)>,
    /// Ranges that either address may lie in.
    pub addresses: Vec<IpNet>,
    /// Inode numbers of network namespaces.
    pub netns: Vec<u32>,
    pub owners: OwnerCriteria,
    /// Sockets are old enough that have been in CLOSE_WAIT for this long for certain, or, in another state, have not
    /// heard from their peer for this long.
    pub older_than: Duration,
    /// Empty: every verdict except a legitimate half-close.
    pub verdicts: Vec<Verdict>,
}

/// What [`Criteria::judge`] makes of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It meets all criteria.
    Chosen,
    /// It was not asked for.
    Other,
    /// Only its age does not meet the criteria, or is not known.
    TooYoung,
    /// It may be old enough: answers to keep-alive probes hide its age, for as long as it is stuck.
    AgeHidden,
    /// It was asked for, but is a half-close that is still used.
    StillUsed,
}

impl Criteria {
    /// Whether the connection and its network namespace are wanted. A socket whose namespace is not known is not in
    /// one that was asked for.
    pub fn admits_socket(&self, socket: &Socket) -> bool {
        self.admits_netns(socket.netns) && self.admits_endpoints(&socket.endpoints)
    }

    /// The ports that were asked for on this side.
    pub fn local_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().filter(|(_, side)| *side == Side::Local).map(|(port, _)| *port)
    }

    /// Whether a network namespace is wanted.
    pub fn admits_netns(&self, netns: Option<u32>) -> bool {
        self.netns.is_empty() || netns.is_some_and(|netns| self.netns.contains(&netns))
    }

    /// Whether a connection is wanted, in whatever namespace it is.
    pub fn admits_endpoints(&self, endpoints: &Endpoints) -> bool {
        self.family.is_none_or(|family| family as u8 == endpoints.family())
            && Side::ALL.into_iter().all(|side| self.admits_ports(side, endpoints))
            && (self.addresses.is_empty()
                || self.addresses.iter().any(|range| {
                    contains(range, endpoints.local.ip()) || contains(range, endpoints.remote.ip())
                }))
    }

    fn admits_ports(&self, side: Side, endpoints: &Endpoints) -> bool {
        let mut ports = self.ports.iter().filter(|(_, of)| *of == side).peekable();
        ports.peek().is_none() || ports.any(|(port, _)| side.has_port(endpoints, *port))
    }

    /// Whether a transition is wanted: by either of its states, and by its socket.
    pub fn admits_transition(&self, old: State, new: State, socket: &Socket) -> bool {
        (self.states.contains(old) || self.states.contains(new)) && self.admits_socket(socket)
    }

    /// Whether a socket with these owners is wanted.
    pub fn admits_owners(&self, owners: &[Owner]) -> bool {
        self.owners.admits(owners)
    }

    /// Whether the connection, its network namespace and its owners are wanted, however old it is.
    pub fn passes_filters(&self, finding: &Finding) -> bool {
        self.admits_socket(&finding.socket) && self.admits_owners(&finding.owners)
    }

    /// Whether a socket is listed, half-closes that are still used included. An age is asked for in CLOSE_WAIT only.
    pub fn admits_finding(&self, finding: &Finding) -> bool {
        self.passes_filters(finding)
            && (finding.state != State::CloseWait || self.is_old_enough(age_ns(finding)))
    }

    /// Whether a socket is to be ended, or why not. Spares half-closes that are still used, unless their verdict was
    /// asked for by name.
    pub fn judge(&self, finding: &Finding) -> Choice {
        let is_asked_for = self.states.contains(finding.state) && self.passes_filters(finding);
        let is_still_used = is_still_used(finding);
        let has_verdict = match finding.verdict {
            _ if is_still_used => true,
            Some(verdict) => self.verdicts.is_empty() || self.verdicts.contains(&verdict),
            None => self.verdicts.is_empty(),
        };
        if !is_asked_for || !has_verdict {
            Choice::Other
        } else if is_still_used && !self.wants_half_open() {
            Choice::StillUsed
        } else if !self.is_old_enough(age_ns(finding)) {
            if is_age_hidden(finding) && self.may_be_old_enough(finding) {
                Choice::AgeHidden
            } else {
                Choice::TooYoung
            }
        } else {
            Choice::Chosen
        }
    }

    /// Whether half-closes that are still used were asked for.
    pub fn wants_half_open(&self) -> bool {
        self.verdicts.contains(&Verdict::HalfOpen)
    }

    /// Whether an age in nanoseconds suffices.
    pub fn is_old_enough(&self, age_ns: u64) -> bool {
        u128::from(age_ns) >= self.older_than.as_nanos()
    }

    /// Whether the greatest age that is possible suffices.
    fn may_be_old_enough(&self, finding: &Finding) -> bool {
        finding.since.age_at(finding.looked_at_ns).1.is_none_or(|most| self.is_old_enough(most))
    }

    /// Whether anything is asked of the connection, its namespace or its owners.
    pub fn is_filter(&self) -> bool {
        self.family.is_some()
            || !self.ports.is_empty()
            || !self.addresses.is_empty()
            || !self.netns.is_empty()
            || !self.owners.is_empty()
    }
}

/// The range among IPv6 addresses, where IPv4 addresses have their v4-mapped form.
pub(crate) fn mapped(range: &IpNet) -> Ipv6Net {
    match range {
        IpNet::V4(range) => Ipv6Net::new_assert(range.addr().to_ipv6_mapped(), 96 + range.prefix_len()),
        IpNet::V6(range) => *range,
    }
}

fn contains(range: &IpNet, address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    mapped(range).contains(&address)
}

fn age_ns(finding: &Finding) -> u64 {
    finding.since.age_at(finding.looked_at_ns).0
}

/// Whether answers to keep-alive probes keep the age small that is certain.
fn is_age_hidden(finding: &Finding) -> bool {
    finding.state == State::CloseWait && finding.keep_alive == Some(true)
}

/// Whether a half-close is legitimate: in CLOSE_WAIT by the verdict or, without one, by whether the other end may still
/// wait for the answer; in FIN_WAIT1 and FIN_WAIT2, where this side has sent its end and may still be reading, where
/// somebody may hold it and its peer, on this host, has not closed, or was heard from lately.
fn is_still_used(finding: &Finding) -> bool {
    match (finding.state, finding.verdict) {
        (State::FinWait1 | State::FinWait2, _) => {
            let is_answer_to_come = finding.other_end.as_ref().is_some_and(OtherEnd::may_answer);
            may_be_held(finding) && (is_answer_to_come || age_ns(finding) < ACTIVE_WINDOW_MS * 1_000_000)
        }
        // Who holds it could not be seen, so nothing speaks against a half-close in use.
        (State::CloseWait, None) => finding.other_end.as_ref().is_some_and(OtherEnd::waits_for_answer),
        (_, verdict) => verdict == Some(Verdict::HalfOpen),
    }
}

/// Whether a process has a descriptor, or may have one and could not be read.
fn may_be_held(finding: &Finding) -> bool {
    let is_held = finding.owners.iter().any(|owner| owner.evidence == Evidence::FdTable);
    is_held || finding.unknown_because == Some(UnknownBecause::ProcessesNotRead)
}

#[cfg(test)]
mod tests;
