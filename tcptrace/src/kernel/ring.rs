//! Reads the records of a ring buffer through a window: a part of the ring is mapped at a time. Mapped as a whole, it would
//! count twice to the memory of this process, which needs little else. Interprets no record.
//!
//! The layout, and the order of loads and stores, are those of kernel/bpf/ringbuf.c.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence},
};

use aya::maps::{Map, MapData};
use rustix::{mm::MapFlags, param::page_size};

use super::{
    error::{self, LoadError},
    mapping::Mapping,
};

/// How much of a ring is mapped at once, unless a record is larger.
const WINDOW_BYTES: usize = 1 << 20;

/// The kernel may write again over what was read as soon as it is so large a part of the ring. Each time takes the position
/// away from the CPU that writes.
const RELEASED_PARTS: usize = 16;

/// `BPF_RINGBUF_BUSY_BIT`, `BPF_RINGBUF_DISCARD_BIT` and `BPF_RINGBUF_HDR_SZ` of include/uapi/linux/bpf.h.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER_BYTES: usize = 8;

/// A ring buffer, and how far it was read. Positions in it grow for ever.
pub(super) struct Ring<F = RingMap> {
    /// Where the kernel sees up to where it may write again.
    reader: Position,
    /// Up to where the kernel has written.
    writers: Position,
    data: Window<F>,
    /// Up to where the kernel had written at the last look.
    written: usize,
    /// Up to where records were read.
    read: usize,
    /// What `reader` says.
    released: usize,
}

/// A map of this type. Programs that are not loaded yet know it by its descriptor.
pub(super) struct RingMap(MapData);

impl AsFd for RingMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

/// What comes next in a ring.
enum Next {
    Record {
        length: usize,
    },
    /// Room that was taken and not used.
    Discarded {
        length: usize,
    },
    /// Nothing, or a record that is still being written.
    Nothing,
}

impl Ring {
    /// Opens the map.
    ///
    /// # Errors
    /// When this kernel does not let it be mapped, or there is no memory or no descriptor.
    pub(super) fn open(map: Map) -> Result<Self, LoadError> {
        const WHAT: &str = "open the ring buffer";
        let Map::RingBuf(map) = map else { return Err(error::missing()) };
        // aya may have made it larger, up to whole pages.
        let bytes = map.info().map_err(|error| LoadError::refused(WHAT, &error))?.max_entries();
        let bytes = usize::try_from(bytes).map_err(|error| LoadError::refused(WHAT, &error))?;
        Self::of(RingMap(map), bytes, WINDOW_BYTES).map_err(|error| LoadError::refused(WHAT, &error))
    }
}

impl<F: AsFd> Ring<F> {
    /// `bytes`: a power of two in pages.
    fn of(file: F, bytes: usize, window_bytes: usize) -> io::Result<Self> {
        let page_bytes = page_size();
        let reader = Position(Mapping::to_write(&file, page_bytes)?);
        let writers = Position(Mapping::of(&file, page_bytes, page_bytes, MapFlags::SHARED)?);
        let data = Window { file, bytes, page_bytes, window_bytes, mapping: None, start: 0 };
        let read = reader.word().load(Ordering::Relaxed);
        Ok(Self { reader, writers, data, written: read, read, released: read })
    }

    /// Passes up to `limit` records to `visit`, each of whole words of 64 bits. Returns their number.
    pub(super) fn take(&mut self, limit: usize, mut visit: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < limit {
            let length = match self.next() {
                Next::Record { length } => {
                    let Some(entry) = self.data.bytes(self.read, HEADER_BYTES + length) else { break };
                    // SAFETY: as many bytes are mapped until the window moves, and the kernel writes nothing over them
                    // before they are released.
                    let record = unsafe { slice::from_raw_parts(entry.add(HEADER_BYTES).as_ptr(), length) };
                    visit(record);
                    count += 1;
                    length
                }
                Next::Discarded { length } => length,
                // Whoever writes after that finds a reader that has read all, and wakes it.
                Next::Nothing if self.release() => continue,
                Next::Nothing => break,
            };
            self.read = self.read.wrapping_add((HEADER_BYTES + length).next_multiple_of(8));
            // Whoever takes records may take its time.
            if self.read.wrapping_sub(self.released) >= self.data.bytes / RELEASED_PARTS {
                self.release();
            }
        }
        self.release();
        count
    }

