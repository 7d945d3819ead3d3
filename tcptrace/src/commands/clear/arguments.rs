//! The options of `tcptrace clear`, and what they mean.

use std::{path::Path, time::Duration};

use clap::Args;

use super::run::ClearOptions;
use crate::{
    commands::{
        clear,
        shared::{
            filters::{Filters, OwnerFilters},
            outputs::OutputArguments,
            values,
        },
    },
    model::{
        clearing::Method,
        criteria::Criteria,
        record::cleared::Selection,
        state::{State, StateSet},
        verdict::Verdict,
    },
};

#[derive(Debug, Args)]
pub(crate) struct ClearArguments {
    /// Only sockets that have been in CLOSE_WAIT for this long for certain; of other states, those that have
    /// heard nothing from their peer for this long. Required for CLOSE_WAIT
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    older_than: Option<Duration>,
    /// Sockets in this state: CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2, CLOSING, LAST_ACK, TIME_WAIT; repeatable
    #[arg(long, value_name = "STATE", default_value = "CLOSE_WAIT")]
    state: Vec<State>,
    /// Only sockets with this verdict (eof_read, eof_unread, data_unread, never_accepted, no_holder);
    /// repeatable. A half-close that is still used is never ended without `--verdict half_open`
    #[arg(long, value_enum, hide_possible_values = true)]
    verdict: Vec<Verdict>,
    /// End at most N sockets, the oldest first
    #[arg(long, value_name = "N", value_parser = values::most_ended)]
    limit: Option<u32>,
    /// End them; without it they are only listed (or, on a terminal, asked about)
    #[arg(short, long)]
    yes: bool,
    /// The way to end them [default: destroy where the host can, shutdown for what it does not fit]
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// Sockets listed in the text form before anything is ended; 0 = all
    #[arg(long, value_name = "N", value_parser = values::rows, default_value_t = 40)]
    rows: usize,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    owners: OwnerFilters,
}

impl ClearArguments {
    /// What the options mean. Namespaces are kept by name in `run_netns`.
    pub(crate) fn resolve(&self, run_netns: &Path) -> Result<ClearOptions, String> {
        let Self { older_than, state, verdict, limit, yes, method, rows, output, filters, owners } = self;
        if let Some(state) = state.iter().find(|state| !clear::STATES.contains(state)) {
            return Err(format!(
                "clear ends sockets that have begun to end ({}), and {state} has not: look at \
                 `ss --kill` for what it would take",
                clear::STATES.map(State::name).join(", "),
            ));
        }
        let states: StateSet = state.iter().copied().collect();
        if older_than.is_none() && states.contains(State::CloseWait) {
            return Err("ending sockets in CLOSE_WAIT takes --older-than, because every connection that its peer closes \
                        first is in it for a moment: for example --older-than 5m"
                .to_owned());
        }
        // A half-close that is still used is asked for by that name in other states, too.
        if let Some(verdict) = verdict.first()
            && !states.contains(State::CloseWait)
            && !self.verdict.contains(&Verdict::HalfOpen)
        {
            return Err(format!(
                "sockets have the verdict {verdict} in CLOSE_WAIT alone: leave --verdict out, or add --state CLOSE_WAIT"
            ));
        }
        let outputs = output.resolve_lines()?;
        let criteria = Criteria {
            owners: owners.resolve(),
            older_than: older_than.unwrap_or_default(),
            verdicts: verdict.clone(),
            ..filters.resolve(states, run_netns)?
        };
        Ok(ClearOptions {
            selection: Selection { criteria, limit: limit.map(|limit| limit as usize) },
            method: *method,
            yes: *yes,
            rows: if *rows == 0 { usize::MAX } else { *rows },
            outputs,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        clear: ClearArguments,
    }

    #[test]
    fn a_verdict_that_no_socket_in_these_states_can_have_is_refused() {
        let refused = |typed: &[&str]| {
            let typed = Typed::try_parse_from(["clear"].iter().chain(typed)).unwrap();
            typed.clear.resolve(Path::new("/run/netns")).err()
        };
        let error = refused(&["--state", "FIN_WAIT2", "--verdict", "eof_read"]).unwrap();
        assert!(error.contains("eof_read in CLOSE_WAIT alone"), "{error}");
        assert_eq!(refused(&["--state", "FIN_WAIT2", "--verdict", "half_open"]), None);
        let both =
            ["--state", "FIN_WAIT2", "--state", "CLOSE_WAIT", "--older-than", "1s", "--verdict", "eof_read"];
        assert_eq!(refused(&both), None);
    }
}
