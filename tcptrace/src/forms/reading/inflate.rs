//! Decompresses zstd frames as their bytes arrive. A damaged frame costs its rest: reading goes on at the
//! next frame.

use zstd::zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, is_error_kind, zstd_sys::ZSTD_ErrorCode,
};

use super::{error::ReadError, source::Source};

/// What a zstd frame begins with (RFC 8878, 3.1.1).
pub(crate) const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes read at once.
const INPUT_BYTES: usize = 128 * 1024;

/// The largest window a frame may ask for is two to this power: 8 MiB, as much as `zstd -19` uses.
const WINDOW_LOG: u32 = 23;

/// What came of an attempt to get more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inflated {
    /// So many bytes, 0 when there are none (yet).
    Bytes(usize),
    /// A frame is damaged: what comes next does not follow on what came before.
    Break,
}

/// A decompressor.
pub(crate) struct Inflate {
    context: DCtx<'static>,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    /// The bytes of the last frame have not all come.
    is_mid_frame: bool,
    /// The next frame has to be looked for.
    is_lost: bool,
}

impl Inflate {
    /// A decompressor, and the bytes that were read already.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn new(begun: &[u8], source: &Source) -> Result<Self, ReadError> {
        let refused = || ReadError::System {
            path: source.path().to_owned(),
            source: std::io::ErrorKind::OutOfMemory.into(),
        };
        let mut context = DCtx::try_create().ok_or_else(refused)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(|_| refused())?;
        let mut input = vec![0; INPUT_BYTES.max(begun.len())].into_boxed_slice();
        if let Some(place) = input.get_mut(..begun.len()) {
            place.copy_from_slice(begun);
        }
        Ok(Self { context, input, start: 0, end: begun.len(), is_mid_frame: false, is_lost: false })
    }

    /// Whether bytes have come that are not whole yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_mid_frame || self.start < self.end
    }

    /// Gets some bytes.
    ///
    /// # Errors
    /// When the source cannot be read, or a frame needs too much memory.
    pub(crate) fn read(&mut self, source: &mut Source, output: &mut [u8]) -> Result<Inflated, ReadError> {
        loop {
            self.look_for_frame();
            // What the context holds back comes without further input too.
            let mut taken =
                InBuffer { src: self.input.get(self.start..self.end).unwrap_or_default(), pos: 0 };
            let mut given = OutBuffer::around(&mut *output);
            if !self.is_lost && (self.is_mid_frame || !taken.src.is_empty()) {
                let hint = self.context.decompress_stream(&mut given, &mut taken);
                let (consumed, produced) = (taken.pos, given.pos());
                self.start += consumed;
                match hint {
                    Ok(hint) => self.is_mid_frame = hint != 0,
                    Err(code) if is_too_large(code) => {
                        return Err(ReadError::WindowTooLarge { path: source.path().to_owned() });
                    }
                    Err(_) => {
                        // Where the frame began there is none to be found.
                        self.start = (self.start + usize::from(consumed == 0)).min(self.end);
                        (self.is_lost, self.is_mid_frame) = (true, false);
                        let _ = self.context.reset(ResetDirective::SessionOnly);
                        return Ok(Inflated::Break);
                    }
                }
                if produced > 0 {
                    return Ok(Inflated::Bytes(produced));
                }
                if consumed > 0 {
                    continue;
                }
            }
            if !self.refill(source)? {
                return Ok(Inflated::Bytes(0));
            }
        }
    }

    /// Reads more behind what is left; whether there was any.
    fn refill(&mut self, source: &mut Source) -> Result<bool, ReadError> {
        self.input.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let read = source.read(self.input.get_mut(self.end..).unwrap_or_default())?;
        self.end += read;
        Ok(read > 0)
    }

    /// Passes over what is no beginning of a frame, after one that was damaged.
    fn look_for_frame(&mut self) {
        if !self.is_lost {
            return;
        }
        let input = self.input.get(self.start..self.end).unwrap_or_default();
        let found = input.windows(FRAME_MAGIC.len()).position(|window| window == FRAME_MAGIC);
        self.is_lost = found.is_none();
        // It may begin with the last bytes that are here.
        let passed = found.unwrap_or_else(|| input.len().saturating_sub(FRAME_MAGIC.len() - 1));
        self.start += passed;
    }
}

fn is_too_large(code: usize) -> bool {
    is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge)
}
