//! Processes of one program that together have most of the stuck sockets, none of them most: those of a server that forks
//! for each connection. Pure.

use std::borrow::Cow;

use crate::model::record::{ProcessSummary, StackCount, Summary};

/// So many processes are spoken of by their name.
const LEAST_PROCESSES: u64 = 3;

/// The processes of one name and place whose sockets were opened at one line, as far as that is known: the line of a process
/// that was there before tcptrace is that of others with its command line.
pub(super) struct Program<'a> {
    /// The one with the most.
    pub worst: &'a ProcessSummary,
    pub processes: u64,
    /// Their sockets, those that are stuck still, and those that were opened at the line.
    pub sockets: u64,
    pub still_stuck: u64,
    pub of_line: u64,
    /// The line, with the stacks of one of them.
    pub line: Option<&'a StackCount>,
}

impl<'a> Program<'a> {
    /// The program that the answer is about; `None` where it is about one process.
    pub(super) fn of(summary: &'a Summary) -> Option<Self> {
        let worst = summary.processes.first()?;
        let stuck = summary.still_stuck?;
        let of_place =
            summary.processes.iter().filter(|process| process.still_stuck > 0 && is_in_place(process, worst));
        // Of a command line, a summary records no more.
        let is_like_worst = |process: &ProcessSummary| process.command == worst.command;
        let line = of_place.clone().filter(|process| is_like_worst(process)).find_map(first_line);
        let mut program = Self { worst, processes: 0, sockets: 0, still_stuck: 0, of_line: 0, line };
        let title = line.and_then(title);
        let is_alike = |process: &ProcessSummary| match first_line(process) {
            Some(of_it) => self::title(of_it) == title,
            None => is_like_worst(process),
        };
        for process in of_place.filter(|process| is_alike(process)) {
            program.processes += 1;
            program.sockets += process.sockets;
            program.still_stuck += process.still_stuck;
            program.of_line += first_line(process).map_or(0, |counted| counted.count);
        }
        // Where several hold one socket, their sums say nothing.
        let is_sum = program.still_stuck <= stuck;
        let has_most = |sockets: u64| sockets.saturating_mul(2) > stuck;
        let is_many = program.processes >= LEAST_PROCESSES;
        (is_many && is_sum && has_most(program.still_stuck) && !has_most(worst.still_stuck))
            .then_some(program)
    }

    /// The option that asks for its processes, where its name needs no quotation marks.
    pub(super) fn filter(&self) -> Option<String> {
        let comm = &self.worst.process.comm;
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        (comm.starts_with(|first: char| first.is_ascii_alphanumeric()) && comm.chars().all(is_plain))
            .then(|| format!(" --comm {comm}"))
    }
}

/// The line of code that opened the most.
pub(super) fn first_line(process: &ProcessSummary) -> Option<&StackCount> {
    process.stacks.iter().find(|counted| counted.stack.line().is_some())
}

fn is_in_place(one: &ProcessSummary, other: &ProcessSummary) -> bool {
    let (name, of_other) = (&one.process, &other.process);
    name.comm == of_other.comm && name.unit == of_other.unit && name.container == of_other.container
}

fn title(line: &StackCount) -> Option<Cow<'_, str>> {
    line.stack.title()
}
