//! A line of a sysctl file.

use std::path::PathBuf;

/// A line that sets something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What is set, with dots: `net.ipv4.tcp_fin_timeout`.
    pub name: String,
    /// To what, as it stands there.
    pub value: String,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
}
