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
        let end = rest.get(blanks..).and_then(|word| word.find(' ')).map_or(rest.len(), |at| blanks + at);
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
    fn a_word_wider_than_the_terminal_has_a_line_of_its_own() {
        let long = "x".repeat(60);
        assert_eq!(
            folded(&format!("  a few words {long} b\n"), 40),
            format!("  a few words\n      {long}\n      b\n")
        );
    }
}
