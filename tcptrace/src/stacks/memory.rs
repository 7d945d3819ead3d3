//! Bounded reads of the memory of a process, which may write there what it likes. Reads only, by /proc/PID/mem: nothing is
//! stopped, written or attached to. Interprets nothing.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use rustix::fs::{Mode, OFlags, openat};

/// What is fetched at once, in bytes. No page of Linux is smaller, so each is there as a whole or not at all.
const PAGE: u64 = 4096;

/// What a text or a table is read in, in bytes.
const CHUNK: usize = 64;

/// Pages that one look may fetch: 4 MiB.
const MAX_PAGES: usize = 1024;

/// How long one look may read, beyond the page that is being fetched.
const LOOK_TIMEOUT: Duration = Duration::from_millis(250);

/// Reads between two looks at the clock. Lists of a stranger may make millions of one page.
const READS_A_CLOCK: u32 = 1024;

/// Bytes by their address.
pub(super) trait Memory {
    /// Fills the buffer; `None` where not all of it can be read.
    fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()>;
}

/// The memory of one program in one process: after it has ended or executed another one, nothing can be read (`mem_open`
/// of fs/proc/base.c takes hold of the address space, not of the pid).
#[derive(Debug)]
pub(super) struct ProcessMemory(File);

impl ProcessMemory {
    /// Opens the memory of the process that this directory of /proc belongs to.
    ///
    /// # Errors
    /// When the process has ended, or may not be read.
    pub(super) fn open(process: &OwnedFd) -> io::Result<Self> {
        Ok(Self(File::from(openat(process, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)))
    }

    /// A file in which each byte stands at its address: the memory of no process, for tests.
    pub(super) fn planted(file: File) -> Self {
        Self(file)
    }

    /// So many bytes, all of them or none.
    pub(super) fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(address, &mut bytes)?;
        Some(bytes)
    }

    /// As [`ProcessMemory::read`], of a length that the process says: none beyond `most`.
    pub(super) fn bytes(&self, address: u64, length: u64, most: usize) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= most)?;
        let mut bytes = vec![0; length];
        self.fill(address, &mut bytes)?;
        Some(bytes)
    }
}

