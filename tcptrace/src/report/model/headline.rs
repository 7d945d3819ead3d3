//! The report's first sentences.

use serde::Serialize;

/// What the report comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Headline {
    /// The one sentence to read.
    pub answer: String,
    /// What to expect: still stuck, growing, running out of descriptors.
    pub outlook: Vec<String>,
}
