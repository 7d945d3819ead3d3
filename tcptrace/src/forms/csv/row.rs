//! A row of the table: takes cells one after the other and escapes text. Decides nothing about which cells a
//! record has.

use std::fmt::{self, Display, Write as _};

use crate::model::escape::Escaped;

/// The cells of a record; those that are not put are empty.
#[derive(Default)]
pub(crate) struct Row {
    text: String,
    /// Where each cell ends in the text.
    ends: Vec<usize>,
}

impl Row {
    /// Puts a number, a time, an address, or a word of this program's own.
    pub(crate) fn put(&mut self, value: impl Display) {
        // Writing into memory does not fail.
        let _ = write!(self.text, "{value}");
        self.ends.push(self.text.len());
    }

    /// Puts a value; an empty cell if it is not known.
    pub(crate) fn put_known(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.put(value),
            None => self.ends.push(self.text.len()),
        }
    }

    /// Puts a value into the cell with this number; those before it are empty.
    pub(crate) fn put_at(&mut self, number: usize, value: impl Display) {
        self.ends.resize(number, self.text.len());
        self.put(value);
    }

    /// Puts text that a stranger chose.
    pub(crate) fn put_text(&mut self, text: &str) {
        self.put(NoFormula(text));
    }

    /// Writes the cells as a line of so many columns, and empties the row.
    pub(crate) fn write(&mut self, table: &mut csv::Writer<Vec<u8>>, columns: usize) {
        let Self { text, ends } = self;
        let mut begin = 0;
        let put = ends.iter().map(|end| {
            let cell = text.get(begin..*end).unwrap_or_default();
            begin = *end;
            cell
        });
        // Writing into memory does not fail, and all rows have the same number of cells.
        let _ = table.write_record(put.chain(std::iter::repeat("")).take(columns));
        text.clear();
        ends.clear();
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
            for text in &texts {
                row.put_text(text);
            }
            let mut table = csv::Writer::from_writer(Vec::new());
            row.write(&mut table, texts.len());
            let bytes = table.into_inner().unwrap_or_default();
            prop_assert_eq!(String::from_utf8_lossy(&bytes).matches('\n').count(), 1);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let read: Vec<_> = reader.records().collect::<Result<_, _>>().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(read.len(), 1);
            for cell in &read[0] {
                prop_assert!(!cell.trim_start().starts_with(begins_formula), "{:?}", cell);
            }
        }
    }
}
