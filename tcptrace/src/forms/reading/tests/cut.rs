//! A file whose writer was killed: the reader gives what is whole, invents nothing, and says that something may
//! be missing.

use super::*;
use crate::forms::tct::preamble;

#[test]
fn of_a_recording_cut_anywhere_every_complete_block_reads_back() {
    let written = session(9);
    let parts = Parts::of(&written, 3);
    let bytes = parts.bytes();
    let ends: Vec<usize> = parts.offsets().collect();
    for cut in 8..=bytes.len() {
        let (records, losses) = read(&bytes[..cut]).unwrap();
        let blocks = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        let expected = if cut < parts.preamble.len() { 0 } else { 1 + 3 * blocks };
        assert_eq!(records, written[..expected.min(written.len())], "cut at {cut}");
        let opening_ends = parts.preamble.len() - recording_header(&parts);
        let is_boundary = ends.contains(&cut) || cut == bytes.len() || cut == opening_ends;
        assert_eq!(losses.is_cut, !is_boundary, "cut at {cut}");
        assert_eq!((losses.missing, losses.damaged, losses.before), (0, 0, 0), "cut at {cut}");
        assert_eq!(losses.has_ended, cut >= ends[ends.len() - 1]);
    }
}

/// Length of the block with the header of the session.
fn recording_header(parts: &Parts) -> usize {
    match preamble::opening(&parts.preamble) {
        preamble::Opening::Recording { length, .. } => parts.preamble.len() - length,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_lines_cut_anywhere_every_whole_line_reads_back() {
    let written = session(4);
    let bytes = lines(&written);
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    for cut in 1..=bytes.len() {
        let (records, losses) = read(&bytes[..cut]).unwrap();
        // A line is whole with its last brace.
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(records, written[..whole], "cut at {cut}");
        let is_boundary = ends.contains(&cut) || ends.contains(&(cut - 1));
        assert_eq!(losses.is_cut, !is_boundary, "cut at {cut}");
        assert_eq!(losses.damaged, 0, "cut at {cut}");
    }
}

#[test]
fn of_compressed_recordings_cut_anywhere_every_whole_frame_reads_back() {
    let written = session(9);
    let parts = Parts::of(&written, 3);
    // A frame a block, as a writer makes them.
    let mut compressed = zstd::encode_all(&parts.preamble[..], 1).unwrap();
    let mut ends = vec![compressed.len()];
    for block in &parts.blocks {
        compressed.extend(zstd::encode_all(&block.bytes[..], 1).unwrap());
        ends.push(compressed.len());
    }
    for cut in 4..=compressed.len() {
        let (records, losses) = read(&compressed[..cut]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let least = if whole == 0 { 0 } else { (1 + 3 * (whole - 1)).min(written.len()) };
        assert!(records.len() >= least, "cut at {cut}: {} of {least} records", records.len());
        assert_eq!(records, written[..records.len()], "cut at {cut}");
        assert_eq!(losses.is_cut, !ends.contains(&cut), "cut at {cut}");
        assert_eq!((losses.missing, losses.damaged), (0, 0), "cut at {cut}");
    }
}

#[test]
fn a_block_whose_writer_was_killed_does_not_hide_what_another_appended() {
    let (first, mut second) = (session(9), session(2));
    let Record::Header(header) = &mut second[0] else { panic!("a header") };
    header.command = vec!["tcptrace trace --port 1".to_owned()];
    let parts = Parts::of(&first, 3);
    let begun: usize = parts.preamble.len() + parts.blocks[0].bytes.len();
    let later = Parts::of(&second, 9).bytes();
    for cut in begun + 1..begun + parts.blocks[1].bytes.len() {
        let (records, losses) = read(&[&parts.bytes()[..cut], &later].concat()).unwrap();
        assert_eq!(records, [&first[..4], &second].concat(), "cut at {cut}");
        assert_eq!(losses.damaged, 1, "cut at {cut}");
        assert!(!losses.is_cut, "cut at {cut}");
    }
}
