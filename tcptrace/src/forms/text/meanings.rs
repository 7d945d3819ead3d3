//! What verdicts and reasons mean, for people: each pair once, with what is so of the first socket that has it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::parts::{cause, meaning, reasons_in_words};
use crate::{
    forms::palette::Palette,
    model::{
        reason::{Reason, ReasonId},
        units::plural,
        verdict::{UnknownBecause, Verdict},
    },
};

/// Why one socket is stuck.
#[derive(Clone, Copy)]
pub(super) struct StuckSocket<'a> {
    pub verdict: Option<Verdict>,
    /// The most telling reason first.
    pub because: &'a [Reason],
    pub unknown_because: Option<UnknownBecause>,
}

/// Writes the causes of these sockets, or of whatever people call them, the most frequent first; nothing where there are
/// none.
pub(super) fn write<'a>(
    out: &mut dyn Write,
    sockets: impl Iterator<Item = StuckSocket<'a>>,
    called: &'static str,
    palette: &Palette,
) -> io::Result<()> {
    let mut causes: BTreeMap<_, (u64, &[Reason])> = BTreeMap::new();
    for StuckSocket { verdict, because, unknown_because } in sockets {
        // Of one that has a verdict, only the holder is not known; where that is a listener's, its loop is not to blame.
        let is_said =
            |because: &UnknownBecause| verdict.is_none() || *because == UnknownBecause::ListenerNotFound;
        let unknown = unknown_because.filter(is_said);
        let reason = because.first().map(|reason| reason.id);
        causes.entry((verdict, reason, unknown)).or_insert((0, because)).0 += 1;
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    let is_urgent = |reason: Option<ReasonId>| reason.is_some_and(ReasonId::is_urgent);
    causes.sort_by_key(|((_, reason, _), (count, _))| std::cmp::Reverse((is_urgent(*reason), *count)));
    if !causes.is_empty() {
        writeln!(out)?;
    }
    let (alert, faint) = (palette.alert, palette.faint);
    for ((verdict, reason, unknown), (count, because)) in causes {
        let name = cause(verdict, reason);
        let sockets = plural(count, called);
        writeln!(out, "  {alert}{name}{alert:#} ({sockets}): {}", meaning(verdict, reason, unknown))?;
        if !because.is_empty() {
            let one = if count > 1 { "one of them: " } else { "" };
            writeln!(out, "    {faint}{one}{}{faint:#}", reasons_in_words(because))?;
        }
    }
    Ok(())
}
