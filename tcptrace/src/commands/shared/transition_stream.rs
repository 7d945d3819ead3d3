//! Takes records out of the ring, decodes them, and counts what became of each.

use crate::{
    kernel::{Backend, CallMemory, LoadError, Support, Tracer, TracerOptions, decode},
    model::socket::Identity,
    model::{record::Totals, transition::Transition},
};

/// Records taken before anything else gets its turn.
const BATCH: usize = 16_384;

/// The tracer with its decoder and counters.
pub(crate) struct Pump {
    tracer: Tracer,
    identity: Identity,
    records: u64,
    undecodable: u64,
}

impl Pump {
    /// Attaches the kernel side.
    ///
    /// # Errors
    /// As for [`Tracer::start`].
    pub(crate) fn start(support: &mut Support, options: &TracerOptions) -> Result<Self, LoadError> {
        let tracer = Tracer::start(support, options)?;
        let identity = match tracer.backend() {
            Backend::Btf => Identity::Cookie,
            Backend::Tracepoint => Identity::Address,
        };
        Ok(Self { tracer, identity, records: 0, undecodable: 0 })
    }

    /// Which way into the kernel was taken.
    pub(crate) fn backend(&self) -> Backend {
        self.tracer.backend()
    }

    /// Hands out the memory of openers, once.
    pub(crate) fn take_calls(&mut self) -> Option<CallMemory> {
        self.tracer.take_calls()
    }

    /// What tells sockets apart.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Waits until the kernel side says that there are records.
    ///
    /// # Errors
    /// As for [`Tracer::readable`].
    pub(crate) async fn readable(&self) -> std::io::Result<()> {
        self.tracer.readable().await
    }

    /// Takes a batch; returns whether there may be more.
    pub(crate) fn take(&mut self, mut visit: impl FnMut(Transition)) -> bool {
        let Self { tracer, identity, records, undecodable } = self;
        let count = tracer.drain(BATCH, |bytes| match decode::transition(bytes, *identity) {
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
        });
        count == BATCH
    }

    /// What became of the records so far.
    pub(crate) fn totals(&mut self) -> Totals {
        let counted = self.tracer.counted();
        Totals {
            records: self.records,
            lost: counted.lost,
            undecodable: self.undecodable,
            evicted: counted.untracked,
            unattributed: 0,
            openers_skipped: counted.openers_skipped,
            dropped: 0,
        }
    }
}
