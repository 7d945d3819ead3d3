//! Puts the report's answer into one sentence, and adds the outlook. Pure.

use std::fmt::Write as _;

use super::{
    caveats::Caveat,
    model::{
        Report, SessionReport,
        headline::Headline,
        ranking::{ProcessShare, ProgramShare},
        sockets::CloseWait,
    },
    session_kind::SessionKind,
};
use crate::model::{
    escape::EscapedName,
    units::{Elapsed, plural},
};

/// A process with more than this share of the stuck sockets is the answer.
const MOST_OF_IT: f64 = 0.5;

/// The headline of a report that is otherwise complete. `has_observations`: a record about a socket was read.
pub(crate) fn of(report: &Report, has_observations: bool) -> Headline {
    let close_wait = &report.close_wait;
    if report.span.is_none() {
        let time = if report.sessions.is_empty() { "" } else { " for this time" };
        return Headline { answer: format!("There is nothing in the recordings{time}"), outlook: Vec::new() };
    }
    if !has_observations && report.cannot_claim.iter().any(Caveat::hides_records) {
        return Headline { answer: "No record about a socket could be read".to_owned(), outlook: Vec::new() };
    }
    if close_wait.stuck == 0 {
        let mut lookers = report.sessions.iter().filter(|session| session.records_close_wait).peekable();
        if lookers.peek().is_none() {
            return not_looked_at(report);
        }
        if !has_observations && lookers.all(|session| !session.has_ended) {
            let answer = "There is nothing in the recordings but their beginning".to_owned();
            return Headline { answer, outlook: Vec::new() };
        }
        return nothing_stuck(report);
    }
    let mut headline = Headline { answer: who(report), outlook: Vec::new() };
    headline.outlook.extend(over(report));
    headline.outlook.extend(still(report));
    let growing = report.processes.top.iter().find(|process| is_growing(process) || is_running_out(process));
    headline.outlook.extend(growing.map(growth));
    headline.outlook.extend(match close_wait.filtered_out {
        0 => None,
        1 => Some("1 other that was reported stuck does not pass the filters".to_owned()),
        others => Some(format!("{others} others that were reported stuck do not pass the filters")),
    });
    headline
}

/// No session recorded the sockets in CLOSE_WAIT: where nobody looked, "none" is no answer.
fn not_looked_at(report: &Report) -> Headline {
    let answer = if report.sessions.iter().any(|session| session.kind == SessionKind::Clear) {
        "Reports do not count what `clear` ended, and nobody recorded what else was stuck in CLOSE_WAIT"
    } else {
        "Nobody looked at CLOSE_WAIT in what was recorded"
    };
    Headline { answer: answer.to_owned(), outlook: over(report).into_iter().collect() }
}

fn nothing_stuck(report: &Report) -> Headline {
    let close_wait = &report.close_wait;
    let mut outlook: Vec<String> = over(report).into_iter().collect();
    if close_wait.stays > close_wait.half_open
        && let Some(longest) = report.durations.longest_ns
    {
        let stays = plural(close_wait.stays, "socket");
        outlook.push(format!("{stays} passed through it, the longest stay was {}", Elapsed(longest)));
    }
    if close_wait.half_open > 0 {
        let sockets = plural(close_wait.half_open, "socket");
        outlook.push(format!("{sockets} half-closed and still written to, which is legitimate"));
    }
    let place = if is_lower_bound(report) || report.cannot_claim.iter().any(Caveat::hides_records) {
        " in what could be read"
    } else if !report.sessions.iter().all(SessionReport::looked_everywhere) {
        " in what could be looked at"
    } else {
        ""
    };
    let subject = if report.asked.is_filtered { "None of the sockets asked for" } else { "No socket" };
    let others = match close_wait.filtered_out {
        0 => String::new(),
        1 => ", but 1 other was".to_owned(),
        others => format!(", but {others} others were"),
    };
    Headline { answer: format!("{subject} was stuck in CLOSE_WAIT{place}{others}"), outlook }
}

/// Who keeps descriptors of connections that are over.
fn over(report: &Report) -> Option<String> {
    let over = report.connections_over.as_ref()?;
    let all = plural(over.descriptors, "descriptor");
    let connections =
        if over.descriptors == 1 { "whose connection is over" } else { "whose connections are over" };
    Some(match over.processes.first().and_then(|share| Some((share.process.as_ref()?, share.descriptors))) {
        Some((process, count)) if count == over.descriptors => format!("{process} keeps {all} {connections}"),
        Some((process, count)) => format!("{process} keeps {count} of {all} {connections}"),
        None => format!("{all} {connections} stay open"),
    })
}

/// Whether there were more stuck sockets than were counted, for all that is known.
fn is_lower_bound(report: &Report) -> bool {
    report.cannot_claim.iter().any(Caveat::makes_lower_bounds)
}

