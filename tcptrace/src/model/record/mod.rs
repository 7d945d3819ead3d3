//! The records of a session: what is said, and by which names. A field's name stands here, once, for all that write and
//! read records. Names are a promise (docs/records.md); the forms decide only how they become bytes.

pub(crate) mod address_use;
mod age;
mod any;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
pub(crate) mod arbitrary;
mod call;
pub(crate) mod cleared;
mod header;
mod leak;
pub(crate) mod other;
mod snapshot;
mod summary;
pub(crate) mod time_wait;
mod timed;
mod transition;

pub(crate) use self::{
    age::Age,
    header::{Header, SCHEMA, Versioned},
    leak::{Leak, LeakEnd, Over},
    snapshot::{Group, Scope, Snapshot},
    summary::{PeerCount, ProcessSummary, ReasonCount, StackCount, Summary},
    timed::Timed,
    transition::TransitionFields,
};
pub use self::{any::Record, summary::Totals};
