//! Records of types that no reader here understands: passed on as they were written.

use jiff::Timestamp;
use serde::{Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

/// A record of a type that is not read back, such as those of `time-wait` and `clear`, or one of a later version.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    time: Timestamp,
    fields: Map<String, Value>,
}

impl Other {
    /// Reads a record of this type, whatever else is in it.
    ///
    /// # Errors
    /// When it is no JSON object with a `time`, or has two types.
    pub fn from_json(kind: &str, text: &[u8]) -> Result<Self, serde_json::Error> {
        let fields: Map<String, Value> = serde_json::from_slice(text)?;
        if fields.get("type").and_then(Value::as_str) != Some(kind) {
            return Err(serde_json::Error::duplicate_field("type"));
        }
        let time = fields.get("time").and_then(Value::as_str);
        let time = time.ok_or_else(|| serde_json::Error::missing_field("time"))?;
        let time = time.parse().map_err(serde_json::Error::custom)?;
        Ok(Self { time, fields })
    }

    /// Its type.
    pub fn kind(&self) -> &str {
        self.fields.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// When it happened, or was found out.
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

impl Serialize for Other {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { time: _, fields } = self;
        fields.serialize(serializer)
    }
}