/// Names the holder, its count, and where its sockets were opened.
fn who(report: &Report) -> String {
    let CloseWait { stuck, still_stuck, holder_not_recorded, .. } = report.close_wait;
    let holds = if still_stuck > 0 { "holds" } else { "held" };
    let is_at_least = is_lower_bound(report);
    let at_least = if is_at_least { "at least " } else { "" };
    let all = plural(stuck, "stuck socket");
    let Some(first) = report.processes.top.first() else {
        let sockets = plural(stuck, "socket");
        let verb = if stuck == 1 { "was" } else { "were" };
        let why = if holder_not_recorded == stuck {
            "who holds them was not recorded"
        } else {
            "nobody could be named for them"
        };
        return format!("{at_least}{sockets} {verb} stuck in CLOSE_WAIT; {why}");
    };
    if first.share <= MOST_OF_IT
        && let Some(program) = program(report)
    {
        return program;
    }
    let (holders, holds, together) = holders(first, holds);
    let mut text = match (first.sockets == stuck && !is_at_least, stuck) {
        (true, 1) => format!("{holders} {holds} the only stuck socket{together}"),
        (true, _) => format!("{holders} {holds} all {all}{together}"),
        (false, _) => format!("{holders} {holds} {} of {at_least}{all}{together}", first.sockets),
    };
    if let Some(site) = first.sites.first() {
        let (subject, be) = match (site.sockets == first.sockets, site.sockets) {
            (true, 1) => ("it".to_owned(), "was"),
            (true, _) => ("all".to_owned(), "were"),
            (false, 1) => ("1".to_owned(), "was"),
            (false, count) => (count.to_string(), "were"),
        };
        // Writing into memory does not fail.
        let _ = write!(text, "; {}", site.site.clause(&subject, be));
    }
    text
}

/// Who holds the sockets of a process, with the verb, and what is to be said of those that others hold as well.
fn holders(first: &ProcessShare, holds: &'static str) -> (String, &'static str, String) {
    let ProcessShare { process, sockets, shared, shared_with, shares_all_with, partner, .. } = first;
    let Some(partner) = partner.as_ref() else { return (process.to_string(), holds, String::new()) };
    let hold = if holds == "holds" { "hold" } else { holds };
    let holders = match (shares_all_with, shared_with - shares_all_with) {
        (0, _) => {
            let others = shared_with - 1;
            let more = if others > 0 { format!(" and {}", plural(others, "other")) } else { String::new() };
            let part = if shared == sockets { "all".to_owned() } else { shared.to_string() };
            return (process.to_string(), holds, format!(", {part} of them together with {partner}{more}"));
        }
        (1, 0) => format!("{process} and {partner}"),
        _ => format!("{process} and {}", plural(*shared_with, "other")),
    };
    (holders, hold, String::new())
}

/// When no single process holds most: several processes of one program that together do.
fn program(report: &Report) -> Option<String> {
    let ProgramShare { comm, processes, sockets, hosts } = report.program.as_ref()?;
    let (sockets, stuck) = (*sockets, report.close_wait.stuck);
    if *processes < 2 || (sockets as f64) < stuck as f64 * MOST_OF_IT {
        return None;
    }
    let holds = if report.close_wait.still_stuck > 0 { "hold" } else { "held" };
    let part = match is_lower_bound(report) {
        true => format!("{sockets} of at least {stuck}"),
        false if sockets >= stuck => format!("all {stuck}"),
        false => format!("{sockets} of {stuck}"),
    };
    let hosts = if *hosts > 1 { format!(" on {hosts} hosts") } else { String::new() };
    let mut text =
        format!("{processes} processes of {}{hosts} {holds} {part} stuck sockets", EscapedName(comm));
    if let Some(stack) = report.stacks.top.first().filter(|stack| stack.share >= MOST_OF_IT) {
        let _ = write!(text, "; {}", stack.site.clause(&stack.sockets.to_string(), "were"));
    }
    Some(text)
}

fn still(report: &Report) -> Option<String> {
    let CloseWait { stuck, still_stuck, longest_ns, not_looked_at_again, .. } = report.close_wait;
    let longest = longest_ns.map(|ns| format!("the longest has been so for {} at least", Elapsed(ns)));
    if report.over_time.is_none() {
        return longest;
    }
    let longest = longest_ns.map(|ns| format!("; the longest stay was {}", Elapsed(ns))).unwrap_or_default();
    let when = if not_looked_at_again > 0 { "when last looked at" } else { "at the end" };
    Some(match (still_stuck, stuck) {
        (0, 1) => format!("it is stuck no more{longest}"),
        (0, _) => format!("none of them is stuck any more{longest}"),
        (still, all) if still == all && all > 1 => {
            format!("all of them were still stuck {when}{longest}")
        }
        (1, 1) => format!("it was still stuck {when}{longest}"),
        (still, _) => {
            format!("{still} {} still stuck {when}{longest}", if still == 1 { "was" } else { "were" })
        }
    })
}

fn is_growing(process: &ProcessShare) -> bool {
    process.per_minute.is_some_and(|rate| rate > 0.0)
}

fn is_running_out(process: &ProcessShare) -> bool {
    process.fds_run_out_in_ns.is_some() || process.accept_queue_full_in_ns.is_some()
}

fn growth(process: &ProcessShare) -> String {
    let limit = match (process.fds_used, process.fds_limit) {
        (Some(used), Some(limit)) => format!(", with {used} of {limit} descriptors in use"),
        _ => String::new(),
    };
    let end =
        process.fds_run_out_in_ns.map(|ns| format!("; those run out in {}", Elapsed(ns))).unwrap_or_default();
    let queue = match (process.accept_queue_full_in_ns, process.accept_queue_limit) {
        (Some(0), Some(limit)) => format!("; its accept queue is full, with room for {limit}"),
        (Some(ns), Some(limit)) => {
            format!("; its accept queue, with room for {limit}, is full in {}", Elapsed(ns))
        }
        _ => String::new(),
    };
    let rate = match process.per_minute.filter(|rate| *rate > 0.0) {
        Some(rate) => format!("they become more by {rate:.1} a minute at {}", process.process),
        None => process.process.to_string(),
    };
    format!("{rate}{limit}{end}{queue}")
}
