//! To be filled.
pub mod namespaces;
pub mod owners;
pub mod sock_diag;
