//! `tcptrace time-wait`: who fills the TIME_WAIT tables, how long the ports last, and what helps. One look, or looks at
//! intervals while closings are traced.

use super::{
    assemble::Rates,
    live,
    session::{TimeWaitOptions, TimeWaitSession, summary},
};
use crate::{
    commands::shared::{
        coverage,
        error::{CommandError, Conclusion},
        known_names,
        records::session_header,
        rights::{Needs, Owner, Sandbox, limit},
    },
    forms::view::View,
    host::{pid_namespace::PidNamespaces, privilege::Privileges, world::World},
    model::record::Totals,
    output::{options::Policy, outputs::OpenedOutputs},
};

/// Looks once, or until it is stopped.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub(crate) async fn run(
    options: &TimeWaitOptions,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    if let Some(looks) = &options.live {
        known_names::warn_of_missing(&options.criteria.owners, world);
        return live::run(options, looks, sandbox, world).await;
    }
    known_names::check(&options.criteria.owners, world).map_err(CommandError::InvalidRequest)?;
    run_once(options, sandbox, world)
}

fn run_once(options: &TimeWaitOptions, sandbox: Sandbox, world: &World) -> Result<Conclusion, CommandError> {
    Privileges::read().warn_of_losses();
    PidNamespaces::read(&world.proc).warn_of_losses();
    let outputs = OpenedOutputs::open(&options.outputs)?;
    limit(sandbox, Needs { looks: true, files: outputs.has_files(), ..Needs::default() }, Owner::Same)?;
    let (started_ns, clock) = (world.clocks.monotonic_ns(), world.clocks.wall());
    let mut session = TimeWaitSession::new(options, world);
    let look = session.look(None)?;
    coverage::report(&look.coverage, &options.outputs);
    let holders = Some(session.holders(&look));
    let shown = session.report(&look, Rates::default(), holders, None, started_ns, clock);
    let minisockets: u64 =
        shown.namespaces.iter().map(|(summary, _)| summary.count + summary.fin_wait2).sum();
    let mut output =
        outputs.start(&session_header(world, "sock_diag", clock.at(started_ns)), Policy::Sync)?;
    let totals = Totals { records: minisockets, unattributed: minisockets, ..Totals::default() };
    let ended_ns = world.clocks.monotonic_ns();
    let summary =
        summary(totals, shown.not_looked_at.clone(), session.crowded_out, started_ns..ended_ns, clock);
    output.show(View::TimeWaitLook { look: shown, summary: Some(summary), page: None }, options.rows);
    output.finish(None)?;
    Ok(session.conclusion())
}
