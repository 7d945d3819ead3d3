//! Leaks and their ends on a terminal, when there are too many to read: the first of a second come in full, of the others
//! each process has a line. Files have all of them.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::{Duration, Instant},
};

use super::parts::{cause, holders, time_of_day};
use crate::{
    forms::palette::Palette,
    model::{
        ended::EndedHow,
        owner::{Evidence, Owner},
        record::{Leak, LeakEnd, Record},
        units::{Elapsed, plural},
    },
};

/// The time that is summed up in a line.
const INTERVAL: Duration = Duration::from_secs(1);

/// Records written in full in that time: of all, and of one process.
const MOST_IN_FULL: u64 = 10;
const MOST_OF_ONE: u64 = 3;

/// Lines for the others, the largest sums first.
const MOST_LINES: usize = 15;

/// Processes counted one by one.
const MAX_GROUPS: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Leak,
    End,
}

/// What is summed up of one process, or of processes that hold sockets together.
#[derive(Default)]
struct Group {
    in_full: u64,
    held_back: u64,
    oldest_ns: u64,
    /// The least and the greatest of its descriptors for the sockets, and of those that it listens with.
    fds: Option<(u32, u32)>,
    listening: Option<(u32, u32)>,
    /// Verdicts with their reasons, or how they ended.
    why: BTreeMap<String, u64>,
}

/// What was held back since the last line.
#[derive(Default)]
pub(super) struct Crowd {
    began: Option<Instant>,
    in_full: u64,
    latest: Option<jiff::Timestamp>,
    groups: BTreeMap<(Kind, String), Group>,
    /// Sockets of processes beyond [`MAX_GROUPS`].
    others: u64,
}

impl Crowd {
    /// Whether the record is to be written in full; otherwise it is in the sums.
    pub(super) fn admits(&mut self, record: &Record) -> bool {
        let (kind, who, time) = match record {
            Record::Leak(leak) => (Kind::Leak, holders(leak.owners.first(), leak.owners.len()), leak.time),
            Record::LeakEnd(end) => (Kind::End, holders(end.closed_by.as_ref(), 1), end.time),
            _ => return true,
        };
        self.latest = Some(time);
        let key = (kind, who);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            self.others += 1;
            return false;
        }
        let group = self.groups.entry(key).or_default();
        if self.in_full < MOST_IN_FULL && group.in_full < MOST_OF_ONE && group.held_back == 0 {
            self.in_full += 1;
            group.in_full += 1;
            return true;
        }
        match record {
            Record::Leak(leak) => group.add_leak(leak),
            Record::LeakEnd(end) => group.add_end(end),
            _ => {}
        }
        false
    }

    /// Whether it is time for the sums; `None` when nothing more will come.
    pub(super) fn is_due(&mut self, now: Option<Instant>) -> bool {
        let Some(now) = now else { return true };
        if self.groups.is_empty() {
            self.began = None;
            return false;
        }
        now.saturating_duration_since(*self.began.get_or_insert(now)) >= INTERVAL
    }

    /// Writes the sums, and begins anew; returns how many records they stand for.
    pub(super) fn write(&mut self, out: &mut dyn Write, palette: &Palette) -> io::Result<u64> {
        let Self { latest, groups, others, .. } = std::mem::take(self);
        let mut groups: Vec<((Kind, String), Group)> =
            groups.into_iter().filter(|(_, group)| group.held_back > 0).collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.held_back));
        let count: u64 = groups.iter().map(|(_, group)| group.held_back).sum::<u64>() + others;
        let Some(time) = latest.filter(|_| count > 0) else { return Ok(0) };
        let time = time_of_day(time).strftime("%H:%M:%S").to_string();
        let Palette { alert, calm, name, faint } = *palette;
        for ((kind, who), group) in groups.iter().take(MOST_LINES) {
            let (style, word) = match kind {
                Kind::Leak => (alert, "LEAK"),
                Kind::End => (calm, "END "),
            };
            write!(out, "{time}  {style}{word}{style:#}  {name}{who}{name:#}: ")?;
            let more = if group.in_full > 0 { " more" } else { "" };
            let sockets = plural(group.held_back, "socket");
            let (number, noun) = sockets.split_once(' ').unwrap_or((&sockets, ""));
            write!(out, "{number}{more} {noun}")?;
            for (how, fds) in [("", group.fds), ("listens with ", group.listening)] {
                match fds {
                    Some((first, last)) if first < last => write!(out, ", {how}fds {first}–{last}")?,
                    Some((fd, _)) => write!(out, ", {how}fd {fd}")?,
                    None => {}
                }
            }
            let is_one = group.why.len() == 1;
            let why = group
                .why
                .iter()
                .map(|(why, count)| if is_one { why.clone() } else { format!("{count} × {why}") });
            let why = why.collect::<Vec<_>>().join(", ");
            writeln!(out, ", oldest {}: {why}", Elapsed(group.oldest_ns))?;
        }
        let rest = groups.get(MOST_LINES..).unwrap_or_default();
        let sockets = rest.iter().map(|(_, group)| group.held_back).sum::<u64>() + others;
        if sockets > 0 {
            let (processes, sockets) = (plural(rest.len() as u64, "process"), plural(sockets, "socket"));
            let least = if others > 0 { "more than " } else { "" };
            writeln!(out, "          {faint}… and {least}{processes} more with {sockets}{faint:#}")?;
        }
        Ok(count)
    }
}

