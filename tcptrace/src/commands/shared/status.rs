//! The status line on the terminal. Goes to standard error, only where that is a terminal, and never mixes
//! with records.

use std::io::{IsTerminal as _, Write as _, stderr};

use rustix::termios::tcgetwinsize;

pub(crate) struct StatusLine {
    is_enabled: bool,
    is_shown: bool,
}

impl StatusLine {
    /// A status line, unless standard error is no terminal or the operator wants it quiet.
    pub(crate) fn new() -> Self {
        let is_enabled = stderr().is_terminal() && log::log_enabled!(log::Level::Warn);
        Self { is_enabled, is_shown: false }
    }

    /// Replaces the line by another.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_enabled {
            // A line that wraps around could not be taken away again.
            let width = tcgetwinsize(stderr()).map_or(80, |size| usize::from(size.ws_col));
            let text: String = text().chars().take(width.saturating_sub(1)).collect();
            // A terminal that went away shows nothing: no reason to end the session.
            let _ = write!(stderr(), "\r\x1b[K{text}");
            let _ = stderr().flush();
            self.is_shown = true;
        }
    }

    /// Takes the line away, so that records can be written.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
            let _ = stderr().flush();
            self.is_shown = false;
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}
