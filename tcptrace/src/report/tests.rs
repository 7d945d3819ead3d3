//! What the tests of the report share, and the tests of its sums: each is compared with a truth that was counted
//! while the records were made.

mod made;
mod sums;

pub use made::*;
