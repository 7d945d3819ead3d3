//! Fuzzes `tcptrace_fuzz::hotspot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::hotspot(bytes));
