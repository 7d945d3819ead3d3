//! The limit of address space (`ulimit -v`): a program that runs into it ends in the middle of what it does.

use std::io;

use rustix::process::{Resource, getrlimit};

/// What every command is sure to run with, in bytes: rings, stacks of threads, the kernel's types.
const NEEDED: u64 = 256 << 20;

/// Makes sure that there is as much as every command needs.
///
/// # Errors
/// When there is not.
pub(crate) fn require() -> io::Result<()> {
    refuse_below(getrlimit(Resource::As).current)
}

fn refuse_below(limit: Option<u64>) -> io::Result<()> {
    match limit {
        Some(limit) if limit < NEEDED => Err(io::Error::other(format!(
            "the limit of address space is {} MiB, and {} MiB are needed; raise it: `ulimit -v unlimited`",
            limit >> 20,
            NEEDED >> 20
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_told_with_what_is_needed() {
        let refusal = refuse_below(Some(100 << 20)).map_err(|error| error.to_string());
        assert!(refusal.is_err_and(|text| text.contains("100 MiB") && text.contains("256 MiB")));
        assert!(refuse_below(Some(NEEDED)).is_ok() && refuse_below(None).is_ok());
    }
}
