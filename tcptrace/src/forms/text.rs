//! The records as lines for people. Not part of any promise: it may change to read better.

pub(crate) mod cleared;
pub(crate) mod columns;
pub(crate) mod snapshot;
pub(crate) mod summary;
pub(crate) mod time_wait;

use std::{
    fmt,
    io::{self, Write},
};

use jiff::{Timestamp, Zoned, tz::TimeZone};

pub(crate) use self::summary::totals;
use super::palette::Palette;
use crate::model::escape::Escaped;
use crate::model::{
    owner::{CalledBy, Evidence, OpenedBy, Owner},
    record::{Age, EndedHow, Header, Leak, LeakEnd, Record, Timed},
    stack::Stack,
    transition::Transition,
    units::{Elapsed, Socketed},
    verdict::Verdict,
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

/// Writes one record. The header is not written: a person knows what they typed.
pub(crate) fn write(out: &mut dyn Write, record: &Record, palette: &Palette) -> io::Result<()> {
    match record {
        Record::Header(_) | Record::Other(_) => Ok(()),
        Record::Transition(transition) => write_transition(out, transition, palette),
        Record::Leak(leak) => write_leak(out, leak, palette),
        Record::LeakEnd(end) => write_leak_end(out, end, palette),
        // Shown together, as a look.
        Record::TimeWait(_) | Record::TimeWaitSummary(_) => Ok(()),
        Record::Cleared(cleared) => cleared::write(out, cleared, palette),
        Record::Summary(summary) => summary::write(out, summary, palette),
        Record::ClearEnd(end) => cleared::write_end(out, end),
    }
}

/// Time of day where the operator is.
fn time_of_day(time: Timestamp) -> Zoned {
    time.to_zoned(TimeZone::system())
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
    writeln!(out, "  {faint}on-CPU {} ({}){faint:#}", what.oncpu.pid, Escaped(&comm))
}

/// `12.3 s`, or `at least 12.3 s`.
fn age(age: &Age) -> String {
    match (age.is_exact, age.at_most_ns) {
        (true, _) => Elapsed(age.ns).to_string(),
        (false, Some(most)) if most > age.ns => {
            let (least, most) = (Elapsed(age.ns).to_string(), Elapsed(most).to_string());
            if least == most { format!("about {least}") } else { format!("at least {least}, at most {most}") }
        }
        (false, _) => format!("at least {}", Elapsed(age.ns)),
    }
}

fn write_leak(out: &mut dyn Write, leak: &Leak, palette: &Palette) -> io::Result<()> {
    let (alert, faint) = (palette.alert, palette.faint);
    write!(out, "{}  {alert}LEAK{alert:#}  ", time_of_day(leak.time).strftime("%H:%M:%S"))?;
    write_owners(out, &leak.owners, palette)?;
    write!(
        out,
        "  {}  in CLOSE_WAIT for {}  {}",
        Socketed(&leak.socket),
        leak.age.as_ref().map_or_else(|| "?".to_owned(), age),
        leak.verdict.map_or("cause unknown", Verdict::name),
    )?;
    if let Some(opened) = &leak.opened_by {
        let OpenedBy { how: _, called: CalledBy { call: opener, stack } } = &opened.what;
        let is_owner = leak.owners.iter().any(|owner| owner.process.pid == opener.task.pid);
        if !is_owner {
            write!(out, "  opened by {} ({})", Escaped(&opener.task.comm.to_text()), opener.task.pid)?;
        }
        if let Some(stack) = stack {
            write!(out, "  {faint}opened at {}{faint:#}", Line(stack))?;
        }
    }
    if let Some(read) = &leak.eof_read_by {
        write_eof_read(out, read, leak.time)?;
    }
    writeln!(out)
}

/// Who was told that the peer is done, and at which line that was ignored; `now` is when it is written.
fn write_eof_read(out: &mut dyn Write, read: &Timed<CalledBy>, now: Timestamp) -> io::Result<()> {
    let CalledBy { call, stack } = &read.what;
    write!(out, "  end of file read")?;
    if let Some(stack) = stack {
        write!(out, " at {}", Line(stack))?;
    }
    let ago = Elapsed(u64::try_from(now.duration_since(read.time).as_nanos()).unwrap_or(0));
    write!(out, " by {} (tid {}) {ago} ago", Escaped(&call.task.comm.to_text()), call.task.tid)
}

/// The line of code to look at, and whether more is hidden.
struct Line<'a>(&'a Stack);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = if self.0.is_cut { " [stack cut short: no frame pointers]" } else { "" };
        write!(f, "{}{cut}", Escaped(self.0.line().unwrap_or("?")))
    }
}

fn write_owners(out: &mut dyn Write, owners: &[Owner], palette: &Palette) -> io::Result<()> {
    /// More holders than this are counted, not listed.
    const LISTED: usize = 3;
    let name = palette.name;
    if owners.is_empty() {
        return write!(out, "nobody has a descriptor for it");
    }
    for (index, owner) in owners.iter().take(LISTED).enumerate() {
        if index > 0 {
            write!(out, ", ")?;
        }
        write!(out, "{name}{} (pid {}){name:#}", Escaped(&owner.process.comm), owner.process.pid)?;
        match owner.evidence {
            Evidence::FdTable => write!(out, " {}", Descriptors(&owner.fds))?,
            Evidence::Listener => write!(out, " listens with {}", Descriptors(&owner.fds))?,
            Evidence::Opened => write!(out, " opened it and may no longer hold it")?,
            Evidence::None => {}
        }
        if let Some(place) = owner.process.unit.as_ref().or(owner.process.container.as_ref()) {
            write!(out, " in {}", Escaped(place))?;
        }
    }
    if owners.len() > LISTED {
        write!(out, " and {} more", owners.len() - LISTED)?;
    }
    Ok(())
}

/// `fd 17` or `fds 17, 18, 19 …`.
struct Descriptors<'a>(&'a [u32]);

impl fmt::Display for Descriptors<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LISTED: usize = 4;
        let shown: Vec<String> = self.0.iter().take(LISTED).map(u32::to_string).collect();
        let label = if self.0.len() == 1 { "fd" } else { "fds" };
        let rest = if self.0.len() > LISTED { " …" } else { "" };
        write!(formatter, "{label} {}{rest}", shown.join(", "))
    }
}

fn write_leak_end(out: &mut dyn Write, end: &LeakEnd, palette: &Palette) -> io::Result<()> {
    let calm = palette.calm;
    let how = match end.how {
        Some(EndedHow::Closed) => "closed",
        Some(EndedHow::Reset) => "reset",
        Some(EndedHow::Destroyed) => "destroyed",
        Some(EndedHow::OwnerExited) => "ended with its owner",
        None => "gone, unseen",
    };
    write!(out, "{}  {calm}END {calm:#}  ", time_of_day(end.time).strftime("%H:%M:%S"))?;
    if let Some(closer) = &end.closed_by {
        write!(out, "{} (pid {})  ", Escaped(&closer.process.comm), closer.process.pid)?;
    }
    write!(out, "{}  {how} after {} in CLOSE_WAIT", Socketed(&end.socket), age(&end.age))?;
    writeln!(out)
}
