//! `tcptrace trace`: every state transition as it happens, or the records of a session that was kept.

use super::replay::{self, ReplayOptions};
use crate::{
    commands::shared::{
        error::{CommandError, Conclusion},
        live::{self, LiveOptions},
        rights::{Needs, Owner, Sandbox, limit, limit_files},
    },
    host::world::World,
};

/// Where the records come from.
pub(crate) enum TraceOptions {
    /// From this host's kernel.
    Live(LiveOptions),
    /// From a recording.
    Replay(ReplayOptions),
}

/// Traces until it is stopped, or replays to the end.
///
/// # Errors
/// When the host cannot do it, the recording cannot be read, or the output could not be written.
pub(crate) async fn run(
    options: &TraceOptions,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    match options {
        TraceOptions::Live(options) => live::run(options, sandbox, world).await,
        TraceOptions::Replay(options) => {
            // Nobody vouches for a recording.
            let access = options.file_access();
            limit(sandbox, Needs { files: true, ..Needs::default() }, Owner::Other(&access))?;
            limit_files(sandbox, &access)?;
            replay::run(options).await
        }
    }
}