/// A number in bytes that were read; `None` beyond their end.
pub(super) fn u64_at(bytes: &[u8], offset: u32) -> Option<u64> {
    bytes.get(usize::try_from(offset).ok()?..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// As [`u64_at`], of 32 bits.
pub(super) fn u32_at(bytes: &[u8], offset: u32) -> Option<u32> {
    bytes.get(usize::try_from(offset).ok()?..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

impl Memory for ProcessMemory {
    fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(buffer, address).ok()
    }
}

/// One look at a memory: each page is fetched once, so that what is read twice is the same. Bounded in pages and time.
pub(super) struct Look<'a> {
    memory: &'a dyn Memory,
    /// `None` for those that cannot be read.
    pages: RefCell<FxHashMap<u64, Option<Box<[u8]>>>>,
    deadline: Instant,
    reads: Cell<u32>,
    is_over: Cell<bool>,
}

impl<'a> Look<'a> {
    pub(super) fn at(memory: &'a dyn Memory) -> Self {
        let deadline = Instant::now() + LOOK_TIMEOUT;
        Self { memory, pages: RefCell::default(), deadline, reads: Cell::new(0), is_over: Cell::new(false) }
    }

    /// Whether there is time left.
    fn may_read(&self) -> bool {
        let reads = self.reads.get().wrapping_add(1);
        self.reads.set(reads);
        if reads.is_multiple_of(READS_A_CLOCK) && Instant::now() >= self.deadline {
            self.is_over.set(true);
        }
        !self.is_over.get()
    }

    /// Fills the buffer; `None` where not all of it can be read.
    pub(super) fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        if !self.may_read() {
            return None;
        }
        let mut pages = self.pages.borrow_mut();
        let mut at = address;
        let mut rest = buffer;
        while !rest.is_empty() {
            let offset = usize::try_from(at % PAGE).ok()?;
            let number = at / PAGE;
            if !pages.contains_key(&number) {
                if pages.len() >= MAX_PAGES || Instant::now() >= self.deadline {
                    return None;
                }
                let mut page = vec![0; usize::try_from(PAGE).ok()?].into_boxed_slice();
                let filled = self.memory.fill(number.checked_mul(PAGE)?, &mut page);
                pages.insert(number, filled.map(|()| page));
            }
            let bytes = pages.get(&number)?.as_ref()?.get(offset..)?;
            let length = bytes.len().min(rest.len());
            let (now, later) = rest.split_at_mut_checked(length)?;
            now.copy_from_slice(bytes.get(..length)?);
            rest = later;
            at = at.checked_add(u64::try_from(length).ok()?)?;
        }
        Some(())
    }

    fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(address, &mut bytes)?;
        Some(bytes)
    }

    pub(super) fn u8(&self, address: u64) -> Option<u8> {
        self.array::<1>(address).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&self, address: u64) -> Option<u16> {
        self.array(address).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, address: u64) -> Option<u32> {
        self.array(address).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_le_bytes)
    }

    /// So many bytes; `None` if they are more than `max`, or not all there.
    pub(super) fn bytes(&self, address: u64, length: usize, max: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; Some(length).filter(|length| *length <= max)?];
        self.fill(address, &mut bytes)?;
        Some(bytes)
    }

    /// The text up to the next zero byte; `None` if that is not among the `max` bytes from there on.
    pub(super) fn text(&self, address: u64, max: usize) -> Option<String> {
        let mut text = Vec::new();
        for byte in self.stream(address, max) {
            if byte == 0 {
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            text.push(byte);
        }
        None
    }

    /// Byte after byte, `max` at most, up to what cannot be read.
    pub(super) fn stream(&self, address: u64, max: usize) -> impl Iterator<Item = u8> {
        let (mut next, mut left) = (address, max);
        let mut chunk = [0; CHUNK];
        let mut ready = 0..0;
        std::iter::from_fn(move || {
            if ready.is_empty() {
                // Not into the next page, which may not be there.
                let of_page = usize::try_from(PAGE - next % PAGE).unwrap_or(CHUNK);
                let length = CHUNK.min(of_page).min(left);
                self.fill(next, chunk.get_mut(..length).filter(|chunk| !chunk.is_empty())?)?;
                next = next.checked_add(u64::try_from(length).ok()?)?;
                left -= length;
                ready = 0..length;
            }
            ready.next().and_then(|at| chunk.get(at).copied())
        })
    }
}

/// A memory for tests: some bytes at some addresses.
#[cfg(test)]
pub(super) mod planted {
    use std::collections::BTreeMap;

    use super::Memory;

    /// Memory that begins at page addresses; what is not planted reads as zero up to the end of its page.
    #[derive(Clone, Debug, Default)]
    pub(in crate::stacks) struct Planted(BTreeMap<u64, Vec<u8>>);

    impl Planted {
        pub(in crate::stacks) fn write(&mut self, address: u64, bytes: &[u8]) {
            for (at, byte) in (address..).zip(bytes) {
                let page = self.0.entry(at / super::PAGE).or_insert_with(|| vec![0; 4096]);
                page[usize::try_from(at % super::PAGE).unwrap_or_default()] = *byte;
            }
        }

        pub(in crate::stacks) fn u64(&mut self, address: u64, value: u64) {
            self.write(address, &value.to_le_bytes());
        }

        pub(in crate::stacks) fn u32(&mut self, address: u64, value: u32) {
            self.write(address, &value.to_le_bytes());
        }

        pub(in crate::stacks) fn u16(&mut self, address: u64, value: u16) {
            self.write(address, &value.to_le_bytes());
        }
    }

    impl Memory for Planted {
        fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
            for (at, byte) in (address..).zip(buffer) {
                let page = self.0.get(&(at / super::PAGE))?;
                *byte = *page.get(usize::try_from(at % super::PAGE).ok()?)?;
            }
            Some(())
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::{planted::Planted, *};

