//! To be filled.
pub mod namespaces;
pub mod sock_diag;
