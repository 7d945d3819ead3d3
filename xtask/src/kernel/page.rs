//! The page that shows what the tool does on each kernel, written from what guests printed.

use super::package::Kernel;
use super::variant::Variant;
use crate::cargo::workspace;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;

/// The page, and what stands around the part that is written.
const PAGE: &str = "tcptrace/docs/kernels.md";
const BEGIN: &str = "<!-- written by `cargo xtask test --kernel VERSION --variants --write` -->\n";
const END: &str = "<!-- end of what is written -->";

/// What begins the section of a kernel.
const HEADING: &str = "### Linux ";

/// Columns: a member of what a guest printed, and its title.
const COLUMNS: [(&str, &str); 8] = [
    ("transitions", "transitions"),
    ("tables", "descriptor tables"),
    ("connect", "who connected"),
    ("accept", "who accepted"),
    ("frameless", "callers without frame pointers"),
    ("python", "lines of Python"),
    ("deep", "`--deep`"),
    ("destroy", "`clear` by destroy"),
];

/// Writes the section of a kernel, in the place of an earlier one of the same version.
pub(crate) fn write(kernel: &Kernel, found: &[(Variant, Value)]) -> Result<()> {
    let path = workspace().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let page =
        with_section(&page, &section(kernel, found)).with_context(|| format!("{PAGE} has lost its marks"))?;
    fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))
}

/// What was found on a kernel: a table, and what the tool said there.
pub(crate) fn section(kernel: &Kernel, found: &[(Variant, Value)]) -> String {
    // Writing into memory does not fail.
    let mut text = format!("{HEADING}{}\n\n|", kernel.release);
    for title in ["kernel"].into_iter().chain(COLUMNS.map(|(_, title)| title)) {
        let _ = write!(text, " {title} |");
    }
    let _ = write!(text, "\n|{}\n", "---|".repeat(COLUMNS.len() + 1));
    for (variant, found) in found {
        let _ = write!(text, "| {} |", variant.title());
        for (member, _) in COLUMNS {
            let _ = write!(text, " {} |", found[member].as_str().unwrap_or("–"));
        }
        text.push('\n');
    }
    for (variant, found) in found {
        let words: Vec<&str> =
            found["words"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !words.is_empty() {
            let _ = write!(
                text,
                "\nWhat it says there, {}:\n\n```\n{}\n```\n",
                variant.title(),
                words.join("\n")
            );
        }
    }
    text
}

/// The page with this section among those between its marks, which are in the order of versions.
fn with_section(page: &str, section: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (written, tail) = rest.split_once(END)?;
    let mut sections: Vec<String> = written
        .split(HEADING)
        .skip(1)
        .map(|rest| format!("{HEADING}{}\n", rest.trim_end()))
        .filter(|other| version(other) != version(section))
        .collect();
    sections.push(format!("{}\n", section.trim_end()));
    sections.sort_by(|one, other| version(one).cmp(&version(other)));
    Some(format!("{head}{BEGIN}\n{}\n{END}{tail}", sections.join("\n")))
}

/// The first two numbers of the release in a section's heading, and its last word, the processor.
fn version(section: &str) -> Option<(u32, u32, &str)> {
    let release = section.strip_prefix(HEADING)?.lines().next()?;
    let mut numbers = release.split(['.', '-', '+']);
    let (_, processor) = release.rsplit_once('-')?;
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?, processor))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_section_takes_the_place_of_its_last_and_versions_are_in_order() {
        let page = format!("head\n{BEGIN}{END}\ntail\n");
        let page = with_section(&page, "### Linux 6.12.1-amd64\nb\n").unwrap();
        let page = with_section(&page, "### Linux 6.1.0-57-arm64\nd\n").unwrap();
        let page = with_section(&page, "### Linux 6.1.0-57-amd64\na\n").unwrap();
        let page = with_section(&page, "### Linux 6.12.9+deb13-amd64\nc\n").unwrap();
        let written =
            "### Linux 6.1.0-57-amd64\na\n\n### Linux 6.1.0-57-arm64\nd\n\n### Linux 6.12.9+deb13-amd64\nc\n";
        assert_eq!(page, format!("head\n{BEGIN}\n{written}\n{END}\ntail\n"));
        assert_eq!(with_section("no marks", "### Linux 6.1\n"), None);
    }
}
