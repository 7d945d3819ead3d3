//! What an output is written to: standard output, a device, or a row of files of which the last is open.
//! Compresses, rotates, follows what is done to the file from outside, and syncs. Counts what is in the
//! file; decides nothing about records.
//!
//! After a failure everything is as before, but for bytes of the same chunk that were written already:
//! whoever tries again goes on behind them.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags, fdatasync, fsync, openat};
use zstd::bulk::Compressor;

use super::{
    compression::{self, compress, compressor},
    current::Current,
    error::{OpenError, is_limit_of_file},
    file::{self, Append, DirectoryEntry, IfExists, Opened},
    files::Files,
    options::{FileOptions, Route, Sink},
    rotation::{self, Rotation},
    standard_output,
};
use crate::forms::{
    encoder::Chunk,
    form::{Ability, Format},
};

/// How long a file that could not be moved away is written to before that is tried again.
const ROTATION_RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// Where the bytes of an output go.
pub(crate) struct Target {
    name: String,
    is_stdout: bool,
    format: &'static Format,
    compressor: Option<Compressor<'static>>,
    preamble: Vec<u8>,
    /// How further files are opened; `None` for what is no file.
    files: Option<Files>,
    current: Option<Current>,
    /// The chunk that is being written, compressed; empty when it is not compressed yet.
    compressed: Vec<u8>,
    /// Counts the bytes that were written, for whoever wonders whether this is stuck.
    progress: Arc<AtomicU64>,
    /// Records in files that were removed while they were written.
    vanished: u64,
}

impl Target {
    /// Opens an output. Nothing that is in a file is touched before [`Target::begin`].
    ///
    /// # Errors
    /// When it cannot be opened, writing to it would not be safe, or the form does not suit it.
    pub(crate) fn open(route: &Route, files: &FileOptions) -> Result<Self, OpenError> {
        let Route { sink, format, is_compressed } = route;
        let refused = |path: &Path, reason: &str| {
            Err(OpenError::Refused { path: path.to_owned(), reason: reason.to_owned() })
        };
        match sink {
            Sink::Stdout if !format.can(Ability::Lines) && io::stdout().is_terminal() => refused(
                Path::new(standard_output::NAME),
                "a recording is no text: name a file with -o, or write into a pipe",
            ),
            Sink::Stdout => {
                standard_output::require()?;
                Self::stdout(format).map_err(|source| OpenError::System {
                    path: standard_output::NAME.into(),
                    source,
                    remedy: "",
                })
            }
            Sink::File(path)
                if files.if_exists == IfExists::Append
                    && (*is_compressed || !format.can(Ability::Append)) =>
            {
                refused(path, "records cannot be added to a recording or a compressed file; name a new file")
            }
            Sink::File(path) => Self::file(path, format, *is_compressed, files.clone()),
        }
    }

    /// Standard output.
    fn stdout(format: &'static Format) -> io::Result<Self> {
        let file = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
        let opened = Opened { file, entry: None, append: Append::ToNothing };
        let stdout = Self::new(standard_output::NAME.to_owned(), format, false, None, opened)?;
        Ok(Self { is_stdout: true, ..stdout })
    }

    /// A file, or a device or FIFO that has a name.
    ///
    /// # Errors
    /// When it cannot be opened, or writing to it would not be safe.
    fn file(
        path: &Path,
        format: &'static Format,
        is_compressed: bool,
        options: FileOptions,
    ) -> Result<Self, OpenError> {
        let opened = file::open(path, format, options.if_exists, options.mode)?;
        let name = path.display().to_string();
        let system = |source| OpenError::System { path: path.to_owned(), source, remedy: "" };
        let files = opened.entry.is_some().then(|| Files {
            path: path.to_owned(),
            options,
            moved_bytes: 0,
            no_rotation_before: None,
            has_warned: false,
        });
        Self::new(name, format, is_compressed, files, opened).map_err(system)
    }

