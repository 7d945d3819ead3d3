//! The record of a transition.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::timed::{Timed, nanoseconds};
use crate::model::{
    socket::{KernelSocket, Socket, SocketKey},
    state::State,
    task::Task,
    transition::Transition,
};

/// The fields of a transition. Forms that are measured have a faster way to write and read them, and a test that it is
/// the same.
#[derive(Serialize, Deserialize)]
pub(crate) struct TransitionFields {
    #[serde(with = "nanoseconds")]
    pub time: Timestamp,
    pub ktime_ns: u64,
    #[serde(flatten)]
    pub socket: Socket,
    pub old_state: State,
    pub new_state: State,
    pub dwell_ns: Option<u64>,
    pub oncpu: Task,
    pub cgroup_id: Option<u64>,
    #[serde(default)]
    pub mptcp: bool,
}

impl From<&Timed<Transition>> for TransitionFields {
    fn from(Timed { time, what }: &Timed<Transition>) -> Self {
        Self {
            time: *time,
            ktime_ns: what.ktime_ns,
            socket: what.socket,
            old_state: what.old_state,
            new_state: what.new_state,
            dwell_ns: what.dwell_ns(),
            oncpu: what.oncpu,
            cgroup_id: what.cgroup_id,
            mptcp: what.is_mptcp,
        }
    }
}

/// What no form shows has a neutral value: `kernel_socket` is 0, `cause` is not known, `key` is the cookie (0 without
/// one).
impl TryFrom<TransitionFields> for Timed<Transition> {
    type Error = &'static str;

    fn try_from(fields: TransitionFields) -> Result<Self, Self::Error> {
        let TransitionFields {
            time,
            ktime_ns,
            socket,
            old_state,
            new_state,
            dwell_ns,
            oncpu,
            cgroup_id,
            mptcp,
        } = fields;
        let entered_ns = match dwell_ns {
            None => None,
            Some(dwell) => Some(
                ktime_ns.checked_sub(dwell).ok_or("a state was entered before the machine was started")?,
            ),
        };
        let what = Transition {
            key: SocketKey(socket.cookie.unwrap_or(0)),
            socket,
            is_mptcp: mptcp,
            ktime_ns,
            old_state,
            new_state,
            entered_ns,
            oncpu,
            kernel_socket: KernelSocket(0),
            cause: None,
            cgroup_id,
        };
        Ok(Timed { time, what })
    }
}

impl Serialize for Timed<Transition> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TransitionFields::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timed<Transition> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TransitionFields::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}
