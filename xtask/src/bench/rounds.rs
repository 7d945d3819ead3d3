//! The interleaved rounds. Each runs the load beside every tracer in turn, and alone just before, so that other work on
//! the machine disturbs all alike. Only such neighbours are compared.

use super::bpf_stats::{self, Accounting, Cost};
use super::configuration::{self, Absent, Configuration};
use super::load::{self, TRANSITIONS};
use super::tracer::{self, Tracer};
use super::{Programs, median};
use anyhow::{Context, Result};

/// Connections before a measurement, to warm up.
const WARM_UP: u64 = 2_000;

/// What one configuration cost in one round.
pub(crate) struct Measured {
    /// The load's time beside the tracer, divided by its time alone.
    pub slowdown: f64,
    /// The tracer's own CPU time, in seconds for a million transitions.
    pub cpu_seconds_per_million: f64,
    /// Peak resident memory in bytes.
    pub peak_memory: Option<u64>,
    /// What its programs cost in the kernel, the busiest first.
    pub programs: Vec<Cost>,
    /// How many records it says it lost.
    pub lost: Option<u64>,
    /// Transitions of the load that are missing in its records; `None` where it does not record every one.
    pub missing: Option<i64>,
}

/// All rounds of one configuration.
pub(crate) struct Series {
    pub name: String,
    pub rounds: Vec<Measured>,
    /// Why its measurement failed, if it did.
    pub failure: Option<String>,
}

/// Everything measured.
pub(crate) struct Outcome {
    pub connections: u64,
    pub exchanges: u32,
    pub rounds: u32,
    /// The load alone, connections per second, each time.
    pub alone: Vec<f64>,
    pub series: Vec<Series>,
    pub absent: Vec<Absent>,
}

/// Measures every configuration that has one of `only` in its name, or all.
pub(crate) fn measure(
    programs: &Programs,
    rounds: u32,
    connections: u64,
    only: &[String],
) -> Result<Outcome> {
    let (mut configurations, absent) = configuration::all(programs);
    configurations.retain(|one| one.is_among(only));
    let mut series: Vec<Series> = configurations
        .iter()
        .map(|one| Series { name: one.name.clone(), rounds: Vec::new(), failure: None })
        .collect();
    let mut alone = Vec::new();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for turn in 0..configurations.len() {
            // Each round begins with another tracer, so that none always follows the same one.
            let which = (turn + round as usize) % configurations.len();
            let (Some(configuration), Some(series)) = (configurations.get(which), series.get_mut(which))
            else {
                continue;
            };
            if series.failure.is_some() {
                continue;
            }
            load::run(programs, WARM_UP)?;
            let baseline = load::run(programs, connections)?;
            alone.push(baseline.per_second);
            match beside(programs, configuration, connections, baseline.nanoseconds) {
                Ok(measured) => series.rounds.push(measured),
                Err(error) => {
                    eprintln!("  {}: {error:#}", configuration.name);
                    series.failure = Some(format!("{error:#}"));
                }
            }
        }
    }
    Ok(Outcome { connections, exchanges: programs.exchanges, rounds, alone, series, absent })
}

/// Runs a load beside one tracer, and a second, shorter one for the kernel's statistics.
fn beside(
    programs: &Programs,
    configuration: &Configuration,
    connections: u64,
    alone: f64,
) -> Result<Measured> {
    let tracer = Tracer::start(configuration, programs.scratch.path())?;
    load::run(programs, WARM_UP)?;
    tracer.settle();

    let cpu_before = tracer.cpu_nanoseconds();
    let load = load::run(programs, connections)?;
    tracer.settle();
    let cpu = tracer.cpu_nanoseconds() - cpu_before;

    let before = bpf_stats::of_process(tracer.pid());
    let accounting = Accounting::start()?;
    load::run(programs, connections / 3)?;
    drop(accounting);
    let costs = bpf_stats::between(&before, bpf_stats::of_process(tracer.pid()));

    tracer.settle();
    let peak_memory = tracer.peak_memory();
    let lost = tracer.end(configuration)?;
    let transitions = connections * TRANSITIONS;
    let missing = match &configuration.records {
        Some(records) if configuration.every_transition => {
            let found = tracer::transitions(records, load.port)?;
            Some(i64::try_from(transitions)? - i64::try_from(found)?)
        }
        _ => None,
    };
    if let Some(records) = &configuration.records {
        std::fs::remove_file(records).with_context(|| format!("cannot remove {}", records.display()))?;
    }
    Ok(Measured {
        slowdown: load.nanoseconds / alone,
        cpu_seconds_per_million: cpu as f64 / 1e3 / transitions as f64,
        peak_memory,
        programs: costs,
        lost,
        missing,
    })
}

impl Series {
    /// The median of what `value` finds in the rounds; `None` when it finds nothing.
    pub(crate) fn median(&self, value: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        median(&self.rounds.iter().filter_map(value).collect::<Vec<_>>())
    }

    /// The sum over all rounds, for what must be 0 in each.
    pub(crate) fn total(&self, value: impl Fn(&Measured) -> Option<i64>) -> Option<i64> {
        self.rounds.iter().map(value).sum()
    }
}
