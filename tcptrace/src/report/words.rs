//! Words that text and page share: percentages, holders, endings.

use super::model::sockets::WorstSocket;
use crate::model::{ended::EndedHow, verdict::Verdict};

/// A share from 0 to 1 as a percentage.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.5 => "< 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// How a stay ended, if it did.
pub(crate) fn how(socket: &WorstSocket) -> &'static str {
    match (socket.is_open, socket.how) {
        (true, _) if socket.not_looked_at_again => "not looked at again",
        (true, _) => "still stuck",
        (_, Some(EndedHow::Closed)) => "closed",
        (_, Some(EndedHow::Reset)) => "reset",
        (_, Some(EndedHow::Destroyed)) => "destroyed",
        (_, Some(EndedHow::OwnerExited)) => "holder exited",
        (_, Some(EndedHow::TimedOut)) => "timed out",
        (_, Some(EndedHow::ShutDown)) => "shut down",
        (_, None) => "gone, unseen how",
    }
}

/// How a stay ended, and the closer if known.
pub(crate) fn ending(socket: &WorstSocket) -> String {
    let how = how(socket);
    match &socket.closed_by {
        Some(closer)
            if matches!(socket.how, Some(EndedHow::Closed | EndedHow::ShutDown)) && !socket.is_open =>
        {
            format!("{how} by {closer}")
        }
        _ => how.to_owned(),
    }
}

pub(crate) fn holder(socket: &WorstSocket) -> String {
    match socket.holders.as_slice() {
        // Whoever has its listener was not found.
        [] if socket.is_looked_at && matches!(socket.verdict, None | Some(Verdict::NeverAccepted)) => {
            "not known".to_owned()
        }
        [] if socket.is_looked_at => "nobody".to_owned(),
        [] => "not recorded".to_owned(),
        [one] => one.process.to_string(),
        [first, more @ ..] => format!("{} +{}", first.process, more.len()),
    }
}
