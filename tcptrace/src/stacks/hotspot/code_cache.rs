//! Finds the piece of code that an address lies in, in the heaps of HotSpot's code cache (`CodeHeap::find_block_for` of
//! src/hotspot/share/memory/heap.cpp). Does not know what the code does.

use super::layout::{CodeBegin, CodeLayout};
use crate::stacks::memory::Look;

/// Most heaps; there are one or three, by -XX:SegmentedCodeCache.
const MAX_HEAPS: u64 = 16;

/// Most steps to the beginning of a block: a byte of the map leads back by up to 254 segments, and a block of the
/// largest kind, the interpreter, has a few thousand.
const MAX_STEPS: usize = 4096;

/// Longest name of a piece of code, in bytes.
const MAX_NAME: usize = 256;

/// Largest frame, in bytes: those of compiled code are some hundred.
const MAX_FRAME: u64 = 1 << 20;

/// A piece of code (`CodeBlob`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) address: u64,
    pub(super) name: String,
    pub(super) code_begin: u64,
    /// In bytes; 0 where it has no frames of its own, or ones of any size.
    pub(super) frame_size: u64,
}

impl CodeBegin {
    /// The address in a blob.
    pub(super) fn of(self, look: &Look<'_>, blob: u64) -> Option<u64> {
        match self {
            Self::Address(field) => field.of(look, blob),
            Self::Offset(field) => blob.checked_add(field.of(look, blob)?),
        }
    }
}

impl CodeLayout {
    /// Whether an address is in the code cache.
    pub(super) fn covers(&self, look: &Look<'_>, address: u64) -> bool {
        let bounds = look.u64(self.low).zip(look.u64(self.high));
        bounds.is_some_and(|(low, high)| low <= address && address < high)
    }

    /// The piece of code at an address.
    pub(super) fn blob(&self, look: &Look<'_>, address: u64) -> Option<Blob> {
        let heaps = look.u64(self.heaps)?;
        let (count, list) = (self.list_length.of(look, heaps)?, self.list_data.of(look, heaps)?);
        let mut heaps = (0..count.min(MAX_HEAPS)).filter_map(|index| look.u64(list.checked_add(8 * index)?));
        let (heap, low) = heaps.find_map(|heap| {
            let low = look.u64(heap.checked_add(self.memory_low)?)?;
            let high = look.u64(heap.checked_add(self.memory_high)?)?;
            (low <= address && address < high).then_some((heap, low))
        })?;
        let log2 = self.log2_segment.of(look, heap).filter(|log2| *log2 < 32)?;
        let map = look.u64(heap.checked_add(self.map_low)?)?;
        let mut segment = (address - low) >> log2;
        // A byte says how far back the block begins, or a place from which to look further; 255 is free.
        let mut is_found = false;
        for _ in 0..MAX_STEPS {
            match look.u8(map.checked_add(segment)?)? {
                0 => {
                    is_found = true;
                    break;
                }
                0xff => return None,
                back => segment = segment.checked_sub(back.into())?,
            }
        }
        let block = low.checked_add(segment.checked_shl(u32::try_from(log2).ok()?)?).filter(|_| is_found)?;
        if look.u8(block.checked_add(self.block_used)?)? == 0 {
            return None;
        }
        let blob = block.checked_add(self.block_size)?;
        let end = blob.checked_add(self.blob_size.of(look, blob)?)?;
        let code_begin = self.code_begin.of(look, blob)?;
        if !(code_begin..end).contains(&address) || code_begin < blob {
            return None;
        }
        // Without a frame, it is -1 or 0.
        let words = self.frame_size.of(look, blob)?;
        let frame_size = words.checked_mul(8).filter(|size| *size <= MAX_FRAME).unwrap_or(0);
        let name = look.text(self.blob_name.of(look, blob)?, MAX_NAME)?;
        Some(Blob { address: blob, name, code_begin, frame_size })
    }
}
