//! A call on a socket as a part of a record: the caller, the moment and the stack.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::timed::{Timed, nanoseconds};
use crate::model::{
    owner::{CalledBy, OpenedBy},
    stack::{self, Stack},
    task::{Call, OpenedHow, Task},
};

#[derive(Serialize, Deserialize)]
struct CallFields {
    #[serde(flatten)]
    task: Task,
    /// Which call it was, where that is not clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<OpenedHow>,
    #[serde(with = "nanoseconds")]
    time: Timestamp,
    #[serde(flatten, with = "stack::optional")]
    stack: Option<Arc<Stack>>,
    /// The pid on the host of a process that is not visible from here.
    #[serde(default)]
    host_pid: Option<u32>,
}

impl CallFields {
    fn new(time: Timestamp, called: &CalledBy, how: Option<OpenedHow>) -> Self {
        let CalledBy { call: Call { task, ktime_ns: _, stack: _ }, stack } = called;
        Self { task: *task, how, time, stack: stack.clone(), host_pid: task.pid.on_host() }
    }

    fn into_called(self) -> Timed<CalledBy> {
        let Self { mut task, how: _, time, stack, host_pid } = self;
        task.pid = task.pid.or_of_host(host_pid);
        Timed { time, what: CalledBy { call: Call { task, ktime_ns: 0, stack: None }, stack } }
    }
}

impl Serialize for Timed<CalledBy> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CallFields::new(self.time, &self.what, None).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timed<CalledBy> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CallFields::deserialize(deserializer).map(CallFields::into_called)
    }
}

impl Serialize for Timed<OpenedBy> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OpenedBy { how, called } = &self.what;
        CallFields::new(self.time, called, Some(*how)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timed<OpenedBy> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = CallFields::deserialize(deserializer)?;
        let how = fields.how.ok_or_else(|| D::Error::missing_field("how"))?;
        let Timed { time, what: called } = fields.into_called();
        Ok(Timed { time, what: OpenedBy { how, called } })
    }
}
