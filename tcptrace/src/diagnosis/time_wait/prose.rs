//! The words of each advice. Each sentence holds for the running kernel: it says about a setting what the kernel's
//! Documentation/networking/ip-sysctl.rst or source says.

mod address_in_use;
pub(crate) mod named;

use std::fmt;

use super::forecast::TIME_WAIT_MS;
use crate::model::{
    advice::{Advice, Closer},
    state::State,
    sysctl_setting::Setting,
    units::{Elapsed, ms_in_ns, plural},
};

/// States named one by one.
const STATES_NAMED: usize = 3;

/// ` (12.5 a second)`; empty for an unknown rate, and when nothing comes any more.
struct Rate(Option<f64>);

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.filter(|rate| *rate >= 0.05).map_or(Ok(()), |rate| write!(out, " ({rate:.1} a second)"))
    }
}

/// ` (set by /etc/sysctl.conf, line 3)`; empty if unknown.
struct SetBy<'a>(Option<&'a Setting>);

impl fmt::Display for SetBy<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |place| write!(out, " (set by {}, line {})", place.file.display(), place.line))
    }
}

/// `shop (71) closed 90 of the 100 connections that this side closed first, within a minute,`: the closer and
/// the total.
struct WhoClosedFirst<'a>(Option<&'a Closer>, u64);

impl fmt::Display for WhoClosedFirst<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(who, all) = self;
        match who {
            None => write!(out, "this side closed first, within a minute, {all} connections"),
            Some(Closer { name, count }) if count == all => {
                write!(out, "{name} closed first, within a minute, {all} connections")
            }
            Some(Closer { name, count }) => {
                write!(
                    out,
                    "{name} closed {count} of the {all} connections that this side closed first, within a minute,"
                )
            }
        }
    }
}

/// ` (90 in CLOSE_WAIT, 10 in ESTABLISHED)`; empty if all are in TIME_WAIT.
struct InStates<'a>(&'a [(State, u64)]);

impl fmt::Display for InStates<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(states) = self;
        if states.iter().all(|(state, _)| *state == State::TimeWait) {
            return Ok(());
        }
        for (nth, (state, count)) in states.iter().take(STATES_NAMED).enumerate() {
            write!(out, "{}{count} in {state}", if nth == 0 { " (" } else { ", " })?;
        }
        let others: u64 = states.iter().skip(STATES_NAMED).map(|(_, count)| count).sum();
        if others > 0 {
            write!(out, ", {others} in other states")?;
        }
        write!(out, ")")
    }
}

/// `. It is the same with 3 other services`; empty for none.
struct AndMore<'a>(u64, &'a str);

