//! Escapes what a terminal would obey in names that strangers chose. Decides nothing about where they are shown.

use std::fmt::{self, Write as _};

/// Shows text with every control character written as an escape, so that no name can move the cursor,
/// start a new line or turn the writing direction around.
pub(crate) struct Escaped<'a>(pub &'a str);

/// Characters that a terminal does not print but obeys: controls, line separators, those that change the direction of text,
/// and those that are invisible by their nature (Unicode's Default_Ignorable_Code_Point), which make two names look alike.
pub(crate) fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{061c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The same of a message of several lines: an end of a line stays one.
pub(crate) struct EscapedLines<'a>(pub &'a str);

/// The name of a process as people read it: a process may call itself nothing at all.
pub(crate) struct EscapedName<'a>(pub &'a str);

impl fmt::Display for EscapedName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        if name.trim().is_empty() {
            return formatter.pad(&format!("'{}'", Escaped(name)));
        }
        Escaped(name).fmt(formatter)
    }
}

impl fmt::Display for EscapedLines<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.0.split('\n').enumerate() {
            if number > 0 {
                formatter.write_char('\n')?;
            }
            Escaped(line).fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains(is_harmful) {
            return formatter.pad(self.0);
        }
        let mut escaped = String::with_capacity(self.0.len() + 8);
        for character in self.0.chars() {
            if is_harmful(character) {
                escaped.extend(character.escape_default());
            } else {
                escaped.push(character);
            }
        }
        formatter.pad(&escaped)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_and_new_lines_are_spelled_out() {
        assert_eq!(Escaped("a\u{1b}[2Jb\nc").to_string(), "a\\u{1b}[2Jb\\nc");
        assert_eq!(Escaped("x\u{202e}y").to_string(), "x\\u{202e}y");
        assert_eq!(Escaped("ng\u{200b}inx\u{2060}").to_string(), "ng\\u{200b}inx\\u{2060}", "of no width");
        assert_eq!(Escaped("shop\u{3164}\u{e0041}").to_string(), "shop\\u{3164}\\u{e0041}", "a blank, a tag");
        assert_eq!(Escaped("nginx: worker Ω").to_string(), "nginx: worker Ω");
    }

    #[test]
    fn a_message_keeps_its_lines_and_what_is_escaped_already() {
        assert_eq!(EscapedLines("a\u{1b}[2J\n\nb\r\n").to_string(), "a\\u{1b}[2J\n\nb\\r\n");
        let once = Escaped("a\u{1b}\nb").to_string();
        assert_eq!(EscapedLines(&once).to_string(), once);
    }

    #[test]
    fn a_name_without_anything_to_see_is_quoted() {
        let shown = |name| EscapedName(name).to_string();
        assert_eq!([shown(""), shown(" \n"), shown("a\n")], ["''", "' \\n'", "a\\n"]);
    }

    proptest! {
        #[test]
        fn nothing_harmful_comes_through(text in any::<String>()) {
            prop_assert!(!Escaped(&text).to_string().contains(is_harmful));
        }
    }
}
