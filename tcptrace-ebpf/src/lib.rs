//! What the kernel side and user space of tcptrace share: the records that cross the ring buffer and
//! the iterator, and the configuration that is fixed when a program is loaded.
//!
//! One definition for both sides, compiled for the BPF target and for the host. No I/O, no logic
//! beyond the layout; on the BPF target no dependencies either.

#![no_std]

pub mod config;
pub mod record;
