//! The options of `tcptrace leaks`, and what they mean.

use std::{path::Path, time::Duration};

use clap::Args;

use crate::{
    commands::shared::{
        exec_arguments::ExecArguments,
        filters::{Filters, OwnerFilters},
        live::LiveOptions,
        live_arguments::{Kernel, RARE, Running, Watching},
        values,
    },
    kernel::TracerOptions,
    model::{criteria::Criteria, state::StateSet},
};

/// Of sockets that leave CLOSE_WAIT sooner nobody hears.
const SOON: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct LeaksArguments {
    #[command(flatten)]
    watching: Watching,
    /// Exit with 1 when a leak was found
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    running: Running,
    #[command(flatten)]
    exec: ExecArguments,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    owners: OwnerFilters,
    #[command(flatten)]
    kernel: Kernel,
    /// Sockets in CLOSE_WAIT that are followed at once; further ones are counted as evicted
    #[arg(long, help_heading = RARE, value_name = "N", value_parser = values::most_followed, default_value_t = 1_000_000)]
    max_sockets: u32,
}

impl LeaksArguments {
    /// What the options mean. Namespaces are kept by name in `run_netns`.
    pub(crate) fn resolve(&self, run_netns: &Path) -> Result<LiveOptions, String> {
        let Self { watching, exit_code, max_sockets, running, exec, filters, owners, kernel } = self;
        let outputs = running.outputs()?;
        let criteria = Criteria {
            owners: owners.resolve(),
            older_than: watching.older_than,
            ..filters.resolve(StateSet::CLOSE_WAIT, run_netns)?
        };
        // Nearly all leave CLOSE_WAIT at once. Who stays is known in time.
        let told_after = if watching.older_than >= 2 * SOON { SOON } else { Duration::ZERO };
        // Two transitions of a connection are asked for instead of ten.
        let ring_bytes = 4 << 20;
        Ok(LiveOptions {
            tracer: TracerOptions {
                calls: watching.calls(),
                // How a socket left is reported of sockets that were reported, and of no other.
                details_after: watching.older_than,
                told_after,
                report_over: true,
                ..kernel.tracer(criteria, ring_bytes, *max_sockets)
            },
            transitions: false,
            exit_code: *exit_code,
            watch: Some(Watching::options(*max_sockets)),
            exec: exec.resolve(),
            duration: running.duration,
            outputs,
        })
    }
}
