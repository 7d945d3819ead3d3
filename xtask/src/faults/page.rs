//! The page with the table: each row as it was run last.

use super::row::Done;
use crate::cargo::workspace;
use anyhow::{Context, Result, ensure};
use std::fs;

/// The page, and what stands around the part that is written.
const PAGE: &str = "tcptrace/docs/faults.md";
const BEGIN: &str = "<!-- written by `cargo xtask faults --write` -->\n";
const END: &str = "<!-- end of what is written -->";

/// The table of the rows that were run, and where.
pub(crate) fn table(done: &[Done], is_long: bool) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let length = if is_long { "with `--long`" } else { "without `--long`" };
    let rows: String = done.iter().map(line).collect();
    format!(
        "Linux {}, {cpus} CPUs, {length}.\n\n| fault | promise | figure | verdict |\n|---|---|---|---|\n{rows}",
        kernel.trim()
    )
}

fn line(done: &Done) -> String {
    let Done { row, verdict, figure: _, took } = done;
    let (seconds, figure) = (took.as_secs().max(1), done.cell());
    format!("| {} | {} | {figure} ({seconds} s) | {} |\n", row.name, row.promise, verdict.word())
}

/// Writes the table into the page, or only these rows of it.
pub(crate) fn write(table: &str, is_whole: bool) -> Result<()> {
    let path = workspace().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let (head, old, tail) = parts(&page).with_context(|| format!("{PAGE} has lost its marks"))?;
    let table = if is_whole { table.to_owned() } else { with_rows(old, table)? };
    let page = format!("{head}{BEGIN}\n{table}\n{END}{tail}");
    fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))
}

/// What stands before the table, the table, and what comes after.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (table, tail) = rest.split_once(END)?;
    Some((head, table.trim(), tail))
}

/// A table in which these rows have taken the places of those with their names.
fn with_rows(table: &str, newer: &str) -> Result<String> {
    let heading = |table: &str| table.lines().next().unwrap_or_default().to_owned();
    ensure!(
        heading(table) == heading(newer),
        "the table was made elsewhere, or by runs of another length: leave out --only, and all of it is made"
    );
    let name = |line: &str| {
        line.strip_prefix("| ").and_then(|line| line.split_once(" |")).map(|(name, _)| name.to_owned())
    };
    let mut merged = String::new();
    for line in table.lines() {
        let newer = newer.lines().find(|newer| name(newer).is_some() && name(newer) == name(line));
        merged.push_str(newer.unwrap_or(line));
        merged.push('\n');
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_three_parts() {
        let page = format!("head\n{BEGIN}\nold\n\n{END}\ntail\n");
        assert_eq!(parts(&page), Some(("head\n", "old", "\ntail\n")));
        assert_eq!(parts("no marks"), None);
    }

    #[test]
    fn new_rows_take_the_places_of_those_with_their_names() {
        let old = "here.\n\n| fault | verdict |\n|---|---|\n| one | holds |\n| one more | BROKEN |";
        let new = "here.\n\n| fault | verdict |\n|---|---|\n| one more | holds |\n";
        let merged = "here.\n\n| fault | verdict |\n|---|---|\n| one | holds |\n| one more | holds |\n";
        assert_eq!(with_rows(old, new).ok().as_deref(), Some(merged));
        assert!(with_rows(&old.replace("here", "elsewhere"), new).is_err());
    }
}
