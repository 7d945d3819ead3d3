//! Ended sockets, for people: the plan, the outcome of each, and what ending does not cure.

use std::io::{self, Write};

use super::{
    meanings::{self, StuckSocket},
    parts::{Detail, age, time_of_day, write_not_looked_at, write_owners},
    snapshot,
    sockets::{SocketRow, table, verdict},
};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{
        clearing::{Method, Outcome},
        escape::{Escaped, EscapedName},
        record::cleared::{ClearEnd, ClearPlan, Cleared, Kept, LeftOut, Outcomes},
        state::State,
        units::{Socketed, plural},
    },
};

/// Processes listed that keep descriptors.
const KEEPERS_LISTED: usize = 5;

/// Writes what would be ended, and how.
pub(crate) fn write_plan(
    out: &mut dyn Write,
    plan: &ClearPlan,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let ClearPlan { planned, shared, left_out, scope, duration_ns, kept } = plan;
    let looked = snapshot::looked_at(scope, *duration_ns);
    let what = snapshot::states(scope.states);
    write_not_looked_at(out, &scope.not_looked_at, palette)?;
    if planned.is_empty() {
        if scope.not_looked_at.everything {
            return Ok(());
        }
        writeln!(out, "No socket in {what} is to be ended{}: {looked}.", snapshot::where_looked(scope))?;
        return write_left_out(out, left_out);
    }
    writeln!(out, "{} in {what} to be ended: {looked}.\n", plural(planned.len() as u64, "socket"))?;
    let rows: Vec<SocketRow<'_>> = planned.iter().take(extent.rows).map(row).collect();
    table(&rows, extent.width).write(out)?;
    let rest = planned.len().saturating_sub(extent.rows);
    if rest > 0 {
        let faint = palette.faint;
        writeln!(out, "  {faint}… and {rest} more (--rows 0 shows all){faint:#}")?;
    }
    write_left_out(out, left_out)?;
    if *shared > 0 {
        let sockets = plural(*shared, "socket");
        writeln!(
            out,
            "{sockets} among them held by a process as well that was not asked for: it loses them too."
        )?;
    }
    let is_elsewhere = |cleared: &&Cleared| cleared.state == State::CloseWait && cleared.other_end.is_none();
    let elsewhere = planned.iter().filter(is_elsewhere).count() as u64;
    if elsewhere > 0 {
        let sockets = plural(elsewhere, "socket");
        writeln!(
            out,
            "Of {sockets} the other end is not known: whether it still waits for an answer cannot be told."
        )?;
    }
    let stuck = planned.iter().filter(|cleared| cleared.state == State::CloseWait);
    let stuck = stuck.map(|cleared| StuckSocket {
        verdict: cleared.verdict,
        because: &cleared.because,
        unknown_because: cleared.unknown_because,
    });
    meanings::write(out, stuck, "socket", palette)?;
    writeln!(out)?;
    write_meanings(out, planned, palette)?;
    write_kept(out, kept, "will keep")
}

fn write_left_out(out: &mut dyn Write, left_out: &LeftOut) -> io::Result<()> {
    let LeftOut { too_young, age_hidden, still_used, beyond_limit } = *left_out;
    if too_young > 0 {
        writeln!(out, "Left out: {}, younger or of unknown age.", plural(too_young, "socket"))?;
    }
    if age_hidden > 0 {
        let sockets = plural(age_hidden, "socket");
        writeln!(
            out,
            "Left out so far: {sockets} whose age the answers to keep-alive probes hide; before any is ended, they are watched for as long as --older-than says."
        )?;
    }
    if still_used > 0 {
        let sockets = plural(still_used, "socket");
        writeln!(
            out,
            "Left out: {sockets}, half-closed and still used or waited for (--verdict half_open takes such too)."
        )?;
    }
    if beyond_limit > 0 {
        writeln!(out, "Left out: {}, younger and beyond --limit.", plural(beyond_limit, "socket"))?;
    }
    Ok(())
}

/// What the ways mean, and why some sockets have none; each once.
fn write_meanings(out: &mut dyn Write, planned: &[Cleared], palette: &Palette) -> io::Result<()> {
    let alert = palette.alert;
    let uses = |method| planned.iter().any(|cleared| cleared.method == Some(method));
    if uses(Method::Destroy) {
        writeln!(
            out,
            "  {alert}destroy{alert:#}: the kernel ends the connection at once (SOCK_DESTROY); its peer is sent \
             a reset, the application reads end of file and finds ECONNABORTED when it writes"
        )?;
    }
    if uses(Method::Shutdown) {
        writeln!(
            out,
            "  {alert}shutdown{alert:#}: shutdown(2) on a copy of the holder's descriptor; the peer sees an orderly \
             end, the application end of file"
        )?;
    }
    if planned.iter().any(|cleared| cleared.state == State::TimeWait) {
        writeln!(
            out,
            "  {alert}TIME_WAIT{alert:#} keeps late segments away from the next connection between the same ports; \
             without it they may reach it (RFC 1337)"
        )?;
    }
    let mut written: Vec<String> = Vec::new();
    for reason in planned.iter().filter_map(|cleared| cleared.outcome.reason()) {
        if !written.contains(&reason) {
            writeln!(out, "  {alert}-{alert:#}: {reason}")?;
            written.push(reason);
        }
    }
    Ok(())
}

