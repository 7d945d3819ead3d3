//! The sections on who, where, why and towards whom: the top entries with their shares.

use maud::{Markup, html};

use super::{
    parts::{PageView, breakable, empty, grouped, section},
    scale::Part,
};
use crate::{
    model::{
        escape::{Escaped, EscapedName},
        units::{Elapsed, plural},
        verdict::Verdict,
    },
    report::{
        model::ranking::{PeerShare, ProcessShare, Ranking, Site, StackShare, VerdictShare},
        words::percent,
    },
};

/// A count with its bar and its share.
fn share_bar(count: u64, all: u64, class: &str) -> Markup {
    let part = Part::of_counts(count, all);
    html! {
        span.count { (grouped(count)) }
        span.bar aria-hidden="true" { span class=(class) style={ "width:" (part) } {} }
        span.share { (percent(part.0)) }
    }
}

fn others<T>(ranking: &Ranking<T>, noun: &str) -> Markup {
    html! {
        @if ranking.others > 0 {
            p.others { "and " (plural(ranking.other_entries, noun)) " more with " (plural(ranking.others, "socket")) "." }
        } @else if ranking.other_entries > 0 {
            p.others { "and " (plural(ranking.other_entries, noun)) " more that share these sockets." }
        }
        @if ranking.is_lower_bound {
            p.others { "There were too many to count each: these counts are lower bounds." }
        }
    }
}

pub(crate) fn processes(view: &PageView<'_>) -> Markup {
    let report = view.report;
    let (stuck, processes) = (report.close_wait.stuck, &report.processes);
    let content = match (stuck, processes.top.is_empty()) {
        (0, _) => empty("Nobody holds a stuck socket."),
        (_, true) if report.close_wait.holder_not_recorded == stuck => {
            empty("Not recorded: `tcptrace leaks` and `trace --owners` look for who holds a stuck socket.")
        }
        (_, true) => empty("Nobody could be named: no process had a descriptor of these sockets."),
        _ => html! {
            ol.cards { @for (place, process) in processes.top.iter().enumerate() { (process_card(view, place, process, stuck)) } }
            (others(processes, "process"))
        },
    };
    section("processes", "Who holds them", "", &content)
}

fn process_card(view: &PageView<'_>, place: usize, process: &ProcessShare, stuck: u64) -> Markup {
    let place_class = if place < 5 { format!("p{place}") } else { "p-others".to_owned() };
    html! {
        li.card {
            div.who {
                h3 { (EscapedName(&process.process.comm)) " " span.pid { "pid " (process.process.pid)
                    @if let Some(host) = &process.process.host { " on " (Escaped(host)) } } }
                @if let Some(home) = &process.place { p.home { (Escaped(home)) } }
                @if let Some(command) = &process.command { p.home { code { (Escaped(command)) } } }
            }
            p.share-line { (share_bar(process.sockets, stuck, &place_class)) }
            ul.facts {
                li { @if process.still_stuck == process.sockets { "all still stuck" }
                    @else if process.still_stuck == 0 { "none any more" }
                    @else { (grouped(process.still_stuck)) " still stuck" } }
                li { "longest " (Elapsed(process.longest_ns)) }
                @if let Some(rate) = process.per_minute.filter(|rate| *rate != 0.0) { li { (format!("{rate:+.1}")) " a minute" } }
                @if let Some(used) = process.fds_used {
                    li { (used) @if let Some(limit) = process.fds_limit { " of " (limit) } " descriptors"
                        @if let Some(left) = process.fds_run_out_in_ns { ", out in " (Elapsed(left)) } }
                }
                @for count in &process.verdicts {
                    li { (grouped(count.sockets)) " × " code { (count.verdict.map_or("?", Verdict::name)) } }
                }
                @for count in &process.reasons {
                    li { (grouped(count.sockets)) " × " code { (count.id) } }
                }
            }
            details {
                summary { "About this process" }
                dl.about {
                    @if !process.cmdline.is_empty() { dt { "command" } dd { code { (breakable(&process.cmdline.join(" "))) } } }
                    @if let Some(exe) = &process.exe { dt { "executable" } dd { code { (breakable(exe)) } } }
                    @if let Some(uid) = process.uid { dt { "user id" } dd { (uid) } }
                    @if let Some(started) = process.started { dt { "started" } dd { (view.moment(started.0)) } }
                    @if let Some(unit) = &process.unit { dt { "unit" } dd { (Escaped(unit)) } }
                    @if let Some(container) = &process.container { dt { "container" } dd { (Escaped(container)) } }
                    @if let Some(name) = &process.container_name { dt { "container's name" } dd { (Escaped(name)) } }
                    @if let Some(pod) = &process.pod { dt { "pod" } dd { (Escaped(pod)) } }
                    @if let Some(namespace) = &process.pod_namespace { dt { "namespace" } dd { (Escaped(namespace)) } }
                    @if !process.sites.is_empty() {
                        dt { "opened at" }
                        @for site in &process.sites { dd { (site_entry(&site.site)) " " (grouped(site.sockets)) } }
                    }
                    @if !process.peers.is_empty() {
                        dt { "towards" }
                        @for share in &process.peers { dd { (share.peer) " " (grouped(share.sockets)) } }
                    }
                }
            }
        }
    }
}

