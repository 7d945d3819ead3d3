//! The command that wrote a recording, by its command line, and what it records of CLOSE_WAIT. Pure.

use crate::model::state::State;

/// The command that wrote a recording. It decides what the recording can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionKind {
    /// `tcptrace leaks`: sockets that passed the threshold.
    Leaks,
    /// `tcptrace now`: one moment.
    Now,
    /// `tcptrace trace`: every transition.
    Trace,
    /// `tcptrace time-wait`: nothing of CLOSE_WAIT.
    TimeWait,
    /// `tcptrace clear`: what it ended, and nothing of other sockets.
    Clear,
    /// Something else, or a file without its beginning.
    Other,
}

impl SessionKind {
    pub(crate) fn of(command: &[String]) -> Self {
        let words = command.iter().flat_map(|part| part.split_whitespace()).skip(1);
        match words.into_iter().find(|word| !matches!(*word, "-q" | "-v" | "--quiet" | "--verbose")) {
            Some("now") => Self::Now,
            Some("trace") => Self::Trace,
            Some("time-wait") => Self::TimeWait,
            Some("clear") => Self::Clear,
            None | Some("leaks") => Self::Leaks,
            Some(word) if word.starts_with('-') => Self::Leaks,
            Some(_) => Self::Other,
        }
    }

    /// Whether a session of this command records the sockets in CLOSE_WAIT. Where that is not known, its records tell.
    pub(crate) fn records_close_wait(self, command: &[String]) -> bool {
        match self {
            Self::Leaks => true,
            Self::Now | Self::Trace => {
                let words: Vec<&str> = command.iter().flat_map(|part| part.split_whitespace()).collect();
                let mut states =
                    words.iter().enumerate().filter_map(|(at, word)| match word.strip_prefix("--state")? {
                        "" => words.get(at + 1).copied(),
                        value => value.strip_prefix('='),
                    });
                let follows = self == Self::Trace && follows_close_wait(&words);
                let is_close_wait = |name: &str| name.parse() == Ok(State::CloseWait);
                let first = states.next();
                follows || first.is_none_or(is_close_wait) || states.any(is_close_wait)
            }
            Self::TimeWait | Self::Clear | Self::Other => false,
        }
    }
}

/// Whether a session of `trace` looks at sockets in CLOSE_WAIT as `leaks` does: recordings in .tct have the owners too.
pub(crate) fn follows_close_wait(words: &[&str]) -> bool {
    words.iter().any(|word| *word == "--owners" || word.ends_with("tct") || word.contains(".tct."))
}