/// What ending sockets does not cure.
fn write_kept(out: &mut dyn Write, kept: &[Kept], keep: &str) -> io::Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nA process keeps the descriptor of an ended socket until it closes it itself: too many open files (EMFILE) \
         are not cured by this."
    )?;
    for Kept { process, descriptors, fds_used, fds_limit } in kept.iter().take(KEEPERS_LISTED) {
        let in_use = match (fds_used, fds_limit) {
            (Some(used), Some(limit)) => format!(" ({used} of {limit} in use)"),
            (Some(used), None) => format!(" ({used} in use)"),
            (None, _) => String::new(),
        };
        let name = EscapedName(&process.comm);
        let descriptors = plural(*descriptors, "such descriptor");
        writeln!(out, "  {name} (pid {}) {keep} {descriptors}{in_use}", process.pid)?;
    }
    let rest = kept.get(KEEPERS_LISTED..).unwrap_or_default();
    if !rest.is_empty() {
        let descriptors: u64 = rest.iter().map(|kept| kept.descriptors).sum();
        let (processes, descriptors) =
            (plural(rest.len() as u64, "process"), plural(descriptors, "such descriptor"));
        writeln!(out, "  and {processes} more {keep} {descriptors}")?;
    }
    Ok(())
}

fn row(cleared: &Cleared) -> SocketRow<'_> {
    SocketRow {
        age: cleared.age.as_ref(),
        state: cleared.state,
        owners: &cleared.owners,
        endpoints: &cleared.socket.endpoints,
        unread: None,
        verdict: cleared.verdict,
        reason: cleared.because.first().map(|reason| reason.id),
        other_end: cleared.other_end.as_ref(),
        unknown_because: cleared.unknown_because,
        by: Some(cleared.method.map_or("-", method)),
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Destroy => "destroy",
        Method::Shutdown => "shutdown",
    }
}

/// Writes what became of one socket.
pub(crate) fn write(out: &mut dyn Write, cleared: &Cleared, palette: &Palette) -> io::Result<()> {
    let (word, style) = match cleared.outcome {
        Outcome::Gone => ("GONE   ", palette.calm),
        Outcome::Closing(_) => ("CLOSING", palette.calm),
        Outcome::Refused(_) => ("REFUSED", palette.alert),
        Outcome::Changed(_) => ("CHANGED", palette.faint),
        Outcome::DryRun(_) => ("DRY RUN", palette.faint),
    };
    write!(out, "{}  {style}{word}{style:#}  ", time_of_day(cleared.time).strftime("%H:%M:%S"))?;
    write_owners(out, &cleared.owners, cleared.unknown_because, Detail::Full, palette)?;
    write!(out, "  {}  ", Socketed(&cleared.socket))?;
    match &cleared.age {
        Some(time) => {
            write!(out, "in CLOSE_WAIT for {}  {}", age(time), verdict(cleared.state, cleared.verdict))?;
        }
        None => write!(out, "in {}", cleared.state)?,
    }
    if let Some(by) = cleared.method {
        write!(out, "  by {}", method(by))?;
    }
    if let Some(reason) = cleared.outcome.reason() {
        write!(out, "  {}", Escaped(&reason))?;
    }
    writeln!(out)
}

