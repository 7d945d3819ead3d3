//! A file that is still being written: what was appended is given when it is asked for again.

use super::*;

#[test]
fn what_is_appended_is_given_wherever_it_is_cut() {
    let written = session(9);
    let tct = Parts::of(&written, 3).bytes();
    let jsonl = lines(&written);
    for (form, bytes) in [
        ("tct", tct.clone()),
        ("jsonl", jsonl.clone()),
        ("zst", frames(&tct, 90)),
        ("zst", frames(&jsonl, 500)),
    ] {
        for step in [1, 13, 100, 1000] {
            let kept = KeptFile::new(&[]);
            let mut reader = kept.open();
            let mut records = Vec::new();
            for part in bytes.chunks(step) {
                kept.append(part);
                records.extend(rest(&mut reader));
            }
            assert_eq!(records, written, "{form} by {step} bytes");
            let losses = reader.losses();
            assert_eq!(
                (losses.missing, losses.damaged, losses.is_cut, losses.has_ended),
                (0, 0, false, true),
                "{form} by {step} bytes"
            );
        }
    }
}

#[test]
fn a_file_that_was_rotated_is_read_to_its_end_and_then_the_next() {
    let written = session(9);
    let parts = Parts::of(&written, 3);
    let kept = KeptFile::new(&[&parts.preamble[..], &parts.blocks[0].bytes].concat());
    let mut reader = kept.open();
    assert_eq!(rest(&mut reader), written[..4]);
    // The last block comes to the old file after the reader has seen its end, and before the new one is there.
    kept.append(&parts.blocks[1].bytes);
    fs::rename(&kept.path, kept.path.with_extension("1")).unwrap();
    assert_eq!(rest(&mut reader), written[4..7]);
    assert_eq!(rest(&mut reader), []);
    let next = [&parts.preamble[..], &parts.blocks[2].bytes, &parts.blocks[3].bytes, &parts.trailer].concat();
    fs::write(&kept.path, next).unwrap();
    assert_eq!(rest(&mut reader), written[7..]);
    let losses = reader.losses();
    assert_eq!((losses.replaced, losses.missing, losses.before, losses.is_cut), (1, 0, 0, false));
}

#[test]
fn a_block_that_is_missing_at_a_rotation_is_missed() {
    let written = session(9);
    let parts = Parts::of(&written, 3);
    let kept = KeptFile::new(&[&parts.preamble[..], &parts.blocks[0].bytes].concat());
    let mut reader = kept.open();
    assert_eq!(rest(&mut reader), written[..4]);
    let next = kept.path.with_extension("next");
    fs::write(&next, [&parts.preamble[..], &parts.blocks[3].bytes].concat()).unwrap();
    fs::rename(&next, &kept.path).unwrap();
    assert_eq!(rest(&mut reader), written[10..]);
    assert_eq!((reader.losses().replaced, reader.losses().missing), (1, 6));
}

#[test]
fn a_file_that_became_shorter_is_read_from_its_beginning_and_that_is_said() {
    let written = session(9);
    let kept = KeptFile::new(&lines(&written));
    let mut reader = kept.open();
    assert_eq!(rest(&mut reader), written);
    fs::write(&kept.path, lines(&written[..3])).unwrap();
    assert_eq!(rest(&mut reader), written[1..3], "the header is the same");
    assert_eq!(reader.losses().truncated, 1);
}

#[test]
fn lines_of_a_rotated_file_go_on_in_the_next() {
    let written = session(9);
    let kept = KeptFile::new(&lines(&written[..5]));
    let mut reader = kept.open();
    assert_eq!(rest(&mut reader), written[..5]);
    kept.append(b"{\"type\":\"tran");
    assert_eq!(rest(&mut reader), []);
    fs::rename(&kept.path, kept.path.with_extension("1")).unwrap();
    fs::write(&kept.path, [lines(&written[..1]), lines(&written[5..])].concat()).unwrap();
    assert_eq!(rest(&mut reader), written[5..]);
    assert_eq!((reader.losses().replaced, reader.losses().is_cut), (1, true));
}
