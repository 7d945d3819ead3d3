//! The page with the table, as the last complete run left it.

use super::row::Done;
use crate::cargo::workspace;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// The page, and what stands around the part that is written.
const PAGE: &str = "tcptrace/docs/faults.md";
const BEGIN: &str = "<!-- written by `cargo xtask faults --write` -->\n";
const END: &str = "<!-- end of what is written -->";

/// The rows that were run, and where.
pub(crate) fn table(done: &[Done], took: Duration, is_long: bool) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let length = if is_long { "with `--long`" } else { "without `--long`" };
    let minutes = took.as_secs().div_ceil(60);
    let mut text = format!(
        "Linux {}, {cpus} CPUs, {} rows {length} in {minutes} min.\n\n| fault | promise | figure | verdict |\n\
         |---|---|---|---|\n",
        kernel.trim(),
        done.len()
    );
    for done in done {
        let Done { row, verdict, figure: _, took } = done;
        let (seconds, figure) = (took.as_secs().max(1), done.cell());
        // Writing into memory does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {figure} ({seconds} s) | {} |",
            row.name,
            row.promise,
            verdict.word()
        );
    }
    text
}

/// Writes the table into the page.
pub(crate) fn write(table: &str) -> Result<()> {
    let path = workspace().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let page = with_table(&page, table).with_context(|| format!("{PAGE} has lost its marks"))?;
    fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))
}

/// The page with this between its marks.
fn with_table(page: &str, table: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{table}\n{END}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_takes_the_place_of_the_last() {
        let page = format!("head\n{BEGIN}\nold\n{END}\ntail\n");
        assert_eq!(with_table(&page, "new\n"), Some(format!("head\n{BEGIN}\nnew\n\n{END}\ntail\n")));
        assert_eq!(with_table("no marks", "new\n"), None);
    }
}
