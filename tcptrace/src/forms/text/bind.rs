//! Why bind() to the ports that were asked for fails, for people: first what has them, by network namespace, then how
//! many namespaces are left.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use super::advice::{write_advice, write_wrapped};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{
        advice::Advice,
        record::time_wait::{TimeWaitLook, TimeWaitSummary},
        units::plural,
    },
};

/// Writes the answers; nothing if no port was asked for.
pub(super) fn write(
    out: &mut dyn Write,
    look: &TimeWaitLook,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let summaries = || look.namespaces.iter().map(|(summary, _)| summary);
    for summary in summaries() {
        let mut answers = in_use(summary).peekable();
        if answers.peek().is_some() {
            writeln!(out)?;
            write_wrapped(out, &format!("bind() in network namespace {}:", summary.netns), extent)?;
            write_advice(out, answers, extent, palette)?;
            let more = summary.address_uses_crowded_out;
            if more > 0 {
                writeln!(out, "  {} at further addresses are not listed", plural(more, "socket"))?;
            }
        }
    }
    let free = summaries().flat_map(|summary| &summary.advice).filter_map(|advice| match advice {
        Advice::AddressFree { port, .. } => Some(*port),
        _ => None,
    });
    for port in free.collect::<BTreeSet<u16>>() {
        write_free(out, look, port, extent, palette)?;
    }
    Ok(())
}

/// What stands in the way of bind() in a namespace, and what helps.
fn in_use(summary: &TimeWaitSummary) -> impl Iterator<Item = &Advice> {
    let is_free = |advice: &&Advice| matches!(advice, Advice::AddressFree { .. });
    summary.advice.iter().filter(|advice| advice.is_about_bind()).filter(move |advice| !is_free(advice))
}

/// Where nothing has a port: of all namespaces the whole answer, of some their number.
fn write_free(
    out: &mut dyn Write,
    look: &TimeWaitLook,
    port: u16,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let is_used =
        |summary: &TimeWaitSummary| summary.address_uses.iter().flatten().any(|one| one.local.port() == port);
    let used = look.namespaces.iter().filter(|(summary, _)| is_used(summary)).count() as u64;
    let free = look.namespaces_found.saturating_sub(used);
    writeln!(out)?;
    if used > 0 {
        let faint = palette.faint;
        write!(out, "{faint}")?;
        let others = format!("{} that {} looked at", plural(free, "other network namespace"), were(free));
        write_wrapped(out, &format!("No TCP socket has port {port} in the {others}."), extent)?;
        return write!(out, "{faint:#}");
    }
    let is_about = |advice: &&Advice| matches!(advice, Advice::AddressFree { port: of, .. } if *of == port);
    let all = look.namespaces.iter().flat_map(|(summary, _)| &summary.advice);
    let heading = format!("bind() in {} that {} looked at:", plural(free, "network namespace"), were(free));
    write_wrapped(out, &heading, extent)?;
    write_advice(out, all.filter(is_about).take(1), extent, palette)
}

fn were(count: u64) -> &'static str {
    if count == 1 { "was" } else { "were" }
}
