//! `tcptrace now`: one look at every socket that is stuck at this moment. Traces nothing, waits for nothing.

use std::{cmp::Reverse, future::pending};

use super::grouping::GroupBy;
use crate::{
    commands::shared::{
        coverage,
        error::{CommandError, Conclusion},
        known_names,
        records::{leak_record, session_header},
        rights::{Needs, Owner, Sandbox, limit},
        tally::Tally,
    },
    forms::view::View,
    host::{pool, world::World},
    inspect::{inspector::Inspector, tables::Tables},
    kernel::{HolderSource, Support},
    model::{
        criteria::Criteria,
        finding::Finding,
        record::{Leak, Scope, Snapshot, Summary, Totals},
        state::State,
        verdict::{ACTIVE_WINDOW_MS, Verdict},
    },
    output::{
        options::{OutputOptions, Policy},
        outputs::OpenedOutputs,
    },
};

/// What to look for and where to write it.
#[derive(Clone, Debug)]
pub(crate) struct NowOptions {
    /// Which sockets are wanted.
    pub criteria: Criteria,
    /// Forces a way to the descriptor tables.
    pub holders: Option<HolderSource>,
    /// What the text form puts together.
    pub by: Option<GroupBy>,
    /// Whether a leak decides about the exit code.
    pub exit_code: bool,
    /// Rows of a table in the text form, and groups.
    pub rows: usize,
    /// Where the records go, and in which form.
    pub outputs: OutputOptions,
}

/// Looks once.
///
/// # Errors
/// When the host cannot do it, or the output could not be written.
pub(crate) async fn run(
    options: &NowOptions,
    sandbox: Sandbox,
    world: &World,
) -> Result<Conclusion, CommandError> {
    let mut support = Support::read(world);
    support.require()?;
    let prepare = || {
        known_names::check(&options.criteria.owners, world).map_err(CommandError::InvalidRequest)?;
        let outputs = OpenedOutputs::open(&options.outputs)?;
        let files = outputs.has_files();
        // The iterators are loaded as they are wanted.
        let needs = Needs { programs: true, looks: true, loads: true, files, ..Needs::default() };
        limit(sandbox, needs, Owner::Same)?;
        Ok::<_, CommandError>(outputs)
    };
    let outputs = if options.holders == Some(HolderSource::Proc) {
        prepare()
    } else {
        // That takes as long as everything before the look, and needs no rights.
        pool::both(|| support.read_types(), prepare).1
    }?;
    let tables = Tables::new(support, options.holders, world)?;
    look(options, world, tables, outputs).await
}

async fn look(
    options: &NowOptions,
    world: &World,
    tables: Tables,
    outputs: OpenedOutputs,
) -> Result<Conclusion, CommandError> {
    let started_ns = world.clocks.monotonic_ns();
    let clock = world.clocks.wall();
    let mut inspector = Inspector::new(world.clone(), tables, ACTIVE_WINDOW_MS, None);
    let look = inspector.snapshot(&options.criteria);
    let extent = coverage::report(&look.coverage, &options.outputs);
    let not_looked_at = look.coverage.to_record();
    let admitted = || look.findings.iter().filter(|finding| options.criteria.passes_filters(finding));
    let listed = admitted().count() as u64;
    let is_in_close_wait = |finding: &&Finding| finding.state == State::CloseWait;
    let in_close_wait = admitted().filter(is_in_close_wait).count() as u64;
    let others = look.findings.iter().filter(is_in_close_wait).count() as u64 - in_close_wait;
    let mut tally = Tally::default();
    let mut leaks = Vec::new();
    for finding in look.findings.iter().filter(|finding| options.criteria.admits_finding(finding)) {
        let is_stuck = matches!(finding.state, State::CloseWait | State::Close);
        if is_stuck && finding.verdict.is_none_or(Verdict::is_leak) {
            tally.report(finding);
        }
        leaks.push(leak_record(finding, clock));
    }
    leaks.sort_by_key(oldest_first);
    let (over, leaks): (Vec<Leak>, Vec<Leak>) = leaks.into_iter().partition(|leak| leak.over.is_some());
    let groups = GroupBy::divide(options.by, leaks);
    let uses = inspector.process_use(&tally.queries());
    let ended_ns = world.clocks.monotonic_ns();
    let states = options.criteria.states;
    let over_is_asked_for = states.contains(State::CloseWait) || states.contains(State::Close);
    let totals = Totals { records: listed, unattributed: tally.unattributed(), ..Totals::default() };
    let duration_ns = ended_ns.saturating_sub(started_ns);
    let summary = Summary {
        time: clock.at(ended_ns),
        duration_ns,
        totals,
        in_close_wait: options.criteria.states.contains(State::CloseWait).then_some(in_close_wait),
        more_processes: tally.forgotten(),
        processes: tally.summary(std::iter::empty(), &uses, ended_ns),
        connections_over: (look.source == HolderSource::Iterator && over_is_asked_for)
            .then_some(over.len() as u64),
        sockets: Some(tally.reported()),
        still_stuck: Some(tally.still_stuck()),
        not_looked_at: Some(not_looked_at.clone()),
    };
    let scope = Scope {
        states: options.criteria.states,
        namespaces: look.namespaces as u64,
        processes: look.processes as u64,
        not_looked_at,
    };
    let mut output =
        outputs.start(&session_header(world, look.source.name(), clock.at(started_ns)), Policy::Wait)?;
    output.show(View::Snapshot(Snapshot { groups, over, others, scope, summary }), options.rows);
    // Until then signals do what they do by default.
    output.finish(None)?.wait(pending()).await?;
    Ok(Conclusion::of_search(tally.reported() > 0, options.exit_code, extent))
}

