//! Judges what the tool says of a way, against the program's own mark and the kernel's word.

use serde_json::Value;

use super::way::{Own, Way};
use crate::support::kernel;
use crate::support::processes;
use crate::support::truth::Side;

/// What was said of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The application's own function, at its line.
    Own,
    /// None, and a true reason.
    Honest,
    /// Another line, a false reason, or silence.
    Misleading,
}

impl Line {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Honest => "honest",
            Self::Misleading => "misleading",
        }
    }
}

/// The copy of the stack was lost, as those of a burst are on a machine that is busy: true of any way.
const LOST: &str = "stack_not_kept";

#[derive(Debug)]
pub(crate) struct Judged {
    pub process: bool,
    pub verdict: bool,
    pub line: Line,
    /// What the tool said: the line, or the reason without one.
    pub said: String,
    /// What it should have said, where that is something else.
    pub remark: String,
}

impl Judged {
    pub(crate) fn is_false(&self) -> bool {
        !self.process || self.line == Line::Misleading
    }

    pub(crate) fn missing(remark: String) -> Self {
        Self { process: false, verdict: false, line: Line::Misleading, said: "nothing".to_owned(), remark }
    }
}

/// Judges the record of a socket that a process, or a descendant of it, holds.
pub(crate) fn judge(way: &Way, record: &Value, side: Side, process: i32) -> Judged {
    let (local, remote) = (&record["lport"], &record["rport"]);
    let seen = kernel::close_wait(None, &format!("sport = :{local} and dport = :{remote}"));
    let Some(socket) = seen.first() else {
        return Judged::missing(format!("{} is in CLOSE_WAIT no more", side.filter()));
    };
    let owners = record["owners"].as_array().into_iter().flatten();
    let mut pids: Vec<i64> = owners.filter_map(|owner| owner["pid"].as_i64()).collect();
    pids.sort_unstable();
    let holders: Vec<i64> = socket.holders.iter().copied().map(i64::from).collect();
    let of_way = processes::descendants(process);
    let are_of_way = socket.holders.iter().all(|holder| *holder == process || of_way.contains(holder));
    // The FIN counts as a byte until it has been read.
    let verdict: &[&str] = if socket.recv_q == 0 { &["eof_read"] } else { &["eof_unread", "data_unread"] };
    let is_right = record["verdict"].as_str().is_some_and(|said| verdict.contains(&said));
    let field = if way.reads_the_end { "eof_read_by" } else { "opened_by" };
    let (line, said, remark) = line(way, &record[field], &record["no_site"]);
    let mut remarks = vec![remark];
    if pids != holders || !are_of_way {
        remarks.push(format!("owners {pids:?}, held by {holders:?} of {process}"));
    }
    if !is_right {
        remarks.push(format!("verdict {}, expected {}", record["verdict"], verdict.join(" or ")));
    }
    remarks.retain(|remark| !remark.is_empty());
    Judged {
        process: pids == holders && are_of_way,
        verdict: is_right,
        line,
        said,
        remark: remarks.join("; "),
    }
}

fn line(way: &Way, call: &Value, without_call: &Value) -> (Line, String, String) {
    if let Some(site) = call["site"].as_str() {
        let (is_own, expected) = match &way.own {
            Some(own) => (is_it(site, own), format!("{} {:?}", own.function, own.place)),
            None => (false, "no line".to_owned()),
        };
        let stack = || format!("expected {expected}; the stack: {}", call["stack"]);
        return if is_own {
            (Line::Own, site.to_owned(), String::new())
        } else {
            (Line::Misleading, site.to_owned(), stack())
        };
    }
    let no_site = if call.is_null() { without_call } else { &call["no_site"] };
    let because = no_site["because"].as_str().unwrap_or("silence");
    let said = match no_site["of"].as_str() {
        Some(of) => format!("{because}: {of}"),
        None => because.to_owned(),
    };
    if way.reasons.contains(&because) || because == LOST {
        (Line::Honest, said, String::new())
    } else {
        let stack = format!("expected {}; the stack: {}", way.reasons.join(" or "), call["stack"]);
        (Line::Misleading, said, stack)
    }
}

/// Whether a frame, `function (file:line)`, is the one to be named.
fn is_it(site: &str, own: &Own) -> bool {
    let (function, place) = site.rsplit_once(" (").unwrap_or((site, ""));
    let place = place.trim_end_matches(')');
    function.contains(own.function)
        && own.place.as_ref().is_none_or(|own| place == own || place.ends_with(&format!("/{own}")))
}
