//! Why a recording cannot be read, and what to do about it.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::forms::{jsonl::parse::ParseError, tct::block::VERSION};

/// A recording cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {path}: {source}", path = path.display())]
    System {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "{path} is no recording: neither .tct nor the JSON Lines that tcptrace writes (compressed by zstd or not)",
        path = path.display()
    )]
    NoRecording { path: PathBuf },
    /// It is of a later format.
    #[error(
        "{path} has version {version} of the recording format, this tcptrace reads versions up to {known}; it was written by {writer}: read it with that, or a later one",
        path = path.display(),
        known = VERSION
    )]
    NewerFormat {
        path: PathBuf,
        version: u16,
        /// The program that wrote it.
        writer: String,
    },
    /// Its records are of a later form.
    #[error("cannot read {path}: {source}; read it with a later tcptrace", path = path.display())]
    NewerSchema {
        path: PathBuf,
        /// Which form.
        source: ParseError,
    },
    /// It was compressed in a way that takes much memory to undo.
    #[error(
        "{path} needs more than 8 MiB of memory to decompress: write it out first, with `zstd -d --long=31 -o FILE {path}`",
        path = path.display()
    )]
    WindowTooLarge { path: PathBuf },
}
