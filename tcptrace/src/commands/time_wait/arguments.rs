//! The options of `tcptrace time-wait`, and what they mean.

use std::{path::Path, time::Duration};

use clap::Args;

use super::session::{LiveLooks, TimeWaitOptions};
use crate::{
    commands::shared::{
        filters::{Filters, OwnerFilters},
        live_arguments::Kernel,
        outputs::OutputArguments,
        values,
    },
    model::{criteria::Criteria, state::StateSet},
};

/// Sockets whose states the tracepoint backend keeps: those in FIN_WAIT1, which is short.
const MAX_SOCKETS: u32 = 262_144;

#[derive(Debug, Args)]
pub(crate) struct TimeWaitArguments {
    /// Watch who closes first until stopped; on a terminal the view is refreshed
    #[arg(long)]
    watch: bool,
    /// Watch for this time (30s, 5m, 1h)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,
    /// Time between two looks, with --watch or --duration [default: 2s on a terminal, else 10s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    interval: Option<Duration>,
    /// Exit with 1 when a destination reaches --ports-used
    #[arg(long)]
    exit_code: bool,
    /// Share of the local ports to one destination, with --exit-code
    #[arg(long, value_name = "PERCENT", value_parser = values::percent, default_value = "80%")]
    ports_used: u64,
    /// Destinations listed for each network namespace in the text form; 0 = all
    #[arg(long, value_name = "N", value_parser = values::rows, default_value_t = 20)]
    rows: usize,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    owners: OwnerFilters,
    #[command(flatten)]
    kernel: Kernel,
}

impl TimeWaitArguments {
    /// Whether it traces, and does not look once.
    pub(crate) fn is_live(&self) -> bool {
        self.watch || self.duration.is_some()
    }

    /// What the options mean. Namespaces are kept by name in `run_netns`.
    pub(crate) fn resolve(&self, run_netns: &Path) -> Result<TimeWaitOptions, String> {
        let Self {
            watch: _,
            duration,
            interval,
            exit_code,
            ports_used,
            rows,
            output,
            filters,
            owners,
            kernel,
        } = self;
        let is_live = self.is_live();
        if interval.is_some() && !is_live {
            return Err("--interval is the time between two looks: add --watch or --duration".to_owned());
        }
        if interval.is_some_and(|interval| interval.is_zero()) {
            return Err("--interval has to be longer than nothing, like 500ms or 10s".to_owned());
        }
        let outputs = output.resolve_lines()?;
        let criteria =
            Criteria { owners: owners.resolve(), ..filters.resolve(StateSet::FIN_WAIT1, run_netns)? };
        let live = is_live.then(|| LiveLooks {
            tracer: kernel.tracer(criteria.clone(), 4 << 20, MAX_SOCKETS),
            interval: *interval,
            duration: *duration,
        });
        Ok(TimeWaitOptions {
            live,
            criteria,
            exit_code: *exit_code,
            ports_used_percent: *ports_used,
            rows: if *rows == 0 { usize::MAX } else { *rows },
            outputs,
        })
    }
}
