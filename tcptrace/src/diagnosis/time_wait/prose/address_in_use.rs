//! The words about bind() and EADDRINUSE: what stands in the way, whose it is, and for how long.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use super::{SetBy, named::NamedProcess};
use crate::model::{
    advice::{AddressInUse, Advice, LeftBehind},
    owner_count::OwnerCount,
    record::address_use::{AddressRole, AddressUse},
    state::State,
    units::{Elapsed, plural},
};

/// Processes named one by one.
const NAMED: usize = 2;

/// Who holds what nobody was found to hold.
const HELD_BY_NONE: &str = "no process that can be looked into";

/// Of the time that minisockets have left (the levels of kernel/time/timer.c).
const LATE: &str = " (its timer may be up to 5 s late)";

/// States named one by one.
const STATES_NAMED: usize = 3;

impl fmt::Display for AddressInUse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, left_behind, more } = self;
        let fails = match by.admits_reuseaddr() {
            Some(false) => "fails with EADDRINUSE, with SO_REUSEADDR too",
            None if by.fails_with_reuseaddr() => "fails with EADDRINUSE",
            None | Some(true) => "fails with EADDRINUSE without SO_REUSEADDR",
        };
        write!(out, "bind() to {} {fails}: ", Overlap(by))?;
        match by.role {
            AddressRole::Listener => listener(by, *left_behind, out)?,
            AddressRole::Bound => bound(by, out)?,
            AddressRole::Connection => connections(by, out)?,
            AddressRole::Outgoing => outgoing(by, out)?,
        }
        if *more > 0 {
            write!(
                out,
                ". {} of this host {} it too",
                plural(*more, "other address"),
                agree(*more, "has", "have")
            )?;
        }
        Ok(())
    }
}

/// The word that goes with one, or with several.
fn agree(count: u64, one: &'static str, several: &'static str) -> &'static str {
    if count == 1 { one } else { several }
}

/// The addresses that an address overlaps with.
struct Overlap<'a>(&'a AddressUse);

impl fmt::Display for Overlap<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(AddressUse { local, is_v6_only, .. }) = self;
        let port = local.port();
        match local.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => write!(out, "port {port} on any IPv4 address, or on [::],"),
            IpAddr::V6(ip) if ip.is_unspecified() && *is_v6_only == Some(true) => {
                write!(out, "port {port} on any IPv6 address")
            }
            IpAddr::V6(ip) if ip.is_unspecified() => write!(out, "port {port} on any address"),
            IpAddr::V4(_) => write!(out, "{local}, 0.0.0.0:{port} or [::]:{port}"),
            IpAddr::V6(_) => match is_v6_only {
                Some(true) => write!(out, "{local} or [::]:{port}"),
                Some(false) => write!(out, "{local}, [::]:{port} or 0.0.0.0:{port}"),
                None => {
                    write!(
                        out,
                        "{local}, [::]:{port} or (unless its sockets have IPV6_V6ONLY) 0.0.0.0:{port}"
                    )
                }
            },
        }
    }
}

fn listener(by: &AddressUse, left_behind: LeftBehind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let AddressUse { local, uid, has_reuseport, held_by, .. } = by;
    let count = by.count();
    let sockets = if count == 1 { String::new() } else { format!(", with {}", plural(count, "socket")) };
    if let Some(holders) = Holders::of(by) {
        write!(out, "{holders} {} on {local}{sockets}", holders.agree("listens", "listen"))?;
    } else {
        let listens = agree(count, "a socket listens", "sockets listen");
        write!(out, "{listens} on {local}, which {HELD_BY_NONE} holds")?;
    }
    let that = agree(count, "that socket", "those sockets");
    match held_by.iter().map(|counted| counted.processes).sum() {
        0 => write!(out, ", until {} closed", agree(count, "it is", "they are"))?,
        1 => write!(out, ", until it ends or closes {that}")?,
        2.. => write!(out, ", until they all end or close {that}")?,
    }
    if *has_reuseport == Some(true) || count > 1 {
        let user = uid.map_or_else(|| "the same user".to_owned(), |uid| format!("user {uid}"));
        write!(out, ". SO_REUSEPORT is set: another socket of {user} that sets it too can listen beside it")?;
    }
    stays(by, left_behind, out)
}

/// What a listener has accepted may outlive it, with the option that it has.
fn stays(by: &AddressUse, left_behind: LeftBehind, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let LeftBehind { open, minisockets, last_left_ns } = left_behind;
    let mut stays = Vec::new();
    if open > 0 {
        stays.push(plural(open, "connection"));
    }
    if minisockets > 0 {
        let left = Elapsed(last_left_ns.unwrap_or_default());
        stays.push(format!("{} (for another {left})", plural(minisockets, "minisocket")));
    }
    if stays.is_empty() {
        return Ok(());
    }
    write!(out, ". Of what it accepted, {} may stay after that, and bind() then ", stays.join(" and "))?;
    match by.has_reuseaddr {
        Some(false) => write!(out, "still fails: both need SO_REUSEADDR, and the listener has not set it"),
        Some(true) | None => write!(out, "needs SO_REUSEADDR"),
    }
}

