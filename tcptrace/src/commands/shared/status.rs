//! The status line on the terminal. Goes to standard error, only where that is a terminal which shows the records too
//! or nothing but messages, and never mixes with them. Waits for no terminal.

use crate::{
    forms::text::width::visible_width,
    output::standard_error::{STANDARD_ERROR, can_take_lines_away, width},
};

/// Columns that stay free: what the terminal echoes of Ctrl-C would wrap the line around.
const MARGIN: usize = 3;

pub(crate) struct StatusLine {
    is_enabled: bool,
    is_shown: bool,
}

impl StatusLine {
    /// A status line, unless standard error is no terminal, the operator wants it quiet, or whoever reads the records
    /// in a pipe writes to the same terminal (`| less`).
    pub(crate) fn new(is_piped: bool) -> Self {
        let is_enabled = !is_piped && can_take_lines_away() && log::log_enabled!(log::Level::Warn);
        Self { is_enabled, is_shown: false }
    }

    /// Replaces the line by another, of these parts, the most important first.
    pub(crate) fn show(&mut self, parts: impl FnOnce() -> Vec<String>) {
        if self.is_enabled {
            // A line that wraps around could not be taken away again.
            STANDARD_ERROR.set_status(Some(fitted(&parts(), width().saturating_sub(MARGIN))));
            self.is_shown = true;
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            STANDARD_ERROR.set_status(None);
        }
    }
}

/// As many of the parts as find room, in whole words.
fn fitted(parts: &[String], width: usize) -> String {
    let mut line = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let gap = if line.is_empty() { "" } else { " · " };
        let words = if line.is_empty() { part.split(' ').collect() } else { vec![part.as_str()] };
        for (nth, word) in words.into_iter().enumerate() {
            let gap = if nth > 0 { " " } else { gap };
            // There is room for a sign that more was left out.
            if visible_width(&line) + visible_width(gap) + visible_width(word) + 2 > width {
                line.push_str(" …");
                return line;
            }
            line.push_str(gap);
            line.push_str(word);
        }
    }
    line
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_whole_words_and_the_most_important_part_first() {
        let parts =
            ["3 stuck", "+5.9/min shop (812)", "fds out in 2h 12m", "4 in CLOSE_WAIT", "0 lost", "2.0 s"];
        let parts = parts.map(str::to_owned);
        let all = "3 stuck · +5.9/min shop (812) · fds out in 2h 12m · 4 in CLOSE_WAIT · 0 lost · 2.0 s";
        assert_eq!(fitted(&parts, 100), all);
        assert_eq!(
            fitted(&parts, 77),
            "3 stuck · +5.9/min shop (812) · fds out in 2h 12m · 4 in CLOSE_WAIT …"
        );
        assert_eq!(fitted(&parts, 33), "3 stuck · +5.9/min shop (812) …");
        assert_eq!(fitted(&parts, 5), "3 …");
    }
}
