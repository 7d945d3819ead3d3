//! Hands the scoreboard to `cargo xtask test --real`, an object a line, and prints it. It judges nothing.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use super::judge::Judged;
use super::way::{Group, Way};

/// Names the file that `cargo xtask test --real` reads.
const BOARD: &str = "TCPTRACE_LINES_BOARD";

/// Only ways that have this in `group: way` are run.
pub(crate) const ONLY: &str = "TCPTRACE_LINES_ONLY";

/// Writes down on which versions a group runs.
pub(crate) fn group(group: &Group) {
    let ask = |(what, command): &(&str, Vec<String>)| {
        let output = Command::new(&command[0]).args(&command[1..]).output().ok()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Some(format!("{what} {}", version(&text)?))
    };
    let versions: Vec<String> = group.versions.iter().filter_map(ask).collect();
    write(&json!({ "group": group.name, "versions": versions }));
}

/// The first number with a dot, or else the first number: programs say much else.
fn version(text: &str) -> Option<&str> {
    let numbers = || {
        let words = text.split(|character: char| !(character.is_ascii_digit() || character == '.'));
        words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty())
    };
    numbers().find(|word| word.contains('.')).or_else(|| numbers().next())
}

/// Writes down what became of a way.
pub(crate) fn row(group: &str, way: &Way, judged: &Judged) {
    let Judged { process, verdict, line, said, remark } = judged;
    let right = |is_right: bool| if is_right { "right" } else { "WRONG" };
    println!(
        "{:<44} {:<10} process {} verdict {}  {said}",
        format!("{group}: {}", way.name),
        line.word(),
        right(*process),
        right(*verdict)
    );
    if !remark.is_empty() {
        println!("    {remark}");
    }
    write(&json!({
        "group": group, "way": way.name, "has_line": way.own.is_some(),
        "process": process, "verdict": verdict, "line": line.word(), "said": said,
    }));
}

fn write(object: &Value) {
    let Some(path) = std::env::var_os(BOARD) else { return };
    let mut board = File::options().append(true).create(true).open(path).expect("the board");
    // One write, so that the lines of several threads do not mix.
    board.write_all(format!("{object}\n").as_bytes()).expect("the board");
}
