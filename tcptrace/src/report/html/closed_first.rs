//! The section on who closed connections first, and so where TIME_WAIT comes from.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{
    parts::{PageView, empty, grouped, section, ticks},
    scale::{Part, TimeAxis},
};
use crate::{
    model::units::Elapsed,
    report::{
        model::{
            closed_first::{ClosedFirst, CloserShare, PeerCloses},
            ranking::Ranking,
        },
        words::percent,
    },
};

/// Height of the drawing in its own units.
const HEIGHT: u64 = 1_000;

pub(crate) fn content(view: &PageView<'_>) -> Markup {
    let content = match &view.report.closed_first {
        None => empty("Not recorded: `tcptrace trace` records the transitions that tell it."),
        Some(closed) if closed.by_us + closed.by_peer + closed.reset == 0 => {
            empty("No connection was closed in this time.")
        }
        Some(closed) => chart(view, closed),
    };
    section(
        "closed-first",
        "Who closed first",
        "The side that closes first keeps the connection in TIME_WAIT for a minute, and its port with it.",
        &content,
    )
}

fn chart(view: &PageView<'_>, closed: &ClosedFirst) -> Markup {
    let all = closed.by_us + closed.by_peer + closed.reset;
    let sides = [
        ("us", "this side", "TIME_WAIT here", closed.by_us),
        ("peer", "the peer", "TIME_WAIT there", closed.by_peer),
        ("reset", "nobody: reset", "no TIME_WAIT", closed.reset),
    ];
    html! {
        div.split role="img" aria-label={ "Closed first: this side " (closed.by_us) ", the peer " (closed.by_peer) ", reset " (closed.reset) } {
            @for (class, _, _, count) in sides { @if count > 0 { span class=(class) style={ "width:" (Part::of_counts(count, all)) } {} } }
        }
        ul.legend.split-names {
            @for (class, name, what, count) in sides {
                li { b class={ "key " (class) } {} " " strong { (grouped(count)) } " " (name) ", " (what)
                    " " small { (percent(Part::of_counts(count, all).0)) } }
            }
        }
        @if closed.by_us_over_time.len() > 1 { (rates(view, closed)) }
        div.pair {
            (processes(&closed.processes))
            (peers(&closed.peers))
        }
    }
}

/// Closes per second over time; those that lead to TIME_WAIT here are at the bottom.
fn rates(view: &PageView<'_>, closed: &ClosedFirst) -> Markup {
    let steps = closed.by_us_over_time.len();
    let layers = [
        ("us", "this side", &closed.by_us_over_time),
        ("peer", "the peer", &closed.by_peer_over_time),
        ("reset", "reset", &closed.reset_over_time),
    ];
    let totals: Vec<u64> =
        (0..steps).map(|step| layers.iter().filter_map(|(_, _, line)| line.get(step)).sum()).collect();
    let most = totals.iter().max().copied().unwrap_or_default().max(1);
    let y = |count: u64| HEIGHT - count.saturating_mul(HEIGHT) / most;
    let mut below = vec![0_u64; steps];
    let mut paths = Vec::new();
    for (class, name, line) in layers {
        let mut path = String::new();
        for (step, (count, low)) in line.iter().zip(&mut below).enumerate() {
            let upper = *low + count;
            if *count > 0 {
                // Writing into memory does not fail.
                let _ = write!(path, "M{step} {}V{}h1V{}Z", y(*low), y(upper), y(*low));
            }
            *low = upper;
        }
        paths.push((class, name, path));
    }
    let per_second = most as f64 / (closed.step_ns.max(1) as f64 / 1e9);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and what is too large becomes the largest number"
    )]
    let whole_per_second = per_second.round() as u64;
    let length = i64::try_from(closed.step_ns.saturating_mul(steps as u64)).unwrap_or(i64::MAX);
    let last =
        closed.first.0.saturating_add(jiff::SignedDuration::from_nanos(length)).unwrap_or(closed.first.0);
    let axis = TimeAxis::new(closed.first.0, last, &view.zone);
    html! {
        figure.chart {
            div.plot.low {
                svg viewBox={ "0 0 " (steps) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-labelledby="rates-what" {
                    title id="rates-what" { "Closes over time by who closed first, at most " (format!("{per_second:.1}")) " a second" }
                    @for (class, name, path) in &paths { path class=(class) d=(path) { title { (name) } } }
                }
                span.level style="bottom:100%" { (grouped(whole_per_second)) " a second" }
            }
            (ticks(&axis))
            figcaption { "Closes in each step of " (Elapsed(closed.step_ns)) "." }
        }
    }
}

fn processes(closers: &Ranking<CloserShare>) -> Markup {
    html! {
        div {
            h3 { "Processes that closed first" }
            @if closers.top.is_empty() { (empty("None did.")) } @else {
                table.rates {
                    thead { tr { th scope="col" { "process" } th.number scope="col" { "closed" } th.number scope="col" { "a second" } } }
                    tbody {
                        @for closer in &closers.top {
                            tr { th scope="row" { (closer.process) } td.number { (grouped(closer.closed_first)) } td.number { (format!("{:.1}", closer.per_second)) } }
                        }
                    }
                }
                @if closers.others > 0 { p.others { "and " (grouped(closers.others)) " by other processes." } }
            }
        }
    }
}

fn peers(peers: &Ranking<PeerCloses>) -> Markup {
    html! {
        div {
            h3 { "Towards whom" }
            table.rates {
                thead { tr { th scope="col" { "peer" } th.number scope="col" { "here first" } th.number scope="col" { "a second" }
                    th.number scope="col" { "peer first" } th.number scope="col" { "reset" } } }
                tbody {
                    @for peer in &peers.top {
                        tr { th scope="row" { (peer.peer) } td.number { (grouped(peer.by_us)) } td.number { (format!("{:.1}", peer.per_second)) }
                            td.number { (grouped(peer.by_peer)) } td.number { (grouped(peer.reset)) } }
                    }
                }
            }
            @if peers.others > 0 { p.others { "and " (grouped(peers.others)) " closed here first towards others." } }
        }
    }
}
