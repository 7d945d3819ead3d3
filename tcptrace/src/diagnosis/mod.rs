//! Pure rules from facts to a verdict, a reason, an advice. No I/O, no clock.

pub(crate) mod time_wait;
pub(crate) mod verdict;
