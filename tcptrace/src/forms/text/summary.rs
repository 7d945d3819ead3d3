//! The end of a session, for people: a table of processes, their peers, and what was lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{self, Write},
    net::IpAddr,
};

use super::{
    columns::{
        Column::{Name, Number},
        Columns,
    },
    parts::Line,
};
use crate::{
    forms::palette::Palette,
    model::{
        endpoints::Endpoint,
        escape::Escaped,
        record::{PeerCount, ProcessSummary, Summary, Totals},
        units::{Elapsed, plural},
        verdict::Verdict,
    },
};

/// Peers listed for a process.
const PEERS_LISTED: usize = 3;

/// Opening lines of code listed for a process.
const STACKS_LISTED: usize = 3;

/// Processes listed, the worst first.
const PROCESSES_LISTED: usize = 20;

/// Writes the summary.
pub(crate) fn write(out: &mut dyn Write, summary: &Summary, palette: &Palette) -> io::Result<()> {
    writeln!(out)?;
    if let Some(in_close_wait) = summary.in_close_wait {
        let stuck: u64 = summary.processes.iter().map(|process| process.still_stuck).sum();
        if summary.processes.is_empty() {
            let count = plural(in_close_wait, "socket");
            writeln!(out, "No socket was stuck in CLOSE_WAIT ({count} in CLOSE_WAIT at the end).")?;
        } else {
            let holders = plural(summary.processes.len() as u64 + summary.more_processes, "process");
            if stuck == 0 {
                writeln!(out, "No socket is stuck in CLOSE_WAIT any more; {holders} had some:\n")?;
            } else {
                let stuck = plural(stuck, "socket");
                writeln!(out, "{stuck} stuck in CLOSE_WAIT at the end; {holders} had some:\n")?;
            }
            write_processes(out, &summary.processes, palette)?;
            writeln!(out)?;
            for process in listed(&summary.processes) {
                write_reasons(out, process, palette)?;
            }
            write_meanings(out, &summary.processes, palette)?;
            writeln!(out)?;
        }
    }
    writeln!(out, "{}", totals(summary))
}

/// What became of the records, as a sentence.
pub(crate) fn totals(summary: &Summary) -> String {
    let Totals { records, lost, undecodable, evicted, unattributed, openers_skipped: _, dropped } =
        summary.totals;
    let mut text = format!(
        "{} in {}: {lost} lost, {dropped} dropped, {undecodable} undecodable, {evicted} evicted",
        plural(records, "record"),
        Elapsed(summary.duration_ns),
    );
    if summary.in_close_wait.is_some() {
        // Writing into memory does not fail.
        let _ = write!(text, ", {unattributed} unattributed");
    }
    text
}

fn listed(processes: &[ProcessSummary]) -> &[ProcessSummary] {
    processes.get(..PROCESSES_LISTED).unwrap_or(processes)
}

/// Writes a table of the processes that hold the most. Nothing when there are none.
pub(crate) fn write_processes(
    out: &mut dyn Write,
    processes: &[ProcessSummary],
    palette: &Palette,
) -> io::Result<()> {
    const REPORTED: usize = 3;
    const PER_MINUTE: usize = 5;
    if processes.is_empty() {
        return Ok(());
    }
    let mut table = Columns::new([
        Number("PID"),
        Name("PROCESS"),
        Number("STUCK"),
        Number("REPORTED"),
        Number("OLDEST"),
        Number("PER MIN"),
        Number("FDS/LIMIT"),
        Name("UNIT OR CONTAINER"),
    ]);
    let listed = listed(processes);
    for process in listed {
        table.push(cells(process));
    }
    table.show(REPORTED, listed.iter().any(|process| process.still_stuck != process.sockets));
    table.show(PER_MINUTE, listed.iter().any(|process| process.per_minute.is_some()));
    table.write(out)?;
    let rest = processes.get(PROCESSES_LISTED..).unwrap_or_default();
    if !rest.is_empty() {
        let (faint, stuck) = (palette.faint, rest.iter().map(|process| process.still_stuck).sum());
        let (others, sockets) = (plural(rest.len() as u64, "process"), plural(stuck, "stuck socket"));
        writeln!(out, "  {faint}… and {others} with {sockets}, none with more than those above{faint:#}")?;
    }
    Ok(())
}

