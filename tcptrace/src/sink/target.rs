//! What an output is written to: standard output, a device, or a row of files of which the last is open.
//! Compresses, rotates, follows what is done to the file from outside, and syncs. Counts what is in the
//! file; decides nothing about records.
//!
//! After a failure everything is as before, but for bytes of the same chunk that were written already:
//! whoever tries again goes on behind them.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, fdatasync, fsync, openat},
    io::Errno,
};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::{
    FileOptions, Format,
    encoder::Chunk,
    file::{self, Existing, Joint, OpenError, Opened, Place},
    rotation,
};
use crate::recording::{self, IndexEntry};

/// How long a file that could not be moved away is written to before that is tried again.
const ROTATION_PAUSE: Duration = Duration::from_secs(60);

/// Where the bytes of an output go.
pub struct Target {
    name: String,
    is_stdout: bool,
    format: Format,
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

struct Files {
    path: PathBuf,
    options: FileOptions,
    /// Bytes in files that were moved away.
    moved_bytes: u64,
    no_rotation_before: Option<Instant>,
    has_warned: bool,
}

/// The file that is open.
struct Current {
    file: File,
    place: Option<Place>,
    /// Bytes of whole chunks in it.
    length: u64,
    /// The same before compression.
    plain_length: u64,
    /// What has to be written before the first chunk, and how it joins what is there; `None` when it was.
    joint: Option<Joint>,
    /// Bytes of an incomplete chunk behind the whole ones.
    partial: usize,
    records: u64,
    began: Instant,
    /// The blocks of a recording; `None` when not all are known.
    index: Option<Vec<(u64, IndexEntry)>>,
    sync_at: Option<Instant>,
}

impl Current {
    fn new(Opened { file, place, joint }: Opened) -> io::Result<Self> {
        let length = if place.is_some() { file.metadata()?.len() } else { 0 };
        Ok(Self {
            file,
            place,
            length,
            plain_length: 0,
            joint: Some(joint),
            partial: 0,
            records: 0,
            began: Instant::now(),
            index: (length == 0).then(Vec::new),
            sync_at: None,
        })
    }

