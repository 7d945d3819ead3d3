#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

pub(crate) mod cut;
pub(crate) mod damage;
pub(crate) mod forms;
pub(crate) mod growth;
pub(crate) mod times;

use std::{fs, io::Write as _, path::PathBuf};

use super::{error::ReadError, losses::Losses, reader::Reader};
use crate::{
    forms::tct::{
        block::{Block, IndexEntry},
        encoder::BlockEncoder,
        index::{note, trailer},
        preamble::preamble,
    },
    model::{
        record::{Header, Record, Timed, Totals},
        state::State,
        transition::Transition,
    },
};

/// A file in a directory of its own.
struct KeptFile {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl KeptFile {
    fn new(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session");
        fs::write(&path, bytes).unwrap();
        Self { _directory: directory, path }
    }

    fn append(&self, bytes: &[u8]) {
        fs::OpenOptions::new().append(true).open(&self.path).unwrap().write_all(bytes).unwrap();
    }

    fn open(&self) -> Reader {
        Reader::open(&self.path).unwrap()
    }
}

/// All that can be read for now.
fn rest(reader: &mut Reader) -> Vec<Record> {
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

/// What a file with these bytes says, and what is missing in it.
fn read(bytes: &[u8]) -> Result<(Vec<Record>, Losses), ReadError> {
    let kept = KeptFile::new(bytes);
    let mut reader = Reader::open(&kept.path)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok((records, *reader.losses()))
}

/// A recording in its parts.
struct Parts {
    preamble: Vec<u8>,
    blocks: Vec<Block>,
    trailer: Vec<u8>,
}

impl Parts {
    /// Of these records, so many in a block. The first is the header.
    fn of(records: &[Record], per_block: usize) -> Self {
        let Some((Record::Header(header), records)) = records.split_first() else {
            panic!("a session begins with its header");
        };
        let preamble = preamble(header).to_vec();
        let mut encoder = BlockEncoder::default();
        let blocks: Vec<Block> = records
            .chunks(per_block)
            .map(|part| {
                for record in part {
                    encoder.push(record);
                }
                encoder.finish(&Totals { records: 77, ..Totals::default() })
            })
            .collect();
        let mut parts = Self { preamble, blocks, trailer: Vec::new() };
        let index: Vec<(u64, IndexEntry)> =
            parts.offsets().zip(&parts.blocks).map(|(at, block)| (at as u64, block.entry)).collect();
        parts.trailer = trailer(&index).to_vec();
        parts
    }

    /// Where each block begins, and where the last one ends.
    fn offsets(&self) -> impl Iterator<Item = usize> {
        let lengths = self.blocks.iter().map(|block| block.bytes.len());
        let begin = self.preamble.len();
        std::iter::once(begin).chain(lengths.scan(begin, |at, length| {
            *at += length;
            Some(*at)
        }))
    }

    fn bytes(&self) -> Vec<u8> {
        let blocks = self.blocks.iter().flat_map(|block| block.bytes.iter().copied());
        self.preamble.iter().copied().chain(blocks).chain(self.trailer.iter().copied()).collect()
    }
}

fn lines(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        serde_json::to_writer(&mut bytes, record).unwrap();
        bytes.push(b'\n');
    }
    bytes
}

/// Compressed, in frames of so many bytes.
fn frames(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.chunks(length).flat_map(|part| zstd::encode_all(part, 1).unwrap()).collect()
}

/// A session of so many transitions, a millisecond apart, with its header and its summary.
fn session(transitions: u64) -> Vec<Record> {
    let header = Record::from_json(br#"{"type":"header","schema":1,"version":"0.1.0","host":"web-1","kernel":"6.18.0","boot_id":"a386f656","started":"2026-11-24T15:01:38.168844787Z","command":"tcptrace trace","backend":"btf"}"#).unwrap();
    let first = br#"{"type":"transition","time":"2026-11-24T15:01:40.169147654Z","ktime_ns":889092113028,"cookie":59321,"netns":4026531833,"family":4,"laddr":"10.0.0.1","lport":23456,"raddr":"10.0.0.2","rport":9,"old_state":"ESTABLISHED","new_state":"CLOSE_WAIT","dwell_ns":null,"oncpu":{"pid":27633,"tid":27634,"comm":"churn"},"cgroup_id":1,"mptcp":false}"#;
    let Record::Transition(first) = Record::from_json(first).unwrap() else { panic!("it is a transition") };
    let nth = |nth: u64| {
        let past = std::time::Duration::from_millis(nth);
        let mut endpoints = first.what.socket.endpoints;
        endpoints.remote.set_port((nth & 0xffff) as u16);
        let socket = crate::model::socket::Socket { cookie: Some(nth / 2), endpoints, ..first.what.socket };
        let ktime_ns = first.what.ktime_ns + nth * 1_000_000;
        let (new_state, entered_ns) = match nth % 2 {
            0 => (State::CloseWait, None),
            _ => (State::LastAck, Some(ktime_ns - 1_000_000)),
        };
        let key = crate::model::socket::SocketKey(nth / 2);
        let what = Transition { key, socket, ktime_ns, new_state, entered_ns, ..first.what };
        Record::Transition(Timed { time: first.time + past, what })
    };
    let summary = Record::from_json(br#"{"type":"summary","time":"2026-11-24T15:02:40Z","duration_ns":61000000000,"records":100,"lost":3,"undecodable":0,"evicted":0,"unattributed":0,"openers_skipped":0,"in_close_wait":null,"processes":[]}"#).unwrap();
    std::iter::once(header).chain((0..transitions).map(nth)).chain([summary]).collect()
}

fn header(records: &[Record]) -> Header {
    match &records[0] {
        Record::Header(header) => Header::clone(header),
        other => panic!("a session begins with its header, not with {other:?}"),
    }
}
