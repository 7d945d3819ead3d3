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
    fold::folded,
    parts::{Line, cause, meaning},
    program::{Program, first_line},
};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{
        endpoints::{Address, Endpoint},
        escape::{Escaped, EscapedName},
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

/// Characters of a command line that are worth a column.
const LEAST_COMMAND: usize = 12;

/// Processes of which details are told where there is room, however short the table is.
const DETAILS_AT_LEAST: usize = 3;

/// Lines of a window that stay free: for the prompt, and for what was typed.
const LINES_FREE: usize = 2;

/// Writes the summary. What matters most comes last, where the cursor is; of a window that is too low for all of it, the
/// table has a third, and what is said of each process comes as far as there is room.
pub(crate) fn write(
    out: &mut dyn Write,
    summary: &Summary,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    writeln!(out)?;
    let Some(in_close_wait) = summary.in_close_wait else {
        return writeln!(out, "{}", totals(summary));
    };
    let mut ending = Vec::new();
    if let Some(not_looked_at) = summary.not_looked_at.as_ref().filter(|which| !which.is_nothing()) {
        let alert = palette.alert;
        writeln!(ending, "{alert}Of the sockets that were there first: {not_looked_at}{alert:#}.")?;
    }
    writeln!(ending, "{}", totals(summary))?;
    let name = palette.name;
    writeln!(ending, "{name}{}{name:#}", closing(summary, in_close_wait))?;
    let mut room = Room::of(extent, &ending);
    if !summary.processes.is_empty() {
        let rows = room.table_rows();
        let mut table = Vec::new();
        write_some_processes(&mut table, summary, rows, extent.width, palette)?;
        writeln!(table)?;
        room.take(&table);
        out.write_all(&table)?;
        let mut blocks = details(summary, rows, palette)?;
        blocks.extend(meanings(&summary.processes, palette)?);
        let mut is_any = false;
        for block in blocks {
            if room.take(&block) {
                // The blank line before the meanings is between them and the details.
                let unspaced = block.strip_prefix(b"\n").filter(|_| !is_any);
                out.write_all(unspaced.unwrap_or(&block))?;
                is_any = true;
            }
        }
        if is_any {
            writeln!(out)?;
        }
    }
    out.write_all(&ending)
}

/// Lines of the window that are left; without a window there is no end of them.
struct Room {
    lines: Option<usize>,
    width: usize,
}

impl Room {
    fn of(extent: Extent, ending: &[u8]) -> Self {
        let (Some(height), Some(width)) = (extent.height, extent.width) else {
            return Self { lines: None, width: usize::MAX };
        };
        let mut room = Self { lines: Some(usize::MAX), width };
        let ending = room.lines_of(ending);
        // Two blank lines: before all of it, and after the details.
        room.lines = Some(height.saturating_sub(LINES_FREE + ending + 2));
        room
    }

    /// Rows of the table, of which there is one at least.
    fn table_rows(&self) -> usize {
        // The headings, the rest of the processes, and a blank line.
        const AROUND: usize = 3;
        self.lines.map_or(PROCESSES_LISTED, |lines| (lines / 3).clamp(1 + AROUND, PROCESSES_LISTED) - AROUND)
    }

    /// Takes the lines of a block, if there are as many.
    fn take(&mut self, block: &[u8]) -> bool {
        let needed = self.lines_of(block);
        match &mut self.lines {
            None => true,
            Some(lines) if *lines >= needed => {
                *lines -= needed;
                true
            }
            Some(_) => false,
        }
    }

    fn lines_of(&self, text: &[u8]) -> usize {
        if self.lines.is_none() {
            return 0;
        }
        folded(&String::from_utf8_lossy(text), self.width).lines().count()
    }
}

/// What is to be said of each process that is listed. What was said of another one with the same name is not said again.
fn details(summary: &Summary, rows: usize, palette: &Palette) -> io::Result<Vec<Vec<u8>>> {
    let mut alike: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut blocks: Vec<(&ProcessSummary, usize)> = Vec::new();
    for process in summary.processes.get(..rows.max(DETAILS_AT_LEAST)).unwrap_or(&summary.processes) {
        let at = blocks.len();
        let (first, count) = alike.entry(likeness(process)).or_insert((at, 0));
        *count += 1;
        if *first == at {
            blocks.push((process, 0));
        } else if let Some((_, others)) = blocks.get_mut(*first) {
            *others += 1;
        }
    }
    let worst = worst(summary).map(|process| process.process.pid);
    let mut written = Vec::with_capacity(blocks.len());
    for (process, others) in blocks {
        let mut block = Vec::new();
        write_reasons(&mut block, process, others, worst == Some(process.process.pid), palette)?;
        written.push(block);
    }
    Ok(written)
}

/// What makes processes alike: name, causes, lines of code, and the hosts they talk to.
fn likeness(process: &ProcessSummary) -> String {
    let causes: BTreeSet<String> = match &process.reasons {
        Some(reasons) => reasons.iter().map(|one| cause(Some(one.verdict), one.id)).collect(),
        None => process.verdicts.iter().map(|(verdict, _)| verdict.to_string()).collect(),
    };
    let lines: BTreeSet<String> =
        process.stacks.iter().map(|counted| Line::opened(&counted.stack).to_string()).collect();
    let peers: BTreeSet<Address> = process.peers.iter().map(|counted| counted.peer.address()).collect();
    format!("{} {causes:?} {lines:?} {peers:?}", process.process.comm)
}

/// The process that the answer is about: the one with the most stuck sockets, if any are.
pub(super) fn worst(summary: &Summary) -> Option<&ProcessSummary> {
    summary.processes.first().filter(|process| process.still_stuck > 0)
}

/// How many sockets are stuck, each once, and who had some.
fn closing(summary: &Summary, in_close_wait: u64) -> String {
    let stuck = still_stuck(summary);
    let unattributed = summary.totals.unattributed;
    let reported = summary.sockets.unwrap_or(summary.processes.len() as u64);
    if reported == 0 {
        if in_close_wait == 0 {
            return "No socket was stuck in CLOSE_WAIT (none is in it at the end).".to_owned();
        }
        let count = plural(in_close_wait, "socket");
        return format!(
            "No socket was stuck in CLOSE_WAIT of those asked for ({count} in it at the end: somebody else's, not known whose, or not for \
             so long)."
        );
    }
    let over = summary.connections_over.unwrap_or_default();
    // Sockets that found the table full were not followed.
    let least = if summary.totals.evicted > 0 { "At least " } else { "" };
    let state = match stuck {
        0 => "No socket is stuck in CLOSE_WAIT any more".to_owned(),
        stuck => stuck_in_words(stuck, over, least, " at the end"),
    };
    let holders = summary.processes.len() as u64 + summary.more_processes;
    let had = format!("{} had some", plural(holders, "process"));
    let unnamed = format!("nobody could be named for {}", plural(unattributed, "socket"));
    let who = match (holders, unattributed) {
        (0, _) => return format!("{state}; nobody could be named."),
        (_, 0) => had,
        _ => format!("{had}, and {unnamed}"),
    };
    if let Some(program) = Program::of(summary) {
        return format!("{state}; {who}. {}.", most_of_program(&program));
    }
    match worst(summary) {
        Some(process) => format!("{state}; {who}. {}.", most(process, holders)),
        None => format!("{state}; {who}."),
    }
}

/// How many sockets are stuck, and how many of them are kept although their connection is over.
pub(super) fn stuck_in_words(stuck: u64, over: u64, least: &str, when: &str) -> String {
    let over = over.min(stuck);
    let over_sockets = plural(over, "socket");
    match (stuck - over, over) {
        (0, _) => format!("{least}{over_sockets} kept{when} after the connection was over"),
        (stuck, 0) => format!("{least}{} stuck in CLOSE_WAIT{when}", plural(stuck, "socket")),
        (stuck, _) => {
            let stuck = plural(stuck, "socket");
            format!(
                "{least}{stuck} stuck in CLOSE_WAIT{when}, and {over_sockets} kept after the connection was over"
            )
        }
    }
}

/// The worst processes in a sentence, where they are of one program: how many, and the line.
pub(super) fn most_of_program(program: &Program<'_>) -> String {
    let Program { worst, processes, sockets, still_stuck, of_line, line } = program;
    let comm = EscapedName(&worst.process.comm);
    let mut text = format!("Most: {processes} processes of {comm} with {still_stuck}");
    if let Some(counted) = line {
        // Writing into memory does not fail.
        let _ = write!(text, ", {of_line} of {sockets} {}", Line::opened(&counted.stack));
    }
    text
}

/// The worst process in a sentence: how many, how fast, for how long yet, and the line.
pub(super) fn most(process: &ProcessSummary, holders: u64) -> String {
    let most = if holders > 1 { "Most: " } else { "" };
    let mut text = format!(
        "{most}{} ({}) with {}",
        EscapedName(&process.process.comm),
        process.process.pid,
        process.still_stuck
    );
    let mut add = |part: String| {
        text.push_str(", ");
        text.push_str(&part);
    };
    if let Some(rate) = process.per_minute.filter(|rate| *rate != 0.0) {
        add(format!("{rate:+.1} a minute"));
    }
    if let Some(left) = process.fds_run_out_in_ns {
        add(format!("its descriptors run out in {}", Elapsed(left)));
    }
    match process.accept_queue_full_in_ns {
        Some(0) => add("its accept queue is full".to_owned()),
        Some(left) => add(format!("its accept queue is full in {}", Elapsed(left))),
        None => {}
    }
    if let Some(counted) = first_line(process) {
        add(format!("{} of {} {}", counted.count, process.sockets, Line::opened(&counted.stack)));
    }
    text
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

/// Writes a table of the processes that hold the most. Nothing when there are none.
pub(crate) fn write_processes(
    out: &mut dyn Write,
    summary: &Summary,
    width: Option<usize>,
    palette: &Palette,
) -> io::Result<()> {
    write_some_processes(out, summary, PROCESSES_LISTED, width, palette)
}

fn write_some_processes(
    out: &mut dyn Write,
    summary: &Summary,
    rows: usize,
    width: Option<usize>,
    palette: &Palette,
) -> io::Result<()> {
    const REPORTED: usize = 3;
    const PER_MINUTE: usize = 5;
    const FDS: usize = 6;
    const PLACE: usize = 7;
    const COMMAND: usize = 8;
    let processes = &summary.processes[..];
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
    let (listed, rest) = processes.split_at_checked(rows).unwrap_or((processes, &[]));
    for process in listed {
        table.push(cells(process));
    }
    table.show(REPORTED, listed.iter().any(|process| process.still_stuck != process.sockets));
    table.show(COMMAND, listed.iter().any(|process| process.command.is_some()));
    table.show(PER_MINUTE, listed.iter().any(|process| process.per_minute.is_some()));
    table.show(PLACE, listed.iter().any(|process| process.process.place().is_some()));
    // What a narrow terminal has no room for: the command is cut first, the others go.
    if let Some(width) = width {
        table.cut(COMMAND, LEAST_COMMAND, width);
        for column in [COMMAND, PLACE, REPORTED, FDS, PER_MINUTE] {
            if table.width() > width {
                table.show(column, false);
            }
        }
    }
    table.write(out)?;
    let (faint, are_shared) = (palette.faint, holds_shared(summary));
    if !rest.is_empty() {
        let others = plural(rest.len() as u64, "process");
        let sockets = match rest.iter().map(|process| process.still_stuck).sum() {
            // How many there are cannot be told: a sum would count each for all who hold it.
            _ if are_shared => String::new(),
            stuck => format!(" with {}", plural(stuck, "stuck socket")),
        };
        writeln!(out, "  {faint}… and {others}{sockets}, none with more than those above{faint:#}")?;
    }
    if are_shared {
        writeln!(out, "  {faint}A socket that several processes hold counts for each of them.{faint:#}")?;
    }
    Ok(())
}

/// Whether several processes hold one stuck socket, so that their sockets do not add up.
fn holds_shared(summary: &Summary) -> bool {
    still_stuck(summary) < of_all(summary, |process| process.still_stuck)
}

fn cells(process: &ProcessSummary) -> [String; 9] {
    let unknown = || "?".to_owned();
    [
        process.process.pid.to_string(),
        EscapedName(&process.process.comm).to_string(),
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
fn meanings(processes: &[ProcessSummary], palette: &Palette) -> io::Result<Vec<Vec<u8>>> {
    let faint = palette.faint;
    let mut causes: BTreeMap<(Verdict, Option<ReasonId>), u64> = BTreeMap::new();
    for process in processes {
        match &process.reasons {
            Some(reasons) => {
                for reason in reasons {
                    *causes.entry((reason.verdict, reason.id)).or_default() += reason.count;
                }
            }
            None => {
                for (verdict, count) in &process.verdicts {
                    *causes.entry((*verdict, None)).or_default() += count;
                }
            }
        }
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut blocks = Vec::with_capacity(causes.len());
    for (nth, ((verdict, reason), _)) in causes.into_iter().enumerate() {
        let mut block = Vec::new();
        if nth == 0 {
            writeln!(block)?;
        }
        let name = cause(Some(verdict), reason);
        writeln!(block, "  {faint}{name}:{faint:#} {}", meaning(Some(verdict), reason, None))?;
        blocks.push(block);
    }
    Ok(blocks)
}

fn write_reasons(
    out: &mut dyn Write,
    process: &ProcessSummary,
    others: usize,
    is_worst: bool,
    palette: &Palette,
) -> io::Result<()> {
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
        "  {name}{} ({}){name:#}{}: {}; peers: {}{more}",
        EscapedName(&process.process.comm),
        process.process.pid,
        if others > 0 { format!(" and {others} like it") } else { String::new() },
        if verdicts.is_empty() { "cause unknown".to_owned() } else { verdicts.join(", ") },
        peers.join(", "),
    )?;
    let reasons = process.reasons.iter().flatten().filter(|reason| !reason.text.is_empty());
    for reason in reasons.take(REASONS_LISTED) {
        // Of the first of them, as it was then: it has become older since.
        writeln!(
            out,
            "      {}: when first reported: {}",
            cause(Some(reason.verdict), reason.id),
            Escaped(&reason.text)
        )?;
    }
    // The last line of all has the worst one's first line of code, and what it runs out of.
    let told = first_line(process).filter(|_| is_worst).map(std::ptr::from_ref);
    let stacks = process.stacks.iter().filter(|counted| told != Some(std::ptr::from_ref(*counted)));
    for counted in stacks.filter(|counted| counted.stack.is_news()).take(STACKS_LISTED) {
        let (count, all) = (counted.count, process.sockets);
        let line = Line::opened(&counted.stack).to_string();
        let were = if line.starts_with(NoSite::NOT_KNOWN) { ":" } else { " were" };
        writeln!(out, "      {count} of {all}{were} {line}")?;
    }
    if let Some(left) = process.fds_run_out_in_ns.filter(|_| !is_worst) {
        // Sessions of earlier versions took the growth of the stuck sockets for it.
        let rate = process.fds_per_minute.or(process.per_minute);
        let rate = rate.map(|rate| format!("at {rate:+.1} a minute ")).unwrap_or_default();
        writeln!(out, "      {rate}its descriptors run out in {}", Elapsed(left))?;
    }
    if let (Some(length), Some(limit)) = (process.accept_queue, process.accept_queue_limit) {
        write!(out, "      {} for accept(), with room for {limit}", waiting(length))?;
        match process.accept_queue_full_in_ns.filter(|_| !is_worst) {
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
    use crate::model::{examples, record::ReasonCount};

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
        let worst = |stuck: u64, of: u64, most: &str| {
            format!(
                " {most}shop (71) with {stuck}, +1.5 a minute, its descriptors run out in 2h 30m, its accept queue is full \
                 in 1h 23m, 3 of {of} opened at main.serve (main.go:12)."
            )
        };
        let four = "2 sockets stuck in CLOSE_WAIT at the end; 4 processes had some.".to_owned();
        assert_eq!(said(Some(2), Some(2), &[2, 2, 2, 2], 0), four + &worst(2, 9, "Most: "));
        let nobody = "1 socket stuck in CLOSE_WAIT at the end; nobody could be named.";
        assert_eq!(said(Some(1), Some(2), &[], 2), nobody);
        let both = "3 sockets stuck in CLOSE_WAIT at the end; 1 process had some, and nobody could be named for 1 socket.";
        assert_eq!(said(Some(3), Some(3), &[2], 1), both.to_owned() + &worst(2, 9, ""));
        let over = "No socket is stuck in CLOSE_WAIT any more; 1 process had some.";
        assert_eq!(said(Some(0), Some(2), &[0], 0), over);
        let none = "No socket was stuck in CLOSE_WAIT of those asked for (7 sockets in it at the end: somebody else's, not known whose, or not \
                    for so long).";
        assert_eq!(said(Some(0), Some(0), &[], 0), none);
        // Sessions of earlier versions have no sum of their own.
        let earlier = "4 sockets stuck in CLOSE_WAIT at the end; 2 processes had some.".to_owned();
        assert_eq!(said(None, None, &[2, 2], 0), earlier + &worst(2, 9, "Most: "));
    }

    #[test]
    fn processes_of_one_program_with_few_sockets_each_are_spoken_of_by_their_name() {
        let opened = "opened at main.serve (main.go:12).";
        let three = said(Some(6), Some(9), &[2, 2, 2], 0);
        assert!(three.ends_with(&format!("Most: 3 processes of shop with 6, 9 of 27 {opened}")), "{three}");
        for (stuck, by_process) in
            [(4, vec![2, 2]), (9, vec![5, 2, 2]), (2, vec![2, 2, 2]), (20, vec![2, 2, 2])]
        {
            let one = said(Some(stuck), Some(20), &by_process, 0);
            assert!(one.contains("Most: shop (71) with "), "{stuck} {by_process:?}: {one}");
        }
    }

    #[test]
    fn processes_from_before_the_session_are_summed_up_with_those_whose_line_is_known() {
        let of = |command: &str| {
            let command = Some(command.to_owned());
            ProcessSummary { still_stuck: 3, sockets: 3, command, ..examples::process_summary() }
        };
        let known = || of("shop");
        let before = |command| ProcessSummary { stacks: Vec::new(), ..of(command) };
        let said = |processes: Vec<ProcessSummary>| {
            let still_stuck = Some(processes.iter().map(|process| process.still_stuck).sum());
            closing(&Summary { processes, still_stuck, ..examples::summary() }, 7)
        };
        let opened = "opened at main.serve (main.go:12).";
        let all = said(vec![before("shop"), before("shop"), known(), known()]);
        assert!(all.ends_with(&format!("Most: 4 processes of shop with 12, 6 of 12 {opened}")), "{all}");
        let some = said(vec![known(), known(), known(), before("another")]);
        assert!(some.ends_with(&format!("Most: 3 processes of shop with 9, 9 of 9 {opened}")), "{some}");
    }

    #[test]
    fn a_low_window_ends_with_the_answer_and_holds_all_of_it() {
        let processes: Vec<ProcessSummary> = (0..300).map(|_| examples::process_summary()).collect();
        let summary = Summary {
            in_close_wait: Some(600),
            sockets: Some(600),
            still_stuck: Some(600),
            processes,
            ..examples::summary()
        };
        let shown = |extent| {
            let mut text = Vec::new();
            assert!(write(&mut text, &summary, extent, &Palette::default()).is_ok());
            let text = String::from_utf8_lossy(&text).into_owned();
            extent.width.map_or(text.clone(), |width| folded(&text, width))
        };
        let low = shown(Extent { rows: 0, width: Some(80), height: Some(24) });
        assert!(low.lines().count() < 24 && low.lines().all(|line| line.chars().count() <= 80), "{low}");
        assert!(low.trim_end().ends_with("900 of 900 opened at main.serve (main.go:12)."), "{low}");
        assert!(low.contains("and 2 like it") && low.contains("stuck sockets, none with more"), "{low}");
        let all = shown(Extent { rows: 0, width: None, height: None });
        assert!(all.contains("… and 280 processes with 560 stuck sockets"), "{all}");
        assert_eq!(all.matches("peers: ").count(), 1, "what is alike is said once: {all}");
    }

    #[test]
    fn sockets_of_processes_that_are_not_listed_are_not_added_up_where_they_share_them() {
        let processes =
            (0..61).map(|_| ProcessSummary { still_stuck: 1, ..examples::process_summary() }).collect();
        let summary = Summary { still_stuck: Some(1), processes, ..examples::summary() };
        let mut text = Vec::new();
        assert!(write_processes(&mut text, &summary, None, &Palette::default()).is_ok());
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("… and 41 processes, none with more than those above\n"), "{text}");
        assert!(text.contains("A socket that several processes hold counts for each of them."), "{text}");
    }

    #[test]
    fn no_window_has_two_blank_lines_together() {
        let waits = ReasonCount {
            verdict: Verdict::NeverAccepted,
            id: Some(ReasonId::AcceptQueue),
            count: 2,
            text: "words ".repeat(150),
        };
        let process = ProcessSummary { reasons: Some(vec![waits]), ..examples::process_summary() };
        let summary = Summary { in_close_wait: Some(2), processes: vec![process], ..examples::summary() };
        let mut has_meaning_alone = false;
        for height in 10..60 {
            let mut text = Vec::new();
            let extent = Extent { rows: 0, width: Some(60), height: Some(height) };
            assert!(write(&mut text, &summary, extent, &Palette::default()).is_ok());
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(!text.contains("\n\n\n"), "{height}: {text}");
            has_meaning_alone |= text.contains("never_accepted/accept_queue: ") && !text.contains("peers: ");
        }
        assert!(has_meaning_alone, "that is where they stood");
    }

    #[test]
    fn ages_in_reasons_are_said_to_be_those_of_the_report() {
        let waits = ReasonCount {
            verdict: Verdict::NeverAccepted,
            id: Some(ReasonId::AcceptQueue),
            count: 2,
            text: "1 connection waits for accept(), the first for at least 10.2 s".to_owned(),
        };
        let process = ProcessSummary { reasons: Some(vec![waits]), ..examples::process_summary() };
        let mut text = Vec::new();
        assert!(write_reasons(&mut text, &process, 0, true, &Palette::default()).is_ok());
        let text = String::from_utf8_lossy(&text).into_owned();
        let expected = "never_accepted/accept_queue: when first reported: 1 connection waits";
        assert!(text.contains(expected), "the table has an age of 2m 05s: {text}");
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
        let over = "2 sockets kept at the end after the connection was over; 1 process had some.";
        assert!(said(2, 2).starts_with(over), "{}", said(2, 2));
        let both = "3 sockets stuck in CLOSE_WAIT at the end, and 2 sockets kept after the connection was over; \
                    1 process had some.";
        assert!(said(5, 2).starts_with(both), "{}", said(5, 2));
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
