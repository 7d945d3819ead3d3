//! The files that a process had mapped when it made a call, kept for when it has ended or runs another program. Reads nothing
//! of them; who keeps them bounds them.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    mappings::{self, FileIdentity, Mapping},
    point::Point,
};

/// The code of a process at some time.
#[derive(Debug)]
pub(crate) struct KeptCode {
    /// The program that it ran.
    pub(super) program: PathBuf,
    pub(super) program_identity: FileIdentity,
    pub(super) parts: Vec<Part>,
}

/// A piece of a file, where it was mapped.
pub(super) type Part = (Mapping, Arc<KeptFile>);

/// A file that is kept open.
#[derive(Debug)]
pub(crate) struct KeptFile {
    /// Its path for the process; it may mean nothing here.
    pub(super) path: PathBuf,
    identity: FileIdentity,
    file: File,
    /// Counts the files that are open.
    _open: Arc<()>,
}

impl KeptCode {
    /// Opens the file of a mapping.
    pub(super) fn open(&self, mapping: &Mapping) -> Option<(FileIdentity, File)> {
        let (_, file) = self.parts.iter().find(|(known, _)| known == mapping)?;
        file.open().ok()
    }

    /// Opens the program.
    pub(super) fn open_program(&self) -> Option<(FileIdentity, File)> {
        let (_, file) = self.parts.iter().find(|(_, file)| file.identity == self.program_identity)?;
        file.open().ok()
    }

    /// Whether a process, whose directory of /proc this is, runs the program still, and has the files at these points mapped
    /// where they were: it may have executed another program since, or have loaded another library in place of one.
    pub(super) fn is_mapped_by(&self, process: &OwnedFd, points: &[Point]) -> bool {
        let is_same_program =
            mappings::program(process).is_ok_and(|(identity, _)| identity == self.program_identity);
        let is_called =
            |(mapping, _): &&Part| points.iter().any(|point| mapping.addresses.contains(&point.call()));
        let is_there = |(mapping, file): &Part| {
            mapping.open(process).is_ok_and(|(identity, _)| identity == file.identity)
        };
        is_same_program && self.parts.iter().filter(is_called).all(is_there)
    }

    /// Whether it is that of this program with these files.
    pub(super) fn is(&self, program: FileIdentity, parts: &[Part]) -> bool {
        let is_same = |((mapping, file), (other, of_other)): (&Part, &Part)| {
            mapping == other && Arc::ptr_eq(file, of_other)
        };
        self.program_identity == program
            && self.parts.len() == parts.len()
            && self.parts.iter().zip(parts).all(is_same)
    }
}

impl KeptFile {
    pub(super) fn new(path: PathBuf, identity: FileIdentity, file: File, open: &Arc<()>) -> Self {
        Self { path, identity, file, _open: Arc::clone(open) }
    }

    /// Opens it again: who shared the descriptor would share its position.
    pub(super) fn open(&self) -> io::Result<(FileIdentity, File)> {
        Ok((self.identity, File::open(self.here())?))
    }

    /// A path that leads to it here, as long as it is kept.
    pub(super) fn here(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.file.as_raw_fd().to_string())
    }
}
