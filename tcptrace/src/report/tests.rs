//! The tests of the report: sums are compared with a truth that was counted while the records were made.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod bounds;
mod made;
mod page;
mod several;
mod sums;
mod text;

pub use made::*;
