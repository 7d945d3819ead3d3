//! The one door to BPF: nothing outside this module names aya.
//!
//! `support` has the facts about this kernel, `plan` the rules that follow from them. The rest loads the
//! programs, reads their records and counters, runs the iterators over descriptor tables, and decodes
//! records. Decides nothing about what records mean.

mod arrivals;
mod bpf_call;
mod btf;
mod calls;
pub(crate) mod decode;
mod descriptor;
mod error;
mod examine;
mod facts;
mod filter;
mod format;
#[cfg(test)]
mod frames;
mod holders;
mod hooks;
mod interpreters;
mod iterators;
mod load;
mod loader;
mod loss;
mod mapping;
mod misses;
mod offsets;
mod options;
mod perf;
pub(crate) mod plan;
mod records;
mod ring;
mod streams;
mod support;
mod tracer;
mod types;
mod vmlinux;

pub(crate) use self::{
    calls::CallMemory,
    descriptor::{ConnectionOrigin, KnownBy, SocketDescriptor},
    error::LoadError,
    facts::{KernelFact, Outcome},
    filter::check as check_rules,
    holders::HolderScan,
    options::{Backend, HolderSource, TracerOptions, TrackedCalls, Transport},
    tracer::{Tracer, cpu_list},
    types::check as check_btf,
};
pub(crate) use self::{examine::examine, support::Support};
