//! The report as one self-contained HTML page: no script, no network access, no font of its own. Each chart has its
//! numbers in a table below it.
//!
//! Text is HTML and only shapes are SVG, so that a narrow screen changes widths and never the size of letters.
//! Untrusted names pass [`Escaped`] and maud's escaping.

mod closed_first;
mod durations;
mod lanes;
mod over;
mod over_time;
mod parts;
mod ranking;
mod scale;
mod sources;

use jiff::{Timestamp, tz::TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::parts::{PageView, breakable, grouped, marked};
use super::model::Report;
use crate::model::{escape::Escaped, units::Elapsed};

/// The page, with times in this zone.
pub(crate) fn page(report: &Report, zone: &TimeZone) -> Markup {
    let view = PageView { report, zone: zone.clone() };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content={ (report.r#type) " " (report.version) };
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Markup that slipped through the escaping could neither run nor load anything.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { "tcptrace: " (report.headline.answer) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (top(&view))
                main {
                    (over_time::content(&view))
                    (ranking::processes(&view))
                    (ranking::verdicts(&view))
                    (ranking::stacks(&view))
                    (ranking::peers(&view))
                    (over::content(&view))
                    (lanes::content(&view))
                    (durations::content(&view))
                    (closed_first::content(&view))
                    (sources::limits(&view))
                    (sources::sessions(&view))
                }
                footer {
                    p { "Made by tcptrace " (report.version) ". Times are those of " (zone_name(&view)) ". "
                        "This page is complete in itself: it loads nothing and runs nothing." }
                }
            }
        }
    }
}

fn zone_name(view: &PageView<'_>) -> String {
    let moment =
        view.report.span.map_or(Timestamp::UNIX_EPOCH, |span| span.first.0).to_zoned(view.zone.clone());
    let offset = moment.strftime("%:z").to_string();
    match view.zone.iana_name() {
        Some(name) if !name.ends_with("UTC") => format!("{name} (UTC{offset})"),
        _ if offset == "+00:00" => "UTC".to_owned(),
        _ => format!("UTC{offset}"),
    }
}

/// The header: answer, outlook, key figures, losses.
fn top(view: &PageView<'_>) -> Markup {
    let report = view.report;
    let losses = report.cannot_claim.iter().filter(|caveat| caveat.is_loss()).count();
    html! {
        header class=[(report.close_wait.stuck > 0).then_some("is-stuck")] {
            p.eyebrow { (where_and_when(view)) }
            h1 { (breakable(&report.headline.answer)) }
            @if !report.headline.outlook.is_empty() {
                p.outlook { (sentences(&report.headline.outlook)) }
            }
            (figures(view))
            @if losses > 0 {
                aside.losses aria-label="What was lost" {
                    p { strong { "Read with care." } " This report rests on incomplete recordings:" }
                    ul {
                        @for caveat in report.cannot_claim.iter().filter(|caveat| caveat.is_loss()) {
                            li { (marked(&caveat.to_string())) }
                        }
                    }
                }
            }
        }
    }
}

/// Joins clauses as sentences.
fn sentences(parts: &[String]) -> String {
    let sentence = |part: &String| {
        let mut characters = part.chars();
        let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{}.", characters.as_str())
    };
    parts.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

fn where_and_when(view: &PageView<'_>) -> Markup {
    let mut hosts: Vec<&str> =
        view.report.sessions.iter().filter_map(|session| session.host.as_deref()).collect();
    hosts.dedup();
    let hosts = match hosts.as_slice() {
        [] => "an unknown host".to_owned(),
        [one] => Escaped(one).to_string(),
        [first, second] => format!("{} and {}", Escaped(first), Escaped(second)),
        [first, more @ ..] => format!("{} and {} more hosts", Escaped(first), more.len()),
    };
    html! {
        strong { (hosts) }
        @if let Some(span) = view.report.span {
            span { (view.moment(span.first.0)) " – " (view.time_of_day(span.last.0)) }
            span { (Elapsed(span.duration_ns)) }
        }
        @if view.report.asked.is_filtered { span { "filtered" } }
    }
}

fn figures(view: &PageView<'_>) -> Markup {
    let close_wait = &view.report.close_wait;
    let process_count = view.report.processes.top.len() as u64 + view.report.processes.other_entries;
    let figure = |name: &str, value: String, more: String| {
        html! { div { dt { (name) } dd { (value) @if !more.is_empty() { small { (more) } } } } }
    };
    let still = if view.report.over_time.is_none() {
        "at that moment".to_owned()
    } else {
        format!("{} at the end", grouped(close_wait.still_stuck))
    };
    html! {
        dl.figures {
            (figure("stuck in CLOSE_WAIT", grouped(close_wait.stuck), still))
            @if let Some(longest) = close_wait.longest_ns {
                (figure("longest stay", Elapsed(longest).to_string(), String::new()))
            }
            @if close_wait.stuck > 0 && process_count > 0 {
                (figure(if process_count == 1 { "process" } else { "processes" }, grouped(process_count), "that held them".to_owned()))
            }
            @if let Some(peak) = close_wait.peak {
                (figure("at most at once", grouped(peak), "in CLOSE_WAIT, stuck or not".to_owned()))
            }
            @if let Some(closed) = &view.report.closed_first {
                (figure("closed first here", grouped(closed.by_us), "each leaves a TIME_WAIT".to_owned()))
            }
        }
    }
}