/// By the age that is certain or, where keep-alive keeps that small for ever, by the greatest that is possible. Sockets
/// whose age is not known come last. The cookie makes the order the same each time.
fn oldest_first(leak: &Leak) -> (Reverse<Option<u64>>, Option<u64>) {
    let age = leak.age.map(|age| match leak.keep_alive {
        Some(true) => age.at_most().unwrap_or(age.ns),
        _ => age.ns,
    });
    (Reverse(age), leak.socket.cookie)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::{
        forms::{jsonl, reading::reader::Reader},
        host::clock::Clocks,
        model::{
            examples::{self, SECOND},
            record::{Age, Record},
            state::StateSet,
        },
        output::options::{FileOptions, Route, Sink},
    };

    #[tokio::test]
    async fn a_host_of_which_nothing_can_be_seen_is_not_called_well() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("now.jsonl");
        let world = World::planted(directory.path(), Clocks::scripted(1_000 * SECOND));
        let route =
            Route { sink: Sink::File(path.clone()), format: &jsonl::form::FORMAT, is_compressed: false };
        let options = NowOptions {
            criteria: Criteria { states: StateSet::CLOSE_WAIT, ..Criteria::default() },
            holders: Some(HolderSource::Proc),
            by: None,
            exit_code: true,
            rows: 40,
            outputs: OutputOptions { routes: vec![route], files: FileOptions::default() },
        };
        let tables = Tables::new(Support::read(&world), options.holders, &world).unwrap();
        let outputs = OpenedOutputs::open(&options.outputs).unwrap();
        assert_eq!(look(&options, &world, tables, outputs).await.unwrap(), Conclusion::Blind);
        let mut reader = Reader::open(&path).unwrap();
        let records: Vec<Record> = std::iter::from_fn(|| reader.next().unwrap()).collect();
        let [Record::Header(header), Record::Summary(summary)] = &records[..] else { panic!("{records:?}") };
        assert_eq!(header.backend, "proc");
        assert_eq!((summary.in_close_wait, summary.totals.records), (Some(0), 0));
        let not_looked_at = summary.not_looked_at.as_ref().unwrap();
        assert!(not_looked_at.everything && not_looked_at.because[0].contains("/proc"), "{summary:?}");
    }

    #[test]
    fn the_oldest_come_first_and_those_of_unknown_age_last() {
        let aged = |cookie, seconds: Option<u64>| {
            let mut leak = Leak {
                age: seconds.map(|seconds| Age { ns: seconds * SECOND, ..examples::age() }),
                ..examples::leak()
            };
            leak.socket.cookie = Some(cookie);
            leak
        };
        let mut leaks = [aged(1, None), aged(2, Some(5)), aged(4, Some(7)), aged(3, Some(7))];
        leaks.sort_by_key(oldest_first);
        assert_eq!(leaks.map(|leak| leak.socket.cookie), [3, 4, 2, 1].map(Some));
    }
}
