//! Fuzzes `tcptrace_fuzz::line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::line(bytes));
