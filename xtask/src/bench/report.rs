//! Prints the results as a Markdown table and as JSON. Measures nothing.

use super::median;
use super::rounds::{Measured, Outcome, Series};
use super::start_up::StartUp;
use serde_json::{Value, json};
use std::fmt::Write;

/// The tables as in docs/cost.md.
pub(crate) fn markdown(outcome: &Outcome, start_up: &[StartUp]) -> String {
    let mut text = String::new();
    let alone = median(&outcome.alone).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "Linux {}. Load: {} connections a run, 10 transitions and {} requests each, {alone:.0} connections/s alone.\n\
         Medians of {} interleaved rounds (lowest and highest in brackets); the load on CPU 0, the tracer on CPU 1.\n\n\
         | | load slowed to | in-kernel ns a transition | CPU s per million transitions | peak memory | lost | missing in the file |\n\
         |---|---|---|---|---|---|---|",
        kernel(),
        outcome.connections,
        outcome.exchanges,
        outcome.rounds,
    );
    for series in &outcome.series {
        let _ = match &series.failure {
            Some(failure) => {
                writeln!(text, "| {} | failed: {} | | | | | |", series.name, failure.replace('\n', " "))
            }
            None => writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                series.name,
                slowdown(series),
                show(series.median(nanoseconds_a_transition), 0),
                show(series.median(|one| Some(one.cpu_seconds_per_million)), 2),
                series.median(peak_megabytes).map_or("–".into(), |megabytes| format!("{megabytes:.1} MB")),
                show_count(series.total(lost)),
                show_count(series.total(|one| one.missing)),
            ),
        };
    }
    let _ = writeln!(text, "\n| | start to first record |\n|---|---|");
    for one in start_up {
        let seconds = one.seconds.map_or("no record".into(), |seconds| format!("{seconds:.3} s"));
        let _ = writeln!(text, "| {} | {seconds} |", one.name);
    }
    if !outcome.absent.is_empty() {
        let absent: Vec<_> =
            outcome.absent.iter().map(|one| format!("{} (Debian: {})", one.name, one.package)).collect();
        let _ = writeln!(text, "\nNot installed here: {}.", absent.join(", "));
    }
    text
}

/// All results, those of each round too.
pub(crate) fn json(outcome: &Outcome, start_up: &[StartUp]) -> Value {
    json!({
        "kernel": kernel(),
        "connections": outcome.connections,
        "exchanges": outcome.exchanges,
        "alone_per_second": outcome.alone,
        "configurations": outcome.series.iter().map(|series| json!({
            "name": series.name,
            "failure": series.failure,
            "slowdown": series.median(|one| Some(one.slowdown)),
            "nanoseconds_a_transition": series.median(nanoseconds_a_transition),
            "cpu_seconds_per_million": series.median(|one| Some(one.cpu_seconds_per_million)),
            "peak_bytes": series.median(|one| one.peak_memory.map(|bytes| bytes as f64)),
            "lost": series.total(lost),
            "missing": series.total(|one| one.missing),
            "rounds": series.rounds.iter().map(round).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "start_up": start_up.iter().map(|one| json!({"name": one.name, "seconds": one.seconds})).collect::<Vec<_>>(),
        "absent": outcome.absent.iter().map(|one| one.name).collect::<Vec<_>>(),
    })
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn round(one: &Measured) -> Value {
    let programs = one.programs.iter().map(|cost| {
        json!({"program": cost.program, "kind": cost.kind, "run_time_ns": cost.nanoseconds, "run_cnt": cost.runs})
    });
    json!({
        "slowdown": one.slowdown,
        "cpu_seconds_per_million": one.cpu_seconds_per_million,
        "peak_bytes": one.peak_memory,
        "lost": one.lost,
        "missing": one.missing,
        "programs": programs.collect::<Vec<_>>(),
    })
}

/// What a transition costs in the programs that run at each: the busiest are those on the state tracepoint, for no other runs
/// ten times a connection. On the classic one there are two, one of which only counts.
fn nanoseconds_a_transition(one: &Measured) -> Option<f64> {
    let runs = one.programs.first()?.runs;
    let at_each = one.programs.iter().filter(|cost| cost.runs > runs / 2);
    Some(at_each.map(|cost| cost.nanoseconds).sum::<u64>() as f64 / runs as f64)
}

fn peak_megabytes(one: &Measured) -> Option<f64> {
    one.peak_memory.map(|bytes| bytes as f64 / 1e6)
}

fn lost(one: &Measured) -> Option<i64> {
    one.lost.and_then(|lost| i64::try_from(lost).ok())
}

fn slowdown(series: &Series) -> String {
    let all = || series.rounds.iter().map(|one| one.slowdown);
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    series
        .median(|one| Some(one.slowdown))
        .map_or("–".into(), |middle| format!("×{middle:.2} ({least:.2}–{most:.2})"))
}

fn show(value: Option<f64>, decimals: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.decimals$}"))
}

fn show_count(value: Option<i64>) -> String {
    value.map_or("–".into(), |value| value.to_string())
}
