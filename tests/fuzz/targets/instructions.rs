//! Fuzzes `tcptrace_fuzz::instructions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::instructions(bytes));