    struct Counted(Planted, Cell<usize>);

    impl Memory for Counted {
        fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
            self.1.set(self.1.get() + 1);
            self.0.fill(address, buffer)
        }
    }

    #[test]
    fn a_page_is_fetched_once_and_a_value_may_lie_across_two() {
        let mut planted = Planted::default();
        planted.u64(PAGE - 4, 0x1122_3344_5566_7788);
        planted.write(2 * PAGE - 3, b"abc");
        let counted = Counted(planted, Cell::new(0));
        let look = Look::at(&counted);
        assert_eq!(look.u64(PAGE - 4), Some(0x1122_3344_5566_7788));
        assert_eq!((look.u32(PAGE - 4), look.u16(PAGE + 2)), (Some(0x5566_7788), Some(0x1122)));
        assert_eq!(counted.1.get(), 2);
        assert_eq!(look.text(2 * PAGE - 3, 100), None, "the zero byte is not there");
        assert_eq!(look.text(2 * PAGE - 3, 3), None);
        assert_eq!(look.stream(2 * PAGE - 3, 9).collect::<Vec<_>>(), b"abc");
        assert_eq!(look.stream(2 * PAGE - 3, 2).collect::<Vec<_>>(), b"ab");
        assert_eq!(look.stream(PAGE - 4, 200).count(), 200);
        assert_eq!(look.stream(u64::MAX, 9).count(), 0);
        assert_eq!(look.bytes(2 * PAGE - 3, 3, 3).as_deref(), Some(&b"abc"[..]));
        assert_eq!(look.bytes(2 * PAGE - 3, 3, 2), None);
        assert_eq!((look.u8(u64::MAX), look.u64(u64::MAX - 3)), (None, None));
    }

    #[test]
    fn what_is_read_is_bounded_and_whole() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1, 2, 3, 4, 5, 6, 7, 8], 0x1000).unwrap();
        let memory = ProcessMemory::planted(file);
        assert_eq!(memory.read(0x1002), Some([3, 4]));
        assert_eq!(memory.read::<8>(0x1001), None);
        assert_eq!(memory.read::<1>(u64::MAX), None);
        assert_eq!(memory.bytes(0x1000, 3, 3), Some(vec![1, 2, 3]));
        assert_eq!(memory.bytes(0x1000, 4, 3), None);
        assert_eq!(memory.bytes(0x1000, u64::MAX, 16), None);
    }

    #[test]
    fn numbers_end_where_the_bytes_do() {
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!((u64_at(&bytes, 0), u64_at(&bytes, 2), u64_at(&bytes, u32::MAX)), (Some(1), None, None));
        assert_eq!((u32_at(&bytes, 0), u32_at(&bytes, 6)), (Some(1), None));
    }

    #[test]
    fn one_look_is_bounded() {
        struct Everything;
        impl Memory for Everything {
            fn fill(&self, _address: u64, _buffer: &mut [u8]) -> Option<()> {
                Some(())
            }
        }
        let look = Look::at(&Everything);
        let read = (0..2 * MAX_PAGES as u64).filter(|page| look.u8(page * PAGE).is_some()).count();
        assert_eq!(read, MAX_PAGES);
        let look = Look::at(&Everything);
        let begin = Instant::now();
        while look.u8(0).is_some() {
            assert!(begin.elapsed() < 20 * LOOK_TIMEOUT, "a page that was fetched is read for ever");
        }
        assert_eq!(look.u8(0), None);
    }

    #[test]
    fn the_memory_of_this_process_is_read() {
        let process = crate::stacks::mappings::process(std::path::Path::new("/proc"), std::process::id());
        let memory = ProcessMemory::open(&process.unwrap()).unwrap();
        let value = Box::new(0x0102_0304_0506_0708_u64);
        let address = std::ptr::from_ref(&*value) as u64;
        assert_eq!(Look::at(&memory).u64(address), Some(*value));
        assert_eq!(Look::at(&memory).u64(8), None);
    }
}
