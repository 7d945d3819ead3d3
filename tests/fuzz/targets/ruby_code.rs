//! Fuzzes `tcptrace_fuzz::ruby_code`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::ruby_code(bytes));
