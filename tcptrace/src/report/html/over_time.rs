//! The section on sockets in CLOSE_WAIT over time, one layer per process.

use std::fmt::Write as _;

use jiff::SignedDuration;
use maud::{Markup, html};

use super::{
    parts::{PageView, empty, grouped, numbers, section, ticks},
    scale::{Part, TimeAxis, round_up},
};
use crate::{
    model::units::Elapsed,
    report::model::sockets::{CountLine, LineOf, OverTime},
};

/// Rows of the table under the chart.
const ROWS: usize = 24;

/// Height of the drawing in its own units.
const HEIGHT: u64 = 1_000;

/// The least share of the height at which a layer has room for a letter.
const ROOM_FOR_LETTER: f64 = 0.09;

fn chart(view: &PageView<'_>, over_time: &OverTime) -> Markup {
    let peak = view.report.close_wait.peak.unwrap_or_default();
    if peak == 0 {
        return empty("No socket was in CLOSE_WAIT at the end of any step of this time.");
    }
    let length = i64::try_from(over_time.step_ns.saturating_mul(steps(over_time) as u64)).unwrap_or(i64::MAX);
    let last =
        over_time.first.0.saturating_add(SignedDuration::from_nanos(length)).unwrap_or(over_time.first.0);
    let axis = TimeAxis::new(over_time.first.0, last, &view.zone);
    let most = round_up(peak);
    html! {
        figure.chart {
            (legend(over_time))
            div.plot {
                (layers(over_time, most))
                @for (count, part) in [(most, 1.0), (most / 2, 0.5)] {
                    @if count > 0 && (part > 0.5 || most.is_multiple_of(2)) {
                        span.level style={ "bottom:" (Part(part)) } { (grouped(count)) }
                    }
                }
                @for (letter, line) in lettered(over_time) {
                    @if let Some((x, y)) = place_for_letter(over_time, line, most) {
                        b.letter aria-hidden="true" style={ "left:" (x) ";bottom:" (y) } { (letter) }
                    }
                }
            }
            (ticks(&axis))
            figcaption { "The number at the end of each step of " (Elapsed(over_time.step_ns)) ". "
                "A socket with several holders is drawn once, under the first of them." }
        }
        (numbers(&table(view, over_time)))
    }
}

pub(crate) fn content(view: &PageView<'_>) -> Markup {
    let content = match &view.report.over_time {
        None => empty(
            "Only single moments were recorded: `tcptrace leaks` or `trace` record what happens in between.",
        ),
        Some(over_time) => chart(view, over_time),
    };
    section("over-time", "In CLOSE_WAIT over time", "", &content)
}

fn steps(over_time: &OverTime) -> usize {
    over_time.lines.first().map_or(0, |line| line.values.len())
}

/// The lines with their letters, from the bottom layer up.
fn lettered(over_time: &OverTime) -> impl Iterator<Item = (char, &CountLine)> {
    ('A'..='Z').zip(&over_time.lines)
}

/// The CSS class of a line's colour; a process keeps its colour across the page.
fn class(line: &CountLine) -> String {
    match (line.of, line.process) {
        (LineOf::Process, Some(place)) => format!("p{place}"),
        (LineOf::Process | LineOf::OtherProcesses, _) => "p-others".to_owned(),
        (LineOf::UnknownHolder, _) => "p-unknown".to_owned(),
        (LineOf::Passing, _) => "p-passing".to_owned(),
    }
}

fn legend(over_time: &OverTime) -> Markup {
    html! {
        // In the order of the layers, the uppermost first.
        ul.legend {
            @for (letter, line) in lettered(over_time).collect::<Vec<_>>().into_iter().rev() {
                li { b class={ "key " (class(line)) } { (letter) } " " (line.name)
                    @let most = line.values.iter().max().copied().unwrap_or_default();
                    " " small { "up to " (grouped(most)) } }
            }
        }
    }
}

/// Each line with its lower and upper edge in the stack.
fn bands(over_time: &OverTime) -> impl Iterator<Item = (&CountLine, Vec<u64>, Vec<u64>)> {
    let mut below = vec![0; steps(over_time)];
    over_time.lines.iter().map(move |line| {
        let upper: Vec<u64> = below.iter().zip(&line.values).map(|(sum, value)| sum + value).collect();
        let lower = std::mem::replace(&mut below, upper.clone());
        (line, lower, upper)
    })
}

fn layers(over_time: &OverTime, most: u64) -> Markup {
    let width = steps(over_time);
    let y = |count: u64| HEIGHT - (count.saturating_mul(HEIGHT) / most.max(1)).min(HEIGHT);
    let path = |lower: &[u64], upper: &[u64]| {
        let mut path = String::from("M0");
        // Writing into memory does not fail.
        let _ = write!(path, " {}", y(upper.first().copied().unwrap_or_default()));
        for (step, count) in upper.iter().enumerate() {
            let _ = write!(path, "V{}H{}", y(*count), step + 1);
        }
        for (step, count) in lower.iter().enumerate().rev() {
            let _ = write!(path, "V{}H{step}", y(*count));
        }
        path.push('Z');
        path
    };
    html! {
        svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-labelledby="over-time-what over-time-how" {
            title id="over-time-what" { "Sockets in CLOSE_WAIT over time" }
            desc id="over-time-how" {
                "Layers laid on top of each other: "
                @for (letter, line) in lettered(over_time) {
                    (letter) ", " (line.name) ", up to " (line.values.iter().max().copied().unwrap_or_default()) " at once; "
                }
            }
            @for (line, lower, upper) in bands(over_time) {
                path class=(class(line)) d=(path(&lower, &upper)) { title { (line.name) } }
            }
        }
    }
}

/// The middle of a layer where it is thickest, if a letter fits.
fn place_for_letter(over_time: &OverTime, line: &CountLine, most: u64) -> Option<(Part, Part)> {
    let (_, lower, upper) = bands(over_time).find(|(other, _, _)| std::ptr::eq(*other, line))?;
    let thickness = lower.iter().zip(&upper).map(|(lower, upper)| upper - lower);
    let thickest = thickness.clone().max()?;
    // The middle one of the steps that are this thick.
    let those: Vec<usize> =
        thickness.enumerate().filter(|(_, thickness)| *thickness == thickest).map(|(step, _)| step).collect();
    let step = *those.get(those.len() / 2)?;
    let height = Part::of_counts(thickest, most);
    let middle = lower.get(step)? + thickest / 2;
    (height.0 >= ROOM_FOR_LETTER).then(|| {
        (
            Part(Part::of(step as f64 + 0.5, lower.len() as f64).0.clamp(0.03, 0.97)),
            Part::of_counts(middle, most),
        )
    })
}

fn table(view: &PageView<'_>, over_time: &OverTime) -> Markup {
    let steps = steps(over_time);
    let stride = steps.div_ceil(ROWS).max(1);
    let time = |step: usize| {
        let after = i64::try_from(over_time.step_ns.saturating_mul(step as u64 + 1)).unwrap_or(i64::MAX);
        view.time_of_day(
            over_time.first.0.saturating_add(SignedDuration::from_nanos(after)).unwrap_or_default(),
        )
    };
    html! {
        table {
            thead { tr { th scope="col" { "at" } @for line in &over_time.lines { th.number scope="col" { (line.name) } } } }
            tbody {
                @for step in (0..steps).filter(|step| (step + 1).is_multiple_of(stride) || step + 1 == steps) {
                    tr {
                        th scope="row" { (time(step)) }
                        @for line in &over_time.lines {
                            td.number { (line.values.get(step).copied().unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}
