//! The tables of the report as text: processes, the longest stays, who closed first.

use std::io::{self, Write};

use super::parts::{Layout, heading, moment, write_bar, write_others};
use crate::{
    forms::text::columns::{
        Column::{Name, Number},
        Columns,
    },
    model::{
        escape::{Escaped, EscapedName},
        units::{Elapsed, plural},
    },
    report::{
        model::{
            closed_first::ClosedFirst,
            over::ConnectionsOver,
            ranking::{ProcessShare, Ranking},
            sockets::WorstSocket,
        },
        words::{ending, holder, percent},
    },
};

/// Columns of a command line that are worth a column of the table.
const LEAST_COMMAND: usize = 12;

pub(crate) fn write_processes(
    out: &mut dyn Write,
    processes: &Ranking<ProcessShare>,
    layout: &Layout,
) -> io::Result<()> {
    const HOST: usize = 2;
    const STILL: usize = 4;
    const SHARE: usize = 5;
    const PER_MINUTE: usize = 7;
    const DESCRIPTORS: usize = 8;
    const PLACE: usize = 9;
    const COMMAND: usize = 10;
    if processes.top.is_empty() {
        return Ok(());
    }
    heading(out, "who holds them", "", layout)?;
    let mut table = Columns::new([
        Number("PID"),
        Name("PROCESS"),
        Name("HOST"),
        Number("STUCK"),
        Number("STILL"),
        Number("SHARE"),
        Number("LONGEST"),
        Number("PER MIN"),
        Number("FDS/LIMIT"),
        Name("UNIT OR CONTAINER"),
        Name("COMMAND"),
    ]);
    let top = &processes.top;
    for process in top {
        table.push(process_cells(process));
    }
    table.show(HOST, top.iter().any(|process| process.process.host.is_some()));
    table.show(STILL, top.iter().any(|process| process.still_stuck != process.sockets));
    table.show(PER_MINUTE, top.iter().any(|process| process.per_minute.is_some()));
    table.show(DESCRIPTORS, top.iter().any(|process| process.fds_used.is_some()));
    table.show(PLACE, top.iter().any(|process| process.place.is_some()));
    table.show(COMMAND, top.iter().any(|process| process.command.is_some()));
    if layout.is_folded {
        table.cut(COMMAND, LEAST_COMMAND, layout.width);
        for column in [COMMAND, PLACE, STILL, DESCRIPTORS, PER_MINUTE, SHARE] {
            if table.width() > layout.width {
                table.show(column, false);
            }
        }
    }
    table.write(out)?;
    write_others(out, processes, "process", layout)
}

fn process_cells(process: &ProcessShare) -> [String; 11] {
    let unknown = || "?".to_owned();
    let harmless =
        |text: &Option<String>| text.as_ref().map(|text| Escaped(text).to_string()).unwrap_or_default();
    [
        process.process.pid.to_string(),
        EscapedName(&process.process.comm).to_string(),
        harmless(&process.process.host),
        process.sockets.to_string(),
        process.still_stuck.to_string(),
        percent(process.share),
        Elapsed(process.longest_ns).to_string(),
        process.per_minute.map_or_else(unknown, |rate| format!("{rate:+.1}")),
        match (process.fds_used, process.fds_limit) {
            (Some(used), Some(limit)) => format!("{used}/{limit}"),
            (Some(used), None) => format!("{used}/?"),
            _ => unknown(),
        },
        harmless(&process.place),
        harmless(&process.command),
    ]
}

pub(crate) fn write_worst(out: &mut dyn Write, worst: &[WorstSocket], layout: &Layout) -> io::Result<()> {
    const SINCE: usize = 1;
    const LOCAL: usize = 2;
    if worst.is_empty() {
        return Ok(());
    }
    heading(out, "stuck the longest", "", layout)?;
    let mut table = Columns::new([
        Number("FOR"),
        Name("SINCE"),
        Name("LOCAL"),
        Name("REMOTE"),
        Name("HELD BY"),
        Name("ENDED"),
    ]);
    for socket in worst {
        let least = if socket.since_is_exact { "" } else { "≥ " };
        table.push([
            format!("{least}{}", Elapsed(socket.close_wait_ns)),
            moment(socket.since.0),
            socket.local.to_string(),
            socket.remote.to_string(),
            holder(socket),
            ending(socket),
        ]);
    }
    // The age says about the same, and the peer tells the connection.
    for column in [SINCE, LOCAL] {
        if layout.is_folded && table.width() > layout.width {
            table.show(column, false);
        }
    }
    table.write(out)
}

pub(crate) fn write_over(out: &mut dyn Write, over: &ConnectionsOver, layout: &Layout) -> io::Result<()> {
    let least = if over.is_lower_bound { "at least " } else { "" };
    let more = format!("{least}{}, in no list of sockets", plural(over.descriptors, "descriptor"));
    heading(out, "connections that are over, not closed", &more, layout)?;
    let mut table = Columns::new([Number("DESCRIPTORS"), Name("PROCESS"), Name("ENDED"), Name("OPENED AT")]);
    for share in &over.processes {
        table.push([
            share.descriptors.to_string(),
            share.process.as_ref().map_or_else(|| "nobody any more".to_owned(), ToString::to_string),
            share.ways(),
            if share.site.is_known() { share.site.to_string() } else { "-".to_owned() },
        ]);
    }
    table.show(3, over.processes.iter().any(|share| share.site.is_known()));
    table.write(out)?;
    if over.other_processes > 0 {
        writeln!(out, "  and {} more", plural(over.other_processes, "process"))?;
    }
    Ok(())
}

pub(crate) fn write_closed_first(
    out: &mut dyn Write,
    closed: &ClosedFirst,
    layout: &Layout,
) -> io::Result<()> {
    let ClosedFirst { by_us, by_peer, reset, .. } = closed;
    let all = by_us + by_peer + reset;
    if all == 0 {
        return Ok(());
    }
    heading(out, "who closed first", "the side that does keeps the connection in TIME_WAIT", layout)?;
    write_bar(out, *by_us, all, "this side: TIME_WAIT here", layout)?;
    write_bar(out, *by_peer, all, "the peer: TIME_WAIT there", layout)?;
    write_bar(out, *reset, all, "nobody, it was reset: no TIME_WAIT", layout)?;
    let mut table = Columns::new([Number("CLOSED"), Number("PER S"), Name("BY OR TOWARDS")]);
    for closer in &closed.processes.top {
        let process = closer.process.to_string();
        table.push([closer.closed_first.to_string(), format!("{:.1}", closer.per_second), process]);
    }
    for peer in closed.peers.top.iter().filter(|peer| peer.by_us > 0) {
        table.push([
            peer.by_us.to_string(),
            format!("{:.1}", peer.per_second),
            format!("towards {}", peer.peer),
        ]);
    }
    table.write(out)
}