    fn new(
        name: String,
        format: &'static Format,
        is_compressed: bool,
        files: Option<Files>,
        opened: Opened,
    ) -> io::Result<Self> {
        let compressor = if is_compressed { Some(compressor()?) } else { None };
        Ok(Self {
            name,
            is_stdout: false,
            format,
            compressor,
            preamble: Vec::new(),
            files,
            current: Some(Current::new(opened)?),
            compressed: Vec::new(),
            progress: Arc::default(),
            vanished: 0,
        })
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        self.is_stdout
    }

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.is_terminal)
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.files.is_some()
    }

    /// The count of bytes written so far.
    pub(crate) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Says what each file begins with, and makes room where an earlier session's records are.
    pub(crate) fn begin(&mut self, preamble: Vec<u8>) -> io::Result<()> {
        self.preamble = preamble;
        let has_old = self.current.as_ref().is_some_and(|current| current.append == Some(Append::Instead));
        if has_old {
            if self.files.as_ref().is_some_and(|files| files.options.rotation.is_wanted()) {
                self.move_away()?;
            } else if let Some(current) = &mut self.current {
                current.file.set_len(0)?;
                (current.length, current.append) = (0, Some(Append::ToNothing));
            }
        }
        self.open_if_needed()?;
        if let (Some(files), Some(current)) = (&mut self.files, &self.current) {
            files.prune(current.entry.as_ref(), current.length);
        }
        self.put_preamble()
    }

    /// Writes a chunk, whole. When it fails, the same chunk has to be given again.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        if let Some(compressor) = self.compressor.as_mut().filter(|_| self.compressed.is_empty()) {
            compress(compressor, &chunk.bytes, &mut self.compressed)?;
        }
        let length = if self.compressor.is_some() { self.compressed.len() } else { chunk.bytes.len() };
        self.rotate_if_due(length as u64, &chunk.bytes)?;
        let written = self.put_chunk(chunk);
        if written.as_ref().is_err_and(is_limit_of_file) && self.can_rotate() {
            self.move_away()?;
            self.put_chunk(chunk)?;
        } else {
            written?;
        }
        self.compressed.clear();
        Ok(())
    }

    /// Gives up the chunk that could not be written: another may come. Of lines, those that are in the file whole stay;
    /// returns how many of its records these are.
    pub(crate) fn abandon(&mut self, chunk: &Chunk) -> u64 {
        self.compressed.clear();
        let Some(current) = &mut self.current else { return 0 };
        if self.files.is_none() || self.compressor.is_some() || !self.format.can(Ability::Lines) {
            current.take_back();
            return 0;
        }
        // The last one is not there, or not whole.
        let records = current.keep_lines(&chunk.bytes).min(chunk.records.saturating_sub(1));
        current.records += records;
        records
    }

    fn put_chunk(&mut self, chunk: &Chunk) -> io::Result<()> {
        self.open_if_needed()?;
        self.put_preamble()?;
        let sync_after = self.files.as_ref().and_then(|files| files.options.sync_after());
        let Some(current) = &mut self.current else { return Ok(()) };
        let bytes = if self.compressor.is_some() { &self.compressed } else { &chunk.bytes };
        current.put(bytes, &self.progress)?;
        current.records += chunk.records;
        if let Some(trailer) = &mut current.trailer {
            trailer.follow(current.plain_length, &chunk.bytes);
        }
        current.plain_length += chunk.bytes.len() as u64;
        if let Some(after) = sync_after {
            current.sync_at.get_or_insert_with(|| Instant::now() + after);
        }
        Ok(())
    }

    fn put_preamble(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let Some(append) = current.append else { return Ok(()) };
        let mut bytes = if append == Append::AfterCutLine { b"\n".to_vec() } else { Vec::new() };
        // Rows that are added to a table have its heading above them.
        if append == Append::ToNothing || self.format.can(Ability::PreambleOnAppend) {
            bytes.extend_from_slice(&self.preamble);
        }
        let plain_length = bytes.len() as u64;
        if let Some(compressor) = &mut self.compressor {
            let plain = std::mem::take(&mut bytes);
            compress(compressor, &plain, &mut bytes)?;
        }
        current.put(&bytes, &self.progress)?;
        current.plain_length += plain_length;
        current.append = None;
        current.trailer = self.format.trailer.map(|trailer| trailer());
        Ok(())
    }

    /// Opens a file where there is none, or where it is no longer in any directory.
    fn open_if_needed(&mut self) -> io::Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        if let Some(current) = self.current.take_if(|current| current.has_vanished()) {
            self.vanished += current.records;
        }
        if self.current.is_none() {
            let Files { path, options, .. } = files;
            let opened =
                file::open(path, self.format, IfExists::Refuse, options.mode).map_err(
                    |error| match error {
                        OpenError::System { source, .. } => source,
                        refused @ OpenError::Refused { .. } => io::Error::other(refused.to_string()),
                    },
                )?;
            if let Some(entry) = opened.entry.as_ref().filter(|_| options.fsync) {
                sync_directory(entry)?;
            }
            self.current = Some(Current::new(opened)?);
        }
        Ok(())
    }

    /// Follows a file that was moved away from outside: what comes now goes into a new one. A file that is still in its
    /// place stays open.
    ///
    /// # Errors
    /// When there is no new one: it is tried again with the next chunk.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        let is_current = |current: &Current| current.entry.as_ref().is_none_or(DirectoryEntry::is_current);
        if self.files.is_none() || self.current.as_ref().is_some_and(is_current) {
            return Ok(());
        }
        if self.current.as_ref().is_some_and(|current| !current.has_vanished()) {
            let finished = self.finish();
            self.current = None;
            finished?;
        }
        self.open_if_needed()?;
        self.put_preamble()
    }

    /// Records in files that were removed, since the last time this was asked; `None` when none was.
    pub(crate) fn take_vanished(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.vanished)).filter(|records| *records > 0)
    }

    fn can_rotate(&self) -> bool {
        let has_records = |current: &Current| current.records > 0;
        self.files.as_ref().is_some_and(Files::may_rotate) && self.current.as_ref().is_some_and(has_records)
    }

    /// Begins another file if the present one is too old, or too large with so many more bytes, which are this chunk.
    fn rotate_if_due(&mut self, more: u64, chunk: &[u8]) -> io::Result<()> {
        let closing = self.closing_bytes(chunk);
        let (Some(files), Some(current)) = (&mut self.files, &self.current) else { return Ok(()) };
        // A chunk stays together.
        if current.partial > 0 {
            return Ok(());
        }
        let length = current.length + more + closing;
        if files.is_over_total(length) {
            files.prune(current.entry.as_ref(), length);
        }
        let Rotation { size, every, .. } = files.options.rotation;
        let is_due = size.is_some_and(|size| length > size)
            || every.is_some_and(|every| current.began.elapsed() >= every)
            || files.is_over_total(length);
        if is_due && self.can_rotate() { self.move_away() } else { Ok(()) }
    }

    /// How much the present file will end with after this chunk, in bytes at most.
    fn closing_bytes(&self, chunk: &[u8]) -> u64 {
        let trailer = self.current.as_ref().and_then(|current| current.trailer.as_ref());
        let Some(trailer) = trailer else { return 0 };
        let plain = trailer.length_after(chunk);
        let length = if self.compressor.is_some() { compression::most_bytes(plain) } else { plain };
        length as u64
    }

    /// Completes the present file under the name of one that was moved away. The next one is opened when there is
    /// something to write.
    fn move_away(&mut self) -> io::Result<()> {
        let (Some(files), Some(current)) = (&mut self.files, &mut self.current) else { return Ok(()) };
        current.take_back();
        let Some(entry) = current.entry.as_ref() else { return Ok(()) };
        // One that somebody has moved has a name of their choice.
        if entry.is_current()
            && let Err(error) = rotation::move_away(entry, Timestamp::now())
        {
            files.no_rotation_before = Some(Instant::now() + ROTATION_RETRY_INTERVAL);
            if !std::mem::replace(&mut files.has_warned, true) {
                log::warn!("cannot rename {}, and goes on writing to it: {error}", self.name);
            }
            return Ok(());
        }
        let finished = self.finish();
        if let (Some(files), Some(current)) = (&mut self.files, self.current.take()) {
            files.prune(current.entry.as_ref(), files.options.rotation.size.unwrap_or(0));
        }
        finished
    }

    /// Completes the present file. It ends with the trailer of its form then, if there is room for it: readers can do
    /// without.
    ///
    /// # Errors
    /// When it is to be on the disk, and that fails.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.take_back();
        if let Some(trailer) = current.trailer.take() {
            let mut bytes = trailer.bytes();
            if let Some(compressor) = &mut self.compressor {
                let plain = std::mem::take(&mut bytes);
                compress(compressor, &plain, &mut bytes)?;
            }
            if current.put(&bytes, &self.progress).is_err() {
                current.take_back();
            }
        }
        if let Some(entry) = current.entry.as_ref()
            && self.files.as_ref().is_some_and(|files| files.options.fsync)
        {
            fsync(&current.file)?;
            sync_directory(entry)?;
        }
        Ok(())
    }

    /// When there is something to do although nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (files, current) = (self.files.as_ref()?, self.current.as_ref()?);
        let every = files.options.rotation.every.filter(|_| current.records > 0);
        let old_at = every.and_then(|every| current.began.checked_add(every));
        let rotate_at = old_at.map(|at| files.no_rotation_before.map_or(at, |before| before.max(at)));
        [rotate_at, current.sync_at].into_iter().flatten().min()
    }

    /// Begins another file if the present one is too old.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn rotate_if_old(&mut self) -> io::Result<()> {
        self.rotate_if_due(0, &[])
    }

    /// Makes sure that what was written is on the disk, where that is wanted and it is time.
    ///
    /// # Errors
    /// When it may not be there.
    pub(crate) fn sync_if_due(&mut self) -> io::Result<()> {
        let is_due = |at: &mut Instant| *at <= Instant::now();
        if let Some(current) = &mut self.current
            && current.sync_at.take_if(is_due).is_some()
        {
            fdatasync(&current.file)?;
        }
        Ok(())
    }
}

