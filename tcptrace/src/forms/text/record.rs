//! Each record as lines for people.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{
    cleared,
    parts::{Detail, Line, age, cause, reasons_in_words, time_of_day, write_owners},
    summary,
};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{
        ended::EndedHow,
        escape::{Escaped, EscapedName},
        other_end::OtherEnd,
        owner::{CalledBy, OpenedBy, Owner},
        record::{Header, Leak, LeakEnd, Over, Record, Timed},
        transition::Transition,
        units::{Elapsed, Socketed},
    },
};

/// What every file begins with.
pub(crate) const BEGINNING: &str = "tcptrace ";

/// The first line of a file: who wrote it, where, and since when.
pub(crate) fn preamble(header: &Header) -> String {
    let Header { version, host, started, command, backend: _ } = header;
    format!(
        "{BEGINNING}{} on {} (Linux {}), since {}: {}\n",
        Escaped(version),
        Escaped(&host.host),
        Escaped(&host.kernel),
        time_of_day(*started).strftime("%Y-%m-%d %H:%M:%S %:z"),
        Escaped(&command.join(" ")),
    )
}

/// Writes one record; of a leak with this detail. The header is not written: a person knows what they typed.
pub(super) fn write(
    out: &mut dyn Write,
    record: &Record,
    detail: Detail,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    match record {
        // Those of TIME_WAIT are shown together, as a look.
        Record::Header(_) | Record::Other(_) | Record::TimeWait(_) | Record::TimeWaitSummary(_) => Ok(()),
        Record::Transition(transition) => write_transition(out, transition, palette),
        Record::Leak(leak) => write_leak(out, leak, detail, palette),
        Record::LeakEnd(end) => write_leak_end(out, end, palette),
        Record::Cleared(cleared) => cleared::write(out, cleared, palette),
        Record::Summary(summary) => summary::write(out, summary, extent, palette),
        Record::ClearEnd(end) => cleared::write_end(out, end),
    }
}

fn write_transition(
    out: &mut dyn Write,
    transition: &Timed<Transition>,
    palette: &Palette,
) -> io::Result<()> {
    let Timed { time, what } = transition;
    let faint = palette.faint;
    write!(
        out,
        "{:.6}  {:>11} -> {:<11}  {}",
        time_of_day(*time).strftime("%H:%M:%S%.6f"),
        what.old_state,
        what.new_state,
        Socketed(&what.socket),
    )?;
    match what.dwell_ns() {
        Some(dwell) => write!(out, "  after {}", Elapsed(dwell))?,
        None => write!(out, "  after ?")?,
    }
    let comm = what.oncpu.comm.to_text();
    writeln!(out, "  {faint}on-CPU {} ({}){faint:#}", what.oncpu.pid, EscapedName(&comm))
}

fn write_leak(out: &mut dyn Write, leak: &Leak, detail: Detail, palette: &Palette) -> io::Result<()> {
    let (alert, faint) = (palette.alert, palette.faint);
    write!(out, "{}  {alert}LEAK{alert:#}  ", time_of_day(leak.time).strftime("%H:%M:%S"))?;
    write_owners(out, &leak.owners, leak.unknown_because, detail, palette)?;
    let verdict = match leak.verdict {
        Some(_) => cause(leak.verdict, leak.first_reason().map(|reason| reason.id)),
        None => "cause unknown".to_owned(),
    };
    let age = leak.age.as_ref().map_or_else(|| "?".to_owned(), age);
    let since = leak.over.map_or_else(|| format!("in CLOSE_WAIT for {age}"), ended);
    write!(out, "  {}  {since}  {verdict}", Socketed(&leak.socket))?;
    if let Some(because) = leak.because.as_ref().filter(|because| !because.is_empty()) {
        match detail {
            Detail::Full => write!(out, ": {}", reasons_in_words(because))?,
            Detail::Brief => write!(out, " as before")?,
        }
    }
    if let Some(other) = &leak.other_end {
        write_other_end(out, other)?;
    }
    if let Some(opened) = &leak.opened_by {
        let OpenedBy { how: _, called: CalledBy { call: opener, stack } } = &opened.what;
        let is_owner = leak.owners.iter().any(|owner| owner.process.pid == opener.task.pid);
        let thread = opener.task.comm.to_text();
        let is_named = |owner: &Owner| owner.process.pid == opener.task.pid && owner.process.comm != thread;
        if !is_owner {
            write!(out, "  opened by {} ({})", EscapedName(&thread), opener.task.pid)?;
        } else if leak.owners.iter().any(is_named) {
            // A main thread has the name of the program, unless it took another one since, or executed another program.
            let how = if opener.task.tid == opener.task.pid { "when its name was" } else { "by its thread" };
            write!(out, "  opened {how} {}", EscapedName(&thread))?;
        }
        if let Some(stack) = stack {
            write!(out, "  {faint}{}{faint:#}", Line::opened(stack))?;
        }
    }
    let no_site = leak.no_site.as_ref().filter(|_| leak.opened_by.is_none());
    if let Some(no_site) = no_site.filter(|no_site| no_site.because.is_news()) {
        write!(out, "  {faint}{no_site}{faint:#}")?;
    }
    let is_unseen = leak.opened_by.is_none() && no_site.is_none();
    if is_unseen && leak.owners.iter().any(|owner| owner.process.is_32_bit == Some(true)) {
        write!(out, "  {faint}opener not seen: Linux does not trace accept() of 32-bit programs{faint:#}")?;
    }
    if let Some(read) = &leak.eof_read_by {
        write_eof_read(out, read, leak.time)?;
    }
    writeln!(out)
}

