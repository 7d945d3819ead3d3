//! The answer for people: what is missing first, the sum last. Decides nothing.

use std::io::{self, Write};

use super::check::{Check, Diagnosis, MainJob, ProgramRow, State, Topic};
use crate::{
    forms::{
        palette::Palette,
        text::{
            advice::wrapped,
            width::{padded, visible_width},
        },
        view::Extent,
    },
    model::{
        escape::{Escaped, EscapedName},
        units::plural,
    },
};

/// A line is broken at this width at most, also on a wider terminal.
const MAX_WIDTH: usize = 100;
const LEAST_WIDTH: usize = 40;

/// Characters of the name of something that is in order, and of a program.
const NAME_WIDTH: usize = 34;
const PROGRAM_WIDTH: usize = 28;

/// What stands beside a name has this many columns at least; where there are fewer, it follows the name like a sentence.
const LEAST_BESIDE: usize = 30;

/// Programs that are listed; JSON has all.
const MOST_ROWS: usize = 20;

/// Writes the answer, as wide as the terminal; where none tells its width, each text is one line.
pub(super) fn write(
    out: &mut dyn Write,
    diagnosis: &Diagnosis,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let width = extent.width.map_or(usize::MAX, |width| width.clamp(LEAST_WIDTH, MAX_WIDTH));
    let Diagnosis { version, host, kernel, checks, programs, more_processes, main_job, .. } = diagnosis;
    let title = format!("tcptrace {version} on {}, Linux {}", Escaped(host), Escaped(kernel));
    write_lines(out, &title, width)?;
    writeln!(out)?;
    let of = |state| checks.iter().filter(move |check| check.state == state);
    for check in of(State::Missing) {
        write_missing(out, check, width, palette)?;
    }
    for topic in [Topic::Kernel, Topic::Host, Topic::Clear] {
        let heading = match topic {
            Topic::Kernel => "Kernel",
            Topic::Host => "Host",
            Topic::Clear => "To end sockets",
            Topic::Programs => "Programs",
        };
        let others = || checks.iter().filter(|check| check.topic == topic && check.state != State::Missing);
        if others().next().is_some() {
            writeln!(out, "{heading}")?;
            others().try_for_each(|check| write_other(out, check, width, palette))?;
            writeln!(out)?;
        }
    }
    write_programs(out, programs, *more_processes, width, palette)?;
    write_sum(out, *main_job, checks, width, palette)
}

fn write_missing(out: &mut dyn Write, check: &Check, width: usize, palette: &Palette) -> io::Result<()> {
    let Check { name, detail, lost, remedy, is_needed, .. } = check;
    let style = palette.alert;
    let word = if *is_needed { "NEEDED" } else { "MISSING" };
    let text = match detail {
        Some(detail) => format!("{name}: {detail}"),
        None => name.clone(),
    };
    let begin = format!("{style}{word:<8}{style:#} ");
    write_hanging(out, &begin, 9, &text, width)?;
    for (label, text) in [("lost", lost), ("help", remedy)] {
        if let Some(text) = text {
            let faint = palette.faint;
            write_hanging(out, &format!("         {faint}{label}{faint:#}  "), 15, text, width)?;
        }
    }
    writeln!(out)
}

fn write_other(out: &mut dyn Write, check: &Check, width: usize, palette: &Palette) -> io::Result<()> {
    let detail = check.detail.as_deref().unwrap_or_default();
    let (style, word) = match check.state {
        State::NotTried => (palette.faint, "?"),
        State::Ok | State::Missing => (palette.calm, "ok"),
    };
    let detail =
        if check.state == State::NotTried { format!("not tried: {detail}") } else { detail.to_owned() };
    if detail.is_empty() {
        return writeln!(out, "  {style}{word:<2}{style:#}  {}", check.name);
    }
    let name = padded(&check.name, NAME_WIDTH);
    let indent = 6 + visible_width(&name) + 2;
    if width < indent + LEAST_BESIDE {
        let text = format!("{}: {detail}", check.name);
        return write_hanging(out, &format!("  {style}{word:<2}{style:#}  "), 6, &text, width);
    }
    write_hanging(out, &format!("  {style}{word:<2}{style:#}  {name}  "), indent, &detail, width)
}

fn write_programs(
    out: &mut dyn Write,
    programs: &[ProgramRow],
    more: usize,
    width: usize,
    palette: &Palette,
) -> io::Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    write_lines(out, "Programs that hold TCP sockets, and what names their lines of code", width)?;
    for ProgramRow { comm, pids, sockets, state, lines } in programs.iter().take(MOST_ROWS) {
        let (style, word) = match state {
            State::Ok => (palette.calm, "ok"),
            State::Missing => (palette.alert, "no"),
            State::NotTried => (palette.faint, "?"),
        };
        let which = match &pids[..] {
            [pid] => format!("({pid})"),
            pids => format!("× {}", pids.len()),
        };
        let program = format!("{} {which}", EscapedName(comm));
        if width < 6 + PROGRAM_WIDTH + 10 + LEAST_BESIDE {
            let text = format!("{program}, {}: {lines}", plural(*sockets as u64, "socket"));
            write_hanging(out, &format!("  {style}{word:<2}{style:#}  "), 6, &text, width)?;
            continue;
        }
        let program = padded(&program, PROGRAM_WIDTH);
        let begin = format!("  {style}{word:<2}{style:#}  {program}  {sockets:>6}  ");
        let indent = 6 + visible_width(&program) + 10;
        write_hanging(out, &begin, indent, lines, width)?;
    }
    let hidden = programs.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        writeln!(out, "      … {} more (--format json has all)", plural(hidden as u64, "program"))?;
    }
    if more > 0 {
        writeln!(out, "      … {} with fewer sockets not looked at", plural(more as u64, "process"))?;
    }
    writeln!(out)
}

