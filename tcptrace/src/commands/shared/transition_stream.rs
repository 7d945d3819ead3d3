//! Where transitions come from: the tracer's records, decoded and counted, or a list that a test scripts.

use std::io;

use crate::{
    host::clock::Clocks,
    kernel::{Backend, CallMemory, LoadError, Support, Tracer, TracerOptions, decode},
    model::{record::Totals, socket::Identity, transition::Transition},
};

/// Records taken before anything else gets its turn.
pub(crate) const BATCH: usize = 16_384;

/// A source of transitions.
pub(crate) trait Transitions {
    /// The way into the kernel.
    fn backend(&self) -> Backend;

    /// What tells sockets apart.
    fn identity(&self) -> Identity {
        match self.backend() {
            Backend::Btf => Identity::Cookie,
            Backend::Tracepoint => Identity::Address,
        }
    }

    /// Waits for transitions. May miss some: call [`Transitions::take`] at least every 100 ms too.
    ///
    /// # Errors
    /// When they cannot be waited for.
    async fn readable(&self) -> io::Result<()>;

    /// Hands a batch to `visit`; returns whether there may be more.
    fn take(&mut self, visit: impl FnMut(Transition)) -> bool;

    /// Has sockets that come into CLOSE_WAIT kept back, or not any more.
    fn keep_arrivals(&mut self, is_wanted: bool);

    /// Hands those that are kept back, came before this time (CLOCK_MONOTONIC, nanoseconds) and are still there to `visit`,
    /// each once; returns how many have come since.
    fn take_arrivals(&mut self, before_ns: u64, visit: impl FnMut(Transition)) -> usize;

    /// The counters so far.
    fn totals(&mut self) -> Totals;
}

/// How long the records that are still in the ring at the end are taken out: the largest ring is read in seconds.
const LAST_READ_NS: u64 = 60_000_000_000;

/// Takes what the ring had at the end of a session (CLOCK_MONOTONIC, nanoseconds), while new records keep coming. `take` takes
/// a batch, and returns whether there may be more and when the latest transition was. Returns whether the ring was read to
/// its end, and warns where it was not.
///
/// # Errors
/// As `take`.
pub(crate) fn read_to_end<E>(
    clocks: &Clocks,
    ended_ns: u64,
    mut take: impl FnMut() -> Result<(bool, u64), E>,
) -> Result<bool, E> {
    loop {
        let (has_more, latest_ns) = take()?;
        if !has_more || latest_ns > ended_ns {
            return Ok(true);
        }
        if clocks.monotonic_ns() > ended_ns + LAST_READ_NS {
            log::warn!("the ring was not read to its end: the last records of the session are missing");
            return Ok(false);
        }
    }
}

/// The tracer with its decoder and counters.
pub(crate) struct TransitionStream {
    tracer: Tracer,
    decoded: Decoded,
}

/// What came of records so far.
#[derive(Default)]
struct Decoded {
    records: u64,
    undecodable: u64,
}

impl Decoded {
    /// Decodes a record and counts it, then hands it to `visit`.
    fn then(&mut self, identity: Identity, mut visit: impl FnMut(Transition)) -> impl FnMut(&[u8]) {
        let Self { records, undecodable } = self;
        move |bytes| match decode::transition(bytes, identity) {
            Ok(transition) => {
                *records += 1;
                visit(transition);
            }
            Err(error) => {
                if *undecodable == 0 {
                    log::warn!("{error}; such records are counted as undecodable");
                }
                *undecodable += 1;
            }
        }
    }
}

impl TransitionStream {
    /// Attaches the kernel side.
    ///
    /// # Errors
    /// As for [`Tracer::start`].
    pub(crate) fn start(
        support: &mut Support,
        options: &TracerOptions,
        clocks: &Clocks,
    ) -> Result<Self, LoadError> {
        Ok(Self { tracer: Tracer::start(support, options, clocks)?, decoded: Decoded::default() })
    }

    /// Hands out the memory of calls on sockets, once.
    pub(crate) fn take_calls(&mut self) -> Option<CallMemory> {
        self.tracer.take_calls()
    }
}

impl Transitions for TransitionStream {
    fn backend(&self) -> Backend {
        self.tracer.backend()
    }

    async fn readable(&self) -> io::Result<()> {
        self.tracer.readable().await
    }

    fn take(&mut self, visit: impl FnMut(Transition)) -> bool {
        let identity = self.identity();
        let Self { tracer, decoded } = self;
        tracer.drain(BATCH, decoded.then(identity, visit)) == BATCH
    }

    fn keep_arrivals(&mut self, is_wanted: bool) {
        self.tracer.keep_arrivals(is_wanted);
    }

    fn take_arrivals(&mut self, before_ns: u64, visit: impl FnMut(Transition)) -> usize {
        let identity = self.identity();
        let Self { tracer, decoded } = self;
        tracer.take_arrivals(before_ns, decoded.then(identity, visit))
    }

