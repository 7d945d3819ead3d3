//! The code at some addresses of a process, as far as it comes from files: of one that is there, or of one that has ended.
//! Names nothing.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustc_hash::FxHashMap;
use rustix::fs::{Mode, OFlags, openat};

use super::{
    binary::{Binary, Traits},
    elf::{BoundedFile, Elf},
    kept_code::{KeptCode, KeptFile},
    mappings::{self, FileIdentity, Mapping, executable},
};

/// The code at some addresses.
pub(super) struct MappedCode {
    files: Files,
    pub(super) mappings: Vec<Mapping>,
    /// What is known of their files, in order; nothing before [`MappedCode::identify`].
    binaries: Vec<Binary>,
    /// Whether [`MappedCode::identify`] lacked the right to open one of them.
    pub(super) is_forbidden: bool,
}

/// What files told of themselves.
pub(super) type KnownTraits = FxHashMap<FileIdentity, Traits>;

/// Files of which that is remembered; beyond, all is forgotten.
const MOST_TRAITS: usize = 4_096;

/// Where its files are.
enum Files {
    Process(OwnedFd),
    /// Of the mappings, in order.
    Kept(Vec<Arc<KeptFile>>),
}

impl MappedCode {
    /// # Errors
    /// When the process has ended, or may not be read.
    pub(super) fn at(proc_root: &Path, pid: u32, addresses: &[u64]) -> io::Result<Self> {
        let process = mappings::process(proc_root, pid)?;
        let mappings = executable(&process)?.filter(|mapping| is_at(mapping, addresses)).collect();
        Ok(Self { files: Files::Process(process), mappings, binaries: Vec::new(), is_forbidden: false })
    }

    /// Of a process that has ended.
    pub(super) fn kept(code: &KeptCode, addresses: &[u64]) -> Self {
        let parts = code.parts.iter().filter(|(mapping, _)| is_at(mapping, addresses)).cloned();
        let (mappings, files) = parts.unzip();
        Self { files: Files::Kept(files), mappings, binaries: Vec::new(), is_forbidden: false }
    }

    /// The mapping that holds an address; `None` where no file stands behind it.
    pub(super) fn mapping(&self, address: u64) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.addresses.contains(&address))
    }

    /// Opens the file of a mapping.
    ///
    /// # Errors
    /// When that may not be read, or is no regular file.
    pub(super) fn open(&self, mapping: &Mapping) -> io::Result<(FileIdentity, File)> {
        match &self.files {
            Files::Process(process) => mapping.open(process),
            Files::Kept(_) => self.kept_file(mapping)?.open(),
        }
    }

    /// Finds out what the files tell of themselves.
    pub(super) fn identify(&mut self, known: &mut KnownTraits) {
        let mut is_forbidden = false;
        let binary = |mapping: &Mapping| {
            let path = self.path(mapping).unwrap_or_default();
            match self.open(mapping) {
                Ok((identity, file)) => identified(path, identity, file, known),
                Err(error) => {
                    is_forbidden |= error.kind() == io::ErrorKind::PermissionDenied;
                    Binary::unread(path)
                }
            }
        };
        self.binaries = self.mappings.iter().map(binary).collect();
        self.is_forbidden = is_forbidden;
    }

    /// What is known of the file of a mapping.
    pub(super) fn binary(&self, mapping: &Mapping) -> Option<&Binary> {
        self.mappings
            .iter()
            .zip(&self.binaries)
            .find(|(known, _)| *known == mapping)
            .map(|(_, binary)| binary)
    }

    /// What is known of the file in which an address lies.
    pub(super) fn binary_at(&self, address: u64) -> Option<&Binary> {
        self.binary(self.mapping(address)?)
    }

    /// The path of the file of a mapping, as the process sees it.
    fn path(&self, mapping: &Mapping) -> io::Result<PathBuf> {
        match &self.files {
            Files::Process(process) => mapping.path(process),
            Files::Kept(_) => Ok(self.kept_file(mapping)?.path.clone()),
        }
    }

    /// The file of a mapping, of a process that has ended.
    pub(super) fn kept_file(&self, mapping: &Mapping) -> io::Result<&KeptFile> {
        let Files::Kept(files) = &self.files else { return Err(io::ErrorKind::NotFound.into()) };
        let mut files = self.mappings.iter().zip(files);
        let found = files.find(|(known, _)| *known == mapping).map(|(_, file)| &**file);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The memory of the process; `None` where it has ended.
    pub(super) fn memory(&self) -> Option<File> {
        let Files::Process(process) = &self.files else { return None };
        openat(process, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok().map(File::from)
    }
}

/// What a file tells of itself.
pub(super) fn identified(
    path: PathBuf,
    identity: FileIdentity,
    file: File,
    known: &mut KnownTraits,
) -> Binary {
    if known.len() >= MOST_TRAITS {
        known.clear();
    }
    if let Some(traits) = known.get(&identity) {
        return Binary { path, traits: traits.clone() };
    }
    let file = BoundedFile::new(file);
    let Some(elf) = Elf::read(&file) else { return Binary::unread(path) };
    let traits = Traits::of(&path, &elf);
    known.insert(identity, traits.clone());
    Binary { path, traits }
}

fn is_at(mapping: &Mapping, addresses: &[u64]) -> bool {
    addresses.iter().any(|address| mapping.addresses.contains(address))
}
