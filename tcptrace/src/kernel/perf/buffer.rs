//! The buffer of one CPU: opens its event, maps its pages, and reads records out of them (perf_event_open(2)).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::param::page_size;
use syscalls::{Sysno, syscall};

use crate::kernel::mapping::Mapping;

/// The first version of `struct perf_event_attr` of include/uapi/linux/perf_event.h, which every kernel takes.
#[repr(C)]
struct EventAttributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    bp_address: u64,
}

/// Of include/uapi/linux/perf_event.h: `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_BPF_OUTPUT`, `PERF_SAMPLE_RAW`, the bit of
/// `watermark`, `PERF_FLAG_FD_CLOEXEC`.
const TYPE_SOFTWARE: u32 = 1;
const SOFTWARE_BPF_OUTPUT: u64 = 10;
const SAMPLE_RAW: u64 = 1 << 10;
const FLAG_WATERMARK: u64 = 1 << 14;
const OPEN_CLOEXEC: usize = 1 << 3;

/// `PERF_RECORD_SAMPLE`. The other kind that comes, `PERF_RECORD_LOST`, says what the kernel side has counted already.
const RECORD_SAMPLE: u32 = 9;

/// Offsets in bytes into `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// `struct perf_event_header`, and the length of what follows.
const HEADER_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;

/// The kernel may write again over what was read as soon as it is so large a part of the buffer. Each time takes the
/// position away from the CPU that writes.
const RELEASED_PARTS: u64 = 16;

/// The buffer, and how far it was read.
pub(super) struct PerfBuffer {
    event: OwnedFd,
    /// A page of positions, and `data` behind it.
    pages: Mapping,
    data: Data,
    /// Up to where the kernel had written at the last look.
    written: u64,
    /// Up to where records were read.
    read: u64,
    /// Up to where the kernel may write again.
    released: u64,
}

// SAFETY: the pages are mapped for the whole process, and only their owner reads them and moves the tail.
unsafe impl Send for PerfBuffer {}

impl PerfBuffer {
    /// Opens the buffer of a CPU with so many bytes, a power of two in pages. Its reader is woken each time `wakes_after` of
    /// them were written.
    pub(super) fn open(cpu: u32, bytes: usize, wakes_after: usize) -> io::Result<Self> {
        let attributes = EventAttributes {
            kind: TYPE_SOFTWARE,
            size: u32::try_from(size_of::<EventAttributes>()).unwrap_or_default(),
            config: SOFTWARE_BPF_OUTPUT,
            sample_period: 1,
            sample_type: SAMPLE_RAW,
            read_format: 0,
            flags: FLAG_WATERMARK,
            wakeup_watermark: u32::try_from(wakes_after).unwrap_or(u32::MAX),
            bp_type: 0,
            bp_address: 0,
        };
        // Of all processes, and in no group.
        let (pid, group) = (-1_isize, -1_isize);
        // SAFETY: the kernel reads as many bytes of the attributes as they say they have.
        let opened =
            unsafe { syscall!(Sysno::perf_event_open, &raw const attributes, pid, cpu, group, OPEN_CLOEXEC) };
        let event = opened.map_err(|error| io::Error::from_raw_os_error(error.into_raw()))?;
        // SAFETY: the kernel has just made it, for nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(i32::try_from(event).unwrap_or(-1)) };
        let pages = Mapping::to_write(&event, page_size() + bytes)?;
        // SAFETY: the data begins behind the first page, and there are as many bytes of it.
        let data = Data { start: unsafe { pages.start().add(page_size()) }, bytes };
        Ok(Self { event, pages, data, written: 0, read: 0, released: 0 })
    }

    /// A position that this process shares with the kernel.
    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the page lives as long as `self`, and has an aligned word there that only atomic operations touch.
        unsafe { AtomicU64::from_ptr(self.pages.start().add(offset).cast().as_ptr()) }
    }

    /// Looks how far the kernel has written.
    pub(super) fn look(&mut self) {
        self.written = self.position(DATA_HEAD).load(Ordering::Acquire);
    }

    /// Reads the next record that was there at the last look into `record`; false where there is none.
    pub(super) fn read(&mut self, record: &mut Vec<u8>) -> bool {
        while self.read < self.written {
            // SAFETY: the kernel has written up to there, and writes nothing over it before it is released.
            let (bytes, is_record) = unsafe { self.data.event(self.read, record) };
            // An event without a length would never end.
            self.read = if bytes == 0 { self.written } else { self.read + bytes };
            // Whoever takes records may take its time.
            if self.read - self.released >= self.data.bytes as u64 / RELEASED_PARTS {
                self.release();
            }
            if is_record {
                return true;
            }
        }
        false
    }

    /// Lets the kernel write over what was read.
    pub(super) fn release(&mut self) {
        if self.released != self.read {
            self.released = self.read;
            self.position(DATA_TAIL).store(self.read, Ordering::Release);
        }
    }
}

