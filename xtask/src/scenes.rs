//! `cargo xtask scenes`: runs real software in situations whose truth is known, and shows what the tool made of each. It
//! installs Debian's packages of that software, and starts none of their services.

use crate::cargo::{cargo, finish};
use crate::prepare::Prepare;
use crate::privilege::{has_program, is_root};
use crate::test::run_as_root;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

/// The software of the scenes.
pub(crate) const PACKAGES: [&str; 21] = [
    "apache2-bin",
    "default-jdk-headless",
    "docker.io",
    "gdb",
    "gunicorn",
    "haproxy",
    "iproute2",
    "mariadb-server",
    "nginx-light",
    "nodejs",
    "openssl",
    "php-fpm",
    "postgresql",
    "puma",
    "python3-psycopg2",
    "python3-pymysql",
    "python3-redis",
    "redis-server",
    "socat",
    "util-linux",
    "vsftpd",
];

/// Names the file to which each scene adds its line, as JSON.
const BOARD: &str = "TCPTRACE_SCENES_BOARD";

/// What is judged, in this order.
const COLUMNS: [&str; 6] = ["owners", "verdict", "reason", "text", "proc", "leaks"];

/// Arguments of `cargo xtask scenes`.
#[derive(clap::Args)]
pub(crate) struct Scenes {
    #[command(flatten)]
    prepare: Prepare,
    /// Only scenes with one of these in their names: nginx, haproxy_tcp, …
    names: Vec<OsString>,
}

impl Scenes {
    /// Builds as the user, runs as root, one scene after the other.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        if !is_root() && !has_program("sudo") {
            bail!("scenes need root, and there is no sudo here: run this as root");
        }
        self.prepare.execute_for_scenes()?;
        let board = tempfile::NamedTempFile::new().context("cannot make a file for the results")?;
        let mut test = cargo();
        test.args(["test", "--package", "tcptrace", "--test", "scenes", "--locked", "--"]);
        test.args(["--ignored", "--test-threads=1", "--skip", "lines::"]).args(&self.names);
        test.env(BOARD, board.path()).env("RUST_BACKTRACE", "0");
        if !is_root() {
            run_as_root(&mut test)?;
        }
        let code = finish(&mut test)?;
        let lines = std::fs::read_to_string(board.path()).context("cannot read the results")?;
        println!("{}", matrix(&lines)?);
        Ok(code)
    }
}

/// A line for each scene that came to be judged.
fn matrix(lines: &str) -> Result<String> {
    let mut rows = BTreeMap::new();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).context("a result is no JSON")?;
        rows.insert(row["scene"].as_str().unwrap_or_default().to_owned(), row["cells"].clone());
    }
    let line = |scene: &str, words: [&str; 6]| {
        words
            .iter()
            .fold(format!("{scene:<48}"), |line, word| format!("{line}{word:<9}"))
            .trim_end()
            .to_owned()
    };
    let mut text = line("scene", COLUMNS);
    for (scene, cells) in &rows {
        let words = COLUMNS.map(|column| cells[column].as_str().unwrap_or("-"));
        text = format!("{text}\n{}", line(scene, words));
    }
    let judged: Vec<&str> = rows.values().flat_map(cells_of).collect();
    let right = judged.iter().filter(|word| **word == "right").count();
    Ok(format!("{text}\n{right} of {} right", judged.len()))
}

fn cells_of(cells: &Value) -> Vec<&str> {
    cells.as_object().into_iter().flat_map(|cells| cells.values()).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_has_a_line_a_scene_and_counts_what_was_judged() -> Result<()> {
        let row = r#"{"scene":"nginx","cells":{"owners":"right","verdict":"WRONG"}}"#;
        let text = matrix(row)?;
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["nginx", "right", "WRONG", "-", "-", "-", "-"]);
        assert_eq!(lines[2], ["1", "of", "2", "right"]);
        Ok(())
    }
}
