//! Fuzzes `tcptrace_fuzz::php_code`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::php_code(bytes));
