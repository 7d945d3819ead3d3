//! The BPF object of programs that do nothing, on the tracer's hooks: the baseline that
//! `cargo xtask bench` compares with. They never read their context and never write a record.

#![no_std]
#![no_main]

mod target;

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

#[btf_tracepoint(function = "inet_sock_set_state")]
fn empty_btf(_context: BtfTracePointContext) -> i32 {
    0
}

#[tracepoint(category = "sock", name = "inet_sock_set_state")]
fn empty_tracepoint(_context: TracePointContext) -> u32 {
    // 0 would hide the event from perf users.
    1
}
