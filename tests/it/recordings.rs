//! Recordings are what the description of their format says: the tool's reader and one that was written from the
//! description find the same in them, also where they are cut or damaged.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::golden;
use crate::support::recorder::{content, lines, read};
use crate::support::walker::{Walk, walk};

/// Bytes of the opening of `v1.tct`: without it, nobody knows what the file is.
const OPENING: usize = 30;

/// A step through all offsets that has no factor in common with what is repeated in a file.
const STEP: usize = 13;

#[test]
fn recordings_of_every_version_keep_the_promises_of_the_format() {
    let records = lines(&golden("v1.jsonl"));
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for record in &records {
        *expected.entry(record["type"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for name in ["v1.tct", "v1.tct.zst"] {
        let Walk { records, first, gaps, unread, totals: _, has_index } =
            walk(&content(&golden(name)), &golden(name));
        assert_eq!(records, expected, "{name}");
        assert_eq!((first, gaps, unread, has_index), (0, 0, 0, true), "{name}");
        assert_eq!(read(&golden(name)).0, lines(&golden("v1.jsonl")), "{name}");
    }
}

#[test]
fn both_readers_find_the_same_in_a_recording_that_is_cut() {
    let (whole, folder) = (fs::read(golden("v1.tct")).unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("cut.tct");
    let mut found = Vec::new();
    for length in (OPENING..whole.len()).step_by(STEP) {
        fs::write(&path, &whole[..length]).unwrap();
        let (records, losses) = read(&path);
        assert!(!losses.has_ended || records.last().unwrap()["type"] == "summary", "{length}: {losses:?}");
        found.push(records.len());
    }
    assert!(found.is_sorted(), "more bytes, fewer records: {found:?}");
}

#[test]
fn both_readers_find_the_same_in_a_recording_that_is_damaged() {
    let (whole, folder) = (fs::read(golden("v1.tct")).unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("damaged.tct");
    let all: Vec<Value> = lines(&golden("v1.jsonl"));
    for at in (OPENING..whole.len()).step_by(STEP) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(&path, bytes).unwrap();
        let (records, losses) = read(&path);
        assert_eq!(losses.damaged, 1, "byte {at}: {losses:?}");
        assert!(records.iter().all(|record| all.contains(record)), "byte {at}: a record is invented");
    }
}
