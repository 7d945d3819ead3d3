//! Fuzzes `tcptrace_fuzz::go`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::go(bytes));