    fn next(&mut self) -> Next {
        if self.read == self.written {
            self.written = self.writers.word().load(Ordering::Acquire);
            if self.read == self.written {
                return Next::Nothing;
            }
        }
        let Some(header) = self.data.bytes(self.read, HEADER_BYTES) else { return Next::Nothing };
        // SAFETY: an entry begins there, at a multiple of eight bytes, and its first word is written by atomic operations.
        let word = unsafe { AtomicU32::from_ptr(header.cast().as_ptr()) }.load(Ordering::Acquire);
        let length = usize::try_from(word & !(BUSY | DISCARDED)).unwrap_or(usize::MAX);
        match word {
            _ if word & BUSY != 0 => Next::Nothing,
            _ if word & DISCARDED != 0 => Next::Discarded { length },
            _ => Next::Record { length },
        }
    }

    /// Lets the kernel write over what was read. Returns whether that was news.
    fn release(&mut self) -> bool {
        if self.released == self.read {
            return false;
        }
        self.released = self.read;
        self.reader.word().store(self.read, Ordering::Release);
        // A look after that sees what is there, or whoever writes it sees the position.
        fence(Ordering::SeqCst);
        true
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.data.file.as_fd().as_raw_fd()
    }
}

/// A position that this process shares with the kernel, at the beginning of a page.
struct Position(Mapping);

impl Position {
    fn word(&self) -> &AtomicUsize {
        // SAFETY: a page is mapped as long as `self` lives, and only atomic operations touch its first word. That of the
        // writers is only loaded.
        unsafe { AtomicUsize::from_ptr(self.0.start().cast().as_ptr()) }
    }
}

/// The part of a ring's data that is mapped.
struct Window<F> {
    file: F,
    /// A power of two.
    bytes: usize,
    page_bytes: usize,
    /// How much is mapped at once at least, where there is as much.
    window_bytes: usize,
    mapping: Option<Mapping>,
    /// Where the mapping begins in the data, which the kernel shows twice, one behind the other: what goes on at the beginning
    /// is in one piece all the same.
    start: usize,
}

impl<F: AsFd> Window<F> {
    /// Where so many bytes at a position are; `None` where they cannot be mapped.
    fn bytes(&mut self, position: usize, length: usize) -> Option<NonNull<u8>> {
        let at = position & (self.bytes - 1);
        let is_mapped = |mapping: &Mapping, start| at >= start && at + length <= start + mapping.length();
        if !self.mapping.as_ref().is_some_and(|mapping| is_mapped(mapping, self.start)) {
            self.move_to(at, length).inspect_err(|error| log::debug!("cannot map the ring: {error}")).ok()?;
        }
        let mapping = self.mapping.as_ref()?;
        // SAFETY: it lies in the mapping.
        Some(unsafe { mapping.start().add(at - self.start) })
    }

