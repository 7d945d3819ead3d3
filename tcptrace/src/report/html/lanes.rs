//! The section on the sockets stuck the longest, each in a lane along a shared time axis.

use maud::{Markup, html};

use super::{
    parts::{PageView, breakable, empty, numbers, section, ticks},
    ranking::site_entry,
    scale::{Part, TimeAxis},
};
use crate::{
    model::{units::Elapsed, verdict::Verdict},
    report::{
        model::sockets::WorstSocket,
        words::{ending, holder, how},
    },
};

pub(crate) fn content(view: &PageView<'_>) -> Markup {
    let worst = &view.report.worst;
    let content = if worst.is_empty() { empty("Nothing was stuck.") } else { chart(view, worst) };
    section("longest", "Stuck the longest", "", &content)
}

fn chart(view: &PageView<'_>, worst: &[WorstSocket]) -> Markup {
    let begins =
        |socket: &WorstSocket| socket.opened.map_or(socket.since, |opened| opened.min(socket.since)).0;
    let first = worst.iter().map(begins).min().unwrap_or_default();
    let last = worst.iter().map(|socket| socket.until.0).max().unwrap_or_default();
    let last = view.report.span.map_or(last, |span| span.last.0.max(last));
    let axis = TimeAxis::new(first, last, &view.zone);
    let recording = view.report.span.map(|span| axis.at(span.first.0)).filter(|at| at.0 > 0.01);
    html! {
        figure.chart.lanes {
            ul.legend {
                li { b.mark.life {} " open, before the peer's FIN" }
                li { b.mark.wait {} " in CLOSE_WAIT" }
                li { b.mark.wait.is-open {} " still so at the end" }
                @if worst.iter().any(|socket| socket.eof_read.is_some()) { li { b.mark.read {} " end of file read" } }
                @if worst.iter().any(|socket| !socket.since_is_exact) { li { b.mark.wait.is-unseen {} " began at this time or before" } }
            }
            ol {
                @for socket in worst {
                    li {
                        p.lane-name { strong { (breakable(&holder(socket))) } " " span { (socket.remote) } }
                        p.lane-length { @if !socket.since_is_exact { "≥ " } (Elapsed(socket.close_wait_ns)) " " small { (how(socket)) } }
                        div.track title=(sentence(view, socket)) {
                            @if let Some(at) = recording { span.begins style={ "left:" (at) } {} }
                            @if begins(socket) < socket.since.0 {
                                span.life style={ "left:" (axis.at(begins(socket))) ";right:" (axis.at(socket.since.0).rest()) } {}
                            }
                            (wait(&axis, socket))
                            @if let Some(read) = socket.eof_read { span.read style={ "left:" (axis.at(read.0)) } {} }
                        }
                    }
                }
            }
            (ticks(&axis))
            @if recording.is_some() { figcaption { "The dotted line is where the recording begins." } }
        }
        (numbers(&table(view, worst)))
    }
}

fn wait(axis: &TimeAxis, socket: &WorstSocket) -> Markup {
    let (from, to): (Part, Part) = (axis.at(socket.since.0), axis.at(socket.until.0).rest());
    let open = if socket.is_open { " is-open" } else { "" };
    let unseen = if socket.since_is_exact { "" } else { " is-unseen" };
    html! { span class={ "wait" (open) (unseen) } style={ "left:" (from) ";right:" (to) } {} }
}

/// The tooltip of a lane.
fn sentence(view: &PageView<'_>, socket: &WorstSocket) -> String {
    format!(
        "{} to {}: in CLOSE_WAIT from {} for {}, {}",
        socket.local,
        socket.remote,
        view.moment(socket.since.0),
        Elapsed(socket.close_wait_ns),
        ending(socket)
    )
}

fn table(view: &PageView<'_>, worst: &[WorstSocket]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "local" } th scope="col" { "remote" } th scope="col" { "held by" } th.number scope="col" { "fd" }
                th scope="col" { "since" } th.number scope="col" { "for" } th scope="col" { "ended" } th scope="col" { "verdict" }
                th scope="col" { "opened at" } th scope="col" { "end of file read" } th.number scope="col" { "cookie" }
            } }
            tbody {
                @for socket in worst {
                    tr {
                        td { (socket.local) }
                        td { (socket.remote) }
                        td { (holder(socket)) }
                        td.number { @if let Some(fd) = socket.holders.first().and_then(|holder| holder.fd) { (fd) } }
                        td { @if !socket.since_is_exact { "≤ " } (view.moment(socket.since.0)) }
                        td.number { (Elapsed(socket.close_wait_ns)) }
                        td { (ending(socket)) }
                        td { code { (socket.verdict.map_or("?", Verdict::name)) }
                            @if let Some(reason) = socket.reason { " " code { (reason) } } }
                        td { @if socket.site.is_known() { (site_entry(&socket.site)) } }
                        td { @if let Some(read) = socket.eof_read { (view.time_of_day(read.0)) }
                            @if let Some(site) = &socket.eof_read_site { " " code { (breakable(site)) } } }
                        td.number { @if let Some(cookie) = socket.cookie { (cookie) } }
                    }
                }
            }
        }
    }
}
