//! For the fuzz targets: the lines of a Go program that need not run.

use super::{bytes::Bytes, image::Segments, line::Line, program::Program};

/// A file as the memory of a program that was loaded where it says.
struct Loaded<'a> {
    file: &'a [u8],
    segments: &'a Segments,
}

impl Bytes for Loaded<'_> {
    fn read_some(&self, address: u64, buffer: &mut [u8]) -> usize {
        self.segments.offset_of(address).map_or(0, |offset| self.file.read_some(offset, buffer))
    }
}

/// The lines of code at each of these offsets of a file, innermost first; none where no Go code is.
#[must_use]
pub fn lines_of(file: &[u8], offsets: &[u64]) -> Vec<Vec<Line>> {
    let Some(segments) = Segments::read(file) else { return Vec::new() };
    let Some(program) = Program::read(file, &Loaded { file, segments: &segments }, &segments, 0) else {
        return Vec::new();
    };
    let lines = |offset: &u64| segments.address_of_code(*offset).map(|address| program.lines(file, address));
    offsets.iter().filter_map(lines).collect()
}
