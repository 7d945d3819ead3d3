//! The streams of records that the kernel side writes: by which maps they come, and how much waits in each. Reads nothing.

use tcptrace_ebpf::{
    config::Config,
    record::{StackRecord, TransitionRecord},
};

use super::options::TracerOptions;

/// Room for programs that were started, some 4,000 of them.
const STARTED_PROGRAMS_BYTES: u32 = 64 << 10;

/// Room for copies of user stacks, some 500 of them.
const USER_STACKS_BYTES: u32 = 8 << 20;

/// With so many bytes of copies waiting, the reader is woken.
const MANY_USER_STACKS_BYTES: u32 = 1 << 20;

/// The kernel takes no less for a buffer on any architecture.
const LEAST_BYTES: u32 = 4 << 10;

/// A stream of records, each of whole words of 64 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// The name of its map.
    pub(super) map: &'static str,
    /// Room for the records that wait; buffers of several CPUs share it.
    pub(super) bytes: u32,
    /// The least that a buffer of one CPU has.
    pub(super) bytes_of_cpu: u32,
    /// The reader of a buffer of one CPU is woken each time so many bytes were written, or the half of what it holds.
    pub(super) wakes_after_bytes: u32,
    /// Where a record has its time (CLOCK_MONOTONIC, nanoseconds), by which those of several CPUs are put into order;
    /// `None` where their order says nothing.
    pub(super) time_at: Option<usize>,
}

/// What a tracer writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) events: Stream,
    pub(super) user_stacks: Stream,
    pub(super) started_programs: Stream,
    /// Whether anything comes of calls.
    pub(super) has_calls: bool,
}

impl Streams {
    /// Those of a tracer with this configuration.
    pub(super) fn of(options: &TracerOptions, config: &Config) -> Self {
        let copies = config.stack_bytes > 0 || config.read_frames != 0;
        let or_least = |is_used: bool, bytes: u32| if is_used { bytes } else { LEAST_BYTES };
        Self {
            events: Stream {
                map: "EVENTS",
                bytes: options.ring_bytes,
                // Some 500 records.
                bytes_of_cpu: 64 << 10,
                wakes_after_bytes: u32::MAX,
                time_at: Some(std::mem::offset_of!(TransitionRecord, ktime_ns)),
            },
            user_stacks: Stream {
                map: "USER_STACKS",
                bytes: or_least(copies, USER_STACKS_BYTES),
                // Fourteen copies.
                bytes_of_cpu: or_least(copies, 256 << 10),
                wakes_after_bytes: MANY_USER_STACKS_BYTES,
                time_at: Some(std::mem::offset_of!(StackRecord, ktime_ns)),
            },
            started_programs: Stream {
                map: "STARTED_PROGRAMS",
                bytes: or_least(config.read_frames != 0, STARTED_PROGRAMS_BYTES),
                bytes_of_cpu: LEAST_BYTES,
                wakes_after_bytes: 1,
                time_at: None,
            },
            has_calls: options.calls.any(),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> [&Stream; 3] {
        let Self { events, user_stacks, started_programs, has_calls: _ } = self;
        [events, user_stacks, started_programs]
    }
}
