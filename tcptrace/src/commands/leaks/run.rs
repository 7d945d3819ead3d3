//! `tcptrace leaks`: the live session that reports stuck sockets and how they end.

use crate::{
    commands::shared::{
        error::{CommandError, Conclusion},
        known_names,
        live::{self, LiveOptions},
        rights::Sandbox,
    },
    host::world::World,
};

/// Watches until it is stopped.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub(crate) async fn run(
    options: &LiveOptions,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    known_names::warn_of_missing(&options.tracer.criteria.owners, world);
    live::run(options, sandbox, world).await
}
