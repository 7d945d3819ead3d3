//! What the sections of the report in text have in common: the terminal's size and colours, headings, bars. Knows
//! nothing of what a report says.

use std::io::{self, IsTerminal as _, Write};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    forms::palette::Palette,
    model::units::plural,
    output::{replace::ReportDestination, terminal::palette_of_stdout},
    report::model::ranking::Ranking,
};

/// Characters to a line without a terminal.
const WIDTH: usize = 100;

/// Characters of a full bar.
const BAR: usize = 24;

/// How the report is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub palette: Palette,
    /// Characters to a line.
    pub width: usize,
    /// Whether lines that are wider are broken between words: a terminal would break them anywhere.
    pub is_folded: bool,
    /// Lines of the terminal, when the report overwrites what it showed before.
    pub redraw: Option<usize>,
    /// Files open with a line that says what they are.
    pub has_title: bool,
}

impl Layout {
    /// Fits the destination. With `is_again` the report overwrites the one shown before.
    pub(crate) fn of(destination: &ReportDestination, is_again: bool) -> Self {
        let has_title = *destination != ReportDestination::Stdout;
        let plain =
            Self { palette: Palette::default(), width: WIDTH, is_folded: false, redraw: None, has_title };
        if *destination != ReportDestination::Stdout || !io::stdout().is_terminal() {
            return plain;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let size = size.filter(|size| size.ws_col >= 40 && size.ws_row > 1);
        Self {
            palette: palette_of_stdout(),
            width: size.map_or(WIDTH, |size| usize::from(size.ws_col)),
            is_folded: true,
            has_title,
            redraw: is_again.then_some(size.map_or(24, |size| usize::from(size.ws_row))),
        }
    }
}

pub(crate) fn heading(out: &mut dyn Write, title: &str, more: &str, layout: &Layout) -> io::Result<()> {
    let Palette { name, faint, .. } = layout.palette;
    let gap = if more.is_empty() { "" } else { "  " };
    writeln!(out, "\n{name}{}{name:#}{gap}{faint}{more}{faint:#}", title.to_uppercase())
}

/// Date and time in the reader's zone.
pub(crate) fn moment(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

pub(crate) fn write_others<T>(
    out: &mut dyn Write,
    ranking: &Ranking<T>,
    noun: &str,
    layout: &Layout,
) -> io::Result<()> {
    if ranking.others == 0 && ranking.other_entries == 0 {
        return Ok(());
    }
    let faint = layout.palette.faint;
    let others = plural(ranking.other_entries, noun);
    match ranking.others {
        0 => writeln!(out, "  {faint}… and {others} more that share these sockets{faint:#}"),
        more => writeln!(out, "  {faint}… and {others} more with {}{faint:#}", plural(more, "socket")),
    }
}

/// A bar for the share of `part` in `all`; never empty for a part above zero.
fn bar(part: u64, all: u64) -> String {
    let filled = (part * BAR as u64).checked_div(all.max(1)).unwrap_or_default();
    let filled = usize::try_from(filled).unwrap_or(BAR).clamp(usize::from(part > 0), BAR);
    format!("{}{}", "█".repeat(filled), " ".repeat(BAR - filled))
}

pub(crate) fn write_bar(
    out: &mut dyn Write,
    count: u64,
    most: u64,
    what: &str,
    layout: &Layout,
) -> io::Result<()> {
    let alert = layout.palette.alert;
    let bar = bar(count, most);
    writeln!(out, "  {count:>7}  {alert}{bar}{alert:#}  {what}")
}
