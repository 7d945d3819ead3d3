//! Damage costs the blocks it hits, and is counted.

use super::*;

/// What is read is some of what was written, in its order, and what is not read is counted.
fn check(written: &[Record], bytes: &[u8], lost_at_most: usize, what: &str) {
    let (records, losses) = read(bytes).unwrap();
    let mut left = written.iter();
    for record in &records {
        assert!(left.any(|other| other == record), "{what}: {record:?} was invented");
    }
    let numbered =
        |records: &[Record]| records.iter().filter(|record| !matches!(record, Record::Header(_))).count();
    let lost = numbered(written) - numbered(&records);
    assert!(lost <= lost_at_most, "{what}: {lost} records are lost: {losses:?}");
    assert_eq!(losses.missing + losses.before, lost as u64, "{what}: {losses:?}");
    assert!(losses.damaged > 0 || losses.is_cut, "{what}: {losses:?}");
}

#[test]
fn a_flipped_bit_costs_no_more_than_its_block() {
    let written = session(11);
    let bytes = Parts::of(&written, 3).bytes();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        check(&written, &damaged, 3, &format!("byte {at} of {}", bytes.len()));
    }
}

#[test]
fn bytes_that_are_gone_cost_no_more_than_the_blocks_they_are_of() {
    let written = session(11);
    let bytes = Parts::of(&written, 3).bytes();
    for (at, length) in (8..bytes.len() - 30).step_by(7).flat_map(|at| [(at, 1), (at, 30)]) {
        let damaged = [&bytes[..at], &bytes[at + length..]].concat();
        check(&written, &damaged, 6, &format!("{length} bytes at {at} of {}", bytes.len()));
    }
}

#[test]
fn what_is_put_in_between_is_passed_over() {
    let written = session(11);
    let parts = Parts::of(&written, 3);
    let bytes = parts.bytes();
    let garbage: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).chain(*b"\xfftc\x01\xfftct").collect();
    for at in parts.offsets() {
        check(&written, &[&bytes[..at], &garbage, &bytes[at..]].concat(), 0, &format!("before {at}"));
    }
}

#[test]
fn the_numbers_of_blocks_that_were_not_written_are_missing() {
    let written = session(11);
    let parts = Parts::of(&written, 3);
    let bytes =
        [&parts.preamble[..], &parts.blocks[0].bytes, &parts.blocks[3].bytes, &parts.trailer].concat();
    let (records, losses) = read(&bytes).unwrap();
    assert_eq!(records, [&written[..4], &written[10..]].concat());
    assert_eq!(losses.missing, 6);
    // The index knows of blocks behind the last that is there.
    let (_, losses) = read(&[&parts.preamble[..], &parts.blocks[0].bytes, &parts.trailer].concat()).unwrap();
    assert_eq!(losses.missing, 9);
}

#[test]
fn records_that_the_writer_dropped_are_counted_apart() {
    let written = session(4);
    let mut encoder = BlockEncoder::default();
    let mut block = |record: &Record, dropped| {
        encoder.push(record);
        encoder.finish(&Totals { lost: 9, dropped, ..Totals::default() }).bytes
    };
    let blocks = [block(&written[1], 0), block(&written[2], 0), block(&written[3], 0), block(&written[4], 2)];
    // The writer dropped the second and the third, and says so in the fourth; somebody removed the first.
    let bytes = |from: usize| [&preamble(&header(&written))[..], &blocks[from], &blocks[3]].concat();
    let (records, losses) = read(&bytes(0)).unwrap();
    assert_eq!(records, [&written[..2], &written[4..5]].concat());
    assert_eq!((losses.dropped, losses.missing, losses.totals.lost), (2, 0, 9));
    // A file that is not the first of its session: what was dropped before is not counted again.
    let (records, losses) = read(&bytes(3)).unwrap();
    assert_eq!(records, [&written[..1], &written[4..5], &written[4..5]].concat());
    assert_eq!((losses.before, losses.dropped, losses.missing), (3, 0, 0));
}

#[test]
fn a_damaged_frame_costs_the_blocks_it_hits() {
    let written = session(4_000);
    let parts = Parts::of(&written, 500);
    let mut compressed = zstd::encode_all(&parts.preamble[..], 1).unwrap();
    for block in &parts.blocks {
        compressed.extend(zstd::encode_all(&block.bytes[..], 1).unwrap());
    }
    let step = compressed.len() / 60;
    for at in (compressed.len() / 10..compressed.len() * 9 / 10).step_by(step) {
        let mut damaged = compressed.clone();
        damaged[at..at + 8].fill(0x55);
        check(&written, &damaged, 1_000, &format!("byte {at} of {}", compressed.len()));
    }
}

#[test]
fn a_damaged_frame_of_lines_costs_its_lines() {
    let written = session(4_000);
    let text = lines(&written);
    let compressed = frames(&text, text.len() / 16);
    let mut damaged = compressed.clone();
    let middle = compressed.len() / 2;
    damaged[middle..middle + 8].fill(0x55);
    let (records, losses) = read(&damaged).unwrap();
    assert!(losses.damaged > 0 && !losses.is_cut, "{losses:?}");
    assert!(records.len() > 3_000, "{}", records.len());
    let mut left = written.iter();
    assert!(records.iter().all(|record| left.any(|other| other == record)), "a record was invented");
}

#[test]
fn a_name_that_looks_like_a_block_is_none() {
    let written = session(3);
    let hidden = Parts::of(&written, 9);
    // A stranger chose its command line so that it holds a whole recording, as far as a text can.
    let mut leak = Record::from_json(br#"{"type":"leak","time":"2026-11-24T15:01:41Z","cookie":7,"netns":1,"family":4,"laddr":"10.0.0.1","lport":1,"raddr":"10.0.0.2","rport":9,"state":"CLOSE_WAIT","close_wait_ns":1,"close_wait_is":"exact","close_wait_at_most_ns":1,"recv_q":1,"send_q":0,"verdict":"eof_read","owners":[{"pid":7,"comm":"evil","exe":null,"cmdline":[],"uid":0,"fds":[3],"started":null,"unit":null,"container":null,"cgroup":null,"inherited":null,"evidence":"fd_table"}],"opened_by":null,"eof_read_by":null}"#).unwrap();
    let Record::Leak(told) = &mut leak else { panic!("a leak") };
    let process = std::sync::Arc::make_mut(&mut told.owners[0].process);
    process.cmdline = vec![String::from_utf8_lossy(&hidden.bytes()).into_owned()];
    let mut session = session(6);
    session.insert(3, leak);
    let bytes = Parts::of(&session, 3).bytes();
    for at in (0..bytes.len()).step_by(5) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        check(&session, &damaged, 3, &format!("byte {at} of {}", bytes.len()));
    }
}
