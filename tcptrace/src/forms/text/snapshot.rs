//! One look at the host, for people: what was looked at, a table of the sockets, and the processes.

use std::io::{self, Write};

use super::{
    answer,
    meanings::{self, StuckSocket},
    parts::write_not_looked_at,
    sockets::{SocketRow, table},
    summary,
};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{
        escape::Escaped,
        record::{Age, Group, Leak, Scope, Snapshot},
        state::{State, StateSet},
        units::{Elapsed, plural},
        verdict::Verdict,
    },
};

/// Writes all of it.
pub(crate) fn write(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let Snapshot { groups, over, others, scope, summary } = snapshot;
    let in_close_wait = summary.in_close_wait.unwrap_or_default() + others;
    let listed: usize = groups.iter().map(|group| group.leaks.len()).sum();
    // Sockets in CLOSE are those whose connection is over, listed apart.
    let found = listed + if scope.states.contains(State::Close) { over.len() } else { 0 };
    let half_open = groups.iter().flat_map(|group| &group.leaks).filter(|leak| is_half_open(leak)).count();
    let looked = looked_at(scope, summary.duration_ns);
    let what = states(scope.states);
    write_not_looked_at(out, &scope.not_looked_at, palette)?;
    if found == 0 {
        if scope.not_looked_at.everything {
            return Ok(());
        }
        let in_all = match in_close_wait {
            0 => String::new(),
            all => format!(" of those asked for ({} in CLOSE_WAIT in all)", plural(all, "socket")),
        };
        let place = where_looked(scope);
        writeln!(out, "No socket is in {what}{in_all}{place}: {looked}.")?;
    } else {
        writeln!(out, "{} in {what}: {looked}.", plural(found as u64, "socket"))?;
    }
    if half_open > 0 {
        let count = plural(half_open as u64, "socket");
        writeln!(out, "{count} among them half-open: still being written to, or waited for, and no leak.")?;
    }
    let hidden = groups.iter().flat_map(|group| &group.leaks).filter(|leak| has_hidden_age(leak)).count();
    if hidden > 0 {
        let count = plural(hidden as u64, "socket");
        writeln!(
            out,
            "{count} with keep-alive, whose answers hide the age: sorted by the greatest that is possible."
        )?;
    }
    write_groups(out, groups, extent, palette)?;
    super::over::write(out, over, extent, palette)?;
    if !summary.processes.is_empty() {
        writeln!(out)?;
        summary::write_processes(out, summary, extent.width, palette)?;
    }
    write_meanings(out, groups, palette)?;
    if found > 0 || !over.is_empty() {
        answer::write(out, summary, half_open as u64, palette)
    } else {
        Ok(())
    }
}

/// What verdicts with their reasons mean, each once, with what is so of the first socket that has them.
fn write_meanings(out: &mut dyn Write, groups: &[Group], palette: &Palette) -> io::Result<()> {
    let leaks = groups.iter().flat_map(|group| &group.leaks).filter(|leak| leak.state == State::CloseWait);
    let stuck = leaks.map(|leak| StuckSocket {
        verdict: leak.verdict,
        because: leak.because.as_deref().unwrap_or_default(),
        unknown_because: leak.unknown_because,
    });
    meanings::write(out, stuck, "socket", palette)
}

/// Whether answers to keep-alive probes keep the age small that is certain.
fn has_hidden_age(leak: &Leak) -> bool {
    let is_bounded_far = |age: &Age| age.at_most_ns.is_some_and(|most| most > age.ns.saturating_mul(2));
    leak.keep_alive == Some(true) && leak.age.as_ref().is_some_and(is_bounded_far)
}

fn is_half_open(leak: &Leak) -> bool {
    leak.verdict == Some(Verdict::HalfOpen)
}

pub(super) fn states(states: StateSet) -> String {
    let names: Vec<&str> =
        State::ALL.into_iter().filter(|state| states.contains(*state)).map(State::name).collect();
    names.join(" or ")
}

/// What was looked at, so that finding nothing means something.
pub(super) fn looked_at(scope: &Scope, duration_ns: u64) -> String {
    let Scope { states: _, namespaces, processes, not_looked_at: _ } = scope;
    format!(
        "looked at {} in {} in {}",
        plural(*processes, "process"),
        plural(*namespaces, "network namespace"),
        Elapsed(duration_ns),
    )
}

/// Limits a sentence that says "none" to what was looked at.
pub(super) fn where_looked(scope: &Scope) -> &'static str {
    if scope.not_looked_at.is_nothing() { "" } else { " in what could be looked at" }
}

fn write_groups(out: &mut dyn Write, groups: &[Group], extent: Extent, palette: &Palette) -> io::Result<()> {
    /// A table shorter than this does not show what its sockets have in common.
    const FEWEST: usize = 3;
    let listed = groups.get(..extent.rows).unwrap_or(groups);
    let rows = (extent.rows / listed.len().max(1)).max(FEWEST.min(extent.rows));
    for group in listed {
        writeln!(out)?;
        write_group(out, group, Extent { rows, ..extent }, palette)?;
    }
    let rest = groups.get(extent.rows..).unwrap_or_default();
    if !rest.is_empty() {
        let faint = palette.faint;
        let sockets = plural(rest.iter().map(|group| group.leaks.len() as u64).sum(), "socket");
        let others = plural(rest.len() as u64, "group");
        writeln!(out, "\n{faint}… and {others} more with {sockets} (--rows 0 shows all){faint:#}")?;
    }
    Ok(())
}