fn cells(process: &ProcessSummary) -> [String; 8] {
    let unknown = || "?".to_owned();
    [
        process.process.pid.to_string(),
        Escaped(&process.process.comm).to_string(),
        process.still_stuck.to_string(),
        process.sockets.to_string(),
        Elapsed(process.oldest_ns).to_string(),
        process.per_minute.map_or_else(unknown, |rate| format!("{rate:+.1}")),
        match (process.fds_used, process.fds_limit) {
            (Some(used), Some(limit)) => format!("{used}/{limit}"),
            (Some(used), None) => format!("{used}/?"),
            (None, _) => unknown(),
        },
        process.process.place().map_or_else(|| "-".to_owned(), |place| Escaped(&place).to_string()),
    ]
}

/// Says once what each verdict means and what to look at next.
fn write_meanings(out: &mut dyn Write, processes: &[ProcessSummary], palette: &Palette) -> io::Result<()> {
    let faint = palette.faint;
    let verdicts: BTreeSet<Verdict> =
        processes.iter().flat_map(|process| &process.verdicts).map(|(verdict, _)| *verdict).collect();
    if !verdicts.is_empty() {
        writeln!(out)?;
    }
    for verdict in verdicts {
        writeln!(out, "  {faint}{verdict}:{faint:#} {}", crate::diagnosis::verdict::advice(verdict))?;
    }
    Ok(())
}

fn write_reasons(out: &mut dyn Write, process: &ProcessSummary, palette: &Palette) -> io::Result<()> {
    let name = palette.name;
    let verdicts: Vec<String> =
        process.verdicts.iter().map(|(verdict, count)| format!("{count} × {verdict}")).collect();
    let hosts = by_host(&process.peers);
    let peers: Vec<&str> = hosts.iter().take(PEERS_LISTED).map(String::as_str).collect();
    let rest = hosts.len().saturating_sub(PEERS_LISTED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    writeln!(
        out,
        "  {name}{} ({}){name:#}: {}; peers: {}{more}",
        Escaped(&process.process.comm),
        process.process.pid,
        if verdicts.is_empty() { "cause unknown".to_owned() } else { verdicts.join(", ") },
        peers.join(", "),
    )?;
    for counted in process.stacks.iter().take(STACKS_LISTED) {
        let (count, all) = (counted.count, process.sockets);
        writeln!(out, "      {count} of {all} were opened at {}", Line(&counted.stack))?;
    }
    if let (Some(left), Some(rate)) = (process.fds_run_out_in_ns, process.per_minute) {
        writeln!(out, "      at {rate:+.1} a minute its descriptors run out in {}", Elapsed(left))?;
    }
    Ok(())
}

/// Peers as people want them, the most frequent first: an address with its port where that is a service, without
/// one where every connection came from a port of its own.
fn by_host(peers: &[PeerCount]) -> Vec<String> {
    let mut hosts: BTreeMap<IpAddr, (u64, Vec<u16>)> = BTreeMap::new();
    for PeerCount { peer, count } in peers {
        let (sum, ports) = hosts.entry(peer.ip()).or_default();
        *sum += count;
        ports.push(peer.port());
    }
    let mut hosts: Vec<_> = hosts.into_iter().collect();
    hosts.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(*sum));
    let shown = |(host, (sum, ports)): (IpAddr, (u64, Vec<u16>))| match ports[..] {
        [port] => format!("{} ({sum})", Endpoint::new(host, port)),
        _ => format!("{host} ({sum}, from {} ports)", ports.len()),
    };
    hosts.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_by_host_and_services_by_port() {
        let peer =
            |text: &str, count| PeerCount { peer: text.parse().unwrap_or(Endpoint::UNSPECIFIED), count };
        let peers = [peer("10.0.0.9:5432", 7), peer("10.0.0.1:40001", 5), peer("10.0.0.1:40002", 4)];
        assert_eq!(by_host(&peers), ["10.0.0.1 (9, from 2 ports)", "10.0.0.9:5432 (7)"]);
    }
}