    fn move_to(&mut self, at: usize, length: usize) -> io::Result<()> {
        let start = at & !(self.page_bytes - 1);
        let (least, most) = ((at - start + length).next_multiple_of(self.page_bytes), 2 * self.bytes - start);
        if least > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // Its room is there for the next one.
        self.mapping = None;
        let begin = 2 * self.page_bytes + start;
        let mapping =
            Mapping::of(&self.file, begin, least.max(self.window_bytes).min(most), MapFlags::SHARED)?;
        self.start = start;
        self.mapping = Some(mapping);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    /// The kernel's side of a ring, in a file with the layout of one.
    struct Writer {
        file: File,
        bytes: usize,
        position: usize,
    }

    impl Writer {
        fn new(pages: usize) -> Self {
            let bytes = pages * page_size();
            let file = File::from(memfd_create(c"ring", MemfdFlags::CLOEXEC).unwrap());
            file.set_len((2 * page_size() + 2 * bytes) as u64).unwrap();
            // Near the end of all positions, and of the ring.
            let position = usize::MAX & !(bytes - 1);
            let writer = Self { file, bytes, position };
            writer.put(0, &position.to_ne_bytes());
            writer.put(page_size(), &position.to_ne_bytes());
            writer
        }

        fn put(&self, at: usize, bytes: &[u8]) {
            self.file.write_all_at(bytes, at as u64).unwrap();
        }

        fn released(&self) -> usize {
            let mut word = [0; size_of::<usize>()];
            self.file.read_exact_at(&mut word, 0).unwrap();
            usize::from_ne_bytes(word)
        }

        /// Writes an entry with these bits set in its header; false where there is no room.
        fn write(&mut self, record: &[u8], bits: u32) -> bool {
            let taken = (HEADER_BYTES + record.len()).next_multiple_of(8);
            let next = self.position.wrapping_add(taken);
            if next.wrapping_sub(self.released()) > self.bytes {
                return false;
            }
            let header = u32::try_from(record.len()).unwrap() | bits;
            self.set(self.position, &[&header.to_ne_bytes()[..], &[0xff; 4], record].concat());
            self.position = next;
            self.put(page_size(), &next.to_ne_bytes());
            true
        }

        /// Both copies of the data.
        fn set(&self, position: usize, bytes: &[u8]) {
            let at = position & (self.bytes - 1);
            let (before, after) = bytes.split_at(bytes.len().min(self.bytes - at));
            for copy in [2 * page_size(), 2 * page_size() + self.bytes] {
                self.put(copy + at, before);
                self.put(copy, after);
            }
        }

        fn reader(&self, window_pages: usize) -> Ring<File> {
            Ring::of(self.file.try_clone().unwrap(), self.bytes, window_pages * page_size()).unwrap()
        }
    }

    fn taken(ring: &mut Ring<File>, limit: usize) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        assert_eq!(ring.take(limit, |record| records.push(record.to_owned())), records.len());
        records
    }

    #[test]
    fn a_record_that_is_being_written_holds_up_those_behind_it() {
        let mut writer = Writer::new(1);
        let mut ring = writer.reader(1);
        let first = writer.position;
        assert!(writer.write(&[1; 16], BUSY) && writer.write(&[2; 24], 0));
        assert_eq!(taken(&mut ring, 9), [[0; 0]; 0]);
        writer.set(first, &16_u32.to_ne_bytes());
        assert_eq!(taken(&mut ring, 9), [vec![1; 16], vec![2; 24]]);
        assert_eq!(writer.released(), writer.position);
    }

    #[test]
    fn a_header_that_cannot_be_ends_the_reading() {
        let mut writer = Writer::new(1);
        let mut ring = writer.reader(1);
        let first = writer.position;
        assert!(writer.write(&[1; 16], 0));
        writer.set(first, &(BUSY - 1 - DISCARDED).to_ne_bytes());
        assert_eq!(taken(&mut ring, 9), [[0; 0]; 0]);
    }

    proptest! {
        /// Whatever is written comes out, in its order and once, through a window of any size.
        #[test]
        fn every_record_is_read_once_and_in_order(
            pages in 0..3_u32,
            window_pages in 1..4_usize,
            steps in prop::collection::vec((0..2_000_usize, any::<bool>(), 0..4_usize), 1..120),
        ) {
            let mut writer = Writer::new(1 << pages);
            let mut ring = writer.reader(window_pages);
            let (mut expected, mut read) = (Vec::new(), Vec::new());
            for (nth, (length, is_discarded, limit)) in steps.into_iter().enumerate() {
                let record = vec![u8::try_from(nth).unwrap(); length];
                if writer.write(&record, if is_discarded { DISCARDED } else { 0 }) && !is_discarded {
                    expected.push(record);
                }
                read.extend(taken(&mut ring, limit));
            }
            read.extend(taken(&mut ring, usize::MAX));
            prop_assert_eq!(read, expected);
            prop_assert_eq!(writer.released(), writer.position);
        }
    }
}
