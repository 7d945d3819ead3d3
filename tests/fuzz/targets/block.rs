//! Fuzzes `tcptrace_fuzz::block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::block(bytes));
