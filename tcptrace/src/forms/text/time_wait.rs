//! One look at TIME_WAIT and local ports, for people: each network namespace with a table of its destinations, and what
//! to do.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{
    advice::{write_advice, write_wrapped},
    bind,
    columns::{
        Column::{Name, Number},
        Columns,
    },
    parts::{time_of_day, write_not_looked_at},
};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{
        escape::EscapedName,
        owner::Owner,
        owner_count::OwnerCount,
        record::time_wait::{LocalPorts, TimeWait, TimeWaitLook, TimeWaitSummary},
        state::State,
        time_wait::{Destination, FoundPorts},
        units::{Elapsed, plural},
    },
};

/// Processes named for a destination.
const NAMED: usize = 2;

/// Writes all of it.
pub(crate) fn write(
    out: &mut dyn Write,
    look: &TimeWaitLook,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let sum = |number: fn(&TimeWaitSummary) -> u64| {
        look.namespaces.iter().map(|(summary, _)| number(summary)).sum::<u64>()
    };
    let (count, fin_wait2) = (sum(|summary| summary.count), sum(|summary| summary.fin_wait2));
    write_not_looked_at(out, &look.not_looked_at, palette)?;
    if look.not_looked_at.everything {
        return Ok(());
    }
    let text = format!(
        "{}  {} in TIME_WAIT and {fin_wait2} in FIN_WAIT2 after close(): looked at {} in {}.",
        time_of_day(look.time).strftime("%H:%M:%S"),
        plural(count, "socket"),
        plural(look.namespaces_found, "network namespace"),
        Elapsed(look.duration_ns),
    );
    write_wrapped(out, &text, extent)?;
    bind::write(out, look, extent, palette)?;
    for (summary, destinations) in &look.namespaces {
        write_namespace(out, summary, destinations, extent, palette)?;
    }
    let is_guessed = look.namespaces.iter().flat_map(|(_, all)| all).any(|one| !one.candidates.is_empty());
    if !look.is_traced && count + fin_wait2 > 0 {
        let faint = palette.faint;
        let guessed =
            if is_guessed { " ? = has a connection open there, or listens: it may have." } else { "" };
        let text = format!(
            "Afterwards nobody can tell which process closed a socket.{guessed} To see who does, and how fast: \
             --duration 30s, or --watch."
        );
        write!(out, "\n{faint}")?;
        write_wrapped(out, &text, extent)?;
        write!(out, "{faint:#}")?;
    }
    Ok(())
}

fn write_namespace(
    out: &mut dyn Write,
    summary: &TimeWaitSummary,
    destinations: &[TimeWait],
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let TimeWaitSummary {
        netns,
        buckets_used,
        counters,
        per_second,
        ports,
        crowded_out,
        advice,
        settings,
        ..
    } = summary;
    let buckets = match (buckets_used, settings.tcp_max_tw_buckets) {
        (Some(used), Some(most)) => format!("{used} of at most {most} minisockets"),
        (Some(used), None) => plural(*used, "minisocket"),
        (None, _) => plural(summary.count + summary.fin_wait2, "minisocket"),
    };
    let thrown_away = match counters.overflows() {
        None => String::new(),
        Some(0) => ", none was ever thrown away".to_owned(),
        Some(overflows) => format!(", {overflows} thrown away so far"),
    };
    let ports = ports.as_ref().map(|ports| {
        let LocalPorts { first, last, reserved, bound, usable } = ports;
        format!("; {usable} local ports of {first}-{last} for connect() ({reserved} reserved, {bound} bound)")
    });
    let text = format!("Network namespace {netns}: {buckets}{thrown_away}{}", ports.unwrap_or_default());
    writeln!(out)?;
    write_wrapped(out, &text, extent)?;
    if let Some(rates) = per_second {
        let counters = crate::model::tcp_counters::COUNTERS.iter().zip(rates.0);
        let counters: Vec<String> = counters
            .filter_map(|(name, rate)| {
                rate.filter(|rate| *rate > 0.0).map(|rate| format!("{name} {rate:.1}"))
            })
            .collect();
        if !counters.is_empty() {
            let faint = palette.faint;
            writeln!(out, "{faint}  a second: {}{faint:#}", counters.join(", "))?;
        }
    }
    if !destinations.is_empty() {
        writeln!(out)?;
        write_table(out, destinations, extent, palette)?;
    }
    if *crowded_out > 0 {
        writeln!(
            out,
            "  {} to further destinations are not in the table",
            plural(*crowded_out, "minisocket")
        )?;
    }
    let mut advice = advice.iter().filter(|advice| !advice.is_about_bind()).peekable();
    if advice.peek().is_some() {
        writeln!(out)?;
    }
    write_advice(out, advice, extent, palette)
}