pub(crate) fn stacks(view: &PageView<'_>) -> Markup {
    let (stuck, stacks) = (view.report.close_wait.stuck, &view.report.stacks);
    let content = if stacks.top.is_empty() {
        empty(if stuck == 0 {
            "Nothing was stuck."
        } else {
            "No opening line is known: recorded without stacks, or opened before the recording began."
        })
    } else {
        html! {
            ol.ranks { @for share in &stacks.top { (stack_entry(share, stuck)) } }
            (others(stacks, "line"))
        }
    };
    section("opened-at", "Where they were opened", "", &content)
}

/// The line, or in words why there is none.
pub(super) fn site_entry(site: &Site) -> Markup {
    let shown = site.to_string();
    html! { @if site.no_site.is_some() { (breakable(&shown)) } @else { code { (breakable(&shown)) } } }
}

fn stack_entry(share: &StackShare, stuck: u64) -> Markup {
    html! {
        li {
            p.share-line { (share_bar(share.sockets, stuck, "stuck")) }
            details {
                summary { (site_entry(&share.site)) }
                @if !share.stack.is_empty() { ol.stack { @for frame in &share.stack { li { code { (breakable(frame)) } } } } }
                @if share.stack_is_cut { p.others { "The stack is cut short here." } }
            }
        }
    }
}

pub(crate) fn verdicts(view: &PageView<'_>) -> Markup {
    let (stuck, verdicts) = (view.report.close_wait.stuck, &view.report.verdicts);
    let content = if verdicts.is_empty() {
        empty(if stuck == 0 {
            "Nothing was stuck."
        } else {
            "Not recorded: who holds a socket has to be looked for to tell."
        })
    } else {
        html! { ol.ranks { @for share in verdicts { (verdict_entry(share, stuck)) } } }
    };
    let half_open = view.report.close_wait.half_open;
    let summary = match half_open {
        0 => String::new(),
        _ => format!(
            "{} half-closed and still written to: legitimate, and not counted.",
            plural(half_open, "more socket")
        ),
    };
    section("why", "Why they are stuck", &summary, &content)
}

fn verdict_entry(share: &VerdictShare, stuck: u64) -> Markup {
    html! {
        li {
            p.share-line { (share_bar(share.sockets, stuck, "stuck")) }
            @if share.reasons.is_empty() {
                p { code { (share.verdict.map_or("not known", Verdict::name)) } " " (share.advice) "." }
            } @else {
                p { code { (share.verdict.map_or("not known", Verdict::name)) } }
                ul.reasons { @for reason in &share.reasons {
                    li { code { (reason.id) } " " (plural(reason.sockets, "socket")) ": " (reason.advice) "."
                        p.others { "When first reported: " (Escaped(&reason.text)) "." } }
                } }
            }
        }
    }
}

pub(crate) fn peers(view: &PageView<'_>) -> Markup {
    let (stuck, peers) = (view.report.close_wait.stuck, &view.report.peers);
    let content = if peers.top.is_empty() {
        empty("Nothing was stuck.")
    } else {
        html! {
            ol.ranks.tight { @for share in &peers.top { (peer_entry(share, stuck)) } }
            (others(peers, "peer"))
        }
    };
    section("peers", "Towards whom", "", &content)
}

fn peer_entry(share: &PeerShare, stuck: u64) -> Markup {
    html! {
        li {
            p.share-line { (share_bar(share.sockets, stuck, "stuck")) }
            p { (share.peer) }
        }
    }
}
