//! The records as a table for spreadsheets and databases.

pub(crate) mod columns;
pub(crate) mod form;
pub(crate) mod row;
pub(crate) mod table;
