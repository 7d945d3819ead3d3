//! A row on its way into the table: cells are put in any order; text is made harmless here. Decides
//! nothing about what a record's cells are.

use std::{
    fmt::{self, Display, Write as _},
    ops::Range,
};

use serde::Serialize;

use super::columns::{Column, NAMES};
use crate::model::escape::Escaped;

/// The cells of a record, empty where nothing was put.
pub(crate) struct Row {
    text: String,
    cells: [Range<usize>; NAMES.len()],
}

impl Default for Row {
    fn default() -> Self {
        Self { text: String::new(), cells: std::array::from_fn(|_| 0..0) }
    }
}

impl Row {
    /// Puts a number, a time, an address, or a word of this program's own.
    pub(crate) fn put(&mut self, column: Column, value: impl Display) {
        let start = self.text.len();
        // Memory takes everything.
        let _ = write!(self.text, "{value}");
        if let Some(cell) = self.cells.get_mut(column as usize) {
            *cell = start..self.text.len();
        }
    }

    /// Puts a value if it is known.
    pub(crate) fn put_known(&mut self, column: Column, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(column, value);
        }
    }

    /// Puts text that a stranger chose.
    pub(crate) fn put_text(&mut self, column: Column, text: &str) {
        self.put(column, NoFormula(text));
    }

    /// Puts text that a stranger chose, if it is known.
    pub(crate) fn put_text_known(&mut self, column: Column, text: Option<&str>) {
        self.put_known(column, text.map(NoFormula));
    }

    /// Puts numbers with spaces between them.
    pub(crate) fn put_list(&mut self, column: Column, numbers: impl Iterator<Item: Display>) {
        let start = self.text.len();
        for (index, number) in numbers.enumerate() {
            let gap = if index == 0 { "" } else { " " };
            let _ = write!(self.text, "{gap}{number}");
        }
        if let Some(cell) = self.cells.get_mut(column as usize) {
            *cell = start..self.text.len();
        }
    }

    /// Writes all cells as a line, and empties the row.
    pub(crate) fn write(&mut self, table: &mut csv::Writer<Vec<u8>>) {
        let Self { text, cells } = self;
        let shown = cells.iter().map(|cell| text.get(cell.clone()).unwrap_or_default());
        // Memory takes everything, and all rows have the same number of cells.
        let _ = table.write_record(shown);
        text.clear();
        cells.fill(0..0);
    }
}

/// A value of a record as the JSON form spells it.
pub(crate) struct Spelled<T>(pub T);

impl<T: Serialize> Display for Spelled<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(formatter)
    }
}

/// Text in which a spreadsheet sees no formula: an apostrophe stands where one would begin, at the start
/// and, because a spreadsheet may be told to separate cells by other characters, after each such character.
struct NoFormula<'a>(&'a str);

/// What begins a formula: ASCII, and the full-width forms that some spreadsheets take for it.
fn begins_formula(character: char) -> bool {
    matches!(character, '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
}

/// What may separate cells or enclose their text.
fn separates(character: char) -> bool {
    matches!(character, ',' | ';' | '|' | '"' | '\'')
}

impl Display for NoFormula<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut could_begin = true;
        let mut from = 0;
        for (at, character) in self.0.char_indices() {
            if could_begin && begins_formula(character) {
                write!(formatter, "{}'", Escaped(self.0.get(from..at).unwrap_or_default()))?;
                from = at;
            }
            could_begin = separates(character) || (could_begin && character.is_whitespace());
        }
        write!(formatter, "{}", Escaped(self.0.get(from..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_text_begins_a_formula_wherever_cells_are_divided() {
        for (text, shown) in [
            ("nginx: worker", "nginx: worker"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("-x", "'-x"),
            ("nginx -g daemon", "nginx -g daemon"),
            ("  @SUM(1)", "  '@SUM(1)"),
            ("a;=b,+c", "a;'=b,'+c"),
            ("\t=1", "\\t'=1"),
            ("\r\n=1", "\\r\\n'=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("x\u{1b}[2J", "x\\u{1b}[2J"),
        ] {
            assert_eq!(NoFormula(text).to_string(), shown, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_spreadsheet_reads_back_is_one_line_of_harmless_cells(texts in proptest::collection::vec(any::<String>(), 3)) {
            let mut row = Row::default();
            let columns = [Column::OncpuComm, Column::OwnerCmdline, Column::ClosedByComm];
            for (column, text) in columns.into_iter().zip(&texts) {
                row.put_text(column, text);
            }
            let mut table = csv::Writer::from_writer(Vec::new());
            row.write(&mut table);
            let bytes = table.into_inner().unwrap_or_default();
            prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let read: Vec<_> = reader.records().collect::<Result<_, _>>().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(read.len(), 1);
            for cell in &read[0] {
                prop_assert!(!cell.trim_start().starts_with(begins_formula), "{:?}", cell);
            }
        }
    }
}
