//! The section on the lengths of stays in CLOSE_WAIT: a histogram on a logarithmic scale.

use maud::{Markup, html};

use super::{
    parts::{PageView, empty, grouped, numbers, section},
    scale::Part,
};
use crate::{
    model::units::Elapsed,
    report::model::sockets::{Bar, Durations},
};

/// From this count on, the tallest column makes small ones invisible.
const MUCH: u64 = 200;

pub(crate) fn content(view: &PageView<'_>) -> Markup {
    let durations = &view.report.durations;
    let content = if durations.bars.is_empty() {
        empty("No stay in CLOSE_WAIT was recorded.")
    } else {
        chart(durations)
    };
    section("durations", "How long they stay", &quantiles(durations), &content)
}

fn quantiles(durations: &Durations) -> String {
    let (Some(median), Some(p99), Some(longest)) =
        (durations.median_ns, durations.p99_ns, durations.longest_ns)
    else {
        return String::new();
    };
    format!(
        "Half of the stays were no longer than {}, ninety-nine of a hundred no longer than {}; the longest was {}.",
        Elapsed(median),
        Elapsed(p99),
        Elapsed(longest)
    )
}

fn chart(durations: &Durations) -> Markup {
    let bars = &durations.bars;
    let most = bars.iter().map(Bar::stays).max().unwrap_or_default();
    let is_logarithmic = most >= MUCH;
    let sum = |count: fn(&Bar) -> u64| bars.iter().map(count).sum::<u64>() > 0;
    // Not every bar has room for a label.
    let stride = bars.len().div_ceil(8).max(1);
    html! {
        figure.chart {
            ul.legend {
                @if sum(|bar| bar.not_stuck) { li { b.key.brief {} " not stuck" } }
                @if sum(|bar| bar.ended) { li { b.key.stuck {} " stuck, and ended" } }
                @if sum(|bar| bar.still_stuck) { li { b.key.stuck.is-open {} " still stuck, with what it had come to" } }
            }
            div.columns role="img" aria-label="Number of stays by their length; the numbers are in the table below" {
                @for (nth, bar) in bars.iter().enumerate() {
                    div.column {
                        span.height {
                            span.top { @if bar.stays() > 0 { (grouped(bar.stays())) } }
                            span.pieces style={ "height:" (height(bar.stays(), most, is_logarithmic)) } {
                                @for (class, count) in [("is-open stuck", bar.still_stuck), ("stuck", bar.ended), ("brief", bar.not_stuck)] {
                                    @if count > 0 { span class={ "piece " (class) } style={ "flex-grow:" (count) } {} }
                                }
                            }
                        }
                        span class={ "edge" @if !nth.is_multiple_of(stride) { " is-minor" } } { (edge(bar.from_ns)) }
                    }
                }
            }
            figcaption {
                "Each column begins at the time under its left edge; the scale of time is logarithmic"
                @if is_logarithmic { ", and so are the heights" } "."
            }
        }
        (numbers(&table(bars)))
    }
}

/// The height of a column; logarithmic where small columns would vanish.
fn height(count: u64, most: u64, is_logarithmic: bool) -> Part {
    if is_logarithmic {
        Part::of((count as f64).ln_1p(), (most as f64).ln_1p())
    } else {
        Part::of_counts(count, most)
    }
}

fn edge(from_ns: u64) -> String {
    if from_ns == 0 { "0".to_owned() } else { short(from_ns) }
}

/// A round duration without zero parts: `10 s`, `2m`.
fn short(ns: u64) -> String {
    Elapsed(ns).to_string().replace(".0 ", " ").replace(" 00s", "").replace(" 00m", "").replace(" 00h", "")
}

fn table(bars: &[Bar]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "from" } th scope="col" { "below" } th.number scope="col" { "not stuck" }
                th.number scope="col" { "stuck, ended" } th.number scope="col" { "still stuck" }
            } }
            tbody {
                @for bar in bars {
                    tr {
                        td { (edge(bar.from_ns)) }
                        td { @if bar.below_ns == u64::MAX { "∞" } @else { (short(bar.below_ns)) } }
                        td.number { (grouped(bar.not_stuck)) }
                        td.number { (grouped(bar.ended)) }
                        td.number { (grouped(bar.still_stuck)) }
                    }
                }
            }
        }
    }
}