    fn totals(&mut self) -> Totals {
        let counted = self.tracer.counted();
        Totals {
            records: self.decoded.records,
            lost: counted.lost_for_room + counted.skipped,
            undecodable: self.decoded.undecodable,
            evicted: counted.untracked,
            unattributed: 0,
            openers_skipped: counted.openers_skipped,
            stacks_dropped: counted.stacks_dropped,
            dropped: 0,
            lost_skipped: counted.skipped,
        }
    }
}

#[cfg(test)]
pub(crate) mod scripted {
    use std::{
        cell::{Cell, RefCell},
        collections::VecDeque,
        io,
        rc::Rc,
        time::Duration,
    };

    use tokio::sync::Notify;

    use super::{BATCH, Transitions};
    use crate::{
        host::clock::Clocks,
        kernel::Backend,
        model::{record::Totals, transition::Transition},
    };

    /// A list of transitions that a test extends while a session takes from it.
    #[derive(Clone, Default)]
    pub(crate) struct Script(Rc<Scripted>);

    #[derive(Default)]
    struct Scripted {
        waiting: RefCell<VecDeque<Transition>>,
        kept_back: RefCell<Vec<Transition>>,
        /// Comes again and again, and what a batch of it takes by which clocks.
        endless: RefCell<Option<(Transition, Clocks, Duration)>>,
        arrived: Notify,
        records: Cell<u64>,
        lost: Cell<u64>,
    }

    impl Script {
        pub(crate) fn push(&self, transition: Transition) {
            self.0.waiting.borrow_mut().push_back(transition);
            self.0.arrived.notify_one();
        }

        /// Keeps back the transition of a socket into CLOSE_WAIT.
        pub(crate) fn keep_back(&self, transition: Transition) {
            self.0.kept_back.borrow_mut().push(transition);
        }

        /// Counts transitions as lost for lack of room.
        pub(crate) fn lose(&self, count: u64) {
            self.0.lost.set(self.0.lost.get() + count);
        }

        /// Makes the transition come without end.
        pub(crate) fn repeat(&self, transition: Transition, clocks: Clocks, a_batch_takes: Duration) {
            *self.0.endless.borrow_mut() = Some((transition, clocks, a_batch_takes));
            self.0.arrived.notify_one();
        }
    }

    impl Transitions for Script {
        fn backend(&self) -> Backend {
            Backend::Btf
        }

        async fn readable(&self) -> io::Result<()> {
            self.0.arrived.notified().await;
            Ok(())
        }

        fn take(&mut self, mut visit: impl FnMut(Transition)) -> bool {
            let Scripted { waiting, endless, records, .. } = self.0.as_ref();
            let mut batch: Vec<Transition> = {
                let mut waiting = waiting.borrow_mut();
                let count = waiting.len().min(BATCH);
                waiting.drain(..count).collect()
            };
            if let Some((transition, clocks, takes)) = endless.borrow().as_ref() {
                clocks.advance(*takes);
                batch.resize(BATCH, *transition);
            }
            let count = batch.len();
            records.set(records.get() + count as u64);
            batch.into_iter().for_each(&mut visit);
            count == BATCH
        }

        fn keep_arrivals(&mut self, _is_wanted: bool) {}

        fn take_arrivals(&mut self, before_ns: u64, mut visit: impl FnMut(Transition)) -> usize {
            let mut kept_back = self.0.kept_back.borrow_mut();
            let (come, later) = kept_back.drain(..).partition(|transition| transition.ktime_ns < before_ns);
            *kept_back = later;
            let come: Vec<Transition> = come;
            self.0.records.set(self.0.records.get() + come.len() as u64);
            come.into_iter().for_each(&mut visit);
            kept_back.len()
        }

        fn totals(&mut self) -> Totals {
            Totals { records: self.0.records.get(), lost: self.0.lost.get(), ..Totals::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_read_up_to_the_end_of_the_session_and_for_a_minute_at_most() {
        const SECOND: u64 = 1_000_000_000;
        let read = |now_ns: u64, batches: &[(bool, u64)]| {
            let (mut batches, mut taken) = (batches.iter(), 0);
            let take = || {
                taken += 1;
                batches.next().copied().ok_or(())
            };
            (read_to_end(&Clocks::scripted(now_ns), 100 * SECOND, take), taken)
        };
        assert_eq!(read(101 * SECOND, &[(true, 1), (false, 2)]), (Ok(true), 2), "it is empty");
        let later = [(true, 1), (true, 101 * SECOND), (false, 0)];
        assert_eq!(read(101 * SECOND, &later), (Ok(true), 2), "what came after the end is left");
        assert_eq!(read(161 * SECOND, &[(true, 1), (true, 2)]), (Ok(false), 1), "it takes too long");
        assert_eq!(read(101 * SECOND, &[(true, 1)]), (Err(()), 2));
    }
}