impl fmt::Display for AndMore<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        if *count > 0 { write!(out, ". It is the same with {}", plural(*count, noun)) } else { Ok(()) }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressInUse(in_use) => in_use.fmt(out),
            Self::AddressFree { port, is_chosen, hides_bound } => {
                address_in_use::free(*port, *is_chosen, *hides_bound, out)
            }
            Self::ReservePort { .. } => address_in_use::reserve(self, out),
            Self::PortsRunDry { .. } => ports_run_dry(self, out),
            Self::ConnectIsSlow { remote, local, taken, total, more } => write!(
                out,
                "{taken} of {total} local ports from {local} to {remote} are taken: from half of them on connect() gets \
                 slow, for it tries every second port of the range before the others, one after the other, and finds \
                 those of the first pass taken{}",
                AndMore(*more, "other destination"),
            ),
            Self::PortsBound { .. } => ports_bound(self, out),
            Self::ConnectionPool { remote, who, count, per_second, open, more } => write!(
                out,
                "{} to {remote}{}, and {open} are open now: a connection pool or keep-alive needs a port for each \
                 connection that is open at once, not for each request{}",
                WhoClosedFirst(who.as_ref(), *count),
                Rate(*per_second),
                AndMore(*more, "other destination"),
            ),
            Self::BurstIsOver { count, destinations, last_left_ns } => {
                let of = plural(*destinations, "destination");
                let minute = TIME_WAIT_MS / 1_000;
                write!(
                    out,
                    "{count} sockets of {of} wait out their {minute} s, and no more come: it is over in {}, and \
                     nothing has to be done about them",
                    Elapsed(*last_left_ns)
                )
            }
            Self::ServerClosesFirst { local, who, count, per_second, more } => write!(
                out,
                "{} to port {} here{}: let the client close first, or keep connections alive, else TIME_WAIT is paid \
                 for here, in memory and places among tcp_max_tw_buckets (it takes none of the ports that connect() \
                 chooses from){}",
                WhoClosedFirst(who.as_ref(), *count),
                local.port(),
                Rate(*per_second),
                AndMore(*more, "other service"),
            ),
            Self::WidenPortRange { range: (first, last), reserved, bound, lowest, place } => {
                let count = |first: u16, last: u16| u32::from(last).saturating_sub(u32::from(first)) + 1;
                write!(
                    out,
                    "ip_local_port_range is {first} {last}{}: {} ports, {reserved} of them reserved and {bound} bound \
                     by others. \"{lowest} {}\" would be {}; put the ports of this host's services into \
                     ip_local_reserved_ports first",
                    SetBy(place.as_ref()),
                    count(*first, *last),
                    u16::MAX,
                    count(*lowest, u16::MAX),
                )
            }
            Self::Reuse { .. } => reuse(self, out),
            Self::NoTimestamps { reuse, place } => write!(
                out,
                "tcp_timestamps is 0{}: without timestamps tcp_tw_reuse = {reuse} has no effect",
                SetBy(place.as_ref())
            ),
            Self::FinTimeout { seconds, fin_wait2, place } => write!(
                out,
                "tcp_fin_timeout is {seconds} s{}: that is for FIN_WAIT2 ({} here) and does not shorten TIME_WAIT, \
                 which lasts {} s, a constant of the kernel",
                SetBy(place.as_ref()),
                plural(*fin_wait2, "socket"),
                TIME_WAIT_MS / 1_000,
            ),
            Self::RecycleIsDead { place: Setting { name, value, file, line } } => write!(
                out,
                "{name} = {value} in {}, line {line}, does nothing: this kernel has no such setting (removed in Linux \
                 4.12; it made servers drop connections of clients behind NAT). Delete the line",
                file.display(),
            ),
            Self::TooManyBuckets { .. } => too_many_buckets(self, out),
        }
    }
}

fn ports_run_dry(advice: &Advice, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Advice::PortsRunDry {
        remote,
        local,
        taken,
        total,
        per_second,
        most_per_second,
        dry_in_ns,
        is_up_to_peer,
        by_state,
        holder,
        other_holders,
    } = advice
    else {
        return Ok(());
    };
    let states = InStates(by_state);
    write!(out, "{taken} of {total} local ports from {local} to {remote} are taken{states}")?;
    if let Some(Closer { name, count }) = holder {
        write!(out, ", {count} of them held by {name}")?;
        if *other_holders > 0 {
            write!(out, " and {}", plural(*other_holders, "other"))?;
        }
    }
    match (dry_in_ns, per_second) {
        (Some(0), _) => write!(out, ", and connect() fails with EADDRNOTAVAIL until one is free")?,
        (Some(left), Some(rate)) => write!(
            out,
            "; at {rate:.1} connections a second none is left in {}, and connect() fails with EADDRNOTAVAIL",
            Elapsed(*left)
        )?,
        _ => {}
    }
    if *is_up_to_peer {
        write!(
            out,
            ", unless the peer has timestamps (no open connection tells): then tcp_tw_reuse lets connect() take ports \
             over"
        )?;
    }
    match by_state.first().map(|(state, _)| *state) {
        None | Some(State::TimeWait) => write!(
            out,
            ". There are always ports for {most_per_second:.1} connections a second: keep connections open, or spread \
             them over more addresses or ports"
        ),
        Some(state) => write!(out, ". {}", remedy(state, holder.is_some())),
    }
}