fn bound(by: &AddressUse, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let AddressUse { local, .. } = by;
    let sockets = plural(by.count(), "socket");
    if let Some(holders) = Holders::of(by) {
        write!(out, "{holders} {} bound {sockets} to {local}", holders.agree("has", "have"))?;
    } else {
        let are = agree(by.count(), "is", "are");
        write!(out, "{sockets} that {HELD_BY_NONE} holds {are} bound to {local}")?;
    }
    let neither = agree(by.count(), "which neither listens nor is", "which neither listen nor are");
    write!(out, ", {neither} connected. That lasts until {} closed", agree(by.count(), "it is", "they are"))?;
    with_reuseaddr(by, out)
}

fn connections(by: &AddressUse, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (open, minisockets, fin_wait2) = (by.open(), by.minisockets, minisockets_in_fin_wait2(by));
    let left = || Elapsed(by.last_left_ns.unwrap_or_default());
    write!(out, "nobody listens there, but {}", InStates(by))?;
    if open > 0 {
        match Holders::of(by) {
            Some(holders) => write!(out, ", held by {holders}. That lasts until {}", closed(open))?,
            None if by.orphans == open => {
                write!(
                    out,
                    ", which the process has closed: until the peer answers, or the kernel gives up"
                )?;
            }
            None => write!(out, ", held by {HELD_BY_NONE}. That lasts until {}", closed(open))?,
        }
        if minisockets > 0 {
            let state = if minisockets > fin_wait2 { State::TimeWait } else { State::FinWait2 };
            write!(out, ", and those in {state} stay for another {}{LATE}", left())?;
        }
    } else {
        let count = minisockets;
        write!(
            out,
            ". That lasts for another {}{LATE}, until {} gone",
            left(),
            agree(count, "it is", "the last is")
        )?;
    }
    if fin_wait2 > 0 {
        write!(out, " (a minute from when the peer closes, for what is in FIN_WAIT2)")?;
    }
    with_reuseaddr(by, out)?;
    closed_first(by, out)
}

fn closed(open: u64) -> &'static str {
    agree(open, "it is closed", "the last of them is closed")
}

/// How many in FIN_WAIT2 a timer ends, at least.
fn minisockets_in_fin_wait2(by: &AddressUse) -> u64 {
    let in_state =
        |state| by.by_state.iter().filter(|(of, _)| *of == state).map(|(_, count)| count).sum::<u64>();
    in_state(State::FinWait2).min(by.minisockets.saturating_sub(in_state(State::TimeWait)))
}

fn closed_first(by: &AddressUse, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let AddressUse { minisockets, closed_first_by, .. } = by;
    match closed_first_by.first() {
        _ if *minisockets == 0 => Ok(()),
        Some(closer) => write!(
            out,
            ". {} closed {} of {minisockets} first: TIME_WAIT is with whoever does",
            NamedProcess(closer),
            closer.count
        ),
        None => write!(out, ". This side closed first: that is why it has them"),
    }
}

fn outgoing(by: &AddressUse, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let AddressUse { local, remote, .. } = by;
    let count = by.count();
    let to = remote.map(|remote| format!(" to {remote}")).unwrap_or_default();
    let more = if count > 1 { format!(" and {}", plural(count - 1, "other")) } else { String::new() };
    let state = by.by_state.first().map(|(state, _)| format!(" ({state})")).unwrap_or_default();
    match Holders::of(by) {
        Some(holders) => {
            let has = holders.agree("has", "have");
            write!(out, "{holders} {has} it as the local port of a connection{to}{more}{state}")?;
        }
        None => write!(out, "it is the local port of a connection from {local}{to}{more}{state}")?,
    }
    write!(out, ", for which connect() chose it, or bind() before")?;
    if by.open() > 0 {
        write!(out, ". That lasts until {}", closed(by.open()))?;
    } else {
        write!(out, ". That lasts for another {}{LATE}", Elapsed(by.last_left_ns.unwrap_or_default()))?;
    }
    with_reuseaddr(by, out)
}

