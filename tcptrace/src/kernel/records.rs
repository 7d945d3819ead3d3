//! Reads the records that the kernel side writes, by whichever way they come. Interprets none.

use std::{
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use aya::Ebpf;

use super::{
    error::{self, LoadError},
    options::Transport,
    perf::PerfBuffers,
    ring::Ring,
    streams::{Stream, Streams},
};
use crate::host::{clock::Clocks, wakeup::Wakeup};

/// The records of one stream.
pub(super) enum Records {
    /// In the order in which the kernel side began to write them.
    Ring(Ring),
    /// In the order of their times.
    Perf(PerfBuffers),
}

/// What a tracer writes.
pub(super) struct OpenStreams {
    pub(super) events: Records,
    /// `None` where nothing comes of calls.
    pub(super) calls: Option<CallStreams>,
}

/// What comes of calls.
pub(super) struct CallStreams {
    pub(super) user_stacks: Records,
    pub(super) started_programs: Records,
}

impl OpenStreams {
    /// Opens the streams of an object. Comes before the programs are attached: what they write to no buffer is lost.
    pub(super) fn open(
        object: &mut Ebpf,
        streams: &Streams,
        transport: Transport,
        clocks: &Clocks,
    ) -> Result<Self, LoadError> {
        let Streams { events, user_stacks, started_programs, has_calls } = streams;
        let mut open = |stream| Records::open(object, stream, transport, clocks);
        let events = open(events)?;
        let calls = if *has_calls {
            Some(CallStreams { user_stacks: open(user_stacks)?, started_programs: open(started_programs)? })
        } else {
            None
        };
        Ok(Self { events, calls })
    }
}

impl Records {
    /// Takes the stream's map out of the object.
    fn open(
        object: &mut Ebpf,
        stream: &Stream,
        transport: Transport,
        clocks: &Clocks,
    ) -> Result<Self, LoadError> {
        let map = object.take_map(stream.map).ok_or_else(error::missing)?;
        match transport {
            Transport::Ring => Ring::open(map).map(Self::Ring),
            Transport::Perf => PerfBuffers::open(map, stream, clocks.clone()).map(Self::Perf),
        }
    }

    /// Passes up to `limit` records to `visit`, each as the bytes that the kernel side wrote. Returns their number.
    pub(super) fn take(&mut self, limit: usize, visit: impl FnMut(&[u8])) -> usize {
        match self {
            Self::Ring(ring) => ring.take(limit, visit),
            Self::Perf(buffers) => buffers.take(limit, visit),
        }
    }

    /// Waits until there are records and the kernel side wakes their reader, until somebody else does, or for this time at
    /// most. Does not wait for a ring that has some already.
    pub(super) fn wait(&self, wakeup: &Wakeup, at_most: Duration) {
        // SAFETY: `self` owns the descriptor, and lives longer than this borrows it.
        let readable = unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) };
        wakeup.wait(readable, at_most);
    }
}

impl AsRawFd for Records {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Ring(ring) => ring.as_raw_fd(),
            Self::Perf(buffers) => buffers.as_raw_fd(),
        }
    }
}
