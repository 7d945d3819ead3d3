//! Runs the corpus of the fuzzers as ordinary tests: bytes that once broke something, or were hard to find, never break
//! it again.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints at which seed"
)]

#[path = "src/lib.rs"]
mod targets;

use std::{fs, path::Path};

fn run(target: &str, feed: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut seeds = 0;
    for seed in fs::read_dir(&corpus).unwrap() {
        let path = seed.unwrap().path();
        println!("{}", path.display());
        feed(&fs::read(&path).unwrap());
        seeds += 1;
    }
    assert!(seeds > 10, "{seeds} seeds in {}", corpus.display());
}

#[test]
fn seeds_of_whole_files() {
    run("recording", targets::recording);
}

#[test]
fn seeds_of_blocks() {
    run("block", targets::block);
}

#[test]
fn seeds_of_lines() {
    run("line", targets::line);
}
