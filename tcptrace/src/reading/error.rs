//! Why a recording cannot be read.

use std::{io, path::PathBuf};

use thiserror::Error;

/// A recording cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {path}: {source}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
