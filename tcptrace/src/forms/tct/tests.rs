#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};

use super::{
    block::*,
    decoder::{BlockDecoder, Item},
    encoder::BlockEncoder,
    frame::{BlockHeader, HEADER_BYTES, Kind, MAX_PAYLOAD},
    index::*,
    preamble::*,
    wire::Malformed,
};
use crate::model::pid::Pid;
use crate::model::record::{Record, Totals, arbitrary};

/// Reads a block; what it says, and whether it could be read to its end.
fn items(block: &[u8]) -> (Vec<Item>, Result<(), Malformed>) {
    let header = BlockHeader::parse(block).unwrap();
    let payload = &block[HEADER_BYTES..];
    assert!(header.matches(payload));
    drain(BlockDecoder::new(Bytes::copy_from_slice(payload)))
}

fn drain(mut decoder: BlockDecoder) -> (Vec<Item>, Result<(), Malformed>) {
    let mut items = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, Ok(())),
            Err(malformed) => return (items, Err(malformed)),
        }
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| serde_json::to_string(record).unwrap()).collect()
}

fn records(items: Vec<Item>) -> Vec<Record> {
    items
        .into_iter()
        .filter_map(|item| if let Item::Record(record) = item { Some(record) } else { None })
        .collect()
}

fn encode(records: &[Record]) -> Block {
    let mut encoder = BlockEncoder::default();
    for record in records {
        encoder.push(record);
    }
    encoder.finish(&Totals::default())
}

