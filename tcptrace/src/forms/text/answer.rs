//! The answer of one look, for people: how many sockets are stuck, who has the most, and what comes next. It is the last
//! line of all, where the cursor is: whatever is above it may be out of the window.

use std::io::{self, Write};

use super::{
    program::Program,
    summary::{most, most_of_program, stuck_in_words, worst},
};
use crate::{
    forms::palette::Palette,
    model::{
        record::{ProcessSummary, Summary},
        units::plural,
    },
};

/// Writes it, of a look that has found something, `half_open` sockets among them.
pub(super) fn write(
    out: &mut dyn Write,
    summary: &Summary,
    half_open: u64,
    palette: &Palette,
) -> io::Result<()> {
    let name = palette.name;
    match answer(summary, half_open) {
        Some(answer) => writeln!(out, "\n{name}{answer}{name:#}"),
        None => Ok(()),
    }
}

/// `None` where nobody asked for what is stuck.
fn answer(summary: &Summary, half_open: u64) -> Option<String> {
    let (stuck, over) = (summary.still_stuck?, summary.connections_over.unwrap_or_default());
    if stuck == 0 {
        let which =
            if half_open == 1 { "the one socket in CLOSE_WAIT is" } else { "the sockets in CLOSE_WAIT are" };
        return (half_open > 0)
            .then(|| format!("No leak: {which} half-open, and still written to or waited for."));
    }
    let is_part = summary.not_looked_at.as_ref().is_some_and(|which| !which.is_nothing());
    let state = stuck_in_words(stuck, over, if is_part { "At least " } else { "" }, "");
    let holders = summary.processes.len() as u64 + summary.more_processes;
    let unnamed = summary.totals.unattributed;
    let had = match holders {
        1 => "1 process has some".to_owned(),
        _ => format!("{} have some", plural(holders, "process")),
    };
    let worst = worst(summary);
    let program = Program::of(summary);
    let most = match &program {
        Some(program) => Some(format!("{}.", most_of_program(program))),
        None => worst.map(|process| format!("{}{}.", most(process, holders), in_use(process))),
    };
    let who = match (holders, unnamed, most.unwrap_or_default()) {
        (0, _, _) => "; no holder could be named for them.".to_owned(),
        (1, 0, only) => format!(": {only}"),
        (_, 0, most) => format!("; {had}. {most}"),
        (_, _, most) => {
            format!("; {had}, and no holder could be named for {}. {most}", plural(unnamed, "socket"))
        }
    };
    let of_worst = || Some(format!(" --pid {}", worst?.process.pid.visible()?));
    let filter = program.as_ref().map_or_else(of_worst, Program::filter).unwrap_or_default();
    Some(format!(
        "{state}{who} Next: `tcptrace leaks{filter}` tells how fast they become more, and at which line they are opened."
    ))
}

/// `, 150 of 1024 descriptors in use`.
fn in_use(process: &ProcessSummary) -> String {
    match (process.fds_used, process.fds_limit) {
        (Some(used), Some(limit)) => format!(", {used} of {limit} descriptors in use"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        coverage::NotLookedAt,
        examples,
        record::{ProcessSummary, Totals},
    };

    fn said(stuck: u64, processes: usize, unattributed: u64) -> String {
        let looked_once = ProcessSummary {
            stacks: Vec::new(),
            per_minute: None,
            fds_run_out_in_ns: None,
            accept_queue_full_in_ns: None,
            ..examples::process_summary()
        };
        let summary = Summary {
            totals: Totals { unattributed, ..Totals::default() },
            processes: vec![looked_once; processes],
            still_stuck: Some(stuck),
            ..examples::summary()
        };
        answer(&summary, 0).unwrap_or_default()
    }

    const NEXT: &str = "tells how fast they become more, and at which line they are opened.";

    #[test]
    fn it_says_how_many_are_stuck_who_has_the_most_and_what_comes_next() {
        let worst = "shop (71) with 2, 812 of 1024 descriptors in use.";
        let next = format!("Next: `tcptrace leaks --pid 71` {NEXT}");
        let one = format!("2 sockets stuck in CLOSE_WAIT: {worst} {next}");
        assert_eq!(said(2, 1, 0), one);
        let two = format!("9 sockets stuck in CLOSE_WAIT; 2 processes have some. Most: {worst} {next}");
        assert_eq!(said(9, 2, 0), two);
        let three = "6 sockets stuck in CLOSE_WAIT; 3 processes have some. Most: 3 processes of shop with 6.";
        assert_eq!(said(6, 3, 0), format!("{three} Next: `tcptrace leaks --comm shop` {NEXT}"));
        assert_eq!(
            said(1, 0, 1),
            format!(
                "1 socket stuck in CLOSE_WAIT; no holder could be named for them. Next: `tcptrace leaks` {NEXT}"
            )
        );
        assert!(
            said(3, 1, 1).contains("; 1 process has some, and no holder could be named for 1 socket. shop")
        );
    }

    #[test]
    fn half_open_sockets_are_no_leak_and_a_part_is_at_least() {
        let none = Summary { still_stuck: Some(0), ..examples::summary() };
        let half_open =
            "No leak: the sockets in CLOSE_WAIT are half-open, and still written to or waited for.";
        assert_eq!(answer(&none, 2).as_deref(), Some(half_open));
        assert_eq!(answer(&none, 0), None, "sockets in other states were asked for");
        let not_looked_at = Some(NotLookedAt { namespaces: 1, ..NotLookedAt::default() });
        let summary = Summary { still_stuck: Some(2), not_looked_at, ..examples::summary() };
        assert!(answer(&summary, 0).is_some_and(|text| text.starts_with("At least 2 sockets stuck")));
        assert_eq!(answer(&Summary { still_stuck: None, ..summary }, 0), None);
    }
}
