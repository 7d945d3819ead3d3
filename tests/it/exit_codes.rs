//! Exit codes of sessions and reports that are not whole: 4, and the totals say "at least".

use std::fs;

use crate::support::leaky::Leaky;
use crate::support::run::run;

live_tests! {
    more_stuck_sockets_than_are_followed_end_with_4_and_at_least,
}

fn more_stuck_sockets_than_are_followed_end_with_4_and_at_least() {
    let leaky = Leaky::start("accepted_kept", &["--count", "3"]);
    let port = leaky.truths[0].lport.to_string();
    let ended =
        run(&["leaks", "--older-than", "100ms", "--duration", "1s", "--lport", &port, "--max-sockets", "1"]);
    assert_eq!(ended.code, Some(4), "{}{}", ended.output, ended.messages);
    assert!(ended.output.contains("At least 1 socket stuck in CLOSE_WAIT at the end"), "{}", ended.output);
    assert!(ended.messages.contains("--max-sockets"), "{}", ended.messages);
}

#[test]
fn a_report_of_what_is_empty_or_damaged_is_made_and_ends_with_4() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tct");
    let code = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run(&["report", path.to_str().unwrap()]).code
    };
    let kept = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/recordings/v1.tct")).unwrap();
    assert_eq!(code(&kept), Some(0), "a whole one");
    assert_eq!(code(b""), Some(4), "an empty one");
    assert_eq!(code(&kept[..kept.len() / 2]), Some(4), "one that was cut");
    let mut damaged = kept.clone();
    damaged[kept.len() / 2] ^= 0xff;
    assert_eq!(code(&damaged), Some(4), "one with a block that was damaged");
    let trace = folder.path().join("trace.json");
    let words = ["report", path.to_str().unwrap(), "--format", "perfetto", "-o", trace.to_str().unwrap()];
    let ended = run(&words);
    assert_eq!(ended.code, Some(4), "its trace: {}", ended.messages);
    assert!(ended.messages.contains("is not whole"), "{}", ended.messages);
}
