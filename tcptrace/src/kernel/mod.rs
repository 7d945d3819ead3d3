//! The one door to BPF: nothing outside this module names aya.
//!
//! Loads the programs that fit the host, reads their ring buffer and counters, and runs the iterator
//! over descriptor tables. Hands out records as bytes or plain structures; decides nothing about them.

mod btf;
mod calls;
pub(crate) mod decode;
mod error;
mod format;
mod holders;
mod load;
mod misses;
mod offsets;
mod tracer;

pub(crate) use self::{
    calls::{CallMemory, TrackedCalls},
    error::LoadError,
    holders::HolderScan,
    load::Backend,
    tracer::{Tracer, TracerOptions},
};