/// Makes sure that a file has its name after a crash.
fn sync_directory(entry: &DirectoryEntry) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(&entry.directory, ".", flags, Mode::empty())?;
    Ok(fsync(directory)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs;

    use bytes::BytesMut;

    use super::*;
    use crate::forms::tct::{
        block::IndexEntry,
        form::FORMAT,
        frame::{self, Kind},
    };

    #[test]
    fn the_index_of_a_recording_belongs_to_the_size_of_its_file() {
        const SIZE: u64 = 64 << 10;
        // Small blocks make a large index.
        const CHUNK_BYTES: u64 = 300;
        for is_compressed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let options = FileOptions {
                rotation: Rotation { size: Some(SIZE), ..Rotation::default() },
                ..FileOptions::default()
            };
            let path = folder.path().join("x.tct");
            let mut target = Target::file(&path, &FORMAT, is_compressed, options).unwrap();
            target.begin(vec![0; 50]).unwrap();
            let entry =
                IndexEntry { first_record: 0, records: 1, earliest_ns: 0, latest_ns: 0, has_summary: false };
            for number in 0..3 * SIZE / CHUNK_BYTES {
                // Nothing that could be compressed.
                let mut state = number;
                let bytes = (0..CHUNK_BYTES - frame::HEADER_BYTES as u64).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                });
                let mut block = BytesMut::new();
                frame::begin(&mut block);
                block.extend(bytes);
                let bytes = frame::seal(block, Kind::Records, &entry).to_vec();
                let chunk = Chunk { bytes, records: 1 };
                target.write(&chunk).unwrap();
            }
            target.finish().unwrap();
            let sizes: Vec<u64> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .collect();
            assert!(sizes.len() >= 3, "{sizes:?}");
            assert!(sizes.iter().all(|size| *size <= SIZE), "compressed: {is_compressed}: {sizes:?}");
        }
    }
}
