//! The records as a table: RFC 4180, one row a record, the same columns for all of them. Header and
//! summary are no rows; they are left out here.
//!
//! The table is safe to open in a spreadsheet: no text begins a formula, and no name can begin a new
//! cell or line. Numbers are left as they are.

use csv::WriterBuilder;

use super::{columns, row::Row};
use crate::{forms::time_text::TimeText, model::record::Record};

/// What every table begins with.
pub(crate) const BEGINNING: &str = "type,time,ktime_ns,cookie,";

/// Room for a row on its way into the table, in bytes.
const ROW_BYTES: usize = 4096;

/// Writes rows into memory.
pub(crate) struct Table {
    writer: csv::Writer<Vec<u8>>,
    row: Row,
    times: TimeText,
}

impl Table {
    /// An empty table, without the names of its columns.
    pub(crate) fn new() -> Self {
        Self { writer: writer(Vec::new()), row: Row::default(), times: TimeText::default() }
    }

    /// The line with the names of the columns.
    pub(crate) fn heading() -> Vec<u8> {
        let mut line = columns::names().into_bytes();
        line.push(b'\n');
        line
    }

    /// Bytes so far, but for the last few rows.
    pub(crate) fn len(&self) -> usize {
        self.writer.get_ref().len()
    }

    /// Takes out what was written, and begins again with room for as much.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let next = writer(Vec::with_capacity(self.len() + ROW_BYTES));
        // Writing into memory does not fail.
        std::mem::replace(&mut self.writer, next).into_inner().unwrap_or_default()
    }

    /// Adds a record; returns whether it is one that has a row.
    pub(crate) fn push(&mut self, record: &Record) -> bool {
        match record {
            Record::Header(_) | Record::Summary(_) | Record::Other(_) => return false,
            // Of sessions that write no tables.
            Record::TimeWait(_) | Record::TimeWaitSummary(_) | Record::Cleared(_) | Record::ClearEnd(_) => {
                return false;
            }
            Record::Transition(transition) => {
                columns::put_transition(&mut self.row, &mut self.times, transition);
            }
            Record::Leak(_) | Record::LeakEnd(_) => columns::put_record(&mut self.row, record),
        }
        self.row.write(&mut self.writer, columns::COLUMNS.len());
        true
    }
}

fn writer(into: Vec<u8>) -> csv::Writer<Vec<u8>> {
    WriterBuilder::new().has_headers(false).buffer_capacity(ROW_BYTES).from_writer(into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::record::arbitrary;

    proptest! {
        #[test]
        fn the_short_way_puts_the_cells_of_the_json_form(transition in arbitrary::transition()) {
            let mut short = Table::new();
            short.push(&Record::Transition(transition));
            let mut long = Table::new();
            columns::put_record(&mut long.row, &Record::Transition(transition));
            long.row.write(&mut long.writer, columns::COLUMNS.len());
            let text = |mut table: Table| String::from_utf8_lossy(&table.take()).into_owned();
            prop_assert_eq!(text(short), text(long));
        }
    }
}