fn write_sum(
    out: &mut dyn Write,
    main_job: MainJob,
    checks: &[Check],
    width: usize,
    palette: &Palette,
) -> io::Result<()> {
    let missing = checks.iter().filter(|check| check.state == State::Missing).count();
    let (style, text) = match main_job {
        MainJob::Works => (
            palette.calm,
            "The main job works: `tcptrace leaks` sees every socket, names who holds it, and the line of code.".to_owned(),
        ),
        MainJob::WorksInPart => (
            palette.calm,
            format!(
                "The main job works: `tcptrace leaks` names who holds a socket. {} above: what that costs stands there.",
                if missing == 1 { "One thing is missing".to_owned() } else { format!("{missing} things are missing") }
            ),
        ),
        MainJob::Fails => {
            let needed: Vec<&str> = checks
                .iter()
                .filter(|check| check.is_needed && check.state == State::Missing)
                .map(|check| check.name.as_str())
                .collect();
            (palette.alert, format!("The main job does not work here for want of: {}.", needed.join(", ")))
        }
    };
    for line in wrapped(&text, width) {
        writeln!(out, "{style}{line}{style:#}")?;
    }
    Ok(())
}

/// Writes a text from the beginning of the line on.
fn write_lines(out: &mut dyn Write, text: &str, width: usize) -> io::Result<()> {
    wrapped(text, width).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Writes a text behind what begins its first line; the others stand below its first word. `begin` takes up `indent`
/// characters. The text may be a stranger's.
fn write_hanging(
    out: &mut dyn Write,
    begin: &str,
    indent: usize,
    text: &str,
    width: usize,
) -> io::Result<()> {
    let text = Escaped(text).to_string();
    for (number, line) in wrapped(&text, width.saturating_sub(indent).max(20)).iter().enumerate() {
        match number {
            0 => writeln!(out, "{begin}{line}")?,
            _ => writeln!(out, "{:indent$}{line}", "")?,
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    fn shown(checks: Vec<Check>, programs: Vec<ProgramRow>) -> String {
        shown_in(Some(80), checks, programs)
    }

    fn shown_in(width: Option<usize>, checks: Vec<Check>, programs: Vec<ProgramRow>) -> String {
        let diagnosis = Diagnosis {
            kind: "doctor",
            schema: 1,
            version: "0.1.0",
            time: jiff::Timestamp::UNIX_EPOCH,
            host: "web\x1b[2J".to_owned(),
            kernel: "6.1".to_owned(),
            main_job: Diagnosis::main_job(&checks),
            checks,
            programs,
            more_processes: 0,
        };
        let mut out = Vec::new();
        let extent = Extent { rows: 0, width, height: None };
        write(&mut out, &diagnosis, extent, &Palette::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn missing() -> Check {
        let words = "one two three four five six seven eight nine ten ".repeat(4);
        Check::missing(Topic::Host, "x", "CAP_BPF", "not in effect", (&words, "run as root"))
    }

    #[test]
    fn what_is_missing_comes_first_and_the_sum_last_within_eighty_columns() {
        let text = shown(vec![missing().needed(), Check::ok(Topic::Kernel, "btf", "BTF", "")], vec![]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let at = |what: &str| text.find(what).unwrap_or_else(|| unreachable!("{what}\n{text}"));
        assert!(at("NEEDED") < at("lost  ") && at("lost  ") < at("help  ") && at("help  ") < at("ok  BTF"));
        assert!(text.trim_end().ends_with("for want of: CAP_BPF."), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_narrow_terminal_breaks_between_words_and_a_pipe_not_at_all() {
        let words = "one two three four five six seven eight nine ten ".repeat(4);
        let checks =
            || vec![missing(), Check::ok(Topic::Host, "x", "net.core.bpf_jit_enable", words.as_str())];
        let row = ProgramRow {
            comm: "invoices".to_owned(),
            pids: vec![7],
            sockets: 12,
            state: State::Ok,
            lines: words.clone(),
        };
        for width in [40, 60, 72, 80, 120] {
            let text = shown_in(Some(width), checks(), vec![row.clone()]);
            assert!(text.lines().all(|line| visible_width(line) <= width), "{width}: {text}");
        }
        let text = shown_in(None, checks(), vec![row]);
        assert_eq!(text.matches(words.trim_end()).count(), 3, "{text}");
    }

    #[test]
    fn workers_are_counted_and_hostile_names_do_no_harm() {
        let row = ProgramRow {
            comm: "ngi\nnx".to_owned(),
            pids: vec![1, 2, 3],
            sockets: 12,
            state: State::Missing,
            lines: "stripped".to_owned(),
        };
        let text = shown(vec![], vec![row]);
        assert!(text.contains("no  ngi\\nnx × 3") && text.contains("12  stripped"), "{text}");
        assert!(text.trim_end().ends_with("the line of code."), "{text}");
    }
}
