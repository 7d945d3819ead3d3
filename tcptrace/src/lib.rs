//! tcptrace names the process that never closed its TCP sockets, and says why.
//!
//! Data flows one way: `kernel` (the only door to BPF) → `decode` → `sockets` (pure state) → `owners`
//! (evidence) → `diagnosis` (pure rules) → `record` → `sink`. `session` joins them; `cli` says what is
//! wanted. See ARCHITECTURE.md.

pub mod clear;
pub mod cli;
pub mod decode;
pub mod diagnosis;
pub mod host;
pub mod kernel;
pub mod model;
pub mod namespaces;
pub mod owners;
mod parallel;
pub mod reading;
pub mod recording;
pub mod report;
pub mod session;
pub mod sink;
pub mod sock_diag;
pub mod sockets;
pub mod time_wait;
