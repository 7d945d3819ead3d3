//! A line of a sysctl file.

use std::path::PathBuf;

/// A line that sets a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The setting, with dots: `net.ipv4.tcp_fin_timeout`.
    pub name: String,
    /// The value as written.
    pub value: String,
    pub file: PathBuf,
    /// The line number, from 1.
    pub line: u32,
}