fn write_group(out: &mut dyn Write, group: &Group, extent: Extent, palette: &Palette) -> io::Result<()> {
    let Group { title, leaks } = group;
    if let Some(title) = title {
        let name = palette.name;
        writeln!(out, "{name}{}{name:#}: {}", Escaped(title), plural(leaks.len() as u64, "socket"))?;
    }
    let rows: Vec<SocketRow<'_>> = leaks.iter().take(extent.rows).map(row).collect();
    table(&rows, extent.width).write(out)?;
    let rest = leaks.len().saturating_sub(extent.rows);
    if rest > 0 {
        let faint = palette.faint;
        let order = if leaks.iter().all(|leak| leak.age.is_some()) { ", none of them older" } else { "" };
        writeln!(out, "  {faint}… and {rest} more{order} (--rows 0 shows all){faint:#}")?;
    }
    Ok(())
}

fn row(leak: &Leak) -> SocketRow<'_> {
    SocketRow {
        age: leak.age.as_ref(),
        state: leak.state,
        owners: &leak.owners,
        endpoints: &leak.socket.endpoints,
        unread: Some(leak.recv_q.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string())),
        verdict: leak.verdict,
        reason: leak.first_reason().map(|reason| reason.id),
        other_end: leak.other_end.as_ref(),
        unknown_because: leak.unknown_because,
        by: None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        coverage::NotLookedAt,
        examples,
        owner::Owner,
        pid::Pid,
        process::ProcessIdentity,
        record::{Age, Summary},
        socket::Socket,
    };

    fn leak(cookie: u64, comm: &str) -> Leak {
        let mut process = ProcessIdentity::from_name(Pid::new(71), comm);
        process.unit = Some("shop-frontend.service".to_owned());
        let owner = Owner { process: Arc::new(process), fds: vec![17, 18], ..examples::owner() };
        Leak {
            socket: Socket { cookie: Some(cookie), netns: None, ..examples::socket() },
            age: Some(Age { at_most_ns: None, ..examples::age() }),
            owners: vec![owner],
            ..examples::leak()
        }
    }

    fn shown(leaks: Vec<Leak>, rows: usize, width: usize) -> String {
        shown_beside(0, leaks, rows, width)
    }

    /// With so many sockets that the filters leave out.
    fn shown_beside(others: u64, leaks: Vec<Leak>, rows: usize, width: usize) -> String {
        let in_close_wait = Some(leaks.len() as u64);
        let summary = Summary { duration_ns: 90_000_000, in_close_wait, ..examples::summary() };
        let scope = Scope {
            states: StateSet::CLOSE_WAIT,
            namespaces: 3,
            processes: 120,
            not_looked_at: NotLookedAt::default(),
        };
        let groups = if leaks.is_empty() { Vec::new() } else { vec![Group { title: None, leaks }] };
        let mut out = Vec::new();
        let extent = Extent { rows, width: Some(width), height: None };
        write(
            &mut out,
            &Snapshot { groups, over: Vec::new(), others, scope, summary },
            extent,
            &Palette::default(),
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn finding_nothing_says_what_was_looked_at() {
        assert_eq!(
            shown(Vec::new(), 40, 80),
            "No socket is in CLOSE_WAIT: looked at 120 processes in 3 network namespaces in 90 ms.\n"
        );
        let filtered = shown_beside(7, Vec::new(), 40, 80);
        let in_all = "No socket is in CLOSE_WAIT of those asked for (7 sockets in CLOSE_WAIT in all): looked";
        assert!(filtered.starts_with(in_all), "{filtered}");
    }

    #[test]
    fn sockets_in_close_that_are_listed_apart_are_found() {
        let scope = Scope {
            states: StateSet::CLOSE,
            namespaces: 3,
            processes: 120,
            not_looked_at: NotLookedAt::default(),
        };
        let summary = Summary { in_close_wait: None, ..examples::summary() };
        let over = vec![Leak { state: State::Close, age: None, ..leak(1, "shop") }];
        let mut out = Vec::new();
        let extent = Extent { rows: 40, width: Some(80), height: None };
        let snapshot = Snapshot { groups: Vec::new(), over, others: 0, scope, summary };
        write(&mut out, &snapshot, extent, &Palette::default()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("1 socket in CLOSE: looked at"), "{text}");
    }

    #[test]
    fn a_narrow_table_leaves_out_what_stands_elsewhere_too() {
        let wide = shown(vec![leak(1, "frontend")], 40, 160);
        assert!(
            wide.contains("≥ 2m 05s  frontend (71)  17 +1  10.0.0.1:8080  192.0.2.1:40001       1"),
            "{wide}"
        );
        assert!(wide.contains("shop-frontend.service"), "{wide}");
        let narrow = shown(vec![leak(1, "frontend")], 40, 80);
        assert!(!narrow.contains("shop-frontend.service") && narrow.contains("192.0.2.1:40001"), "{narrow}");
        let table = narrow.lines().skip(1).take_while(|line| !line.contains("eof_unread ("));
        assert!(table.map(|line| line.chars().count()).all(|width| width <= 80), "{narrow}");
    }

    #[test]
    fn a_long_list_is_cut_and_hostile_names_do_no_harm() {
        let text = shown((0..100).map(|cookie| leak(cookie, "x\u{1b}[2J")).collect(), 5, 160);
        assert!(text.contains("… and 95 more, none of them older"), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("x\\u{1b}[2J (71)"), "{text}");
        assert_eq!(text.matches("192.0.2.1:40001").count(), 5);
        assert_eq!(
            text.matches(crate::diagnosis::advice::advice(Verdict::EofUnread, None)).count(),
            1,
            "the meaning is told once"
        );
    }
}
