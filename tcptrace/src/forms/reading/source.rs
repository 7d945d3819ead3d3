//! The raw bytes of a recording, from a file or standard input. Notices when the name stands for another
//! file.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::error::ReadError;

/// Where bytes come from.
pub(crate) struct Source {
    path: PathBuf,
    /// `None` for standard input.
    file: Option<File>,
    /// A regular file: it has a length, and can be read from anywhere.
    is_regular: bool,
    /// Bytes read or skipped so far.
    position: u64,
}

/// What became of a file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceChange {
    /// Its name stands for another file now.
    Replaced,
    /// It is shorter than what was read of it.
    Truncated,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let path = path.to_owned();
        if path.as_os_str() == "-" {
            return Ok(Self { path, file: None, is_regular: false, position: 0 });
        }
        let opened = File::open(&path).and_then(|file| {
            let metadata = file.metadata()?;
            if metadata.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok((file, metadata)) }
        });
        let (file, metadata) = opened.map_err(|source| ReadError::System { path: path.clone(), source })?;
        Ok(Self { path, file: Some(file), is_regular: metadata.is_file(), position: 0 })
    }

    /// Reads some bytes; 0 when there are none (yet).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            let read = match &mut self.file {
                Some(file) => file.read(buffer),
                None => io::stdin().lock().read(buffer),
            };
            match read {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
    }

    /// Reads bytes from elsewhere in a regular file; `None` where there are none.
    pub(crate) fn read_at(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let file = self.file.as_ref().filter(|_| self.is_regular)?;
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// Length of a regular file, in bytes.
    pub(crate) fn length(&self) -> Option<u64> {
        let file = self.file.as_ref().filter(|_| self.is_regular)?;
        Some(file.metadata().ok()?.len())
    }

    /// Goes on reading elsewhere in the file.
    pub(crate) fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        let sought = match &mut self.file {
            Some(file) => file.seek(SeekFrom::Start(offset)),
            None => Err(io::ErrorKind::NotSeekable.into()),
        };
        self.position = sought.map_err(|source| self.failed(source))?;
        Ok(())
    }

    /// What became of the file.
    pub(crate) fn change(&self) -> Option<SourceChange> {
        let opened = self.file.as_ref().filter(|_| self.is_regular)?.metadata().ok()?;
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        // A name that is gone may come again: the writer is between two files.
        let named = fs::metadata(&self.path).ok();
        if named.is_some_and(|named| named.is_file() && identity(&named) != identity(&opened)) {
            return Some(SourceChange::Replaced);
        }
        (opened.len() < self.position).then_some(SourceChange::Truncated)
    }

    /// Begins anew with the file that the name stands for now.
    pub(crate) fn reopen(&mut self) -> Result<(), ReadError> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// The name, as it was typed.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::System { path: self.path.clone(), source }
    }
}
