//! The sections on the evidence: what the report cannot claim, and the recordings.

use maud::{Markup, html};

use super::parts::{PageView, breakable, empty, grouped, marked, section};
use crate::{
    model::{
        escape::Escaped,
        units::{Elapsed, plural},
    },
    report::model::SessionReport,
};

pub(crate) fn limits(view: &PageView<'_>) -> Markup {
    let caveats = &view.report.cannot_claim;
    let content = if caveats.is_empty() {
        empty("Nothing was lost, and nothing that was asked for is missing.")
    } else {
        html! {
            ul.limits {
                @for caveat in caveats {
                    li { b class={ "tag" @if caveat.is_loss() { " is-loss" } } { @if caveat.is_loss() { "loss" } @else { "limit" } } " " span { (marked(&caveat.to_string())) "." } }
                }
            }
        }
    };
    section("limits", "What this report cannot claim", "", &content)
}

pub(crate) fn sessions(view: &PageView<'_>) -> Markup {
    let content = html! { @for session in &view.report.sessions { (session_entry(view, session)) } };
    section("recordings", "Recordings", "", &content)
}

fn session_entry(view: &PageView<'_>, session: &SessionReport) -> Markup {
    let length =
        u64::try_from(session.last.0.duration_since(session.started.0).as_nanos()).unwrap_or_default();
    let lost = &session.lost;
    html! {
        article.session {
            h3 { (Escaped(session.host.as_deref().unwrap_or("an unknown host"))) }
            dl.about {
                @if let Some(command) = &session.command { dt { "command" } dd { code { (breakable(command)) } } }
                dt { "time" } dd { (view.moment(session.started.0)) ", for " (Elapsed(length))
                    @if !session.has_ended { "; it has no end" } }
                @if let Some(kernel) = &session.kernel { dt { "kernel" } dd { (Escaped(kernel)) @if let Some(backend) = &session.backend { ", by " (Escaped(backend)) } } }
                dt { "its own account" } dd { (plural(lost.records, "record")) " from the kernel: " (grouped(lost.lost)) " lost, "
                    (grouped(lost.undecodable)) " undecodable, " (grouped(lost.evicted)) " evicted" }
                dt { (if session.files.len() == 1 { "file" } else { "files" }) }
                @if session.files.is_empty() { dd { "a file with a later session" } }
                @for file in &session.files {
                    dd { code { (breakable(&file.name)) } " " (plural(file.records, "record"))
                        @if file.missing > 0 { ", " (grouped(file.missing)) " missing" }
                        @if file.damaged > 0 { ", " (plural(file.damaged, "damaged part")) }
                        @if file.is_cut { ", cut off" } }
                }
            }
        }
    }
}
