//! What the kernel side and user space of tcptrace share: the records that cross the ring buffer and
//! the iterator, the configuration that is fixed when a program is loaded, and how its filter judges.
//!
//! Each is defined once, for the BPF target and for the host. No I/O; on the BPF target no dependencies
//! either.

#![no_std]

#[cfg(all(feature = "programs", not(target_arch = "bpf")))]
compile_error!("feature `programs` is for the BPF target; tcptrace/build.rs turns it on");

pub mod config;
pub mod filter;
pub mod interpreter;
mod kernel_fields;
pub mod record;
