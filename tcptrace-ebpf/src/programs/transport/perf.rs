//! Perf event arrays: a buffer for each CPU, for kernels without ring buffers. A record is made on the stack, a large one in
//! memory that each CPU has for one, and is copied from there.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_CURRENT_CPU,
    btf_maps::{PerCpuArray, PerfEventArray},
    helpers::generated::bpf_perf_event_output,
    macros::btf_map,
};

use super::Wake;

/// aya's log crosses a ring buffer, which is not to be had: what is warned of is counted too.
macro_rules! log_warning {
    ($($ignored:tt)*) => {};
}
pub(crate) use log_warning;

/// Defines the map of a kind of records.
macro_rules! records {
    ($(#[$doc:meta])* static $name:ident: $record:ty) => {
        $(#[$doc])*
        #[aya_ebpf::macros::btf_map]
        static $name: aya_ebpf::btf_maps::PerfEventArray = aya_ebpf::btf_maps::PerfEventArray::new();
    };
}
pub(crate) use records;

/// The longest record that is made outside of the stack, in words. A CPU has at most 32 KiB for an entry of a map
/// (`PCPU_MIN_UNIT_SIZE` of include/linux/percpu.h), and an event holds less than 64 (`perf_event_header`).
const LARGE_WORDS: usize = 3 << 10;

/// Where a large record is made.
#[repr(C)]
struct Scratch {
    /// 1 while a program of this CPU makes one: another may interrupt it.
    is_taken: u64,
    record: [u64; LARGE_WORDS],
}

#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// Has `fill` write all of a record; false where there is no room for one, or no buffer: the CPU came later than the reader.
#[inline(always)]
pub(crate) fn write<T>(
    records: &PerfEventArray,
    context: &impl EbpfContext,
    _wake: Wake,
    fill: impl FnOnce(&mut MaybeUninit<T>),
) -> bool {
    let mut record = MaybeUninit::uninit();
    fill(&mut record);
    // SAFETY: `fill` has written all of it.
    unsafe { output(records, context, record.as_ptr()) }
}

/// Room for a large record.
pub(crate) struct Room<T: 'static>(&'static mut MaybeUninit<T>);

impl<T> Room<T> {
    #[inline(always)]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }
}

/// Room for a large record; `None` where another is being made on this CPU.
#[inline(always)]
pub(crate) fn reserve<T>(_records: &PerfEventArray) -> Option<Room<T>> {
    const { assert!(size_of::<T>() <= LARGE_WORDS * 8 && align_of::<T>() <= 8) };
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the pointer is that of a live per-CPU map value. Two programs that both find it free within the same
    // nanoseconds spoil one record, whose reader checks what it says.
    unsafe {
        if (*scratch).is_taken != 0 {
            return None;
        }
        (*scratch).is_taken = 1;
        (&raw mut (*scratch).record).cast::<MaybeUninit<T>>().as_mut().map(Room)
    }
}

/// The record is whole. Returns whether it is still to be [`send`]t.
#[inline(always)]
pub(crate) fn commit<T>(_records: &PerfEventArray, _room: Room<T>, _wake: Wake) -> bool {
    true
}

/// Sends the record that was committed last; false where there is no room for it. Apart from [`commit`], because only the
/// program itself has the context that the kernel wants.
#[inline(always)]
pub(crate) fn send<T>(records: &PerfEventArray, context: &impl EbpfContext) -> bool {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return false };
    // SAFETY: the pointer is that of a live per-CPU map value, in which the record was made.
    unsafe {
        let is_written = output::<T>(records, context, (&raw const (*scratch).record).cast());
        (*scratch).is_taken = 0;
        is_written
    }
}

/// # Safety
/// `record` has to point to a whole record.
#[inline(always)]
unsafe fn output<T>(records: &PerfEventArray, context: &impl EbpfContext, record: *const T) -> bool {
    // SAFETY: the helper takes a perf event array, and reads as many bytes as a record has.
    let result = unsafe {
        bpf_perf_event_output(
            context.as_ptr(),
            core::ptr::from_ref(records).cast_mut().cast(),
            u64::from(BPF_F_CURRENT_CPU),
            record.cast_mut().cast(),
            size_of::<T>() as u64,
        )
    };
    result == 0
}