/// What frees ports whose sockets are in this state.
fn remedy(state: State, is_held: bool) -> &'static str {
    match state {
        State::CloseWait => {
            "The peer has closed its end: a port is free when the process calls close(), and not before (`tcptrace now` \
             tells why it has not)"
        }
        State::FinWait2 if is_held => {
            "This side has shut its end down and waits for the peer's without any limit: a port is free after close(), \
             or when the peer closes"
        }
        State::FinWait2 => "The peer does not close its end: a port is free after tcp_fin_timeout",
        State::SynSent => {
            "The peer does not answer: a port is free when connect() gives up, after tcp_syn_retries attempts"
        }
        State::FinWait1 | State::Closing | State::LastAck => {
            "The peer acknowledges nothing: a port is free when the kernel gives up, after tcp_orphan_retries attempts"
        }
        _ => {
            "Each connection that is open needs a port: close those that are not used, or spread them over more \
             addresses or ports"
        }
    }
}

fn ports_bound(advice: &Advice, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Advice::PortsBound { range: (first, last), bound, reserved, usable, who } = advice else {
        return Ok(());
    };
    write!(
        out,
        "{bound} ports of {first}-{last} are bound and {reserved} are reserved, which leaves {usable} for connect(), to \
         whatever destination"
    )?;
    if *bound > 0 {
        write!(out, ". A port that a socket listens on, or that it was bound to, is none to choose from")?;
    }
    who.as_ref().map_or(Ok(()), |Closer { name, count }| write!(out, "; {name} holds {count} such sockets"))
}

fn reuse(advice: &Advice, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Advice::Reuse { value, delay_ms, loopback, elsewhere, incoming, fin_wait2, leaves_fin_wait2, place } =
        advice
    else {
        return Ok(());
    };
    let outgoing = loopback + elsewhere;
    let set_by = SetBy(place.as_ref());
    let after = Elapsed(ms_in_ns(*delay_ms));
    let all = plural(outgoing + incoming, "socket");
    match value {
        0 => write!(out, "tcp_tw_reuse is 0{set_by}: connect() never takes over a port in TIME_WAIT")?,
        2 => write!(
            out,
            "tcp_tw_reuse is 2{set_by}: connect() takes over a port after {after} in TIME_WAIT, but over loopback only \
             (127.0.0.0/8, ::1): {loopback} of the {all} here, whose ports do not count as taken"
        )?,
        _ => write!(
            out,
            "tcp_tw_reuse is {value}{set_by}: connect() takes over a port after {after} in TIME_WAIT if both ends have \
             timestamps; that may be {outgoing} of the {all} here"
        )?,
    }
    if *value == 0 && *loopback > 0 {
        write!(out, ". With 2, the kernel's own choice, it would be {loopback} over loopback")?;
    }
    if *elsewhere > 0 && matches!(value, 0 | 2) {
        write!(
            out,
            ". With 1 it may be {elsewhere} to other hosts as well, if their peers have timestamps; the kernel's documentation says not to \
             change it without the advice of experts"
        )?;
    }
    if *incoming > 0 {
        write!(out, ". It does nothing for {incoming} incoming ones")?;
    }
    match (fin_wait2, leaves_fin_wait2) {
        (0, _) => Ok(()),
        (_, true) => write!(out, ". It never takes over the {fin_wait2} in FIN_WAIT2"),
        (_, false) => write!(
            out,
            ". It is not meant for the {fin_wait2} in FIN_WAIT2, which a kernel before 6.12 may take over all the same"
        ),
    }
}

fn too_many_buckets(advice: &Advice, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Advice::TooManyBuckets { used, most, overflowed, per_second, is_over, place } = advice else {
        return Ok(());
    };
    write!(out, "{used} of at most {most} minisockets are there{}", SetBy(place.as_ref()))?;
    if *overflowed > 0 {
        write!(
            out,
            ", and {} went without TIME_WAIT since the namespace was made{}, so that late segments can reach the next \
             connection",
            plural(*overflowed, "socket"),
            Rate(per_second.filter(|rate| *rate > 0.0)),
        )?;
    }
    if *is_over {
        write!(out, ". No more come at present")?;
    }
    write!(
        out,
        ". The limit is against simple attacks; the kernel's documentation says to raise it, not to lower it"
    )
}