/// Who has the other end, or that it was closed.
fn write_other_end(out: &mut dyn Write, other: &OtherEnd) -> io::Result<()> {
    let OtherEnd { state, is_closed, owners, is_shut_for_reading: _ } = other;
    match (is_closed, owners.first()) {
        (Some(true), _) => write!(out, "  other end closed"),
        (_, Some(Owner { process, .. })) => {
            write!(out, "  other end {} (pid {}) in {state}", EscapedName(&process.comm), process.pid)
        }
        (_, None) => write!(out, "  other end in {state}"),
    }
}

/// How and when a connection ended.
fn ended(Over { how, ns }: Over) -> String {
    let how = how.map_or("over", EndedHow::in_words);
    ns.map_or_else(|| how.to_owned(), |ns| format!("{how} {} ago", Elapsed(ns)))
}

/// Who was told that the peer is done, and at which line that was ignored; `now` is when it is written.
fn write_eof_read(out: &mut dyn Write, read: &Timed<CalledBy>, now: Timestamp) -> io::Result<()> {
    let CalledBy { call, stack } = &read.what;
    let ago = Elapsed(u64::try_from(now.duration_since(read.time).as_nanos()).unwrap_or(0));
    let by = format!("by {} (tid {}) {ago} ago", EscapedName(&call.task.comm.to_text()), call.task.tid);
    match stack {
        Some(stack) if stack.line().is_none() && stack.no_site.is_some() => {
            write!(out, "  end of file read {by}; {}", Line { verb: "read", stack })
        }
        Some(stack) => write!(out, "  end of file {} {by}", Line { verb: "read", stack }),
        None => write!(out, "  end of file read {by}"),
    }
}

fn write_leak_end(out: &mut dyn Write, end: &LeakEnd, palette: &Palette) -> io::Result<()> {
    let calm = palette.calm;
    let how = end.how.map_or("gone, unseen", EndedHow::as_event);
    write!(out, "{}  {calm}END {calm:#}  ", time_of_day(end.time).strftime("%H:%M:%S"))?;
    if let Some(closer) = &end.closed_by {
        write!(out, "{} (pid {})  ", EscapedName(&closer.process.comm), closer.process.pid)?;
    }
    write!(out, "{}  {how} after {} in CLOSE_WAIT", Socketed(&end.socket), age(&end.age))?;
    writeln!(out)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::model::{
        examples,
        reason::{Reason, ReasonId, ReasonNumbers},
        verdict::Verdict,
    };

    #[test]
    fn a_leak_says_its_verdict_with_the_first_reason_as_the_tables_do() {
        let detailed = |verdict, because, detail| {
            let mut out = Vec::new();
            let leak = Leak { verdict, because, ..examples::leak() };
            write_leak(&mut out, &leak, detail, &Palette::default()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let shown = |verdict, because| detailed(verdict, because, Detail::Full);
        let reason = |id, text: &str| Reason { id, text: text.to_owned(), numbers: ReasonNumbers::default() };
        let because = vec![reason(ReasonId::Connected, "one"), reason(ReasonId::HolderSleeping, "two")];
        let text = shown(Some(Verdict::EofRead), Some(because.clone()));
        assert!(text.contains("  eof_read/connected: one; two"), "{text}");
        let text = detailed(Some(Verdict::EofRead), Some(because.clone()), Detail::Brief);
        assert!(text.contains("  eof_read/connected as before"), "{text}");
        let text = shown(None, Some(because));
        assert!(text.contains("  cause unknown: one; two"), "{text}");
        let text = shown(Some(Verdict::EofRead), None);
        assert!(text.ends_with("  eof_read\n"), "nothing was recorded: {text}");
    }
}
