//! Lines that are wider than the terminal, broken between words. Colours have no width.

use super::width::visible_width;

/// What a line goes on with, beside its own indentation.
const HANG: usize = 4;

/// The least width that words are broken at.
const LEAST_WIDTH: usize = 40;

/// The text with each line broken at this width; what goes on is indented a little further than its line.
pub(crate) fn folded(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive('\n') {
        fold_line(&mut out, line, width.max(LEAST_WIDTH));
    }
    out
}

fn fold_line(out: &mut String, line: &str, width: usize) {
    let indent = line.chars().take_while(|character| *character == ' ').count();
    let hang = (indent + HANG).min(width / 2);
    let mut column = 0;
    let mut is_first = true;
    // A word with the blanks before it.
    let mut rest = line;
    while !rest.is_empty() {
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        let end = blanks + word_end(rest.get(blanks..).unwrap_or_default(), width - hang);
        let (piece, others) = rest.split_at(end);
        let length = visible_width(piece);
        let word = length - blanks.min(length);
        if !is_first && word > 0 && column + length > width && column > hang {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', hang));
            out.push_str(piece.trim_start_matches(' '));
            column = hang + word;
        } else {
            out.push_str(piece);
            column += length;
        }
        is_first = false;
        rest = others;
    }
}

/// Where the first word of a text ends, in bytes: at a blank. A command in backticks is one word, unless it is wider than
/// this.
pub(super) fn word_end(text: &str, width: usize) -> usize {
    let find =
        |what: char, from: usize| text.get(from..).and_then(|rest| rest.find(what)).map(|at| from + at);
    let blank = |from: usize| find(' ', from).unwrap_or(text.len());
    let width_to = |end: usize| visible_width(text.get(..end).unwrap_or_default());
    let is_open = |end: usize| text.get(..end).is_some_and(|word| word.matches('`').count() % 2 == 1);
    let mut end = blank(0);
    while is_open(end)
        && let Some(longer) = find('`', end).map(blank)
        && width_to(longer) <= width
    {
        end = longer;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_colours_have_no_width() {
        let text =
            "12:00:01  \u{1b}[1mLEAK\u{1b}[0m  shop (pid 812) [shop --listen 10.0.0.5:8080] fd 17\nshort\n";
        let expected = "12:00:01  \u{1b}[1mLEAK\u{1b}[0m  shop (pid 812) [shop\n    --listen 10.0.0.5:8080] fd 17\nshort\n";
        assert_eq!(folded(text, 40), expected);
        assert_eq!(folded(text, 200), text);
    }

    #[test]
    fn what_can_be_typed_is_not_broken_unless_it_is_wider_than_the_line() {
        let text = "Next: the command `tcptrace leaks --pid 11322`, which tells more\n";
        let expected = "Next: the command\n    `tcptrace leaks --pid 11322`, which\n    tells more\n";
        assert_eq!(folded(text, 40), expected);
        assert_eq!(word_end("`a b`/`c d`, e", 40), 12);
        assert_eq!(word_end("`a b`/`c d`, e", 7), 2);
        assert_eq!(word_end("one` two three", 40), 4, "nothing closes it");
        assert_eq!(word_end("", 40), 0);
    }

    #[test]
    fn a_word_wider_than_the_terminal_has_a_line_of_its_own() {
        let long = "x".repeat(60);
        assert_eq!(
            folded(&format!("  a few words {long} b\n"), 40),
            format!("  a few words\n      {long}\n      b\n")
        );
    }
}