proptest! {
    #[test]
    fn arbitrary_records_read_back(written in vec(arbitrary::record(), 0..20)) {
        let (items, end) = items(&encode(&written).bytes);
        prop_assert_eq!(end, Ok(()));
        let read = records(items);
        prop_assert_eq!(texts(&read), texts(&written));
        prop_assert_eq!(read, written);
    }

    #[test]
    fn sessions_read_back_block_by_block(written in arbitrary::session(), length in 1..20usize) {
        let mut encoder = BlockEncoder::default();
        let mut read = Vec::new();
        for part in written.chunks(length) {
            for record in part {
                encoder.push(record);
            }
            prop_assert_eq!(encoder.records() as usize, part.len());
            let totals = Totals { lost: 7, ..Totals::default() };
            let block = encoder.finish(&totals);
            prop_assert_eq!(block.entry, BlockHeader::parse(&block.bytes).unwrap().entry());
            prop_assert_eq!(block.entry.first_record, read.len() as u64);
            prop_assert_eq!(block.entry.records as usize, part.len());
            let (items, end) = items(&block.bytes);
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(items.last(), Some(&Item::Totals(totals)));
            read.extend(records(items));
            prop_assert_eq!(block.entry.next_record(), read.len() as u64);
        }
        prop_assert_eq!(read, written);
    }

    #[test]
    fn any_bytes_are_items_or_an_error(payload in vec(any::<u8>(), 0..300)) {
        let length = payload.len();
        let (items, _) = drain(BlockDecoder::new(Bytes::from(payload)));
        prop_assert!(items.len() <= length);
    }

    #[test]
    fn a_mutated_payload_gives_items_or_an_error(
        written in arbitrary::session(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let block = encode(&written).bytes;
        let mut payload = block[HEADER_BYTES..].to_vec();
        for (at, byte) in mutations {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let length = payload.len();
        let (items, _) = drain(BlockDecoder::new(Bytes::from(payload)));
        prop_assert!(items.len() <= length);
    }

    #[test]
    fn a_damaged_header_is_no_header(bit in 0..HEADER_BYTES * 8) {
        let mut block = encode(&[]).bytes.to_vec();
        block[bit / 8] ^= 1 << (bit % 8);
        let header = BlockHeader::parse(&block);
        // Only the magic, the header and its own checksum are covered; the payload's is checked with the payload.
        prop_assert!(header.is_none_or(|header| !header.matches(&block[HEADER_BYTES..])));
    }
}

#[test]
fn a_block_that_no_reader_would_take_is_dropped_and_counted() {
    let mut leak_end = Record::from_json(LEAK_END.as_bytes()).unwrap();
    let mut encoder = BlockEncoder::default();
    encoder.push(&leak_end);
    if let Record::LeakEnd(end) = &mut leak_end {
        let mut process = crate::model::process::ProcessIdentity::from_name(Pid::new(7), "huge");
        process.cmdline = vec!["x".repeat(MAX_PAYLOAD)];
        let (fds, evidence) = (Vec::new(), crate::model::owner::Evidence::None);
        end.closed_by =
            Some(crate::model::owner::Owner { process: process.into(), fds, inherited: None, evidence });
    }
    encoder.push(&leak_end);
    assert!(encoder.is_empty());
    let entry = encoder.finish(&Totals::default()).entry;
    assert_eq!((entry.records, entry.first_record), (0, 2), "their numbers are missing");
}

#[test]
fn the_table_of_sockets_is_bounded() {
    let Record::Transition(transition) = Record::from_json(TRANSITION.as_bytes()).unwrap() else {
        unreachable!("it is a transition");
    };
    let written: Vec<Record> = (0..140_000u64)
        .map(|nth| {
            let mut transition = transition;
            // Every socket but the first ones has two transitions, far apart.
            let cookie = nth % 70_000 * 3;
            transition.what.socket.cookie = Some(cookie);
            transition.what.key = crate::model::socket::SocketKey(cookie);
            transition.what.ktime_ns += nth;
            transition.what.entered_ns = (nth >= 70_000).then_some(transition.what.ktime_ns - 70_000);
            Record::Transition(transition)
        })
        .collect();
    let (items, end) = items(&encode(&written).bytes);
    assert_eq!(end, Ok(()));
    assert!(records(items) == written, "they read back");
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let mut payload = BytesMut::new();
    payload.extend_from_slice(&[0xb0, 2, 1, 2]); // a definition of a kind that is not known
    payload.extend_from_slice(&[0xf0, 1, 9]); // a record of a kind that is not known
    payload.extend_from_slice(&[0x20, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]); // more counters
    payload.extend_from_slice(b"\xe0\x12{\"type\":\"weather\"}"); // a text that is no record
    let (items, end) = drain(BlockDecoder::new(payload.freeze()));
    let totals = Totals {
        records: 1,
        lost: 2,
        undecodable: 3,
        evicted: 4,
        unattributed: 5,
        openers_skipped: 6,
        stacks_dropped: 8,
        dropped: 7,
        lost_skipped: 9,
    };
    assert_eq!(items, [Item::Unknown, Item::Totals(totals), Item::Unknown]);
    assert_eq!(end, Ok(()));
}

#[test]
fn the_preamble_tells_version_and_writer() {
    let bytes = preamble(&sample_header());
    let Opening::Recording { version, writer, length } = opening(&bytes) else {
        unreachable!("it is the beginning of a recording");
    };
    assert_eq!((version, writer.as_str()), (VERSION, "tcptrace 0.1.0"));
    let header = BlockHeader::parse(&bytes[length..]).unwrap();
    assert!(header.is(Kind::Header));
    let payload = &bytes[length + HEADER_BYTES..];
    assert!(header.matches(payload));
    assert_eq!(Record::from_json(payload).unwrap(), Record::Header(Box::new(sample_header())));
    for cut in 0..length {
        assert_eq!(opening(&bytes[..cut]), Opening::Short);
    }
    for bit in 0..length * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(!matches!(opening(&damaged), Opening::Recording { .. }), "bit {bit} does not matter");
    }
}

#[test]
fn the_index_reads_back_and_stays_bounded() {
    let entry = |nth: u64| IndexEntry {
        first_record: nth * 10,
        records: 10,
        earliest_ns: nth.cast_signed(),
        latest_ns: nth.cast_signed() + 5,
        has_summary: nth == 100_000,
    };
    let mut index = Vec::new();
    (0..=100_000).for_each(|nth| note(&mut index, nth * 1_000, entry(nth)));
    assert!(index.len() <= 32_768, "{}", index.len());
    let bytes = trailer(&index);
    let tail = &bytes[bytes.len() - TAIL_BYTES..];
    assert_eq!(index_length(tail), Some(bytes.len()));
    let header = BlockHeader::parse(&bytes).unwrap();
    assert!(header.is(Kind::Index) && header.matches(&bytes[HEADER_BYTES..]));
    assert_eq!(header.entry().first_record, 1_000_010);
    let read = parse_index(&bytes[HEADER_BYTES..]).unwrap();
    assert_eq!(read, index);
    assert!(read.windows(2).all(|pair| pair[0].1.next_record() == pair[1].1.first_record));
    assert!(read.last().unwrap().1.has_summary);
    assert!(parse_index(&bytes[HEADER_BYTES + 1..]).is_err());
    assert_eq!(index_length(&bytes[..TAIL_BYTES]), None);
}

const TRANSITION: &str = r#"{"type":"transition","time":"2026-11-24T15:01:40.169147654Z","ktime_ns":889092113028,"cookie":59321,"netns":4026531833,"family":4,"laddr":"10.0.0.1","lport":23456,"raddr":"10.0.0.2","rport":9,"old_state":"CLOSE","new_state":"LISTEN","dwell_ns":null,"oncpu":{"pid":27633,"tid":27634,"comm":"churn"},"cgroup_id":1,"mptcp":false}"#;

const LEAK_END: &str = r#"{"type":"leak_end","time":"2026-11-24T15:01:41Z","cookie":7,"netns":1,"family":4,"laddr":"10.0.0.1","lport":1,"raddr":"10.0.0.2","rport":9,"close_wait_ns":1,"close_wait_is":"exact","close_wait_at_most_ns":1,"how":"closed","closed_by":null}"#;

fn sample_header() -> crate::model::record::Header {
    crate::model::record::Header {
        version: "0.1.0".to_owned(),
        host: crate::model::host_identity::HostIdentity {
            host: "web-1".to_owned(),
            kernel: "6.18.0".to_owned(),
            boot_id: None,
        },
        started: jiff::Timestamp::UNIX_EPOCH,
        command: vec!["tcptrace trace".to_owned()],
        backend: "btf".to_owned(),
    }
}
