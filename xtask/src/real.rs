//! `cargo xtask test --real`: leaks in the ways of real software, a dozen languages of Debian's, and counts for how many
//! the tool names the application's own line. It installs Debian's packages, and starts none of their services.

use crate::cargo::{cargo, finish, workspace};
use crate::prepare::Prepare;
use crate::privilege::{has_program, is_root};
use crate::test::run_as_root;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The languages, the libraries, and the daemons.
pub(crate) const PACKAGES: [&str; 59] = [
    "apache2-bin",
    "binutils",
    "cython3",
    "docker.io",
    "erlang-base",
    "g++",
    "gcc",
    "gcc-multilib",
    "golang-go",
    "gunicorn",
    "haproxy",
    "iproute2",
    "libasio-dev",
    "libc6-dev",
    "libcommons-logging-java",
    "libcommons-pool2-java",
    "libcurl4-openssl-dev",
    "libevent-dev",
    "libglib2.0-dev",
    "libhiredis-dev",
    "libhttpclient-java",
    "libmono-system4.0-cil",
    "libnetty-java",
    "libokhttp-java",
    "libpostgresql-jdbc-java",
    "libpq-dev",
    "libssl-dev",
    "libuv1-dev",
    "lua-socket",
    "lua5.4",
    "mono-mcs",
    "mono-runtime",
    "musl-tools",
    "nginx-light",
    "nodejs",
    "openjdk-17-jdk-headless",
    "perl",
    "php-cli",
    "php-curl",
    "php-fpm",
    "pkg-config",
    "postgresql",
    "puma",
    "python3",
    "python3-aiohttp",
    "python3-dev",
    "python3-gevent",
    "python3-httpx",
    "python3-pip",
    "python3-psycopg2",
    "python3-redis",
    "python3-requests",
    "python3-tornado",
    "python3-twisted",
    "python3-uvloop",
    "redis-server",
    "ruby",
    "socat",
    "util-linux",
];

/// Names the file to which each way adds its line, as JSON, and the ways that are run.
const BOARD: &str = "TCPTRACE_LINES_BOARD";
const ONLY: &str = "TCPTRACE_LINES_ONLY";

/// The page with the table, and what stands around it.
const PAGE: &str = "tcptrace/docs/lines.md";
const BEGIN: &str = "<!-- written by `cargo xtask test --real --write` -->\n";
const END: &str = "<!-- end of what is written -->";

/// More ways without a line, of which the same is said, are counted.
const MOST_NAMED: usize = 8;

/// Of which groups so many percent should have their own line; all that have one on their stack count.
const TARGETS: [(&str, &[&str], usize); 5] = [
    ("native", &["C", "C++", "Rust", "Go"], 95),
    ("Java", &["Java"], 85),
    ("Python", &["Python"], 85),
    ("PHP", &["PHP"], 85),
    ("Ruby", &["Ruby"], 85),
];

/// Of all ways, those without any line too.
const TARGET_OF_ALL: usize = 75;

/// Builds as the user, runs as root.
pub(crate) fn execute(prepare: Prepare, ways: &str, write: bool) -> Result<ExitCode> {
    if !is_root() && !has_program("sudo") {
        bail!("real software is traced as root, and there is no sudo here: run this as root");
    }
    if !cfg!(target_arch = "x86_64") {
        bail!("the programs of 32 bits, and the runtime of .NET, are those of x86-64");
    }
    if write && !ways.is_empty() {
        bail!("{PAGE} shows all ways: use --write without naming some");
    }
    prepare.execute_for_real_software()?;
    let file = tempfile::NamedTempFile::new().context("cannot make a file for the results")?;
    let mut test = cargo();
    test.args(["test", "--package", "tcptrace", "--test", "scenes", "--locked", "--"]);
    test.args(["--ignored", "--nocapture", "lines::"]);
    test.env(BOARD, file.path()).env(ONLY, ways).env("RUST_BACKTRACE", "0");
    if !is_root() {
        run_as_root(&mut test)?;
    }
    let code = finish(&mut test)?;
    let board = Board::read(&std::fs::read_to_string(file.path()).context("cannot read the results")?)?;
    println!("\n{}\n{}", board.table(), board.totals());
    if write {
        let page = workspace().join(PAGE);
        let text = std::fs::read_to_string(&page).with_context(|| format!("cannot read {PAGE}"))?;
        std::fs::write(&page, written(&text, &board)?).with_context(|| format!("cannot write {PAGE}"))?;
    }
    let is_false = board.ways.is_empty() || board.ways.iter().any(Way::is_false);
    Ok(if is_false { ExitCode::FAILURE } else { code })
}

/// The page, with what was found between its marks.
fn written(page: &str, board: &Board) -> Result<String> {
    let marks = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = marks.with_context(|| format!("{PAGE} has lost its marks"))?;
    let text = [board.table(), board.totals(), board.versions(), board.others()].join("\n");
    Ok(format!("{head}{BEGIN}\n{text}\n{END}{tail}"))
}

/// What became of a way.
#[derive(Default)]
struct Way {
    group: String,
    name: String,
    has_line: bool,
    process: bool,
    verdict: bool,
    /// `own`, `honest` or `misleading`.
    line: String,
    said: String,
}

impl Way {
    fn is_false(&self) -> bool {
        !self.process || self.line == "misleading"
    }
}

#[derive(Default)]
struct Board {
    /// The groups in their order, each with its versions.
    groups: Vec<(String, Vec<String>)>,
    ways: Vec<Way>,
}

