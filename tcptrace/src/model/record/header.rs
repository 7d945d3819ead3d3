//! The first record of a session.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::host_identity::HostIdentity;

/// The version of the records' form.
pub(crate) const SCHEMA: u32 = 1;

/// Who is speaking, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of tcptrace that speaks.
    pub version: String,
    #[serde(flatten)]
    pub host: HostIdentity,
    /// When the session began.
    pub started: Timestamp,
    /// The command line. It is recorded as one text, and is one when it is read.
    #[serde(with = "one_text")]
    pub command: Vec<String>,
    /// Which way into the kernel was taken.
    pub backend: String,
}

/// A header as it is recorded: the version of the form comes first, so that a reader of an older one need not
/// know the rest.
#[derive(Serialize, Deserialize)]
pub(crate) struct Versioned<H> {
    pub schema: u32,
    #[serde(flatten)]
    pub header: H,
}

mod one_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(command: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&command.join(" "))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(vec![String::deserialize(deserializer)?])
    }
}
