//! The file that is open: what is in it, and how bytes get there.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::MetadataExt as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use rustix::event::{PollFd, PollFlags, poll};

use super::{
    file::{Append, DirectoryEntry, Opened},
    screen,
    standard_error::STANDARD_ERROR,
    terminal,
};
use crate::forms::form::Trailer;

/// The file that is open.
pub(crate) struct Current {
    pub file: File,
    pub is_terminal: bool,
    pub entry: Option<DirectoryEntry>,
    /// Bytes of whole chunks in it.
    pub length: u64,
    /// The same before compression.
    pub plain_length: u64,
    /// What has to be written before the first chunk, and how it joins what is there; `None` when it was.
    pub append: Option<Append>,
    /// Bytes of an incomplete chunk behind the whole ones.
    pub partial: usize,
    pub records: u64,
    pub began: Instant,
    /// What the file will end with; `None` when it just ends, or has not begun.
    pub trailer: Option<Box<dyn Trailer>>,
    pub sync_at: Option<Instant>,
}

impl Current {
    pub(crate) fn new(Opened { file, entry, append }: Opened) -> io::Result<Self> {
        let length = if entry.is_some() { file.metadata()?.len() } else { 0 };
        Ok(Self {
            is_terminal: file.is_terminal(),
            file,
            entry,
            length,
            plain_length: 0,
            append: Some(append),
            partial: 0,
            records: 0,
            began: Instant::now(),
            trailer: None,
            sync_at: None,
        })
    }

    /// Writes all of it, behind what an earlier attempt has written.
    pub(crate) fn put(&mut self, bytes: &[u8], progress: &AtomicU64) -> io::Result<()> {
        if !self.is_terminal {
            return self.put_all(bytes, progress);
        }
        let mut line = screen::lock_for_records();
        // What does not take this will not take the rest either.
        let _follows = self.file.write(line.take_away());
        let put = self.put_all(&terminal::displayable(bytes), progress);
        drop(line);
        STANDARD_ERROR.draw_again();
        put
    }

    fn put_all(&mut self, bytes: &[u8], progress: &AtomicU64) -> io::Result<()> {
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
    pub(crate) fn take_back(&mut self) {
        if std::mem::take(&mut self.partial) > 0 && self.entry.is_some() {
            // A reader copes with an incomplete chunk too.
            let _ = self.file.set_len(self.length);
        }
    }

    /// Keeps the whole lines that an incomplete chunk has left behind, and takes back the rest; returns how many lines.
    pub(crate) fn keep_lines(&mut self, chunk: &[u8]) -> u64 {
        let is_end = |byte: &&u8| **byte == b'\n';
        let written = chunk.get(..self.partial).unwrap_or_default();
        let kept = written.len() - written.iter().rev().take_while(|byte| !is_end(byte)).count();
        self.length += kept as u64;
        self.partial -= kept;
        self.take_back();
        written.iter().filter(is_end).count() as u64
    }

    /// Whether it is in no directory any more.
    pub(crate) fn has_vanished(&self) -> bool {
        self.entry.is_some() && self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}
