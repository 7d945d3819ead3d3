//! Fuzzes `tcptrace_fuzz::maps`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::maps(bytes));
