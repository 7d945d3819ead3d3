//! The end of a session, for people: a table of processes, their peers, and what was lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{self, Write},
};

use super::{
    columns::{
        Column::{Name, Number},
        Columns,
    },
    parts::{Line, cause, meaning},
};
use crate::{
    forms::palette::Palette,
    model::{
        endpoints::{Address, Endpoint},
        escape::Escaped,
        no_site::NoSite,
        reason::ReasonId,
        record::{PeerCount, ProcessSummary, Summary, Totals},
        units::{Elapsed, plural},
        verdict::Verdict,
    },
};

/// Peers listed for a process.
const PEERS_LISTED: usize = 3;

/// Opening lines of code listed for a process.
const STACKS_LISTED: usize = 3;

/// Reasons told of a process.
const REASONS_LISTED: usize = 3;

/// Processes listed, the worst first.
const PROCESSES_LISTED: usize = 20;

/// Writes the summary.
pub(crate) fn write(out: &mut dyn Write, summary: &Summary, palette: &Palette) -> io::Result<()> {
    writeln!(out)?;
    if let Some(in_close_wait) = summary.in_close_wait {
        if let Some(not_looked_at) = summary.not_looked_at.as_ref().filter(|which| !which.is_nothing()) {
            let alert = palette.alert;
            writeln!(out, "{alert}Of the sockets that were there first: {not_looked_at}{alert:#}.")?;
        }
        writeln!(out, "{}", closing(summary, in_close_wait))?;
        if !summary.processes.is_empty() {
            writeln!(out)?;
            write_processes(out, &summary.processes, palette)?;
            if still_stuck(summary) < of_all(summary, |process| process.still_stuck) {
                let faint = palette.faint;
                writeln!(
                    out,
                    "  {faint}A socket that several processes hold counts for each of them.{faint:#}"
                )?;
            }
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

/// How many sockets are stuck, each once, and who had some.
fn closing(summary: &Summary, in_close_wait: u64) -> String {
    let stuck = still_stuck(summary);
    let unattributed = summary.totals.unattributed;
    let reported = summary.sockets.unwrap_or(summary.processes.len() as u64);
    if reported == 0 {
        let count = plural(in_close_wait, "socket");
        return format!("No socket was stuck in CLOSE_WAIT ({count} in CLOSE_WAIT at the end).");
    }
    let over = summary.connections_over.unwrap_or_default().min(stuck);
    let state = match (stuck - over, plural(over, "socket")) {
        (0, _) if over == 0 => "No socket is stuck in CLOSE_WAIT any more".to_owned(),
        (0, over) => format!("{over} kept at the end after the connection was over"),
        (stuck, over_sockets) => {
            let stuck = format!("{} stuck in CLOSE_WAIT at the end", plural(stuck, "socket"));
            if over == 0 {
                stuck
            } else {
                format!("{stuck}, and {over_sockets} kept after the connection was over")
            }
        }
    };
    let holders = summary.processes.len() as u64 + summary.more_processes;
    let had = format!("{} had some", plural(holders, "process"));
    let unnamed = format!("nobody could be named for {}", plural(unattributed, "socket"));
    match (holders, unattributed) {
        (0, _) => format!("{state}; nobody could be named for them."),
        (_, 0) => format!("{state}; {had}:"),
        _ => format!("{state}; {had}, and {unnamed}:"),
    }
}

/// Sockets that are stuck at the end, each once. Sessions of earlier versions have them by process only.
fn still_stuck(summary: &Summary) -> u64 {
    summary.still_stuck.unwrap_or_else(|| of_all(summary, |process| process.still_stuck))
}

fn of_all(summary: &Summary, number: fn(&ProcessSummary) -> u64) -> u64 {
    summary.processes.iter().map(number).sum()
}

/// What became of the records, as a sentence. Sockets that were there first are leaks without a record of the kernel.
pub(crate) fn totals(summary: &Summary) -> String {
    let Totals { records, lost, undecodable, evicted, unattributed, dropped, .. } = summary.totals;
    let elapsed = Elapsed(summary.duration_ns);
    let mut text = match summary.sockets {
        Some(leaks) => format!("{} in {elapsed}; from the kernel: {records} read", plural(leaks, "leak")),
        None => format!("{} in {elapsed}: ", plural(records, "record")),
    };
    let separator = if summary.sockets.is_some() { ", " } else { "" };
    // Writing into memory does not fail.
    let _ = write!(
        text,
        "{separator}{lost} lost, {dropped} dropped, {undecodable} undecodable, {evicted} evicted"
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
    const COMMAND: usize = 8;
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
        Name("COMMAND"),
    ]);
    let listed = listed(processes);
    for process in listed {
        table.push(cells(process));
    }
    table.show(REPORTED, listed.iter().any(|process| process.still_stuck != process.sockets));
    table.show(COMMAND, listed.iter().any(|process| process.command.is_some()));
    table.show(PER_MINUTE, listed.iter().any(|process| process.per_minute.is_some()));
    table.write(out)?;
    let rest = processes.get(PROCESSES_LISTED..).unwrap_or_default();
    if !rest.is_empty() {
        let (faint, others) = (palette.faint, plural(rest.len() as u64, "process"));
        writeln!(out, "  {faint}… and {others}, none with more stuck sockets than those above{faint:#}")?;
    }
    Ok(())
}

fn cells(process: &ProcessSummary) -> [String; 9] {
    let unknown = || "?".to_owned();
    [
        process.process.pid.to_string(),
        Escaped(&process.process.comm).to_string(),
        process.still_stuck.to_string(),
        process.sockets.to_string(),
        match process.oldest_ns {
            0 => "?".to_owned(),
            oldest => Elapsed(oldest).to_string(),
        },
        process.per_minute.map_or_else(unknown, |rate| format!("{rate:+.1}")),
        match (process.fds_used, process.fds_limit) {
            (Some(used), Some(limit)) => format!("{used}/{limit}"),
            (Some(used), None) => format!("{used}/?"),
            (None, _) => unknown(),
        },
        process.process.place().map_or_else(|| "-".to_owned(), |place| Escaped(&place).to_string()),
        process.command.as_ref().map_or_else(|| "-".to_owned(), |command| Escaped(command).to_string()),
    ]
}

/// Says once what each verdict with its reason means, and what to look at next.
fn write_meanings(out: &mut dyn Write, processes: &[ProcessSummary], palette: &Palette) -> io::Result<()> {
    let faint = palette.faint;
    let mut causes: BTreeSet<(Verdict, Option<ReasonId>)> = BTreeSet::new();
    for process in processes {
        match &process.reasons {
            Some(reasons) => causes.extend(reasons.iter().map(|reason| (reason.verdict, reason.id))),
            None => causes.extend(process.verdicts.iter().map(|(verdict, _)| (*verdict, None))),
        }
    }
    if !causes.is_empty() {
        writeln!(out)?;
    }
    for (verdict, reason) in causes {
        let name = cause(Some(verdict), reason);
        writeln!(out, "  {faint}{name}:{faint:#} {}", meaning(Some(verdict), reason, None))?;
    }
    Ok(())
}

fn write_reasons(out: &mut dyn Write, process: &ProcessSummary, palette: &Palette) -> io::Result<()> {
    let name = palette.name;
    let verdicts: Vec<String> = match &process.reasons {
        Some(reasons) => reasons
            .iter()
            .map(|one| format!("{} × {}", one.count, cause(Some(one.verdict), one.id)))
            .collect(),
        None => process.verdicts.iter().map(|(verdict, count)| format!("{count} × {verdict}")).collect(),
    };
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
    let reasons = process.reasons.iter().flatten().filter(|reason| !reason.text.is_empty());
    for reason in reasons.take(REASONS_LISTED) {
        let one = if reason.count > 1 { "one of them: " } else { "" };
        writeln!(out, "      {}: {one}{}", cause(Some(reason.verdict), reason.id), Escaped(&reason.text))?;
    }
    for counted in process.stacks.iter().filter(|counted| counted.stack.is_news()).take(STACKS_LISTED) {
        let (count, all) = (counted.count, process.sockets);
        let line = Line::opened(&counted.stack).to_string();
        let were = if line.starts_with(NoSite::NOT_KNOWN) { ":" } else { " were" };
        writeln!(out, "      {count} of {all}{were} {line}")?;
    }
    if let Some(left) = process.fds_run_out_in_ns {
        // Sessions of earlier versions took the growth of the stuck sockets for it.
        let rate = process.fds_per_minute.or(process.per_minute);
        let rate = rate.map(|rate| format!("at {rate:+.1} a minute ")).unwrap_or_default();
        writeln!(out, "      {rate}its descriptors run out in {}", Elapsed(left))?;
    }
    if let (Some(length), Some(limit)) = (process.accept_queue, process.accept_queue_limit) {
        write!(out, "      {} for accept(), with room for {limit}", waiting(length))?;
        match process.accept_queue_full_in_ns {
            Some(0) => writeln!(out, ": the kernel drops further connections")?,
            Some(left) => writeln!(out, ": full in {}", Elapsed(left))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// `1 connection waits`, `2 connections wait`.
fn waiting(connections: u64) -> String {
    format!("{} wait{}", plural(connections, "connection"), if connections == 1 { "s" } else { "" })
}

/// Peers as people want them, the most frequent first: an address with its port where that is a service, without
/// one where every connection came from a port of its own.
fn by_host(peers: &[PeerCount]) -> Vec<String> {
    let mut hosts: BTreeMap<Address, (u64, Vec<u16>)> = BTreeMap::new();
    for PeerCount { peer, count } in peers {
        let (sum, ports) = hosts.entry(peer.address()).or_default();
        *sum += count;
        ports.push(peer.port());
    }
    let mut hosts: Vec<_> = hosts.into_iter().collect();
    hosts.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(*sum));
    let shown = |(host, (sum, ports)): (Address, (u64, Vec<u16>))| match ports[..] {
        [port] => format!("{} ({sum})", Endpoint::new(host, port)),
        _ => format!("{host} ({sum}, from {} ports)", ports.len()),
    };
    hosts.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::examples;

    fn said(still_stuck: Option<u64>, sockets: Option<u64>, by_process: &[u64], unattributed: u64) -> String {
        let process =
            |stuck: &u64| ProcessSummary { still_stuck: *stuck, sockets: 9, ..examples::process_summary() };
        let summary = Summary {
            totals: Totals { unattributed, ..Totals::default() },
            processes: by_process.iter().map(process).collect(),
            still_stuck,
            sockets,
            ..examples::summary()
        };
        closing(&summary, 7)
    }

    #[test]
    fn a_socket_counts_once_however_many_hold_it_and_if_nobody_does() {
        let four = "2 sockets stuck in CLOSE_WAIT at the end; 4 processes had some:";
        assert_eq!(said(Some(2), Some(2), &[2, 2, 2, 2], 0), four);
        let nobody = "1 socket stuck in CLOSE_WAIT at the end; nobody could be named for them.";
        assert_eq!(said(Some(1), Some(2), &[], 2), nobody);
        let both = "3 sockets stuck in CLOSE_WAIT at the end; 1 process had some, and nobody could be named for 1 socket:";
        assert_eq!(said(Some(3), Some(3), &[2], 1), both);
        let over = "No socket is stuck in CLOSE_WAIT any more; 1 process had some:";
        assert_eq!(said(Some(0), Some(2), &[0], 0), over);
        let none = "No socket was stuck in CLOSE_WAIT (7 sockets in CLOSE_WAIT at the end).";
        assert_eq!(said(Some(0), Some(0), &[], 0), none);
        // Sessions of earlier versions have no sum of their own.
        assert_eq!(
            said(None, None, &[2, 2], 0),
            "4 sockets stuck in CLOSE_WAIT at the end; 2 processes had some:"
        );
    }

    #[test]
    fn a_connection_that_is_over_is_not_in_close_wait() {
        let said = |still_stuck, over| {
            let summary = Summary {
                processes: vec![examples::process_summary()],
                still_stuck: Some(still_stuck),
                sockets: Some(5),
                connections_over: Some(over),
                ..examples::summary()
            };
            closing(&summary, 0)
        };
        let over = "2 sockets kept at the end after the connection was over; 1 process had some:";
        assert_eq!(said(2, 2), over);
        let both = "3 sockets stuck in CLOSE_WAIT at the end, and 2 sockets kept after the connection was over; \
                    1 process had some:";
        assert_eq!(said(5, 2), both);
    }

    #[test]
    fn leaks_that_the_kernel_did_not_report_are_not_told_as_no_records() {
        let summary = Summary { in_close_wait: Some(2), sockets: Some(2), ..examples::summary() };
        let text = totals(&summary);
        assert!(text.starts_with("2 leaks in 61.0 s; from the kernel: 0 read, 0 lost, "), "{text}");
        let text = totals(&examples::summary());
        assert!(text.starts_with("0 records in 61.0 s: 0 lost, "), "{text}");
    }

    #[test]
    fn clients_are_told_by_host_and_services_by_port() {
        let peer =
            |text: &str, count| PeerCount { peer: text.parse().unwrap_or(Endpoint::UNSPECIFIED), count };
        let peers = [peer("10.0.0.9:5432", 7), peer("10.0.0.1:40001", 5), peer("10.0.0.1:40002", 4)];
        assert_eq!(by_host(&peers), ["10.0.0.1 (9, from 2 ports)", "10.0.0.9:5432 (7)"]);
    }
}
