//! Fuzzes `tcptrace_fuzz::python_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::python_lines(bytes));