const OPEN: usize = 1;
const FIN_WAIT2: usize = 2;
const PORTS: usize = 5;
const PER_SECOND: usize = 6;
const DRY: usize = 7;
const OLDEST: usize = 8;
const CLOSED_FIRST: usize = 9;
const OPEN_STATES: usize = 10;
const HELD_BY: usize = 11;

fn write_table(
    out: &mut dyn Write,
    destinations: &[TimeWait],
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let mut table = Columns::new([
        Number("TIME_WAIT"),
        Number("OPEN"),
        Number("FIN_WAIT2"),
        Name("FROM"),
        Name("TO"),
        Number("PORTS TAKEN"),
        Number("PER S"),
        Number("DRY IN"),
        Number("OLDEST LEFT"),
        Name("CLOSED FIRST BY"),
        Name("OTHER PORTS IN"),
        Name("HELD BY"),
    ]);
    let listed = destinations.get(..extent.rows).unwrap_or(destinations);
    for destination in listed {
        table.push(cells(destination));
    }
    table.show(OPEN, listed.iter().any(|one| one.open > 0));
    table.show(FIN_WAIT2, listed.iter().any(|one| one.fin_wait2 > 0));
    table.show(PORTS, listed.iter().any(|one| one.ports.is_some()));
    table.show(PER_SECOND, listed.iter().any(|one| rate(one).is_some()));
    // A few connections of a healthy pool are nothing to talk about.
    let are_held =
        listed.iter().any(|one| other_ports(one) * 10 >= one.ports.map_or(u64::MAX, |ports| ports.total));
    table.show(OPEN_STATES, are_held);
    table.show(HELD_BY, are_held && listed.iter().any(|one| !one.ports_held_by.is_empty()));
    table.show(CLOSED_FIRST, listed.iter().any(|one| one.count + one.fin_wait2 > 0));
    table.show(OLDEST, listed.iter().any(|one| one.oldest_left_ns.is_some()));
    table.show(DRY, listed.iter().any(|one| one.ports.is_some_and(|ports| ports.dry_in_ns.is_some())));
    for sacrifice in [OPEN, OLDEST, FIN_WAIT2, OPEN_STATES] {
        if extent.width.is_some_and(|width| table.width() > width) {
            table.show(sacrifice, false);
        }
    }
    table.write(out)?;
    let rest = destinations.get(extent.rows..).unwrap_or_default();
    if !rest.is_empty() {
        let faint = palette.faint;
        let (count, more) = (
            rest.iter().map(|one| one.count + one.fin_wait2).sum(),
            plural(rest.len() as u64, "destination"),
        );
        writeln!(out, "  {faint}… and {more} with {}{faint:#}", plural(count, "minisocket"))?;
    }
    Ok(())
}

fn rate(destination: &TimeWait) -> Option<f64> {
    let closed = destination.per_second.or(destination.entered_per_second);
    match destination.ports_held_per_second {
        Some(held) => Some(closed.unwrap_or_default() + held),
        None => closed,
    }
}

