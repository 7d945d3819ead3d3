//! Detects the form of a file by its name and its first bytes.

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use super::{FORMS, form::Format, reading::inflate::FRAME_MAGIC};

/// The ending of a compressed file.
const COMPRESSED: &[u8] = b".zst";

/// More than any form needs to be told by, in bytes.
const LONGEST_BEGINNING: u64 = 64;

/// The form with this name.
pub(crate) fn by_name(name: &str) -> Option<&'static Format> {
    FORMS.iter().copied().find(|format| format.name == name)
}

/// The form that an ending (without its dot) stands for.
fn by_ending(ending: &[u8]) -> Option<&'static Format> {
    let stands_for = |format: &&Format| format.endings.iter().any(|own| own.as_bytes() == ending);
    FORMS.iter().copied().find(stands_for)
}

/// The form that a file has by its first bytes, compressed or not; `None` when a tcptrace did not write it.
pub(crate) fn by_content(first: &[u8]) -> Option<&'static Format> {
    let mut inner = Vec::new();
    let content = if first.starts_with(&FRAME_MAGIC) {
        let decoder = zstd::stream::read::Decoder::with_buffer(first).ok()?;
        // What could be read before the end of these bytes is enough.
        let _cut = decoder.take(LONGEST_BEGINNING).read_to_end(&mut inner);
        &inner
    } else {
        first
    };
    FORMS.iter().copied().find(|format| content.starts_with(format.beginning))
}

/// What the name of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameParts {
    /// Everything before the endings.
    pub stem: OsString,
    /// The endings that are understood, with their dots; may be empty.
    pub endings: OsString,
    /// The form they stand for.
    pub format: Option<&'static Format>,
    /// Whether they stand for a compressed file.
    pub is_compressed: bool,
}

impl NameParts {
    /// Takes a name (without its directories) apart.
    pub(crate) fn of(name: &OsStr) -> Self {
        let name = name.as_bytes();
        let (inner, is_compressed) = match name.strip_suffix(COMPRESSED) {
            Some(inner) if !inner.is_empty() => (inner, true),
            _ => (name, false),
        };
        let dot = inner.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0);
        let (stem, format) = dot
            .and_then(|at| Some((inner.get(..at)?, by_ending(inner.get(at + 1..)?)?)))
            .map_or((inner, None), |(stem, format)| (stem, Some(format)));
        let endings = name.get(stem.len()..).unwrap_or_default();
        let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Self { stem: own(stem), endings: own(endings), format, is_compressed }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_endings_tell_the_form_and_whether_it_is_compressed() {
        let parts = |name: &str| {
            let NameParts { stem, endings, format, is_compressed } = NameParts::of(OsStr::new(name));
            let format = format.map(|format| format.name);
            (stem.into_string().unwrap(), endings.into_string().unwrap(), format, is_compressed)
        };
        let expect = |stem: &str, endings: &str, format, is_compressed| {
            (stem.to_owned(), endings.to_owned(), format, is_compressed)
        };
        assert_eq!(parts("a.b.jsonl"), expect("a.b", ".jsonl", Some("jsonl"), false));
        assert_eq!(parts("x.log"), expect("x", ".log", Some("text"), false));
        assert_eq!(parts("x.tct.zst"), expect("x", ".tct.zst", Some("tct"), true));
        assert_eq!(parts("x.csv"), expect("x", ".csv", Some("csv"), false));
        assert_eq!(parts("x.zst"), expect("x", ".zst", None, true));
        assert_eq!(parts("x.conf"), expect("x.conf", "", None, false));
        assert_eq!(parts("x"), expect("x", "", None, false));
        assert_eq!(parts(".jsonl"), expect(".jsonl", "", None, false));
        assert_eq!(parts(".zst"), expect(".zst", "", None, false));
    }

    #[test]
    fn a_file_is_known_by_its_first_bytes_compressed_or_not() {
        for format in FORMS.iter().copied() {
            let mut content = format.beginning.to_vec();
            assert!(content.len() as u64 <= LONGEST_BEGINNING);
            content.extend([b' '; 100]);
            assert_eq!(by_content(&content), Some(format));
            let compressed = zstd::encode_all(&content[..], 1).unwrap();
            assert_eq!(by_content(&compressed), Some(format));
        }
        for strange in
            [&b"root:x:0:0:"[..], b"", b"{\"type\":\"event\"}", &FRAME_MAGIC, b"\x28\xb5\x2f\xfd\xff\xff"]
        {
            assert_eq!(by_content(strange), None, "{strange:?}");
        }
    }

    #[test]
    fn no_two_forms_have_a_name_or_an_ending_in_common() {
        let words: Vec<&str> = FORMS.iter().map(|format| format.name).collect();
        let endings: Vec<&str> = FORMS.iter().flat_map(|format| format.endings).copied().collect();
        for words in [words, endings] {
            let distinct: std::collections::BTreeSet<&str> = words.iter().copied().collect();
            assert_eq!(distinct.len(), words.len(), "{words:?}");
        }
    }
}
