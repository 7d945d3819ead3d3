//! The content decides the form of a recording, whatever its name.

use std::path::Path;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{forms::reading::inflate::FRAME_MAGIC, model::record::arbitrary};

/// A session of arbitrary records.
fn arbitrary_session() -> impl Strategy<Value = Vec<Record>> {
    (arbitrary::header(), arbitrary::session(), vec(arbitrary::record(), 0..4)).prop_map(
        |(header, records, more)| {
            let begin = Record::Header(Box::new(header));
            let others = records.into_iter().chain(more);
            let others = others.filter(|record| !matches!(record, Record::Header(_)));
            std::iter::once(begin).chain(others).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_form_of_a_session_says_the_same(
        written in arbitrary_session(),
        per_block in 1..40usize,
        frame in 1..3_000usize,
    ) {
        let tct = Parts::of(&written, per_block).bytes();
        let jsonl = lines(&written);
        for (bytes, form) in [
            (tct.clone(), "tct"),
            (frames(&tct, frame), "tct.zst"),
            (jsonl.clone(), "jsonl"),
            (frames(&jsonl, frame), "jsonl.zst"),
        ] {
            let (records, losses) = read(&bytes).unwrap();
            prop_assert_eq!(lines(&records), jsonl.clone(), "{}", form);
            let has_ended = written.iter().any(|record| matches!(record, Record::Summary(_)));
            prop_assert_eq!(Losses { totals: Totals::default(), goes_on: false, ..losses }, Losses { has_ended, ..Losses::default() });
        }
    }

    #[test]
    fn any_bytes_are_records_or_an_error(bytes in vec(any::<u8>(), 0..200), form in 0..5usize) {
        let whole = session(3);
        let begun = match form {
            0 => Vec::new(),
            1 => b"{".to_vec(),
            2 => preamble(&header(&whole)).to_vec(),
            3 => zstd::encode_all(&lines(&whole)[..300], 1).unwrap(),
            _ => FRAME_MAGIC.to_vec(),
        };
        let _ = read(&[begun, bytes].concat());
    }
}

#[test]
fn what_is_no_recording_is_refused_by_name() {
    for bytes in [
        &b"Nov 24 15:01:38 web-1 kernel: something\n"[..],
        b"{\"name\":\"other\",\"version\":\"1.0\"}\n{\"a\":1}\n",
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
        b"[1,2]",
        &zstd::encode_all(&b"something else altogether"[..], 1).unwrap(),
    ] {
        let kept = KeptFile::new(bytes);
        let error = Reader::open(&kept.path).err().unwrap().to_string();
        assert!(error.contains(&*kept.path.to_string_lossy()) && error.contains("no recording"), "{error}");
    }
    let nowhere = Reader::open(Path::new("/nonexistent.tct")).err().unwrap().to_string();
    assert!(nowhere.contains("/nonexistent.tct"), "{nowhere}");
    let directory = Reader::open(Path::new("/")).err().unwrap().to_string();
    assert!(directory.contains("directory"), "{directory}");
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let written = session(1);
    let mut newer = Parts::of(&written, 9).bytes();
    // The version stands behind the magic; the checksum behind the writer, which calls itself by 14 bytes.
    newer[8..10].copy_from_slice(&7u16.to_le_bytes());
    let checksum = crc32fast::hash(&newer[..26]).to_le_bytes();
    newer[26..30].copy_from_slice(&checksum);
    for bytes in [newer.clone(), frames(&newer, 64)] {
        let error = read(&bytes).err().unwrap().to_string();
        for word in ["session", "version 7", "up to 1", "tcptrace 0.1.0"] {
            assert!(error.contains(word), "{word} is not in: {error}");
        }
    }
    let later = String::from_utf8(lines(&written)).unwrap().replace(r#""schema":1"#, r#""schema":2"#);
    let error = read(later.as_bytes()).err().unwrap().to_string();
    assert!(error.contains("form 2") && error.contains("later tcptrace"), "{error}");
}

#[test]
fn a_file_that_was_just_begun_is_no_error() {
    let written = session(1);
    let whole = [Parts::of(&written, 9).bytes(), frames(&lines(&written), 100)];
    for bytes in &whole {
        for length in 0..8 {
            let (records, losses) = read(&bytes[..length]).unwrap();
            assert_eq!(records, []);
            assert_eq!(losses.is_cut, length > 0);
        }
    }
}

#[test]
fn a_window_that_takes_much_memory_is_refused_with_the_remedy() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&lines(&session(100))).unwrap();
    let error = read(&encoder.finish().unwrap()).err().unwrap().to_string();
    assert!(error.contains("zstd -d"), "{error}");
}

#[test]
fn a_line_that_is_too_long_costs_itself_and_no_memory() {
    let written = session(2);
    let mut bytes = lines(&written[..2]);
    bytes.extend_from_slice(b"{\"type\":\"transition\",\"x\":\"");
    bytes.resize(bytes.len() + (40 << 20), b'x');
    bytes.extend_from_slice(b"\"}\n");
    bytes.extend(lines(&written[2..]));
    let (records, losses) = read(&frames(&bytes, usize::MAX)).unwrap();
    assert_eq!(records, written);
    assert_eq!((losses.damaged, losses.is_cut), (1, false));
}

#[test]
fn lines_that_are_no_records_are_counted() {
    let written = session(2);
    let mut bytes = lines(&written[..2]);
    bytes.extend_from_slice(b"{\"type\":\"weather\"}\n\r\n{\"type\":3}\nnonsense\n");
    bytes.extend(lines(&written[2..]));
    let (records, losses) = read(&bytes).unwrap();
    assert_eq!(records, written);
    assert_eq!(losses.damaged, 3);
}

#[test]
fn a_summary_that_says_more_ends_its_session_and_is_passed_on_as_it_is() {
    let mut written = session(2);
    let summary = serde_json::to_string(&written[3]).unwrap();
    let more = format!(r#"{},"outcomes":{{"gone":3}},"descriptors_kept":3}}"#, &summary[..summary.len() - 1]);
    written[3] = Record::from_json(more.as_bytes()).unwrap();
    for bytes in [lines(&written), Parts::of(&written, 2).bytes()] {
        let (records, losses) = read(&bytes).unwrap();
        assert_eq!((lines(&records), losses.has_ended), (lines(&written), true));
    }
}

#[test]
fn records_of_types_that_are_not_known_are_passed_on_as_they_are() {
    let other = br#"{"type":"weather","rain":true,"time":"2026-11-24T15:01:41.5Z","b":[1,18446744073709551615,-0.1,1e300,null],"a":{"z":"\n","y":"\u202e"}}"#;
    let mut written = session(2);
    written.insert(2, Record::from_json(other).unwrap());
    for bytes in [lines(&written), Parts::of(&written, 2).bytes()] {
        let (records, losses) = read(&bytes).unwrap();
        assert_eq!((lines(&records), losses.damaged), (lines(&written), 0));
    }
}

#[test]
fn a_last_line_needs_no_end() {
    let written = session(2);
    let bytes = lines(&written);
    let (records, losses) = read(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(records, written);
    assert_eq!((losses.is_cut, losses.has_ended), (false, true));
}

#[test]
fn rotated_files_that_are_joined_are_one_session() {
    let written = session(6);
    let parts = Parts::of(&written, 2);
    let file = |blocks: &[Block]| {
        let mut bytes = parts.preamble.clone();
        let mut index = Vec::new();
        for block in blocks {
            note(&mut index, bytes.len() as u64, block.entry);
            bytes.extend_from_slice(&block.bytes);
        }
        bytes.extend_from_slice(&trailer(&index));
        bytes
    };
    let (first, second) = (file(&parts.blocks[..2]), file(&parts.blocks[2..]));
    let (records, losses) = read(&[first, second.clone()].concat()).unwrap();
    assert_eq!(records, written);
    assert_eq!((losses.missing, losses.before, losses.has_ended), (0, 0, true));
    let (records, losses) = read(&second).unwrap();
    assert_eq!(records[1..], written[5..], "beside the header");
    assert_eq!((losses.missing, losses.before), (0, 4));
}

#[test]
fn sessions_that_are_joined_are_told_one_after_the_other() {
    let (first, mut second) = (session(3), session(4));
    let Record::Header(header) = &mut second[0] else { panic!("a header") };
    header.command = vec!["tcptrace trace --port 1".to_owned()];
    let bytes = [Parts::of(&first, 2).bytes(), Parts::of(&second, 3).bytes()].concat();
    let (records, losses) = read(&bytes).unwrap();
    assert_eq!(records, [first, second].concat());
    assert_eq!((losses.missing, losses.before, losses.damaged), (0, 0, 0));
}