fn cells(destination: &TimeWait) -> [String; 12] {
    let unknown = || "-".to_owned();
    let (from, to) = match destination.destination {
        Destination::Outgoing { local, remote } => (local.to_string(), remote.to_string()),
        Destination::Incoming { local } => (peers(destination), local.to_string()),
    };
    let taken = |ports: FoundPorts| {
        let percent = ports.taken() * 100 / ports.total.max(1);
        format!("{} of {} ({percent} %)", ports.taken(), ports.total)
    };
    [
        destination.count.to_string(),
        destination.open.to_string(),
        destination.fin_wait2.to_string(),
        from,
        to,
        destination.ports.map_or_else(unknown, taken),
        rate(destination).map_or_else(unknown, |rate| format!("{rate:.1}")),
        destination.ports.map_or_else(unknown, |ports| {
            let doubt = if ports.reusable.is_none() { "?" } else { "" };
            match ports.dry_in_ns {
                None => unknown(),
                Some(0) => format!("now{doubt}"),
                Some(left) => format!("{}{doubt}", Elapsed(left)),
            }
        }),
        destination.oldest_left_ns.map_or_else(unknown, |left| Elapsed(left).to_string()),
        closers(destination),
        other_states(destination),
        holders(destination),
    ]
}

/// Ports in use whose sockets are not in TIME_WAIT.
fn other_ports(destination: &TimeWait) -> u64 {
    let states = destination.ports_by_state.iter().flatten();
    states.filter(|(state, _)| *state != State::TimeWait).map(|(_, count)| count).sum()
}

/// `90 CLOSE_WAIT, 10 ESTABLISHED`: what takes ports besides TIME_WAIT.
fn other_states(destination: &TimeWait) -> String {
    let states = destination.ports_by_state.iter().flatten();
    let others = states.filter(|(state, _)| *state != State::TimeWait);
    let named: Vec<String> = others.take(NAMED).map(|(state, count)| format!("{count} {state}")).collect();
    if named.is_empty() { "-".to_owned() } else { named.join(", ") }
}

fn holders(destination: &TimeWait) -> String {
    let (mut text, others) = counted(&destination.ports_held_by);
    if others > 0 {
        let _infallible = write!(text, " and {}", plural(others, "other"));
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The first processes with their counts, and how many entries are left.
fn counted(owners: &[OwnerCount]) -> (String, u64) {
    let mut text = String::new();
    for OwnerCount { owner, count, processes } in owners.iter().take(NAMED) {
        let separator = if text.is_empty() { "" } else { ", " };
        let _infallible = match processes {
            1 => write!(text, "{separator}{} × {count}", named(owner)),
            more => {
                write!(text, "{separator}{} ({more} processes) × {count}", EscapedName(&owner.process.comm))
            }
        };
    }
    (text, owners.len().saturating_sub(NAMED) as u64)
}

/// The only peer of a service, or how many there are.
fn peers(destination: &TimeWait) -> String {
    match &destination.peers[..] {
        [(peer, _)] if destination.more_peers == 0 => peer.to_string(),
        peers if destination.more_peers == 0 => format!("{} peers", peers.len()),
        peers => format!("{} peers and more", peers.len()),
    }
}

fn closers(destination: &TimeWait) -> String {
    let (mut text, _) = counted(&destination.closed_first_by);
    let rest: u64 = destination.closed_first_by.iter().skip(NAMED).map(|closed| closed.count).sum();
    match destination.closed_first_unseen {
        Some(unseen) if rest + unseen > 0 => {
            let separator = if text.is_empty() { "" } else { ", " };
            let before = if rest == 0 {
                format!("unseen × {unseen}")
            } else {
                format!("others × {}", rest + unseen)
            };
            text.push_str(separator);
            text.push_str(&before);
        }
        _ => {}
    }
    for candidate in destination.candidates.iter().take(NAMED) {
        let separator = if text.is_empty() { "" } else { ", " };
        let _infallible = write!(text, "{separator}{}?", named(candidate));
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

fn named(owner: &Owner) -> String {
    format!("{} ({})", EscapedName(&owner.process.comm), owner.process.pid)
}
