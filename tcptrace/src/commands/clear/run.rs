//! `tcptrace clear`: lists the stuck sockets that were asked for, and ends them when told to.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::{
    account::Account,
    act::{self, ClearTarget},
    methods::Methods,
    watched::Watched,
};
use crate::{
    commands::shared::{
        coverage,
        error::{CommandError, Conclusion},
        known_names,
        records::session_header,
        rights::{Needs, Owner, Sandbox, limit},
        signals::Signals,
        sockets::entry::GroupId,
    },
    forms::{text::view::to_plain_text, view::View},
    host::world::World,
    inspect::{inspector::Inspector, tables::Tables},
    kernel::Support,
    model::{
        clearing::Method,
        criteria::Criteria,
        record::{
            Record, Totals,
            cleared::{ClearPlan, Selection},
        },
        units::plural,
        verdict::ACTIVE_WINDOW_MS,
    },
    output::{
        options::{OutputOptions, Policy},
        outputs::{OpenedOutputs, Output},
        standard_error::STANDARD_ERROR,
        terminal::{self, displayable},
    },
};

/// Sockets ended before what became of them is written: what cannot be recorded is not gone on with.
const BATCH: usize = 1_000;

/// What to end and how.
#[derive(Clone, Debug)]
pub(crate) struct ClearOptions {
    /// Which sockets.
    pub selection: Selection,
    /// By which way, when one was asked for.
    pub method: Option<Method>,
    /// Whether to end them without asking.
    pub yes: bool,
    /// Rows of the list in the text form.
    pub rows: usize,
    /// Where the records go, and in which form.
    pub outputs: OutputOptions,
}

/// Lists, asks, ends.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub(crate) async fn run(
    options: &ClearOptions,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    let support = Support::read(world);
    support.require()?;
    known_names::check(&options.selection.criteria.owners, world).map_err(CommandError::InvalidRequest)?;
    let methods = Methods::of_this_host(options.method, world)?;
    let outputs = OpenedOutputs::open(&options.outputs)?;
    limit(
        sandbox,
        Needs {
            programs: true,
            looks: true,
            loads: true,
            ends_sockets: true,
            files: outputs.has_files(),
            ..Needs::default()
        },
        Owner::Same,
    )?;
    let started_ns = world.clocks.monotonic_ns();
    let mut inspector =
        Inspector::new(world.clone(), Tables::new(support, None, world)?, ACTIVE_WINDOW_MS, None);
    let look = inspector.snapshot(&options.selection.criteria);
    let extent = coverage::report(&look.coverage, &options.outputs);
    let backend = look.source.name();
    let watched = Watched::of(&look.findings);
    let mut account = Account::choose(&options.selection, look, methods, world, started_ns);
    // Before anything is ended it is known that it can be recorded.
    let header = session_header(world, backend, world.clocks.wall().at(started_ns));
    let mut output = outputs.start(&header, Policy::Sync)?;

    let hidden = account.hidden_ages();
    let is_nothing_to_do = account.is_empty() && hidden == 0;
    if is_nothing_to_do || !(options.yes || is_on_terminal()) {
        let (plan, end) = (account.plan(&mut inspector), account.end(&mut inspector));
        output.show(View::ClearPlan { plan, end: Some(end) }, options.rows);
        output.finish(None)?;
        return Ok(Conclusion::of_search(false, false, extent));
    }
    let mut untouched = 0;
    if options.yes || ask(account.plan(&mut inspector), options.rows) {
        if hidden > 0 {
            let look = watched.again(&mut inspector, &options.selection.criteria, hidden).await;
            account = Account::choose(&options.selection, look, methods, world, started_ns);
        }
        untouched =
            act(&mut account, &mut inspector, &options.selection.criteria, &mut output, world).await?;
    }
    output.write(&Record::ClearEnd(Box::new(account.end(&mut inspector))));
    output.finish(None)?;
    for (refusal, count) in account.refusals() {
        log::error!("{} could not be ended: {refusal}", plural(*count, "socket"));
    }
    if untouched > 0 {
        return Err(CommandError::Interrupted(untouched));
    }
    Ok(if account.refusals().is_empty() {
        Conclusion::of_search(false, false, extent)
    } else {
        Conclusion::Refused
    })
}

fn is_on_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows what would happen and asks whether it is to. What cannot be asked is not answered with yes.
fn ask(plan: ClearPlan, rows: usize) -> bool {
    let count = plural(plan.planned.len() as u64, "socket");
    let extent = terminal::extent(io::stderr(), rows);
    let list = to_plain_text(&View::ClearPlan { plan, end: None }, extent);
    // The messages stand above the question.
    STANDARD_ERROR.catch_up();
    let mut answer = String::new();
    let mut terminal = io::stderr().lock();
    let question = format!("{list}\nEnd {count}? [y/N] ");
    let asked = terminal.write_all(&displayable(question.as_bytes())).and_then(|()| terminal.flush());
    asked.and_then(|()| io::stdin().lock().read_line(&mut answer)).is_ok()
        && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Ends the targets, namespace by namespace, and writes what became of each. A signal ends it when what has
/// been done is written; returns how many targets have not been touched then.
async fn act(
    account: &mut Account,
    inspector: &mut Inspector,
    criteria: &Criteria,
    output: &mut Output,
    world: &World,
) -> Result<u64, CommandError> {
    let system = |source| CommandError::System { what: "wait for signals", source };
    // One that ends this process between the end of a socket and the record of it would come too early.
    let mut signals = Signals::listen(world, false).map_err(system)?;
    let mut untouched = 0;
    for (netns, targets) in account.take_targets() {
        let (targets, group_ids): (Vec<ClearTarget>, Vec<GroupId>) = targets.into_iter().unzip();
        for (targets, group_ids) in targets.chunks(BATCH).zip(group_ids.chunks(BATCH)) {
            if untouched > 0 || signals.have_come().await {
                untouched += targets.len() as u64;
                continue;
            }
            let talk = inspector.talk_in(netns.unwrap_or_default());
            let acted = act::end(talk, targets, criteria, world);
            for ((target, group_id), acted) in targets.iter().zip(group_ids).zip(acted) {
                output.write(&Record::Cleared(Box::new(account.settle(target, *group_id, acted))));
            }
            output.flush(Totals::default)?;
        }
    }
    Ok(untouched)
}
