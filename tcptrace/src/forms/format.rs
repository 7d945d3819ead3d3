//! The forms that records can have: by which ending of its name a file is known to have one, and by
//! which beginning of its content.

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use super::tct as recording;
use super::{csv, text};

/// The form of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Jsonl,
    /// A table for spreadsheets and databases.
    Csv,
    /// The binary recording that `report` reads back.
    Tct,
}

/// The ending of a compressed file.
const COMPRESSED: &[u8] = b".zst";

/// What every frame of a compressed file begins with: RFC 8878, section 3.1.1.
const FRAME_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

impl Format {
    /// The form that an ending (without its dot) stands for.
    fn by_ending(ending: &[u8]) -> Option<Self> {
        match ending {
            b"txt" | b"text" | b"log" => Some(Self::Text),
            b"jsonl" | b"ndjson" | b"json" => Some(Self::Jsonl),
            b"csv" => Some(Self::Csv),
            b"tct" => Some(Self::Tct),
            _ => None,
        }
    }

    /// What a file in this form begins with.
    fn beginning(self) -> &'static [u8] {
        match self {
            Self::Text => text::BEGINNING.as_bytes(),
            Self::Jsonl => br#"{"type":"header","schema":"#,
            Self::Csv => csv::BEGINNING.as_bytes(),
            Self::Tct => &recording::FILE_MAGIC,
        }
    }

    /// The form that a file has by its first bytes, compressed or not; `None` when a tcptrace did not
    /// write it.
    pub fn by_content(first: &[u8]) -> Option<Self> {
        let mut inner = Vec::new();
        let content = if first.starts_with(&FRAME_MAGIC) {
            let decoder = zstd::stream::read::Decoder::with_buffer(first).ok()?;
            // What could be read before the end of these bytes is enough.
            let _cut = decoder.take(LONGEST_BEGINNING).read_to_end(&mut inner);
            &inner
        } else {
            first
        };
        [Self::Text, Self::Jsonl, Self::Csv, Self::Tct]
            .into_iter()
            .find(|format| content.starts_with(format.beginning()))
    }
}

/// More than any form needs to be told by, in bytes.
const LONGEST_BEGINNING: u64 = 64;

/// What the name of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameParts {
    /// Everything before the endings.
    pub stem: OsString,
    /// The endings that are understood, with their dots; may be empty.
    pub endings: OsString,
    /// The form they stand for.
    pub format: Option<Format>,
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
            .and_then(|at| Some((inner.get(..at)?, Format::by_ending(inner.get(at + 1..)?)?)))
            .map_or((inner, None), |(stem, format)| (stem, Some(format)));
        let endings = name.get(stem.len()..).unwrap_or_default();
        let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Self { stem: own(stem), endings: own(endings), format, is_compressed }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_endings_tell_the_form_and_whether_it_is_compressed() {
        let parts = |name: &str| {
            let NameParts { stem, endings, format, is_compressed } = NameParts::of(OsStr::new(name));
            (stem.into_string().unwrap(), endings.into_string().unwrap(), format, is_compressed)
        };
        let expect = |stem: &str, endings: &str, format, is_compressed| {
            (stem.to_owned(), endings.to_owned(), format, is_compressed)
        };
        assert_eq!(parts("a.b.jsonl"), expect("a.b", ".jsonl", Some(Format::Jsonl), false));
        assert_eq!(parts("x.log"), expect("x", ".log", Some(Format::Text), false));
        assert_eq!(parts("x.tct.zst"), expect("x", ".tct.zst", Some(Format::Tct), true));
        assert_eq!(parts("x.csv"), expect("x", ".csv", Some(Format::Csv), false));
        assert_eq!(parts("x.zst"), expect("x", ".zst", None, true));
        assert_eq!(parts("x.conf"), expect("x.conf", "", None, false));
        assert_eq!(parts("x"), expect("x", "", None, false));
        assert_eq!(parts(".jsonl"), expect(".jsonl", "", None, false));
        assert_eq!(parts(".zst"), expect(".zst", "", None, false));
    }

    #[test]
    fn a_file_is_known_by_its_first_bytes_compressed_or_not() {
        for format in [Format::Text, Format::Jsonl, Format::Csv, Format::Tct] {
            let mut content = format.beginning().to_vec();
            assert!(content.len() as u64 <= LONGEST_BEGINNING);
            content.extend([b' '; 100]);
            assert_eq!(Format::by_content(&content), Some(format));
            let compressed = zstd::encode_all(&content[..], 1).unwrap();
            assert_eq!(Format::by_content(&compressed), Some(format));
        }
        for strange in
            [&b"root:x:0:0:"[..], b"", b"{\"type\":\"event\"}", &FRAME_MAGIC, b"\x28\xb5\x2f\xfd\xff\xff"]
        {
            assert_eq!(Format::by_content(strange), None, "{strange:?}");
        }
    }
}
