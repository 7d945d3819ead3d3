//! Reads which sockets have come into CLOSE_WAIT and stay: the kernel side tells of those that leave soon only here.
//! Interprets no record.

use std::{
    ptr,
    sync::atomic::{Ordering, fence},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use rustix::mm::MapFlags;
use tcptrace_ebpf::record::{ARRIVALS, Arrival, TransitionRecord};
use zerocopy::IntoBytes as _;

use super::{
    error::{self, LoadError},
    mapping::Mapping,
};

/// The sockets that came into CLOSE_WAIT, as the kernel side keeps them.
pub(super) struct Arrivals {
    places: Mapping,
    /// Says whether the kernel side keeps them.
    wanted: Array<MapData, u32>,
    /// Of each place, the time of the arrival that was handed out last.
    taken_ns: Vec<u64>,
}

impl Arrivals {
    /// Takes the maps out of an object.
    ///
    /// # Errors
    /// When this kernel does not let a map be mapped into memory.
    pub(super) fn open(object: &mut Ebpf) -> Result<Self, LoadError> {
        let mut take = |name| object.take_map(name).ok_or_else(error::missing);
        let Map::Array(map) = take("ARRIVALS")? else { return Err(error::missing()) };
        let wanted = Array::try_from(take("ARRIVALS_WANTED")?)
            .map_err(|error| LoadError::refused("open the arrivals", &error))?;
        // `bpf_map_mmap` of kernel/bpf/syscall.c takes no other flag.
        let places = Mapping::of(map.fd(), 0, ARRIVALS * size_of::<Arrival>(), MapFlags::SHARED)
            .map_err(|error| LoadError::refused("map the arrivals", &error))?;
        Ok(Self { places, wanted, taken_ns: vec![0; ARRIVALS] })
    }

    /// Has the kernel side keep arrivals from now on, or not any more.
    pub(super) fn want(&mut self, is_wanted: bool) {
        if let Err(error) = self.wanted.set(0, u32::from(is_wanted), 0) {
            log::debug!("arrivals in CLOSE_WAIT are recorded one by one: {error}");
        }
    }

    /// Passes the sockets that came before this time (CLOCK_MONOTONIC, nanoseconds) and are still there to `visit`, each once,
    /// as the bytes of the record. Returns how many have come since.
    pub(super) fn take(&mut self, before_ns: u64, mut visit: impl FnMut(&[u8])) -> usize {
        let mut later = 0;
        let first: *const Arrival = self.places.start().cast().as_ptr();
        for (index, taken_ns) in self.taken_ns.iter_mut().enumerate() {
            // SAFETY: the place lies in the mapping, which is aligned to a page. The kernel side may change it meanwhile:
            // it is read by value, and looked at again.
            let (arrival, is_same) = unsafe {
                let place = first.add(index);
                if ptr::read_volatile(&raw const (*place).key) == 0 {
                    continue;
                }
                let ktime_ns = ptr::read_volatile(&raw const (*place).record.ktime_ns);
                if ktime_ns == *taken_ns {
                    continue;
                }
                if ktime_ns >= before_ns {
                    later += 1;
                    continue;
                }
                let arrival = ptr::read_volatile(place);
                fence(Ordering::Acquire);
                let after = (
                    ptr::read_volatile(&raw const (*place).key),
                    ptr::read_volatile(&raw const (*place).record.ktime_ns),
                );
                (arrival, after == (arrival.key, arrival.record.ktime_ns))
            };
            if is_same && arrival.key != 0 {
                let record: &TransitionRecord = &arrival.record;
                *taken_ns = record.ktime_ns;
                visit(record.as_bytes());
            }
        }
        later
    }
}
