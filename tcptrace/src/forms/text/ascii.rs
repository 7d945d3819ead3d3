//! Text for a terminal whose locale has no UTF-8: in ASCII, each character as wide as before, so that columns stay.

use unicode_width::UnicodeWidthChar as _;

/// The text in ASCII. What we write has a likeness there; of names, what has none becomes question marks.
pub(crate) fn to_ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if character.is_ascii() => ascii.push(character),
            '×' => ascii.push('x'),
            '≥' | '→' => ascii.push('>'),
            '≤' => ascii.push('<'),
            '–' | '·' | '▄' => ascii.push('-'),
            // As top(1) marks what it cuts.
            '…' | '▆' => ascii.push('+'),
            'µ' => ascii.push('u'),
            '▁' => ascii.push('_'),
            '▂' => ascii.push('.'),
            '▃' => ascii.push(':'),
            '▅' => ascii.push('='),
            '▇' => ascii.push('*'),
            '█' => ascii.push('#'),
            _ => ascii.extend(std::iter::repeat_n('?', character.width().unwrap_or(0))),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forms::text::width::visible_width;

    #[test]
    fn everything_is_ascii_and_as_wide_as_before() {
        let text = "  ≥ 850 µs  \u{1b}[1m日本語\u{1b}[0m (7)  3 × eof_read, fds 6–24 · ▁▂▃▄▅▆▇█ → é …";
        let expected = "  > 850 us  \u{1b}[1m??????\u{1b}[0m (7)  3 x eof_read, fds 6-24 - _.:-=+*# > ? +";
        let ascii = to_ascii(text);
        assert_eq!(ascii, expected);
        assert_eq!(visible_width(&ascii), visible_width(text));
    }
}
