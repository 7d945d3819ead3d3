//! The buffers of a perf event array, one for each CPU that is online, read as one stream in the order of the records' times.
//!
//! What happens to one socket comes in its order: a record is in its buffer before the socket is let go, so whoever reads the
//! clock first and then looks into the buffers finds, with each record from before that moment, all that led to it. Records
//! from after it wait for the next look. Those of different sockets may be out of order by the time that the kernel side
//! takes to write one, as in a ring.

mod buffer;
mod merge;

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use aya::{
    maps::{Array, Map, MapData},
    util::online_cpus,
};
use rustix::{
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    param::page_size,
};

use self::{
    buffer::PerfBuffer,
    merge::{Cpu, Merge},
};
use super::{
    error::{self, LoadError},
    streams::Stream,
};
use crate::host::clock::Clocks;

/// The buffers of one map.
pub(super) struct PerfBuffers {
    cpus: Vec<Cpu<PerfBuffer>>,
    merge: Merge,
    /// Readable when the kernel wakes the reader of any.
    readable: OwnedFd,
    clocks: Clocks,
    /// The kernel takes the buffers out of the map when this is closed (`perf_event_fd_array_release`).
    _map: Array<MapData, u32>,
}

impl PerfBuffers {
    /// Opens a buffer on each CPU that is online.
    pub(super) fn open(map: Map, stream: &Stream, clocks: Clocks) -> Result<Self, LoadError> {
        let Map::PerfEventArray(map) = map else { return Err(error::missing()) };
        // aya opens buffers whose reader is woken for each record, which costs more than the record. As the array that the
        // map is, it takes those of others.
        let mut map = Array::try_from(Map::Array(map))
            .map_err(|error| LoadError::refused("take buffers of CPUs", &error))?;
        let numbers = online_cpus().map_err(|(_, error)| refused(&error))?;
        let bytes = bytes_of_cpu(stream, numbers.len(), page_size());
        let wakes_after = usize::try_from(stream.wakes_after_bytes).unwrap_or(usize::MAX).min(bytes / 2);
        let readable = epoll::create(CreateFlags::CLOEXEC).map_err(|error| refused(&error.into()))?;
        let mut cpus = Vec::with_capacity(numbers.len());
        for cpu in numbers {
            let buffer = PerfBuffer::open(cpu, bytes, wakes_after).map_err(|error| refused(&error))?;
            epoll::add(&readable, &buffer, EventData::new_u64(u64::from(cpu)), EventFlags::IN)
                .map_err(|error| refused(&error.into()))?;
            map.set(cpu, buffer.as_raw_fd().cast_unsigned(), 0)
                .map_err(|error| LoadError::refused("take buffers of CPUs", &error))?;
            cpus.push(Cpu::new(buffer));
        }
        Ok(Self { cpus, merge: Merge::new(stream.time_at), readable, clocks, _map: map })
    }

    /// Passes up to `limit` records to `visit`, the oldest first. Returns their number.
    pub(super) fn take(&mut self, limit: usize, visit: impl FnMut(&[u8])) -> usize {
        let Self { cpus, merge, clocks, .. } = self;
        // Before looking into the buffers.
        let until_ns = clocks.monotonic_ns();
        for cpu in cpus.iter_mut() {
            cpu.reader.look();
        }
        let count = merge.take(cpus, until_ns, limit, PerfBuffer::read, visit);
        for cpu in cpus {
            cpu.reader.release();
        }
        count
    }
}

impl AsRawFd for PerfBuffers {
    fn as_raw_fd(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}

fn refused(error: &io::Error) -> LoadError {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run as root (CAP_PERFMON, and CAP_IPC_LOCK for large buffers), or with a smaller --ring-size"
        }
        _ => "",
    };
    LoadError::Refused { what: "open a perf buffer", reason: error.to_string(), remedy }
}

/// The share of a CPU in the room of a stream: a power of two in pages.
fn bytes_of_cpu(stream: &Stream, cpus: usize, page_bytes: usize) -> usize {
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    let share = size(stream.bytes).div_ceil(cpus.max(1));
    share.max(size(stream.bytes_of_cpu)).max(page_bytes).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_shared_by_the_cpus_and_each_has_enough_for_some_records() {
        let stream =
            Stream { map: "", bytes: 4 << 20, bytes_of_cpu: 64 << 10, wakes_after_bytes: 1, time_at: None };
        let of = |cpus, page| bytes_of_cpu(&stream, cpus, page);
        assert_eq!((of(1, 4096), of(2, 4096), of(3, 4096)), (4 << 20, 2 << 20, 2 << 20));
        assert_eq!((of(256, 4096), of(0, 4096)), (64 << 10, 4 << 20));
        let little = Stream { bytes: 4096, bytes_of_cpu: 4096, ..stream };
        assert_eq!(bytes_of_cpu(&little, 64, 64 << 10), 64 << 10, "a page of 64 KiB");
    }
}
