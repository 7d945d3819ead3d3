//! One line of the table: what is done to the tool, what it promises then, and what came of it.

use super::ground::Ground;
use std::fmt;
use std::time::{Duration, Instant};

/// Longer figures are cut: they are messages of what is broken.
const LONGEST_FIGURE: usize = 600;

/// A fault, and the promise that is held against it.
pub(crate) struct Row {
    /// What is done to the tool. `--only` looks for words in it.
    pub name: &'static str,
    /// What holds all the same.
    pub promise: &'static str,
    /// Does it, and returns what was measured. An error is a promise that does not hold, but for [`NotTried`].
    pub run: fn(&Ground) -> anyhow::Result<String>,
}

/// What a row came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The promise holds.
    Holds,
    /// It does not, or the row could not be carried out.
    Broken,
    /// This host lacks what the fault takes.
    NotTried,
}

/// A row that was run.
pub(crate) struct Done {
    pub row: &'static Row,
    pub verdict: Verdict,
    /// What was measured, or what was wrong.
    pub figure: String,
    pub took: Duration,
}

/// What this host lacks to bring a fault about.
#[derive(Debug)]
pub(crate) struct NotTried(pub String);

impl Row {
    /// Whether the name contains one of these words, or there are none.
    pub(crate) fn is_among(&self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|words| self.name.contains(words.as_str()))
    }

    /// Runs it.
    pub(crate) fn try_out(&'static self, ground: &Ground) -> Done {
        let began = Instant::now();
        let (verdict, figure) = match (self.run)(ground) {
            Ok(figure) => (Verdict::Holds, figure),
            Err(error) if error.is::<NotTried>() => (Verdict::NotTried, error.to_string()),
            Err(error) => (Verdict::Broken, format!("{error:#}")),
        };
        Done { row: self, verdict, figure, took: began.elapsed() }
    }
}

impl Done {
    /// The figure as it fits into a cell of a table.
    pub(crate) fn cell(&self) -> String {
        let line = self.figure.replace('\n', " ").replace('|', "&#124;");
        let mut cut: String = line.chars().take(LONGEST_FIGURE).collect();
        if cut.len() < line.len() {
            cut.push('…');
        }
        cut
    }
}

impl Verdict {
    /// The word for it in the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Broken => "BROKEN",
            Self::NotTried => "not tried",
        }
    }
}

impl fmt::Display for NotTried {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for NotTried {}

#[cfg(test)]
mod tests {
    use super::*;

    static ROW: Row = Row { name: "disk full", promise: "", run: |_| Ok(String::new()) };

    #[test]
    fn a_figure_stays_in_its_cell() {
        let done =
            |figure: String| Done { row: &ROW, verdict: Verdict::Holds, figure, took: Duration::ZERO }.cell();
        assert_eq!(done("a | b\nc".to_owned()), "a &#124; b c");
        assert!(done("x".repeat(1_000)).ends_with("x…"));
    }

    #[test]
    fn rows_are_chosen_by_words_in_their_names() {
        let is_among =
            |words: &[&str]| ROW.is_among(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(is_among(&[]) && is_among(&["fifo", "full"]) && !is_among(&["fifo"]));
    }
}
