//! Runs the corpus of the fuzzers as ordinary tests: bytes that once broke something, or were hard to find, never break
//! it again.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints at which seed"
)]

#[path = "src/lib.rs"]
#[expect(unreachable_pub, reason = "it is the library of the fuzzers, too")]
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

#[test]
fn seeds_of_elf_files() {
    run("elf", targets::elf);
}

#[test]
fn seeds_of_instructions() {
    run("instructions", targets::instructions);
}

#[test]
fn seeds_of_go_programs() {
    run("go", targets::go);
}

#[test]
fn seeds_of_perf_maps() {
    run("perf_map", targets::perf_map);
}

#[test]
fn seeds_of_maps() {
    run("maps", targets::maps);
}

#[test]
fn seeds_of_java_frames() {
    run("hotspot", targets::hotspot);
}

#[test]
fn seeds_of_python_line_tables() {
    run("python_lines", targets::python_lines);
}

#[test]
fn seeds_of_php_frames() {
    run("php_code", targets::php_code);
}

#[test]
fn seeds_of_ruby_frames() {
    run("ruby_code", targets::ruby_code);
}

#[test]
fn seeds_of_python_frames() {
    run("python_code", targets::python_code);
}
