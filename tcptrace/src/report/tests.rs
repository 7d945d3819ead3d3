//! What the tests of the report share: records made in code, with times in seconds.

use std::{net::SocketAddr, sync::Arc};

use jiff::Timestamp;

use crate::{
    host::identity::HostIdentity,
    record::Header,
    transition::{Comm, Endpoints, KernelSocket, Socket, SocketKey, State, Task, Transition},
};

/// A transition of the socket with this cookie, some seconds after the session began.
pub fn transition(cookie: u64, second: u64, old: State, new: State, endpoints: Endpoints) -> Transition {
    Transition {
        key: SocketKey(cookie),
        socket: Socket { cookie: Some(cookie), netns: Some(4026531840), endpoints },
        is_mptcp: false,
        ktime_ns: second * 1_000_000_000,
        old_state: old,
        new_state: new,
        entered_ns: None,
        oncpu: Task { pid: 1, tid: 1, comm: Comm::default() },
        kernel_socket: KernelSocket(cookie),
        cause: None,
        cgroup_id: None,
    }
}
