//! A part of the time: with the index, without it, and where none could be.

use super::*;
use crate::forms::tct::frame;

#[test]
fn a_range_of_time_gives_its_records_and_no_others() {
    let written = session(100);
    let parts = Parts::of(&written, 7);
    let whole = parts.bytes();
    let without_index = whole[..whole.len() - parts.trailer.len()].to_vec();
    let begin = written[1].time();
    let at = |milliseconds: i64| begin + jiff::SignedDuration::from_millis(milliseconds);
    for (from, to) in [
        (None, None),
        (Some(at(40)), None),
        (None, Some(at(40))),
        (Some(at(20)), Some(at(60))),
        (Some(at(33)), Some(at(33))),
        (Some(at(-5_000)), Some(at(-4_000))),
        (Some(at(500_000)), None),
    ] {
        let is_wanted = |record: &&Record| {
            matches!(record, Record::Header(_) | Record::Summary(_))
                || (from.is_none_or(|from| from <= record.time()) && to.is_none_or(|to| record.time() <= to))
        };
        let expected: Vec<Record> = written.iter().filter(is_wanted).cloned().collect();
        for (form, bytes) in [
            ("with its index", whole.clone()),
            ("without", without_index.clone()),
            ("compressed", frames(&whole, 300)),
            ("lines", lines(&written)),
        ] {
            let kept = KeptFile::new(&bytes);
            let mut reader = kept.open();
            reader.only(from, to);
            assert_eq!(rest(&mut reader), expected, "{form}, from {from:?} to {to:?}");
            let losses = reader.losses();
            assert_eq!(
                (losses.missing, losses.damaged, losses.has_ended),
                (0, 0, true),
                "{form}: {losses:?}"
            );
        }
    }
}

#[test]
fn blocks_of_other_times_are_not_read() {
    let written = session(100);
    let parts = Parts::of(&written, 7);
    let whole = parts.bytes();
    let without_index = whole[..whole.len() - parts.trailer.len()].to_vec();
    for mut bytes in [whole, without_index] {
        // Whoever read the third block would see that it is damaged.
        let third = parts.offsets().nth(2).unwrap();
        bytes[third + frame::HEADER_BYTES + 3] ^= 1;
        let kept = KeptFile::new(&bytes);
        let mut reader = kept.open();
        reader.only(Some(written[50].time()), None);
        assert_eq!(rest(&mut reader), [&written[..1], &written[50..]].concat());
        assert_eq!(reader.losses().damaged, 0);
        reader = kept.open();
        assert_eq!(rest(&mut reader).len(), written.len() - 7);
        assert_eq!((reader.losses().damaged, reader.losses().missing), (1, 7));
    }
}

#[test]
fn an_index_that_is_wrong_misleads_nobody() {
    let written = session(30);
    let parts = Parts::of(&written, 7);
    let mut bytes = parts.bytes();
    let length = bytes.len();
    let wrong = parts.blocks.iter().map(|block| (length as u64 * 3, block.entry)).collect::<Vec<_>>();
    bytes.truncate(length - parts.trailer.len());
    bytes.extend_from_slice(&trailer(&wrong));
    let kept = KeptFile::new(&bytes);
    let mut reader = kept.open();
    reader.only(Some(written[20].time()), None);
    assert_eq!(rest(&mut reader), [&written[..1], &written[20..]].concat());
}
