//! Fuzzes `tcptrace_fuzz::perf_map`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::perf_map(bytes));