impl AsFd for PerfBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl AsRawFd for PerfBuffer {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// Bytes that are written round and round.
struct Data {
    start: NonNull<u8>,
    /// A power of two.
    bytes: usize,
}

impl Data {
    /// Reads the event at a position. Returns how many bytes it takes, and whether it was a record, which is in `record` then.
    ///
    /// # Safety
    /// An event has to be there, and nobody may write it.
    unsafe fn event(&self, at: u64, record: &mut Vec<u8>) -> (u64, bool) {
        let mut head = [0; HEADER_BYTES + LENGTH_BYTES];
        // SAFETY: every event is at least as long, a position included.
        unsafe { self.copy(at, &mut head) };
        let [k0, k1, k2, k3, _, _, s0, s1, l0, l1, l2, l3] = head;
        let bytes = u64::from(u16::from_ne_bytes([s0, s1]));
        if u32::from_ne_bytes([k0, k1, k2, k3]) != RECORD_SAMPLE {
            return (bytes, false);
        }
        // The kernel fills the event up to a multiple of eight bytes, and counts that to the record. Ours are such multiples:
        // as the length before them is not, they are followed by as many bytes as it has.
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let most = usize::from(u16::from_ne_bytes([s0, s1])).saturating_sub(HEADER_BYTES + LENGTH_BYTES);
        record.resize(length.min(most).saturating_sub(LENGTH_BYTES), 0);
        // SAFETY: the record is a part of the event.
        unsafe { self.copy(at + (HEADER_BYTES + LENGTH_BYTES) as u64, record) };
        (bytes, true)
    }

    /// Copies what is at a position.
    ///
    /// # Safety
    /// As for [`Data::event`].
    unsafe fn copy(&self, at: u64, into: &mut [u8]) {
        // Less than the bytes there are.
        let start = usize::try_from(at & (self.bytes as u64 - 1)).unwrap_or_default();
        let (before, after) = into.split_at_mut(into.len().min(self.bytes - start));
        let after = after.get_mut(..after.len().min(start)).unwrap_or_default();
        // SAFETY: both parts lie within the data, and the caller promises that nobody writes them.
        unsafe {
            ptr::copy_nonoverlapping(self.start.add(start).as_ptr(), before.as_mut_ptr(), before.len());
            ptr::copy_nonoverlapping(self.start.as_ptr(), after.as_mut_ptr(), after.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would have written, one event after the other, beginning at this position.
    fn written(bytes: usize, begin: u64, events: &[(u32, &[u8])]) -> (Vec<u64>, u64) {
        let mut ring = vec![0_u8; bytes];
        let mut at = begin;
        for (kind, content) in events {
            let size = (HEADER_BYTES + content.len()).next_multiple_of(8);
            let header = [
                &kind.to_ne_bytes()[..],
                &[0, 0],
                &u16::try_from(size).unwrap_or_default().to_ne_bytes(),
                content,
            ];
            for (nth, byte) in header.concat().into_iter().enumerate() {
                if let Some(place) = ring.get_mut((usize::try_from(at).unwrap_or_default() + nth) % bytes) {
                    *place = byte;
                }
            }
            at += size as u64;
        }
        let words = ring.chunks_exact(8).filter_map(|word| Some(u64::from_ne_bytes(*word.first_chunk()?)));
        (words.collect(), at)
    }

    /// A record with the length before it, as the kernel counts it.
    fn sample(record: &[u8]) -> Vec<u8> {
        let padded = (LENGTH_BYTES + record.len()).next_multiple_of(8) - LENGTH_BYTES;
        let length = u32::try_from(padded).unwrap_or_default().to_ne_bytes();
        [&length, record, &vec![0xff; padded - record.len()]].concat()
    }

    fn records(data: &mut [u64], mut at: u64, end: u64) -> Vec<Vec<u8>> {
        let start = NonNull::from(&mut *data).cast();
        let data = Data { start, bytes: size_of_val(data) };
        let mut records = Vec::new();
        while at < end {
            let mut record = Vec::new();
            // SAFETY: the test has written events up to the end.
            let (bytes, is_record) = unsafe { data.event(at, &mut record) };
            assert_ne!(bytes, 0);
            at += bytes;
            if is_record {
                records.push(record);
            }
        }
        records
    }

    #[test]
    fn records_are_read_as_they_were_written_also_around_the_end_of_the_buffer() {
        let (first, second): (Vec<u8>, Vec<u8>) = ((1..=16).collect(), (101..=124).collect());
        let (one, two) = (sample(&first), sample(&second));
        for begin in (0..256).step_by(8) {
            let (mut data, end) = written(128, begin, &[(RECORD_SAMPLE, &one), (RECORD_SAMPLE, &two)]);
            assert_eq!(records(&mut data, begin, end), [first.clone(), second.clone()], "from {begin}");
        }
    }

    #[test]
    fn what_the_kernel_says_of_losses_is_passed_over() {
        const RECORD_LOST: u32 = 2;
        let (lost, record) = ([7_u8; 16], sample(&[5; 8]));
        let (mut data, end) = written(128, 96, &[(RECORD_LOST, &lost), (RECORD_SAMPLE, &record)]);
        assert_eq!(records(&mut data, 96, end), [vec![5; 8]]);
    }
}
