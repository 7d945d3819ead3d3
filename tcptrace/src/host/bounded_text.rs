//! Reads the text of files that nobody vouches for, or the beginning of it.

use std::{fs::File, io::Read as _, path::Path};

/// The text of a file, at most so many bytes of it; `None` when it cannot be read.
pub(crate) fn text(path: &Path, most: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
