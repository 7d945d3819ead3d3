//! The options of `tcptrace now`, and what they mean.

use std::{path::Path, time::Duration};

use clap::Args;

use super::{grouping::GroupBy, run::NowOptions};
use crate::{
    commands::shared::{
        filters::{Filters, OwnerFilters},
        outputs::OutputArguments,
        values,
    },
    kernel::HolderSource,
    model::{criteria::Criteria, state::State},
};

#[derive(Debug, Args)]
pub(crate) struct NowArguments {
    /// Only sockets that have been in CLOSE_WAIT for this long for certain
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0s")]
    older_than: Duration,
    /// Sockets in this state; repeatable. A verdict is given on those in CLOSE_WAIT only
    #[arg(long, value_name = "STATE", default_value = "CLOSE_WAIT")]
    state: Vec<State>,
    /// Put sockets together in the text form; lines of code are seen by `leaks` alone
    #[arg(long, value_enum)]
    by: Option<GroupBy>,
    /// Sockets (and groups of them) listed in the text form; 0 = all
    #[arg(long, value_name = "N", value_parser = values::rows, default_value_t = 40)]
    rows: usize,
    /// Exit with 1 when a leak was found
    #[arg(long)]
    exit_code: bool,
    /// How descriptor tables are read [default: iterator where the host has it]
    #[arg(long, value_enum)]
    holders: Option<HolderSource>,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    owners: OwnerFilters,
}

impl NowArguments {
    /// What the options mean. Namespaces are kept by name in `run_netns`.
    pub(crate) fn resolve(&self, run_netns: &Path) -> Result<NowOptions, String> {
        let Self { older_than, state, by, rows, exit_code, holders, output, filters, owners } = self;
        let outputs = output.resolve()?;
        let states = state.iter().copied().collect();
        Ok(NowOptions {
            criteria: Criteria {
                owners: owners.resolve(),
                older_than: *older_than,
                ..filters.resolve(states, run_netns)?
            },
            holders: *holders,
            by: *by,
            exit_code: *exit_code,
            rows: if *rows == 0 { usize::MAX } else { *rows },
            outputs,
        })
    }
}
