//! A scene's line of the scoreboard: printed, and handed to `cargo xtask scenes`, which shows all of them at the end.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;

use serde_json::json;

/// Names the file that `cargo xtask scenes` reads: an object a line.
const BOARD: &str = "TCPTRACE_SCENES_BOARD";

pub(crate) struct Row {
    scene: &'static str,
    cells: Vec<(&'static str, Result<(), String>)>,
}

impl Row {
    pub(crate) fn of(scene: &'static str) -> Self {
        Self { scene, cells: Vec::new() }
    }

    pub(crate) fn cell(&mut self, column: &'static str, judged: Result<(), String>) {
        self.cells.push((column, judged));
    }

    /// Shows the row.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn finish(self) -> Result<(), String> {
        let (mut line, mut wrong) = (format!("{:<48}", self.scene), String::new());
        let mut cells = serde_json::Map::new();
        for (column, judged) in &self.cells {
            let word = if judged.is_ok() { "right" } else { "WRONG" };
            write!(line, "{column} {word}  ").unwrap();
            cells.insert((*column).to_owned(), word.into());
            if let Err(why) = judged {
                writeln!(wrong, "  {column}: {why}").unwrap();
            }
        }
        println!("{line}");
        if let Some(board) = std::env::var_os(BOARD) {
            let mut board = File::options().append(true).create(true).open(board).expect("the board");
            writeln!(board, "{}", json!({ "scene": self.scene, "cells": cells })).expect("the board");
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("{}:\n{wrong}", self.scene)) }
    }
}