    /// Writes all of it, behind what an earlier attempt has written.
    fn put(&mut self, bytes: &[u8], progress: &AtomicU64) -> io::Result<()> {
        while let Some(rest) = bytes.get(self.partial..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.partial += count;
                    progress.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Standard output may have been left in this mode by whoever shares it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.length += std::mem::take(&mut self.partial) as u64;
        Ok(())
    }

    /// Takes back what an incomplete chunk has left behind.
    fn take_back(&mut self) {
        if std::mem::take(&mut self.partial) > 0 && self.place.is_some() {
            // A reader copes with an incomplete chunk too.
            let _ = self.file.set_len(self.length);
        }
    }

    fn has_vanished(&self) -> bool {
        self.place.is_some() && self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

impl Target {
    /// Standard output.
    pub fn stdout(format: Format) -> io::Result<Self> {
        let file = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
        let opened = Opened { file, place: None, joint: Joint::Beginning };
        let stdout = Self::new("standard output".to_owned(), format, false, None, opened)?;
        Ok(Self { is_stdout: true, ..stdout })
    }

    /// A file, or a device or FIFO that has a name.
    ///
    /// # Errors
    /// When it cannot be opened, or writing to it would not be safe.
    pub fn file(
        path: PathBuf,
        format: Format,
        is_compressed: bool,
        options: FileOptions,
    ) -> Result<Self, OpenError> {
        let opened = file::open(&path, format, options.existing, options.mode)?;
        let name = path.display().to_string();
        let system = |source| OpenError::System { path: path.clone(), source, remedy: "" };
        let files = opened.place.is_some().then(|| Files {
            path: path.clone(),
            options,
            moved_bytes: 0,
            no_rotation_before: None,
            has_warned: false,
        });
        Self::new(name, format, is_compressed, files, opened).map_err(system)
    }

    fn new(
        name: String,
        format: Format,
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
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is standard output.
    pub fn is_stdout(&self) -> bool {
        self.is_stdout
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.files.is_some()
    }

    /// The count of bytes written so far.
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Says what each file begins with, and makes room where an earlier session's records are.
    pub fn begin(&mut self, preamble: Vec<u8>) -> io::Result<()> {
        self.preamble = preamble;
        let has_old = self.current.as_ref().is_some_and(|current| current.joint == Some(Joint::Instead));
        if has_old {
            if self.files.as_ref().is_some_and(|files| files.options.rotation.is_wanted()) {
                self.move_away()?;
            } else if let Some(current) = &mut self.current {
                current.file.set_len(0)?;
                (current.length, current.joint) = (0, Some(Joint::Beginning));
                current.index = Some(Vec::new());
            }
        }
        self.open_if_needed()?;
        if let (Some(files), Some(current)) = (&mut self.files, &self.current) {
            files.prune(current.place.as_ref(), current.length);
        }
        self.put_preamble()
    }

    /// Writes a chunk, whole. When it fails, the same chunk has to be given again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        if let Some(compressor) = self.compressor.as_mut().filter(|_| self.compressed.is_empty()) {
            compress(compressor, &chunk.bytes, &mut self.compressed)?;
        }
        let length = if self.compressor.is_some() { self.compressed.len() } else { chunk.bytes.len() };
        self.rotate_if_due(length as u64)?;
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

    /// Gives up the chunk that could not be written: another may come.
    pub fn abandon(&mut self) {
        self.compressed.clear();
        if let Some(current) = &mut self.current {
            current.take_back();
        }
    }

    fn put_chunk(&mut self, chunk: &Chunk) -> io::Result<()> {
        self.open_if_needed()?;
        self.put_preamble()?;
        let sync_after = self.files.as_ref().and_then(|files| files.options.sync_after());
        let Some(current) = &mut self.current else { return Ok(()) };
        let bytes = if self.compressor.is_some() { &self.compressed } else { &chunk.bytes };
        current.put(bytes, &self.progress)?;
        current.records += chunk.records;
        if let Some(index) = &mut current.index {
            let start = current.plain_length;
            for (offset, entry) in &chunk.blocks {
                recording::note(index, start + *offset as u64, *entry);
            }
        }
        current.plain_length += chunk.bytes.len() as u64;
        if let Some(after) = sync_after {
            current.sync_at.get_or_insert_with(|| Instant::now() + after);
        }
        Ok(())
    }

    fn put_preamble(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let Some(joint) = current.joint else { return Ok(()) };
        let mut bytes = if joint == Joint::AfterCutLine { b"\n".to_vec() } else { Vec::new() };
        // Rows that are added to a table have its heading above them.
        if joint == Joint::Beginning || self.format != Format::Csv {
            bytes.extend_from_slice(&self.preamble);
        }
        let plain_length = bytes.len() as u64;
        if let Some(compressor) = &mut self.compressor {
            let plain = std::mem::take(&mut bytes);
            compress(compressor, &plain, &mut bytes)?;
        }
        current.put(&bytes, &self.progress)?;
        current.plain_length += plain_length;
        current.joint = None;
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
                file::open(path, self.format, Existing::Empty, options.mode).map_err(
                    |error| match error {
                        OpenError::System { source, .. } => source,
                        refused @ OpenError::Refused { .. } => io::Error::other(refused.to_string()),
                    },
                )?;
            if let Some(place) = opened.place.as_ref().filter(|_| options.fsync) {
                sync_directory(place)?;
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
    pub fn reopen(&mut self) -> io::Result<()> {
        let is_current = |current: &Current| current.place.as_ref().is_none_or(Place::is_current);
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
    pub fn take_vanished(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.vanished)).filter(|records| *records > 0)
    }

    fn can_rotate(&self) -> bool {
        let is_wanted = |files: &Files| {
            files.options.rotation.is_wanted()
                && files.no_rotation_before.is_none_or(|before| Instant::now() >= before)
        };
        let has_records = |current: &Current| current.records > 0;
        self.files.as_ref().is_some_and(is_wanted) && self.current.as_ref().is_some_and(has_records)
    }

    /// Begins another file if the present one is too old, or too large with so many more bytes.
    fn rotate_if_due(&mut self, more: u64) -> io::Result<()> {
        let (Some(files), Some(current)) = (&mut self.files, &self.current) else { return Ok(()) };
        // A chunk stays together.
        if current.partial > 0 {
            return Ok(());
        }
        let options = &files.options.rotation;
        let length = current.length + more;
        if options.max_total.is_some_and(|most| files.moved_bytes + length > most) {
            files.prune(current.place.as_ref(), length);
        }
        let options = &files.options.rotation;
        let is_due = options.size.is_some_and(|size| length > size)
            || options.every.is_some_and(|every| current.began.elapsed() >= every)
            || options.max_total.is_some_and(|most| files.moved_bytes + length > most);
        if is_due && self.can_rotate() { self.move_away() } else { Ok(()) }
    }

    /// Completes the present file under the name of one that was moved away. The next one is opened when there is
    /// something to write.
    fn move_away(&mut self) -> io::Result<()> {
        let (Some(files), Some(current)) = (&mut self.files, &mut self.current) else { return Ok(()) };
        current.take_back();
        let Some(place) = current.place.as_ref() else { return Ok(()) };
        // One that somebody has moved has a name of their choice.
        if place.is_current()
            && let Err(error) = rotation::move_away(place, Timestamp::now())
        {
            files.no_rotation_before = Some(Instant::now() + ROTATION_PAUSE);
            if !std::mem::replace(&mut files.has_warned, true) {
                log::warn!("cannot rename {}, and goes on writing to it: {error}", self.name);
            }
            return Ok(());
        }
        let finished = self.finish();
        if let (Some(files), Some(current)) = (&mut self.files, self.current.take()) {
            files.prune(current.place.as_ref(), files.options.rotation.size.unwrap_or(0));
        }
        finished
    }

    /// Completes the present file. A recording has an index at its end then, if there is room for it: readers can do
    /// without.
    ///
    /// # Errors
    /// When it is to be on the disk, and that fails.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.take_back();
        let index = current.index.take().filter(|_| self.format == Format::Tct && current.joint.is_none());
        if let Some(index) = index {
            let mut bytes = recording::trailer(&index).to_vec();
            if let Some(compressor) = &mut self.compressor {
                let plain = std::mem::take(&mut bytes);
                compress(compressor, &plain, &mut bytes)?;
            }
            if current.put(&bytes, &self.progress).is_err() {
                current.take_back();
            }
        }
        if let Some(place) = current.place.as_ref()
            && self.files.as_ref().is_some_and(|files| files.options.fsync)
        {
            fsync(&current.file)?;
            sync_directory(place)?;
        }
        Ok(())
    }

    /// When there is something to do although nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
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
    pub fn rotate_if_old(&mut self) -> io::Result<()> {
        self.rotate_if_due(0)
    }

    /// Makes sure that what was written is on the disk, where that is wanted and it is time.
    ///
    /// # Errors
    /// When it may not be there.
    pub fn sync_if_due(&mut self) -> io::Result<()> {
        let is_due = |at: &mut Instant| *at <= Instant::now();
        if let Some(current) = &mut self.current
            && current.sync_at.take_if(is_due).is_some()
        {
            fdatasync(&current.file)?;
        }
        Ok(())
    }
}

impl Files {
    /// Keeps the limits on files that were moved away, with `reserve` bytes to spare.
    fn prune(&mut self, place: Option<&Place>, reserve: u64) {
        let rotation = &self.options.rotation;
        let is_limited = rotation.keep.is_some() || rotation.max_total.is_some();
        let Some(place) = place.filter(|_| is_limited) else { return };
        match rotation::prune(&place.directory, &place.name, rotation, reserve) {
            Ok(left) => self.moved_bytes = left,
            Err(error) if !std::mem::replace(&mut self.has_warned, true) => {
                log::warn!("cannot remove old files of {}: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }
}

/// Whether a file cannot become larger, whatever the disk has.
fn is_limit_of_file(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::FBIG.raw_os_error())
}

/// Levels above the first are slower by more than they save.
const COMPRESSION_LEVEL: i32 = 1;

fn compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(COMPRESSION_LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(compressor)
}

/// One frame, which can be read by itself.
fn compress(compressor: &mut Compressor<'_>, plain: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    into.reserve(zstd::zstd_safe::compress_bound(plain.len()));
    let result = compressor.compress_to_buffer(plain, into);
    if result.is_err() {
        into.clear();
    }
    result.map(drop)
}

/// Makes sure that a file has its name after a crash.
fn sync_directory(place: &Place) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(&place.directory, ".", flags, Mode::empty())?;
    Ok(fsync(directory)?)
}
