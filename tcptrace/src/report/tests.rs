//! Tests of the report: sums are compared with counts kept while the records were made.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

pub(crate) mod bounds;
pub(crate) mod made;
pub(crate) mod page;
pub(crate) mod several;
pub(crate) mod shared;
pub(crate) mod sums;
pub(crate) mod text;

pub(crate) use self::made::*;
