//! CSV as a form. [`Table`] makes the rows.

use super::table::{BEGINNING, Table};
use crate::{
    forms::form::{Ability, Form, Format},
    model::record::{Header, Record, Totals},
};

/// The description of the form. A table has one heading, whoever adds to it.
pub(crate) static FORMAT: Format = Format {
    name: "csv",
    help: "A table for spreadsheets and databases",
    endings: &["csv"],
    beginning: BEGINNING.as_bytes(),
    abilities: &[Ability::Lines, Ability::Append],
    encoder: |_setting| Box::new(Table::new()),
    trailer: None,
};

impl Form for Table {
    fn preamble(&mut self, _header: &Header) -> Vec<u8> {
        Self::heading()
    }

    fn push(&mut self, record: &Record, _totals: &Totals) -> bool {
        Self::push(self, record)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn take(&mut self, _totals: &Totals) -> Vec<u8> {
        Self::take(self)
    }
}
