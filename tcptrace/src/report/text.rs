//! The report as text: the answer first, then the evidence. Not for scripts: it may change at any time.

mod parts;
mod tables;

use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use self::{
    parts::{heading, moment, write_bar, write_others},
    tables::{write_closed_first, write_over, write_processes, write_worst},
};
use super::model::{
    Report, SessionReport,
    ranking::{PeerShare, Ranking, StackShare, VerdictShare},
    sockets::{Bar, Durations, OverTime},
};
use crate::{
    forms::{palette::Palette, text::fold::folded},
    model::{
        escape::Escaped,
        units::{Elapsed, plural},
        verdict::Verdict,
    },
    output::terminal::displayable,
};

pub(crate) use self::parts::Layout;

/// Writes the report.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(out: &mut dyn Write, report: &Report, layout: &Layout) -> io::Result<()> {
    if !layout.is_folded {
        return write_all(out, report, layout);
    }
    let mut text = Vec::new();
    write_all(&mut text, report, layout)?;
    let text = folded(&String::from_utf8_lossy(&text), layout.width);
    let text = displayable(text.as_bytes());
    let Some(rows) = layout.redraw else { return out.write_all(&text) };
    // Cursor home, no line wrap, as many lines as fit, each cleared first, then what was below them.
    out.write_all(b"\x1b[H\x1b[?7l")?;
    for line in text.split_inclusive(|byte| *byte == b'\n').take(rows.saturating_sub(1)) {
        // Behind a full line the cursor stands on its last character, which would go.
        out.write_all(b"\x1b[K")?;
        out.write_all(line)?;
    }
    out.write_all(b"\x1b[J\x1b[?7h")
}

