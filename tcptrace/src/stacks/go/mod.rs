//! Names Go code from the line table that every Go program carries, stripped or not. Finds the file through the process
//! that has it mapped.

mod build;
mod bytes;
mod fuzzed;
mod image;
pub(crate) mod line;
mod module;
pub(super) mod package;
mod program;
#[cfg(test)]
mod synthetic;
mod table;
#[cfg(test)]
mod tests;

use std::{fs::File, rc::Rc};

use rustc_hash::FxHashMap;

pub use self::fuzzed::lines_of;
use self::{image::Segments, line::Line, program::Program};
use super::{
    mapped_code::MappedCode,
    mappings::{FileIdentity, Mapping},
};

/// Most files of which something is kept: a few hundred bytes each, no descriptor.
const MAX_FILES: usize = 1024;

/// Names Go code, and remembers which files have some.
#[derive(Default)]
pub(super) struct GoCode {
    /// `None` for those without.
    files: FxHashMap<FileIdentity, Option<Rc<Program>>>,
}

/// Whether a file carries Go's line table.
pub(super) fn has_table(file: &File) -> bool {
    Segments::read(file).is_some_and(|segments| image::find(file, &segments).is_some())
}

/// A mapped file with Go code.
struct Opened {
    file: File,
    program: Rc<Program>,
}

impl GoCode {
    /// The lines of code at each of these addresses of a process, innermost first; none where no Go code is.
    pub(super) fn lines(&mut self, code: &MappedCode, addresses: &[u64]) -> Vec<Vec<Line>> {
        let mut opened: FxHashMap<u64, Option<Opened>> = FxHashMap::default();
        let mut lines = |address: u64| {
            let mapping = code.mapping(address)?;
            let open = || self.open(code, mapping, address);
            let Opened { file, program } =
                opened.entry(mapping.addresses.start).or_insert_with(open).as_ref()?;
            let address = program.segments.address_of_code(mapping.offset_of(address)?)?;
            Some(program.lines(file, address))
        };
        addresses.iter().map(|address| lines(*address).unwrap_or_default()).collect()
    }

    /// Opens the file of a mapping, if it has Go code.
    fn open(&mut self, code: &MappedCode, mapping: &Mapping, address: u64) -> Option<Opened> {
        let (identity, file) = code
            .open(mapping)
            .inspect_err(|error| log::debug!("opening the file that is mapped at {address:#x}: {error}"))
            .ok()?;
        if self.files.len() >= MAX_FILES {
            self.files.clear();
        }
        // A table that is moved when it is loaded is read in memory.
        let memory = code.memory();
        if memory.is_none() && !self.files.contains_key(&identity) {
            return None;
        }
        let read = || {
            let segments = Segments::read(&file)?;
            let in_file = segments.address_of_code(mapping.offset_of(address)?)?;
            let bias = address.wrapping_sub(in_file);
            Program::read(&file, memory.as_ref()?, &segments, bias).map(Rc::new)
        };
        let program = self.files.entry(identity).or_insert_with(read).clone()?;
        Some(Opened { file, program })
    }
}
