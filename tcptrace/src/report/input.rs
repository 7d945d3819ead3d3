//! Merges several recordings by time, so that rotated files of a session and parallel recordings of a host read as one.
//! Holds one record per file, and keeps few files open.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::window::RecordedSpan;
use crate::{
    forms::reading::{error::ReadError, losses::Losses, reader::Reader},
    model::record::Record,
};

/// Files kept open from the start; with more files, each opens when its first record is due.
const KEPT_OPEN: usize = 16;

/// What reading a file has shown about it so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileState {
    /// Records known to be missing.
    pub losses: Losses,
    /// Why the file could not be read to its end.
    pub error: Option<String>,
}

impl FileState {
    /// Whether all of the file could be read.
    pub(crate) fn is_undamaged(&self) -> bool {
        self.error.is_none() && self.losses.is_undamaged()
    }
}

/// The recordings, merged by time.
pub(crate) struct Recordings {
    files: Vec<File>,
    /// Files by the time of their next record, the earliest on top.
    queue: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Files at their end that may still grow.
    dry: Vec<usize>,
    is_followed: bool,
}

struct File {
    path: PathBuf,
    reader: Option<Reader>,
    next: Option<Record>,
    state: FileState,
}

impl Recordings {
    /// Opens the recordings; a file named twice is read once. With `is_followed` files may grow.
    ///
    /// # Errors
    /// When one of them cannot be read at all.
    pub(crate) fn open(paths: &[PathBuf], is_followed: bool) -> Result<Self, ReadError> {
        let mut seen = HashSet::new();
        let is_new = |path: &&PathBuf| {
            std::fs::metadata(path).ok().is_none_or(|metadata| seen.insert((metadata.dev(), metadata.ino())))
        };
        let paths: Vec<&PathBuf> = paths.iter().filter(is_new).collect();
        let mut input = Self { files: Vec::new(), queue: BinaryHeap::new(), dry: Vec::new(), is_followed };
        for path in &paths {
            let reader = Reader::open(path)?;
            let index = input.files.len();
            input.files.push(File {
                path: (*path).clone(),
                reader: Some(reader),
                next: None,
                state: FileState::default(),
            });
            input.fetch(index);
            let Some(file) = input.files.get_mut(index) else { continue };
            // Standard input cannot be opened again.
            if paths.len() > KEPT_OPEN && !is_followed && path.as_os_str() != "-" {
                (file.reader, file.next) = (None, None);
            }
        }
        Ok(input)
    }

    /// Names of the files, in the order of the numbers that [`Recordings::next`] gives.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| match file.path.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => file.path.display().to_string(),
        })
    }

    /// The states of the files so far, in the same order.
    pub(crate) fn states(&self) -> Vec<FileState> {
        let state = |file: &File| match &file.reader {
            Some(reader) => FileState { losses: *reader.losses(), ..file.state.clone() },
            None => file.state.clone(),
        };
        self.files.iter().map(state).collect()
    }

    /// The next record, with the number of its file; `None` when there is none (yet).
    pub(crate) fn next(&mut self) -> Option<(usize, Record)> {
        while let Some(Reverse((_, index))) = self.queue.pop() {
            let file = self.files.get_mut(index)?;
            if file.reader.is_none() && file.next.is_none() {
                match Reader::open(&file.path) {
                    Ok(reader) => file.reader = Some(reader),
                    Err(error) => {
                        file.state.error = Some(error.to_string());
                        continue;
                    }
                }
                self.fetch(index);
                continue;
            }
            let record = file.next.take();
            self.fetch(index);
            if let Some(record) = record {
                return Some((index, record));
            }
        }
        None
    }

    /// Reads on in files that were at their end: they may have grown.
    pub(crate) fn look_again(&mut self) {
        for index in std::mem::take(&mut self.dry) {
            self.fetch(index);
        }
    }

    /// Reads on in a file.
    fn fetch(&mut self, index: usize) {
        let Some(file) = self.files.get_mut(index) else { return };
        let Some(reader) = &mut file.reader else { return };
        match reader.next() {
            Ok(Some(record)) => {
                self.queue.push(Reverse((record.time(), index)));
                file.next = Some(record);
            }
            Ok(None) if self.is_followed => self.dry.push(index),
            ended => {
                file.state.error = ended.err().map(|error| error.to_string());
                file.state.losses = *reader.losses();
                file.reader = None;
            }
        }
    }
}

/// The time the recordings cover; `None` when they are empty. Reads them to the end.
///
/// # Errors
/// When one of them cannot be read at all.
pub(crate) fn extent(paths: &[PathBuf]) -> Result<Option<RecordedSpan>, ReadError> {
    let mut extent: Option<RecordedSpan> = None;
    for path in paths {
        let mut reader = Reader::open(path)?;
        while let Ok(Some(record)) = reader.next() {
            let time = record.time();
            let RecordedSpan { first, last } = extent.unwrap_or(RecordedSpan { first: time, last: time });
            extent = Some(RecordedSpan { first: first.min(time), last: last.max(time) });
        }
    }
    Ok(extent)
}

/// Whether the path names one of the input files.
pub(crate) fn is_read(paths: &[PathBuf], path: &Path) -> bool {
    let identity =
        |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    identity(path).is_some_and(|output| paths.iter().any(|input| identity(input) == Some(output)))
}
