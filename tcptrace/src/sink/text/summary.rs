//! The end of a session, for people: a table of processes, their peers, and what was lost.

use std::io::{self, Write};

use super::{Harmless, Palette};
use crate::{
    record::{ProcessSummary, Summary},
    units::{Elapsed, plural},
};

/// Peers listed for a process.
const PEERS_LISTED: usize = 3;

/// Opening lines of code listed for a process.
const STACKS_LISTED: usize = 3;

/// Writes the summary.
pub fn write(out: &mut dyn Write, summary: &Summary, palette: &Palette) -> io::Result<()> {
    writeln!(out)?;
    if summary.in_close_wait.is_some() {
        write_processes(out, summary, palette)?;
    }
    let totals = &summary.totals;
    write!(
        out,
        "{} in {}: {} lost, {} undecodable, {} evicted",
        plural(totals.records, "record"),
        Elapsed(summary.duration_ns),
        totals.lost,
        totals.undecodable,
        totals.evicted,
    )?;
    if summary.in_close_wait.is_some() {
        write!(out, ", {} unattributed", totals.unattributed)?;
    }
    writeln!(out)
}

fn write_processes(out: &mut dyn Write, summary: &Summary, palette: &Palette) -> io::Result<()> {
    let stuck: u64 = summary.processes.iter().map(|process| process.still_stuck).sum();
    let in_close_wait = summary.in_close_wait.unwrap_or_default();
    if summary.processes.is_empty() {
        writeln!(
            out,
            "No socket was stuck in CLOSE_WAIT ({} in CLOSE_WAIT at the end).",
            plural(in_close_wait, "socket")
        )?;
        return Ok(());
    }
    writeln!(
        out,
        "{} stuck in CLOSE_WAIT at the end, held by {}:\n",
        plural(stuck, "socket"),
        plural(summary.processes.len() as u64, "process"),
    )?;
    let header =
        ["PID", "PROCESS", "STUCK", "REPORTED", "OLDEST", "PER MIN", "FDS/LIMIT", "UNIT OR CONTAINER"];
    let rows: Vec<[String; 8]> = summary.processes.iter().map(cells).collect();
    let mut widths = header.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; 8]| -> io::Result<()> {
        let mut text = String::new();
        for ((index, cell), width) in cells.iter().enumerate().zip(widths) {
            // Names to the left, numbers to the right.
            let cell =
                if matches!(index, 1 | 7) { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            text.push_str(&cell);
            text.push_str("  ");
        }
        writeln!(out, "  {}", text.trim_end())
    };
    line(header)?;
    for row in &rows {
        line(row.each_ref().map(String::as_str))?;
    }
    writeln!(out)?;
    for process in &summary.processes {
        write_reasons(out, process, palette)?;
    }
    writeln!(out)
}

fn cells(process: &ProcessSummary) -> [String; 8] {
    let unknown = || "?".to_owned();
    let place = process.process.container.as_ref().or(process.process.unit.as_ref());
    [
        process.process.pid.to_string(),
        Harmless(&process.process.comm).to_string(),
        process.still_stuck.to_string(),
        process.sockets.to_string(),
        Elapsed(process.oldest_ns).to_string(),
        process.per_minute.map_or_else(unknown, |rate| format!("{rate:+.1}")),
        match (process.fds_used, process.fds_limit) {
            (Some(used), Some(limit)) => format!("{used}/{limit}"),
            (Some(used), None) => format!("{used}/?"),
            (None, _) => unknown(),
        },
        place.map_or_else(|| "-".to_owned(), |place| Harmless(place).to_string()),
    ]
}

fn write_reasons(out: &mut dyn Write, process: &ProcessSummary, palette: &Palette) -> io::Result<()> {
    let name = palette.name;
    for (verdict, count) in &process.verdicts {
        writeln!(
            out,
            "  {name}{} ({}){name:#}: {count} × {verdict}: {}",
            Harmless(&process.process.comm),
            process.process.pid,
            verdict.advice(),
        )?;
    }
    let listed: Vec<String> = process
        .peers
        .iter()
        .take(PEERS_LISTED)
        .map(|peer| format!("{} ({})", peer.peer, peer.count))
        .collect();
    let rest = process.peers.len().saturating_sub(PEERS_LISTED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    writeln!(out, "      peers: {}{more}", listed.join(", "))?;
    for counted in process.stacks.iter().take(STACKS_LISTED) {
        let stack = &counted.stack;
        let site = stack.site.as_ref().or(stack.frames.first()).map_or("?", String::as_str);
        let cut = if stack.is_cut { " [stack cut short: no frame pointers]" } else { "" };
        let (count, all) = (counted.count, process.sockets);
        writeln!(out, "      {count} of {all} were opened at {}{cut}", Harmless(site))?;
    }
    if let (Some(left), Some(rate)) = (process.fds_run_out_in_ns, process.per_minute) {
        writeln!(out, "      at {rate:+.1} a minute its descriptors run out in {}", Elapsed(left))?;
    }
    Ok(())
}