impl Board {
    fn read(lines: &str) -> Result<Self> {
        let mut board = Self::default();
        for line in lines.lines() {
            let row: Value = serde_json::from_str(line).context("a result is no JSON")?;
            let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            let is = |field: &str| row[field].as_bool().unwrap_or_default();
            if let Some(versions) = row["versions"].as_array() {
                let versions = versions.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                board.groups.push((text("group"), versions));
            } else {
                board.ways.push(Way {
                    group: text("group"),
                    name: text("way"),
                    has_line: is("has_line"),
                    process: is("process"),
                    verdict: is("verdict"),
                    line: text("line"),
                    said: text("said"),
                });
            }
        }
        Ok(board)
    }

    fn of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Way> {
        self.ways.iter().filter(move |way| way.group == group)
    }

    /// A line a group.
    fn table(&self) -> String {
        let mut text = "| | ways | own | honest | misleading | process | verdict |\n".to_owned();
        text.push_str("|---|---|---|---|---|---|---|\n");
        let groups = self.groups.iter().map(|(name, _)| (name.as_str(), self.of(name).collect::<Vec<_>>()));
        let all = ("all", self.ways.iter().collect());
        for (name, ways) in groups.chain([all]).filter(|(_, ways)| !ways.is_empty()) {
            let count = |is: fn(&Way) -> bool| ways.iter().filter(|way| is(way)).count();
            let cells = [
                ways.len(),
                count(|way| way.line == "own"),
                count(|way| way.line == "honest"),
                count(|way| way.line == "misleading"),
                count(|way| way.process),
                count(|way| way.verdict),
            ];
            let cells = cells.map(|cell| cell.to_string()).join(" | ");
            writeln!(text, "| {name} | {cells} |").ok();
        }
        text
    }

    /// The shares with a line of their own, beside their targets.
    fn totals(&self) -> String {
        let mut text = String::new();
        let mut share = |name: &str, own: usize, of: usize, target: usize| {
            if of > 0 {
                let word = if own * 100 >= of * target { "reached" } else { "missed" };
                let percent = own * 100 / of;
                writeln!(text, "- {name}: {own} of {of}, {percent} %; the target of {target} % is {word}")
                    .ok();
            }
        };
        for (name, groups, target) in TARGETS {
            let ways = || self.ways.iter().filter(|way| groups.contains(&&*way.group) && way.has_line);
            let own = ways().filter(|way| way.line == "own").count();
            share(&format!("{name}, of those with a line"), own, ways().count(), target);
        }
        let own = self.ways.iter().filter(|way| way.line == "own").count();
        share("all", own, self.ways.len(), TARGET_OF_ALL);
        text
    }

    fn versions(&self) -> String {
        let mut text = "| | ran on |\n|---|---|\n".to_owned();
        for (group, versions) in &self.groups {
            writeln!(text, "| {group} | {} |", versions.join("; ")).ok();
        }
        text
    }

    /// The ways without a line of their own, alike ones together.
    fn others(&self) -> String {
        let mut text = "| | without a line of their own | what is said instead |\n|---|---|---|\n".to_owned();
        for (group, _) in &self.groups {
            let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
            for way in self.of(group).filter(|way| way.line != "own") {
                let what = way.said.split(" (build id").next().unwrap_or_default();
                match said.iter_mut().find(|(other, _)| *other == what) {
                    Some((_, names)) => names.push(&way.name),
                    None => said.push((what, vec![&way.name])),
                }
            }
            for (what, mut names) in said {
                names.sort_unstable();
                let ways =
                    if names.len() > MOST_NAMED { format!("{} ways", names.len()) } else { names.join("; ") };
                writeln!(text, "| {group} | {ways} | `{what}` |").ok();
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"group":"C","versions":["gcc 12"]}
{"group":"C","way":"-O2","has_line":true,"process":true,"verdict":true,"line":"own","said":"open (c)"}
{"group":"C","way":"-s","has_line":false,"process":true,"verdict":true,"line":"honest","said":"stripped: c+0x1 (build id 0a)"}"#;

    #[test]
    fn own_lines_are_counted_against_the_targets() -> Result<()> {
        let board = Board::read(LINES)?;
        assert!(board.table().contains("| C | 2 | 1 | 1 | 0 | 2 | 2 |\n| all | 2 |"), "{}", board.table());
        let totals = board.totals();
        assert!(
            totals.contains("- native, of those with a line: 1 of 1, 100 %; the target of 95 % is reached")
        );
        assert!(totals.contains("- all: 1 of 2, 50 %; the target of 75 % is missed"), "{totals}");
        assert!(!totals.contains("Java"), "{totals}");
        Ok(())
    }

    #[test]
    fn only_what_is_between_the_marks_is_written() -> Result<()> {
        let page = format!("# Lines\n\n{BEGIN}old\n{END}\n\nMore.\n");
        let page = written(&page, &Board::read(LINES)?)?;
        assert!(page.starts_with("# Lines\n") && page.ends_with("\nMore.\n"), "{page}");
        assert!(page.contains("| C | -s | `stripped: c+0x1` |") && !page.contains("old"), "{page}");
        assert!(written("# Lines", &Board::default()).is_err());
        Ok(())
    }

    #[test]
    fn a_wrong_process_or_a_misleading_line_is_false() {
        let way = |process, line: &str| Way { process, line: line.to_owned(), ..Way::default() };
        assert!(way(false, "own").is_false() && way(true, "misleading").is_false());
        assert!(!way(true, "honest").is_false());
    }
}