/// Writes the end of the session.
pub(crate) fn write_end(out: &mut dyn Write, end: &ClearEnd) -> io::Result<()> {
    let Outcomes { gone, closing, refused, changed, dry_run } = end.outcomes;
    let acted_upon = gone + closing + refused + changed;
    if acted_upon == 0 {
        return match dry_run {
            0 => Ok(()),
            _ => writeln!(
                out,
                "\nNothing was done: the same command with --yes ends those that are not marked -."
            ),
        };
    }
    writeln!(out)?;
    if let Some(not_looked_at) = &end.summary.not_looked_at {
        write_not_looked_at(out, not_looked_at, &Palette::default())?;
    }
    write!(out, "{} of {} gone", gone, plural(acted_upon, "socket"))?;
    for (count, what) in [
        (closing, "waiting for the peer's last acknowledgment"),
        (refused, "refused"),
        (changed, "left alone, because something happened to them after they were listed"),
    ] {
        if count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    writeln!(out, ".")?;
    write_kept(out, &end.kept, "keeps")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        clearing::{Change, Refusal},
        coverage::NotLookedAt,
        examples,
        owner::Owner,
        pid::Pid,
        process::ProcessIdentity,
        record::Scope,
        socket::Socket,
        state::StateSet,
    };

    fn cleared(outcome: Outcome, method: Option<Method>) -> Cleared {
        let process = Arc::new(ProcessIdentity::from_name(Pid::new(71), "x\u{1b}[2J"));
        let owners = vec![Owner { process, ..examples::owner() }];
        Cleared {
            socket: Socket { netns: None, ..examples::socket() },
            outcome,
            method,
            owners,
            ..examples::cleared()
        }
    }

    fn kept() -> Vec<Kept> {
        let process = Arc::new(ProcessIdentity::from_name(Pid::new(71), "x\u{1b}[2J"));
        vec![Kept { process, ..examples::kept() }]
    }

    fn plan(planned: Vec<Cleared>, left_out: LeftOut, rows: usize) -> String {
        let scope = Scope {
            states: StateSet::CLOSE_WAIT,
            namespaces: 1,
            processes: 9,
            not_looked_at: NotLookedAt::default(),
        };
        let plan = ClearPlan { planned, shared: 1, left_out, scope, duration_ns: 9_000_000, kept: kept() };
        let mut out = Vec::new();
        write_plan(&mut out, &plan, Extent { rows, width: Some(120), height: None }, &Palette::default())
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plan_tells_what_would_happen_and_what_it_would_not_cure() {
        let left_out = LeftOut { too_young: 3, age_hidden: 4, still_used: 2, beyond_limit: 1 };
        let planned = vec![
            cleared(Outcome::DryRun(None), Some(Method::Destroy)),
            cleared(Outcome::DryRun(Some(Refusal::NoDescriptor)), None),
        ];
        let text = plan(planned.clone(), left_out, 40);
        for expected in [
            "2 sockets in CLOSE_WAIT to be ended",
            "2m 05s  x\\u{1b}[2J (71)  17  10.0.0.1:8080  192.0.2.1:40001  eof_read  destroy",
            "3 sockets, younger",
            "--verdict half_open",
            "--limit",
            "ECONNABORTED",
            "would be refused: no process has a descriptor",
            "1 socket among them held by a process as well that was not asked for",
            "EMFILE",
            "x\\u{1b}[2J (pid 71) will keep 2 such descriptors (812 of 1024 in use)",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains("shutdown(2)"), "{text}");
        assert!(plan(planned, left_out, 1).contains("… and 1 more (--rows 0 shows all)"));
    }

    #[test]
    fn finding_nothing_says_what_was_left_out() {
        let text = plan(Vec::new(), LeftOut { too_young: 1, ..LeftOut::default() }, 40);
        assert!(text.starts_with("No socket in CLOSE_WAIT is to be ended: looked at 9 processes"), "{text}");
        assert!(text.contains("1 socket, younger") && !text.contains("EMFILE"), "{text}");
    }

    #[test]
    fn each_outcome_is_a_line_with_its_reason() {
        let line = |outcome| {
            let mut out = Vec::new();
            write(&mut out, &cleared(outcome, Some(Method::Destroy)), &Palette::default()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let gone = line(Outcome::Gone);
        assert!(
            gone.contains("GONE     x\\u{1b}[2J (pid 71) fd 17  10.0.0.1:8080 <-> 192.0.2.1:40001"),
            "{gone}"
        );
        assert!(gone.ends_with("in CLOSE_WAIT for about 2m 05s  eof_read  by destroy\n"), "{gone}");
        assert!(line(Outcome::Changed(Change::State(State::LastAck))).contains("went on to LAST_ACK"));
        assert!(line(Outcome::Refused(Refusal::System("a\nb".into()))).contains("a\\nb"));
        assert!(line(Outcome::Closing(State::LastAck)).contains("not acknowledged by the peer yet"));
    }

    #[test]
    fn the_end_counts_and_warns() {
        let summary = examples::summary();
        let shown = |outcomes| {
            let mut out = Vec::new();
            let end = ClearEnd { summary: summary.clone(), outcomes, kept: kept() };
            write_end(&mut out, &end).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = shown(Outcomes { gone: 12, refused: 1, ..Outcomes::default() });
        assert!(text.contains("12 of 13 sockets gone, 1 refused."), "{text}");
        assert!(text.contains("(pid 71) keeps 2 such descriptors"), "{text}");
        assert!(shown(Outcomes { dry_run: 2, ..Outcomes::default() }).contains("Nothing was done"));
        assert_eq!(shown(Outcomes::default()), "");
    }
}
