//! Compresses what is written, a frame for each piece, so that a file that was cut can be read up to the cut.

use std::io;

use zstd::{bulk::Compressor, zstd_safe::CParameter};

/// Levels above the first are slower by more than they save.
const LEVEL: i32 = 1;

pub(crate) fn compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(compressor)
}

/// Bytes of a frame of so many bytes, at most.
pub(crate) fn most_bytes(plain: usize) -> usize {
    zstd::zstd_safe::compress_bound(plain)
}

/// One frame, which can be read by itself.
pub(crate) fn compress(compressor: &mut Compressor<'_>, plain: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    into.reserve(most_bytes(plain.len()));
    let result = compressor.compress_to_buffer(plain, into);
    if result.is_err() {
        into.clear();
    }
    result.map(drop)
}
