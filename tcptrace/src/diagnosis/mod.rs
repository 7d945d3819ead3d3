//! Pure rules: facts in, verdicts and advice out. No I/O, no clock.

pub(crate) mod advice;
pub(crate) mod last_words;
pub(crate) mod reasons;
pub(crate) mod time_wait;
pub(crate) mod trend;
pub(crate) mod verdict;
