//! `tcptrace support`, which help does not list: prints what this kernel offers, one fact a line. Tries every
//! feature; traces nothing and leaves nothing attached.

use std::io::{self, Write as _};

use super::shared::error::{CommandError, Conclusion};
use crate::{host::world::World, kernel::examine};

/// Prints the facts.
///
/// # Errors
/// When they cannot be written. A reader that has gone is none.
pub(crate) fn run(world: &World) -> Result<Conclusion, CommandError> {
    match write!(io::stdout().lock(), "{}", examine(world)) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::System { what: "write to standard output", source })
        }
        _ => Ok(Conclusion::Done),
    }
}
