//! The uncompressed bytes of a recording, in order, as many at a time as the caller needs.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    error::ReadError,
    inflate::{FRAME_MAGIC, Inflate, Inflated},
    source::{Source, SourceChange},
};

/// Bytes made room for at once.
const STEP_BYTES: usize = 256 * 1024;

/// A source with its decompressor, if it needs one.
pub(crate) struct Stream {
    source: Source,
    inflate: Option<Inflate>,
    /// Whether the bytes were looked at for being compressed.
    is_told: bool,
    buffer: BytesMut,
    /// Bytes before the buffer.
    offset: u64,
    /// What comes next does not follow on the buffer.
    is_broken: bool,
}

impl Stream {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, inflate: None, is_told: false, buffer: BytesMut::new(), offset: 0, is_broken: false }
    }

    /// What comes next: `wanted` bytes at least, unless there are fewer (yet), or fewer that follow on each other.
    pub(crate) fn peek(&mut self, wanted: usize) -> Result<&[u8], ReadError> {
        while self.buffer.len() < wanted && !self.is_broken && self.more()? {}
        Ok(&self.buffer)
    }

    /// What is here already.
    pub(crate) fn here(&self) -> &[u8] {
        &self.buffer
    }

    /// Gets some more bytes; whether there were any.
    pub(crate) fn more(&mut self) -> Result<bool, ReadError> {
        if self.is_broken {
            return Ok(false);
        }
        let begun = self.buffer.len();
        self.buffer.resize(begun + STEP_BYTES, 0);
        let room = self.buffer.get_mut(begun..).unwrap_or_default();
        let inflated = match &mut self.inflate {
            Some(inflate) => inflate.read(&mut self.source, room),
            None => self.source.read(room).map(Inflated::Bytes),
        };
        let got = match inflated {
            Ok(Inflated::Bytes(got)) => got,
            Ok(Inflated::Break) => {
                self.is_broken = true;
                0
            }
            Err(error) => {
                self.buffer.truncate(begun);
                return Err(error);
            }
        };
        self.buffer.truncate(begun + got);
        self.tell_compressed()?;
        Ok(got > 0)
    }

    /// Once the first bytes are here: whether they are a zstd frame.
    fn tell_compressed(&mut self) -> Result<(), ReadError> {
        if self.is_told || self.buffer.len() < FRAME_MAGIC.len() {
            return Ok(());
        }
        self.is_told = true;
        if self.buffer.starts_with(&FRAME_MAGIC) {
            self.inflate = Some(Inflate::new(&self.buffer, &self.source)?);
            self.buffer.clear();
            self.more()?;
        }
        Ok(())
    }

    /// Passes over bytes that are here.
    pub(crate) fn consume(&mut self, length: usize) {
        let length = length.min(self.buffer.len());
        self.buffer.advance(length);
        self.offset += length as u64;
    }

    /// Takes bytes that are here.
    pub(crate) fn take(&mut self, length: usize) -> Bytes {
        let length = length.min(self.buffer.len());
        self.offset += length as u64;
        self.buffer.split_to(length).freeze()
    }

    /// After too few bytes: whether a gap follows them. They are skipped then.
    pub(crate) fn take_break(&mut self) -> bool {
        if self.is_broken {
            self.consume(self.buffer.len());
        }
        std::mem::take(&mut self.is_broken)
    }

    /// Whether bytes are here that nobody took, or a compressed frame is not whole.
    pub(crate) fn is_pending(&self) -> bool {
        !self.buffer.is_empty() || self.inflate.as_ref().is_some_and(Inflate::is_pending)
    }

    /// Uncompressed bytes before what comes next.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The source, when what lies in it is not compressed.
    pub(crate) fn plain(&self) -> Option<&Source> {
        self.inflate.is_none().then_some(&self.source)
    }

    /// Goes on elsewhere in a source that is not compressed.
    pub(crate) fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        match offset.checked_sub(self.offset).map(usize::try_from) {
            Some(Ok(ahead)) if ahead <= self.buffer.len() => self.consume(ahead),
            _ => {
                self.source.seek(offset)?;
                self.buffer.clear();
                self.offset = offset;
            }
        }
        Ok(())
    }

    /// What became of the source.
    pub(crate) fn change(&self) -> Option<SourceChange> {
        self.source.change()
    }

    /// Begins anew with what the name of the source stands for now.
    pub(crate) fn reopen(&mut self) -> Result<(), ReadError> {
        self.source.reopen()?;
        (self.inflate, self.is_told, self.offset, self.is_broken) = (None, false, 0, false);
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }
}
