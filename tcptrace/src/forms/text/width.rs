//! How many columns of a terminal a text takes: two a character of East Asia, none a mark that joins the character before
//! it, or what sets a colour. Breaks no lines.

use unicode_width::UnicodeWidthChar as _;

/// Columns of one line. An end of a line takes none.
pub(crate) fn visible_width(text: &str) -> usize {
    let mut width = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            // Our own colours are the only escapes in a text: SGR, which ends in an m.
            '\u{1b}' => while characters.next().is_some_and(|inner| inner != 'm') {},
            _ => width += character.width().unwrap_or(0),
        }
    }
    width
}

/// A text without colours, with blanks behind it up to this width.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", blanks(text, width))
}

/// A text without colours, with blanks before it up to this width.
pub(crate) fn padded_before(text: &str, width: usize) -> String {
    format!("{}{text}", blanks(text, width))
}

fn blanks(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(visible_width(text)))
}

/// As much of a text without colours as fits this width, with a sign that more was left out.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if visible_width(text) <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |character: &char| {
        let own = character.width().unwrap_or(0);
        let is_room = own <= room;
        room = room.saturating_sub(own);
        is_room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns_and_marks_and_colours_none() {
        assert_eq!(visible_width("shop"), 4);
        assert_eq!(visible_width("日本語 (7)"), 10);
        assert_eq!(visible_width("e\u{301}t\u{1b}[1me\u{1b}[0m\n"), 3);
    }

    #[test]
    fn a_text_is_cut_and_padded_by_columns() {
        assert_eq!(cut("日本語サーバ", 7), "日本語…");
        assert_eq!(cut("日本語サーバ", 6), "日本…", "no half of a character");
        assert_eq!(cut("日本", 4), "日本");
        assert_eq!((padded("日本", 6), padded_before("日本", 6)), ("日本  ".into(), "  日本".into()));
    }
}
