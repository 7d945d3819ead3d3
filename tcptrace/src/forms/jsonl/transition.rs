//! The fast path for transitions, by far the most frequent record: to JSON and back. Equals the derived form
//! (`model::record::TransitionFields`), as property tests show.

use std::{io::Write as _, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, de::Error as _};

use super::{super::time_text::TimeText, escaped::serialize};
use crate::model::{
    endpoints::{Endpoint, Endpoints},
    interface::Interface,
    record::{Timed, TransitionFields},
    socket::Socket,
    state::State,
    task::{Comm, Task},
    transition::Transition,
};

/// Writes the same bytes as its derived form, in a fifth of the time.
pub(super) fn write(out: &mut Vec<u8>, times: &mut TimeText, Timed { time, what }: &Timed<Transition>) {
    let Transition {
        key: _,
        socket: Socket { cookie, netns, endpoints },
        is_mptcp,
        ktime_ns,
        old_state,
        new_state,
        entered_ns: _,
        oncpu: Task { pid, tid, comm },
        kernel_socket: _,
        cause: _,
        cgroup_id,
    } = what;
    out.extend_from_slice(br#"{"type":"transition","time":""#);
    out.extend_from_slice(times.bytes_of(*time));
    out.extend_from_slice(br#"","ktime_ns":"#);
    number(out, *ktime_ns);
    out.extend_from_slice(br#","cookie":"#);
    known(out, *cookie);
    out.extend_from_slice(br#","netns":"#);
    known(out, netns.map(u64::from));
    out.extend_from_slice(br#","family":"#);
    out.push(b'0' + endpoints.family());
    out.extend_from_slice(br#","laddr":""#);
    address(out, endpoints.local.ip());
    out.extend_from_slice(br#"","lport":"#);
    number(out, endpoints.local.port().into());
    out.extend_from_slice(br#","raddr":""#);
    address(out, endpoints.remote.ip());
    out.extend_from_slice(br#"","rport":"#);
    number(out, endpoints.remote.port().into());
    match endpoints.interface() {
        None => out.extend_from_slice(br#","interface":null"#),
        // Writing into memory does not fail.
        Some(interface) => drop(write!(out, r#","interface":"{interface}""#)),
    }
    out.extend_from_slice(br#","old_state":""#);
    out.extend_from_slice(old_state.name().as_bytes());
    out.extend_from_slice(br#"","new_state":""#);
    out.extend_from_slice(new_state.name().as_bytes());
    out.extend_from_slice(br#"","dwell_ns":"#);
    known(out, what.dwell_ns());
    out.extend_from_slice(br#","oncpu":{"pid":"#);
    known(out, pid.visible().map(u64::from));
    out.extend_from_slice(br#","tid":"#);
    known(out, tid.visible().map(u64::from));
    out.extend_from_slice(br#","comm":"#);
    name(out, comm);
    out.extend_from_slice(br#"},"cgroup_id":"#);
    known(out, *cgroup_id);
    out.extend_from_slice(br#","mptcp":"#);
    out.extend_from_slice(if *is_mptcp { b"true}" } else { b"false}" });
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn known(out: &mut Vec<u8>, known: Option<u64>) {
    match known {
        Some(known) => number(out, known),
        None => out.extend_from_slice(b"null"),
    }
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            number(out, first.into());
            for octet in rest {
                out.push(b'.');
                number(out, octet.into());
            }
        }
        // Writing into memory does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// A name with its quotation marks.
fn name(out: &mut Vec<u8>, name: &Comm) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let bytes = name.as_bytes();
    if bytes.iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        serialize(out, &name.to_text());
    }
}

/// The fields as they lie in the line: serde's `flatten`, as the derived form has it for those of the socket,
/// costs more than all the rest.
#[derive(Deserialize)]
struct TransitionBytes {
    time: Timestamp,
    ktime_ns: u64,
    cookie: Option<u64>,
    netns: Option<u32>,
    laddr: IpAddr,
    lport: u16,
    raddr: IpAddr,
    rport: u16,
    #[serde(default)]
    interface: Option<Interface>,
    old_state: State,
    new_state: State,
    dwell_ns: Option<u64>,
    oncpu: Task,
    cgroup_id: Option<u64>,
    #[serde(default)]
    mptcp: bool,
}

/// Reads what the derived form reads, in half the time.
pub(super) fn read(text: &[u8]) -> Result<Timed<Transition>, serde_json::Error> {
    let TransitionBytes {
        time,
        ktime_ns,
        cookie,
        netns,
        laddr,
        lport,
        raddr,
        rport,
        interface,
        old_state,
        new_state,
        dwell_ns,
        oncpu,
        cgroup_id,
        mptcp,
    } = serde_json::from_slice(text)?;
    let endpoints = Endpoints { local: Endpoint::new(laddr, lport), remote: Endpoint::new(raddr, rport) };
    let socket = Socket { cookie, netns, endpoints: endpoints.on(interface) };
    TransitionFields { time, ktime_ns, socket, old_state, new_state, dwell_ns, oncpu, cgroup_id, mptcp }
        .try_into()
        .map_err(serde_json::Error::custom)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::model::record::{Record, arbitrary};

    fn derived(text: &[u8]) -> Option<Timed<Transition>> {
        serde_json::from_slice(text).ok()
    }

    proptest! {
        #[test]
        fn the_short_way_writes_what_the_derived_form_does(transition in arbitrary::transition()) {
            let (mut short, mut long) = (Vec::new(), Vec::new());
            write(&mut short, &mut TimeText::default(), &transition);
            serialize(&mut long, &Record::Transition(transition));
            prop_assert_eq!(String::from_utf8(short).unwrap(), String::from_utf8(long).unwrap());
        }

        #[test]
        fn the_short_way_reads_what_the_derived_form_does(transition in arbitrary::transition()) {
            let mut text = Vec::new();
            write(&mut text, &mut TimeText::default(), &transition);
            let read = read(&text).ok();
            prop_assert!(read.is_some());
            prop_assert_eq!(read, derived(&text));
        }

        #[test]
        fn the_short_way_refuses_what_the_derived_form_does(
            transition in arbitrary::transition(),
            field in any::<prop::sample::Index>(),
            wrong in prop::sample::select(vec![
                None,
                Some(Value::Null),
                Some(Value::from(-1)),
                Some(Value::from(u64::MAX)),
                Some(Value::from(9)),
                Some(Value::from(true)),
                Some(Value::from("CLOSE")),
                Some(Value::from("::ffff:10.0.0.1")),
                Some(serde_json::json!({"pid": 1, "tid": 2, "comm": "a name that no task can have"})),
            ]),
        ) {
            let mut text = Vec::new();
            write(&mut text, &mut TimeText::default(), &transition);
            let mut fields: Vec<(String, Value)> =
                serde_json::from_slice::<serde_json::Map<_, _>>(&text).unwrap().into_iter().collect();
            let (name, _) = fields.remove(field.index(fields.len()));
            fields.extend(wrong.map(|wrong| (name, wrong)));
            let text = serde_json::to_vec(&serde_json::Map::from_iter(fields)).unwrap();
            prop_assert_eq!(read(&text).ok(), derived(&text), "{}", String::from_utf8_lossy(&text));
        }
    }
}