/// What SO_REUSEADDR and SO_REUSEPORT change; both need them.
fn with_reuseaddr(by: &AddressUse, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (they, have) = (agree(by.count(), "it", "they"), agree(by.count(), "has", "have"));
    let beside = agree(by.count(), "beside it", "beside them");
    match (by.admits_reuseaddr(), by.role) {
        (Some(false), _) => {
            let lack = agree(by.count(), "lacks", "lack");
            write!(out, ". SO_REUSEADDR does not help: both need it, and {they} {lack} it")?;
        }
        (Some(true), _) => {
            write!(out, ". With SO_REUSEADDR bind() succeeds now {beside}: {they} {have} it too")?;
        }
        (None, AddressRole::Outgoing) => {
            write!(out, ". With SO_REUSEADDR bind() succeeds only if {they} {have} it too, which is rare")?;
        }
        (None, role) => {
            write!(out, ". With SO_REUSEADDR bind() succeeds now {beside} if {they} {have} it too")?;
            if by.has_reuseaddr == Some(true) {
                write!(out, ": those that a process holds do")?;
            } else if role == AddressRole::Connection {
                let keep = agree(by.count(), "keeps", "keep");
                write!(
                    out,
                    ": {they} {keep} it from the connection, and accept() copies it from the listener"
                )?;
            }
        }
    }
    match (by.has_reuseport, by.uid) {
        (Some(true), Some(uid)) => {
            write!(out, ". SO_REUSEPORT does the same for sockets of user {uid}: {they} {have} that")
        }
        _ => Ok(()),
    }
}

/// `3 connections (2 CLOSE_WAIT, 1 ESTABLISHED)`, `5 sockets in TIME_WAIT`.
struct InStates<'a>(&'a AddressUse);

impl fmt::Display for InStates<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(by) = self;
        let (count, states) = (by.count(), &by.by_state);
        let noun = if by.open() > 0 { "connection" } else { "socket" };
        if let [(state, _)] = states[..] {
            return write!(out, "{} in {state} {} it", plural(count, noun), agree(count, "has", "have"));
        }
        write!(out, "{} {} it (", plural(count, noun), agree(count, "has", "have"))?;
        for (nth, (state, count)) in states.iter().take(STATES_NAMED).enumerate() {
            write!(out, "{}{count} in {state}", if nth == 0 { "" } else { ", " })?;
        }
        let others: u64 = states.iter().skip(STATES_NAMED).map(|(_, count)| count).sum();
        if others > 0 {
            write!(out, ", {others} in other states")?;
        }
        write!(out, ")")
    }
}

/// `shop (71, "shop --port 8080") in shop.service and 2 others`.
struct Holders<'a>(&'a [OwnerCount]);

impl<'a> Holders<'a> {
    /// `None` where nobody was found.
    fn of(by: &'a AddressUse) -> Option<Self> {
        (!by.held_by.is_empty()).then_some(Self(&by.held_by))
    }

    fn agree(&self, one: &'static str, several: &'static str) -> &'static str {
        agree(self.0.iter().map(|counted| counted.processes).sum(), one, several)
    }
}

impl fmt::Display for Holders<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = self;
        for (nth, counted) in all.iter().take(NAMED).enumerate() {
            write!(out, "{}{}", if nth == 0 { "" } else { ", " }, NamedProcess(counted))?;
        }
        let others: u64 = all.iter().skip(NAMED).map(|counted| counted.processes).sum();
        if others > 0 { write!(out, " and {}", plural(others, "other")) } else { Ok(()) }
    }
}

/// That nothing has the port, as far as this kernel tells.
pub(super) fn free(
    port: u16,
    is_chosen: bool,
    hides_bound: bool,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    /// `PROT_SOCK` of include/net/ip.h.
    const FIRST_FOR_ALL: u16 = 1024;
    write!(out, "no TCP socket has port {port}: bind() to it succeeds")?;
    if port < FIRST_FOR_ALL {
        write!(out, " with CAP_NET_BIND_SERVICE, or where ip_unprivileged_port_start is not above it")?;
    }
    if is_chosen {
        write!(
            out,
            ", until connect() chooses it for a connection from here. A port in ip_local_reserved_ports is never \
             chosen"
        )?;
    }
    if hides_bound {
        write!(
            out,
            ". Linux before 6.8 does not list sockets that are bound, and neither listen nor are connected: one may \
             have it"
        )?;
    }
    Ok(())
}

/// How connect() is kept from a port of the range.
pub(super) fn reserve(advice: &Advice, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Advice::ReservePort { port, range: (first, last), reserved, place } = advice else { return Ok(()) };
    let value = if reserved.is_empty() { port.to_string() } else { format!("{reserved},{port}") };
    write!(
        out,
        "ip_local_reserved_ports{} lacks port {port}, so connect() may choose it: it is one of {first}-{last} \
         (ip_local_port_range). \"{value}\" keeps it for its service",
        SetBy(place.as_ref()),
    )
}