impl Group {
    fn add_leak(&mut self, leak: &Leak) {
        self.held_back += 1;
        self.oldest_ns = self.oldest_ns.max(leak.age.as_ref().map_or(0, |age| age.ns));
        if let Some(Owner { evidence, fds, .. }) = leak.owners.first() {
            let range = match evidence {
                Evidence::FdTable => Some(&mut self.fds),
                Evidence::Listener => Some(&mut self.listening),
                // None, or that of a ring.
                Evidence::Opened
                | Evidence::None
                | Evidence::InCall
                | Evidence::IoUring
                | Evidence::Mapped => None,
            };
            if let Some(range) = range {
                for fd in fds {
                    let (first, last) = range.unwrap_or((*fd, *fd));
                    *range = Some((first.min(*fd), last.max(*fd)));
                }
            }
        }
        let why = match leak.verdict {
            Some(_) => cause(leak.verdict, leak.first_reason().map(|reason| reason.id)),
            None => "cause unknown".to_owned(),
        };
        *self.why.entry(why).or_default() += 1;
    }

    fn add_end(&mut self, end: &LeakEnd) {
        self.held_back += 1;
        self.oldest_ns = self.oldest_ns.max(end.age.ns);
        *self.why.entry(end.how.map_or("gone, unseen", EndedHow::as_event).to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        examples,
        pid::Pid,
        process::ProcessIdentity,
        reason::{Reason, ReasonId, ReasonNumbers},
        verdict::Verdict,
    };

    fn leak(pid: u32, fd: u32) -> Record {
        let process = Arc::new(ProcessIdentity::from_name(Pid::new(pid), "flood"));
        let owners = vec![Owner { process, fds: vec![fd], ..examples::owner() }];
        Record::Leak(Box::new(Leak { owners, ..examples::leak() }))
    }

    #[test]
    fn of_many_leaks_a_few_are_in_full_and_each_process_has_a_line() {
        let mut crowd = Crowd::default();
        let in_full = (0..17).filter(|nth| crowd.admits(&leak(4525, 6 + nth))).count();
        assert_eq!(in_full, 3);
        for pid in 1..=40 {
            for nth in 0..pid {
                crowd.admits(&leak(pid, nth));
            }
        }
        let began = Instant::now();
        assert!(!crowd.is_due(Some(began)), "the second begins");
        assert!(crowd.is_due(Some(began + INTERVAL)));
        let mut text = Vec::new();
        let count = crowd.write(&mut text, &Palette::default()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(count, 17 + 820 - MOST_IN_FULL, "{text}");
        assert!(text.contains("flood (pid 40): 40 sockets, fds 0–39, oldest "), "{text}");
        assert_eq!(text.lines().count(), MOST_LINES + 1, "{text}");
        assert!(text.contains("processes more with "), "{text}");
        assert_eq!(crowd.write(&mut Vec::new(), &Palette::default()).unwrap(), 0);
    }

    #[test]
    fn what_was_never_accepted_has_the_listener_and_the_reason_of_the_full_line() {
        let mut crowd = Crowd::default();
        let reason = Reason {
            id: ReasonId::AcceptQueue,
            text: "5 connections wait".to_owned(),
            numbers: ReasonNumbers::default(),
        };
        for _ in 0..5 {
            let Record::Leak(mut leak) = leak(3207, 3) else { unreachable!("it is a leak") };
            leak.owners[0].evidence = Evidence::Listener;
            leak.verdict = Some(Verdict::NeverAccepted);
            leak.because = Some(vec![reason.clone()]);
            crowd.admits(&Record::Leak(leak));
        }
        let mut text = Vec::new();
        crowd.write(&mut text, &Palette::default()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("flood (pid 3207): 2 more sockets, listens with fd 3, oldest "), "{text}");
        assert!(text.ends_with(": never_accepted/accept_queue\n"), "{text}");
    }

    #[test]
    fn a_few_leaks_a_second_are_left_as_they_are() {
        let mut crowd = Crowd::default();
        assert!((0..3).all(|nth| crowd.admits(&leak(1, nth))));
        assert_eq!(crowd.write(&mut Vec::new(), &Palette::default()).unwrap(), 0);
    }
}
