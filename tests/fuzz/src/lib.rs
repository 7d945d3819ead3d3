//! The fuzz targets. Of any bytes has to hold that they are read to an end, and that the records in them can be written
//! and read back unchanged. What is read of strangers' processes and programs is in `processes` and `programs`.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz TARGET tests/fuzz/corpus/TARGET` looks for bytes that break
//! this; what it finds goes into the corpus, which the ordinary tests run too (`seeds`).
#![expect(clippy::unwrap_used, clippy::panic, reason = "what must not happen ends the fuzzer")]

mod planted;
mod processes;
mod programs;

use std::{io::Write as _, os::fd::AsRawFd as _, path::PathBuf};

pub use self::{
    processes::{hotspot, maps, perf_map, php_code, python_code, python_lines, ruby_code},
    programs::{elf, go, instructions},
};
use bytes::Bytes;
use tcptrace::testing::{BlockDecoder, BlockEncoder, HEADER_BYTES, Item, Reader, Record, Totals};

/// A whole file, in any form.
pub fn recording(bytes: &[u8]) {
    let file = rustix::fs::memfd_create("recording", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Ok(mut reader) = Reader::open(&path) else { return };
    let mut records = Vec::new();
    while let Ok(Some(record)) = reader.next() {
        records.push(record);
    }
    let time = records.get(records.len() / 2).map(Record::time);
    let Ok(mut reader) = Reader::open(&path) else { panic!("it could be opened before") };
    reader.only(time, time);
    while let Ok(Some(record)) = reader.next() {
        let is_of_all = matches!(record, Record::Header(_) | Record::Summary(_));
        assert!(is_of_all || Some(record.time()) == time, "a record of another time");
    }
}

/// The payload of a block of records, whose checksum is right.
pub fn block(bytes: &[u8]) {
    let mut decoder = BlockDecoder::new(Bytes::copy_from_slice(bytes));
    let mut encoder = BlockEncoder::default();
    let mut records = Vec::new();
    while let Ok(Some(item)) = decoder.next() {
        assert!(records.len() <= bytes.len(), "more records than bytes");
        if let Item::Record(record) = item {
            encoder.push(&record);
            records.push(text(&record));
        }
    }
    let written = encoder.finish(&Totals::default()).bytes;
    let mut decoder = BlockDecoder::new(written.slice(HEADER_BYTES..));
    let mut left = records.iter();
    while let Some(item) = decoder.next().unwrap() {
        if let Item::Record(record) = item {
            assert_eq!(left.next(), Some(&text(&record)), "read back");
        }
    }
    assert_eq!(left.next(), None, "everything is read back");
}

/// A line of JSON.
pub fn line(bytes: &[u8]) {
    let Ok(record) = Record::from_json(bytes) else { return };
    let written = text(&record);
    let again = Record::from_json(written.as_bytes()).unwrap();
    assert_eq!(text(&again), written, "read back");
}

fn text(record: &Record) -> String {
    serde_json::to_string(record).unwrap()
}
