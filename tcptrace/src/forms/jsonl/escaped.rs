//! Serializes JSON, and escapes every character that a terminal would obey. JSON itself asks for that only below
//! U+0020.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{
    Serializer,
    ser::{CompactFormatter, Formatter, PrettyFormatter},
};

use crate::model::escape::is_harmful;

/// Adds a value, without spaces.
pub(super) fn serialize(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing into memory does not fail, and no record has a key that is not text.
    let _ = write(out, value);
}

/// Writes a value, without spaces.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write(out: impl Write, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escapes(CompactFormatter)))
}

/// Writes a value, indented.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_pretty(out: impl Write, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escapes(PrettyFormatter::new())))
}

/// Lays JSON out as another formatter does.
struct Escapes<F>(F);

/// Hands these on to the other formatter.
macro_rules! as_the_other {
    ($($method:ident($($first:ident)?)),*) => {
        $(fn $method<W: Write + ?Sized>(&mut self, out: &mut W $(, $first: bool)?) -> io::Result<()> {
            self.0.$method(out $(, $first)?)
        })*
    };
}

impl<F: Formatter> Formatter for Escapes<F> {
    as_the_other!(
        begin_array(),
        end_array(),
        begin_array_value(first),
        end_array_value(),
        begin_object(),
        end_object(),
        begin_object_key(first),
        begin_object_value(),
        end_object_value()
    );

    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        // Most are plain, and JSON has escaped all other controls of ASCII already.
        if fragment.is_ascii() && !fragment.as_bytes().contains(&0x7f) {
            return out.write_all(fragment.as_bytes());
        }
        let mut from = 0;
        for (at, character) in fragment.char_indices().filter(|(_, character)| is_harmful(*character)) {
            out.write_all(fragment.get(from..at).unwrap_or_default().as_bytes())?;
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            from = at + character.len_utf8();
        }
        out.write_all(fragment.get(from..).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_is_harmless_and_reads_back_as_it_was(text in any::<String>()) {
            let mut out = Vec::new();
            serialize(&mut out, &text);
            let line = String::from_utf8(out).unwrap();
            prop_assert!(!line.contains(is_harmful), "{:?}", line);
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }

        #[test]
        fn harmless_text_is_laid_out_as_anybody_does(keys in prop::collection::btree_map("[a-z]{0,3}", "[ -~]{0,3}", 0..4)) {
            let value = serde_json::json!({ "none": [], "some": [1, keys, {}] });
            let mut out = Vec::new();
            write_pretty(&mut out, &value).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&value).unwrap());
        }
    }

    #[test]
    fn controls_that_json_would_let_through_are_escaped() {
        let mut out = Vec::new();
        serialize(&mut out, "a\u{9b}2J\u{7f}\u{202e}\n");
        assert_eq!(out, br#""a\u009b2J\u007f\u202e\n""#);
    }
}
