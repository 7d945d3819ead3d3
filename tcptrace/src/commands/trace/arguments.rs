//! The options of `tcptrace trace`, and what they mean.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{replay::ReplayOptions, run::TraceOptions};
use crate::{
    commands::shared::{
        filters::Filters,
        live::LiveOptions,
        live_arguments::{Kernel, RARE, Running, Watching},
        values,
    },
    kernel::{TracerOptions, TrackedCalls},
    model::{
        criteria::Criteria,
        state::{State, StateSet},
    },
};

/// Options of `trace` that mean nothing where nothing is traced.
const LIVE_ONLY: [&str; 9] = [
    "owners",
    "older_than",
    "no_stacks",
    "deep",
    "max_sockets",
    "duration",
    "backend",
    "transport",
    "ring_size",
];

#[derive(Debug, Args)]
pub(crate) struct TraceArguments {
    /// Print a session that was kept (.tct or JSON Lines, compressed or not; `-` is standard input) as if it were
    /// live; needs no root
    #[arg(long, value_name = "FILE", conflicts_with_all = LIVE_ONLY)]
    replay: Option<PathBuf>,
    /// Only transitions out of or into this state; repeatable
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Follow sockets in CLOSE_WAIT too, and name who holds those that are stuck, as `leaks` does; implied by
    /// a .tct output
    #[arg(long)]
    owners: bool,
    #[command(flatten)]
    running: Running,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten, next_help_heading = "With --owners or a .tct output")]
    watching: Watching,
    #[command(flatten)]
    kernel: Kernel,
    /// Sockets whose states are timed at once; further ones are counted as evicted
    #[arg(long, help_heading = RARE, value_name = "N", value_parser = values::most_followed, default_value_t = 262_144)]
    max_sockets: u32,
}

impl TraceArguments {
    fn states(&self) -> StateSet {
        if self.state.is_empty() { StateSet::ALL } else { self.state.iter().copied().collect() }
    }

    /// Whether a kept session is printed, and nothing traced.
    pub(crate) fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// What the options of a replay mean.
    fn resolve_replay(&self, file: &Path, run_netns: &Path) -> Result<ReplayOptions, String> {
        let outputs = self.running.outputs()?;
        let criteria = self.filters.resolve(self.states(), run_netns)?;
        Ok(ReplayOptions { file: file.to_owned(), criteria, outputs })
    }

    /// What the options mean. Namespaces are kept by name in `run_netns`.
    pub(crate) fn resolve(&self, run_netns: &Path) -> Result<TraceOptions, String> {
        match &self.replay {
            Some(file) => self.resolve_replay(file, run_netns).map(TraceOptions::Replay),
            None => self.resolve_live(run_netns).map(TraceOptions::Live),
        }
    }

    fn resolve_live(&self, run_netns: &Path) -> Result<LiveOptions, String> {
        let Self { replay: _, state: _, owners, watching, max_sockets, running, filters, kernel } = self;
        let outputs = running.outputs()?;
        let states = self.states();
        if *owners && !states.contains(State::CloseWait) {
            return Err("--owners follows sockets in CLOSE_WAIT: add --state CLOSE_WAIT".to_owned());
        }
        // A report needs to know whose the sockets were.
        let owners = *owners || (outputs.have_recording() && states.contains(State::CloseWait));
        if !owners && (watching.deep || watching.no_stacks) {
            return Err("--deep and --no-stacks are about finding owners: add --owners".to_owned());
        }
        let criteria = Criteria { older_than: watching.older_than, ..filters.resolve(states, run_netns)? };
        let calls = if owners { watching.calls() } else { TrackedCalls::default() };
        Ok(LiveOptions {
            tracer: TracerOptions {
                track_all_states: true,
                calls,
                report_over: owners,
                wakes_soon: outputs.are_watched(),
                ..kernel.tracer(criteria, 16 << 20, *max_sockets)
            },
            transitions: true,
            exit_code: false,
            watch: owners.then(|| Watching::options(*max_sockets)),
            exec: None,
            duration: running.duration,
            outputs,
        })
    }
}