fn write_all(out: &mut dyn Write, report: &Report, layout: &Layout) -> io::Result<()> {
    let Palette { alert, calm, faint, .. } = layout.palette;
    if layout.has_title {
        writeln!(out, "{} {}\n", report.r#type, report.version)?;
    }
    let style = if report.close_wait.stuck > 0 { alert } else { calm };
    writeln!(out, "{style}{}{style:#}", report.headline.answer)?;
    for sentence in &report.headline.outlook {
        writeln!(out, "  {sentence}")?;
    }
    writeln!(out)?;
    for session in &report.sessions {
        writeln!(out, "{faint}{}{faint:#}", session_line(session))?;
    }
    if let Some(over_time) = &report.over_time {
        write_over_time(out, over_time, report.close_wait.peak.unwrap_or_default(), layout)?;
    }
    write_processes(out, &report.processes, layout)?;
    write_verdicts(out, &report.verdicts, report.close_wait.stuck, layout)?;
    write_peers(out, &report.peers, layout)?;
    write_stacks(out, &report.stacks, layout)?;
    write_durations(out, &report.durations, layout)?;
    write_worst(out, &report.worst, layout)?;
    if let Some(over) = &report.connections_over {
        write_over(out, over, layout)?;
    }
    if let Some(closed_first) = &report.closed_first {
        write_closed_first(out, closed_first, layout)?;
    }
    if !report.cannot_claim.is_empty() {
        heading(out, "what this report cannot claim", "", layout)?;
        for caveat in &report.cannot_claim {
            let (style, mark) = if caveat.is_loss() { (alert, '!') } else { (faint, '-') };
            writeln!(out, "  {style}{mark}{style:#} {caveat}")?;
        }
    }
    Ok(())
}

fn time_of_day(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

fn session_line(session: &SessionReport) -> String {
    let host = session.host.as_deref().unwrap_or("an unknown host");
    let length =
        u64::try_from(session.last.0.duration_since(session.started.0).as_nanos()).unwrap_or_default();
    let records = session.files.iter().map(|file| file.records).sum();
    let files: Vec<String> = session.files.iter().map(|file| Escaped(&file.name).to_string()).collect();
    let records = match files.as_slice() {
        [one] => format!("{} in {one}", plural(records, "record")),
        [first, .., last] => {
            format!("{} in {first} … {last} ({} files)", plural(records, "record"), files.len())
        }
        // A file is counted with the last session in it.
        [] => "in a file with a later session".to_owned(),
    };
    let command =
        session.command.as_deref().map(|command| format!("  {}", Escaped(command))).unwrap_or_default();
    format!("{}  {} for {}, {records}{command}", Escaped(host), moment(session.started.0), Elapsed(length))
}

fn write_over_time(out: &mut dyn Write, over_time: &OverTime, peak: u64, layout: &Layout) -> io::Result<()> {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let steps = over_time.lines.first().map_or(0, |line| line.values.len());
    if steps == 0 || peak == 0 {
        return Ok(());
    }
    heading(out, "in CLOSE_WAIT over time", &format!("at most {peak} at once"), layout)?;
    let room = layout.width.saturating_sub(4).clamp(20, 120).min(steps);
    let at = |step: usize| -> u64 { over_time.lines.iter().filter_map(|line| line.values.get(step)).sum() };
    let column =
        |nth: usize| (nth * steps / room..((nth + 1) * steps / room)).map(at).max().unwrap_or_default();
    let block = |value: u64| {
        if value == 0 {
            ' '
        } else {
            let eighth = (value * 8).div_ceil(peak.max(1)).clamp(1, 8) - 1;
            BLOCKS.get(usize::try_from(eighth).unwrap_or(7)).copied().unwrap_or('█')
        }
    };
    let drawn: String = (0..room).map(|nth| block(column(nth))).collect();
    let alert = layout.palette.alert;
    writeln!(out, "  {alert}{drawn}{alert:#}")?;
    let length = i64::try_from(over_time.step_ns.saturating_mul(steps as u64)).unwrap_or(i64::MAX);
    let last = over_time.first.0 + jiff::SignedDuration::from_nanos(length);
    let (first, last) = (time_of_day(over_time.first.0), time_of_day(last));
    let gap = room.saturating_sub(first.len());
    let faint = layout.palette.faint;
    writeln!(out, "  {faint}{first}{last:>gap$}{faint:#}")
}

fn write_verdicts(
    out: &mut dyn Write,
    verdicts: &[VerdictShare],
    stuck: u64,
    layout: &Layout,
) -> io::Result<()> {
    if verdicts.is_empty() {
        return Ok(());
    }
    heading(out, "why", "", layout)?;
    for share in verdicts {
        let name = share.verdict.map_or("?", Verdict::name);
        write_bar(out, share.sockets, stuck, name, layout)?;
        if share.reasons.is_empty() {
            writeln!(out, "           {}", share.advice)?;
        }
        for reason in &share.reasons {
            let count = plural(reason.sockets, "socket");
            writeln!(out, "           {} ({count}): {}", reason.id, reason.advice)?;
            let faint = layout.palette.faint;
            writeln!(out, "             {faint}when first reported: {}{faint:#}", Escaped(&reason.text))?;
        }
    }
    Ok(())
}

fn write_peers(out: &mut dyn Write, peers: &Ranking<PeerShare>, layout: &Layout) -> io::Result<()> {
    if peers.top.is_empty() {
        return Ok(());
    }
    heading(out, "towards whom", "", layout)?;
    let most = peers.top.first().map_or(0, |peer| peer.sockets);
    for share in &peers.top {
        write_bar(out, share.sockets, most, &share.peer.to_string(), layout)?;
    }
    write_others(out, peers, "peer", layout)
}

fn write_stacks(out: &mut dyn Write, stacks: &Ranking<StackShare>, layout: &Layout) -> io::Result<()> {
    if stacks.top.is_empty() {
        return Ok(());
    }
    heading(out, "opened at", "", layout)?;
    let most = stacks.top.first().map_or(0, |stack| stack.sockets);
    for share in &stacks.top {
        let cut = if share.stack_is_cut && share.site.site.is_some() { "  [stack cut short]" } else { "" };
        write_bar(out, share.sockets, most, &format!("{}{cut}", share.site), layout)?;
    }
    write_others(out, stacks, "stack", layout)
}

fn write_durations(out: &mut dyn Write, durations: &Durations, layout: &Layout) -> io::Result<()> {
    let (Some(median), Some(p99), Some(longest)) =
        (durations.median_ns, durations.p99_ns, durations.longest_ns)
    else {
        return Ok(());
    };
    let more = format!(
        "half of them up to {}, 99 of 100 up to {}, the longest {}",
        Elapsed(median),
        Elapsed(p99),
        Elapsed(longest)
    );
    heading(out, "time in CLOSE_WAIT", &more, layout)?;
    let most = durations.bars.iter().map(Bar::stays).max().unwrap_or_default();
    for bar in &durations.bars {
        let still =
            if bar.still_stuck > 0 { format!(", {} still stuck", bar.still_stuck) } else { String::new() };
        write_bar(out, bar.stays(), most, &format!("{}{still}", range(bar.from_ns, bar.below_ns)), layout)?;
    }
    Ok(())
}

/// A range of durations in words.
fn range(from_ns: u64, below_ns: u64) -> String {
    match (from_ns, below_ns) {
        (0, below) => format!("below {}", Elapsed(below)),
        (from, u64::MAX) => format!("{} and longer", Elapsed(from)),
        (from, below) => format!("{} to {}", Elapsed(from), Elapsed(below)),
    }
}
