//! Turns the bytes of a ring-buffer record into a [`Transition`]. Pure: no I/O, total over any bytes.

use tcptrace_ebpf::record::{self, TransitionRecord};
use thiserror::Error;
use zerocopy::FromBytes as _;

use crate::model::{
    endpoints::Endpoints,
    pid::Pid,
    socket::{Identity, KernelSocket, Socket, SocketKey},
    state::State,
    task::{Comm, Task},
    transition::{Cause, Transition},
};

/// The bytes are no record that the kernel side writes.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// They have another length.
    #[error("a record of {length} bytes, where {expected} were expected", expected = size_of::<TransitionRecord>())]
    Length { length: usize },
    /// The state is unknown.
    #[error("state number {0} is unknown")]
    State(u8),
    /// The socket has neither cookie nor address.
    #[error("a record without a socket")]
    NoSocket,
}

/// Decodes a record.
///
/// # Errors
/// When the bytes are no record of this program's kernel side.
#[inline(always)]
pub(crate) fn transition(bytes: &[u8], identity: Identity) -> Result<Transition, Undecodable> {
    let record =
        TransitionRecord::read_from_bytes(bytes).map_err(|_| Undecodable::Length { length: bytes.len() })?;
    let state = |number| State::from_number(number).ok_or(Undecodable::State(number));
    let netns = known(record.netns);
    let key = match identity {
        // The kernel side asks no MPTCP listener for its cookie.
        Identity::Cookie if record.cookie != 0 => record.cookie,
        Identity::Cookie | Identity::Address => record.sock,
    };
    if key == 0 {
        return Err(Undecodable::NoSocket);
    }
    Ok(Transition {
        key: SocketKey(key),
        socket: Socket {
            cookie: known(record.cookie),
            netns,
            endpoints: Endpoints::new(
                record::bytes(record.laddr),
                record.lport,
                record::bytes(record.raddr),
                record.rport,
            )
            .named_in(netns),
        },
        is_mptcp: record.mptcp != 0,
        ktime_ns: record.ktime_ns,
        old_state: state(record.old_state)?,
        new_state: state(record.new_state)?,
        entered_ns: known(record.entered_ns),
        oncpu: Task {
            pid: Pid::from_wire(record.oncpu_pid),
            tid: Pid::from_wire(record.oncpu_tid),
            comm: Comm(record::bytes(record.oncpu_comm)),
        },
        kernel_socket: KernelSocket(record.sock),
        cause: (record.has_cause != 0).then_some(Cause {
            error: record.error,
            oncpu_exiting: record.oncpu_exiting != 0,
            is_over: record.is_over != 0,
        }),
        cgroup_id: known(record.cgroup_id),
    })
}

/// The kernel side writes 0 for what it does not know.
fn known<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use proptest::prelude::*;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::*;

    fn record() -> TransitionRecord {
        let mut record = TransitionRecord::new_zeroed();
        record.cookie = 77;
        record.sock = 0xffff_8880_0000_1000;
        record.ktime_ns = 5_000;
        record.old_state = 1;
        record.new_state = 8;
        record
    }

    #[test]
    fn what_is_not_known_is_none() {
        let decoded = transition(record().as_bytes(), Identity::Cookie).unwrap();
        assert_eq!(decoded.key, SocketKey(77));
        assert_eq!(decoded.socket.netns, None);
        assert_eq!(decoded.dwell_ns(), None);
        assert_eq!(decoded.cause, None);
        assert_eq!((decoded.old_state, decoded.new_state), (State::Established, State::CloseWait));
    }

    #[test]
    fn dwell_is_the_time_since_the_old_state_was_entered() {
        let entered = TransitionRecord { entered_ns: 1_500, ..record() };
        assert_eq!(transition(entered.as_bytes(), Identity::Cookie).unwrap().dwell_ns(), Some(3_500));
        let backwards = TransitionRecord { entered_ns: 6_000, ..record() };
        assert_eq!(transition(backwards.as_bytes(), Identity::Cookie).unwrap().dwell_ns(), Some(0));
    }

    #[test]
    fn an_address_is_the_identity_where_cookies_are_not_known() {
        let nameless = TransitionRecord { cookie: 0, ..record() };
        for identity in [Identity::Cookie, Identity::Address] {
            let decoded = transition(nameless.as_bytes(), identity).unwrap();
            assert_eq!((decoded.key, decoded.socket.cookie), (SocketKey(nameless.sock), None));
        }
        let nothing = TransitionRecord { sock: 0, ..nameless };
        assert_eq!(transition(nothing.as_bytes(), Identity::Cookie), Err(Undecodable::NoSocket));
    }

    #[test]
    fn a_short_record_and_a_strange_state_are_errors() {
        assert_eq!(transition(&[0; 3], Identity::Cookie), Err(Undecodable::Length { length: 3 }));
        let strange = TransitionRecord { new_state: 13, ..record() };
        assert_eq!(transition(strange.as_bytes(), Identity::Cookie), Err(Undecodable::State(13)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), size_of::<TransitionRecord>())) {
            if let Ok(decoded) = transition(&bytes, Identity::Cookie) {
                prop_assert!(decoded.key.0 != 0);
                let _ = decoded.oncpu.comm.to_text();
            }
        }
    }
}
