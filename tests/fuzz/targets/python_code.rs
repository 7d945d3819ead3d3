//! Fuzzes `tcptrace_fuzz::python_code`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::python_code(bytes));
