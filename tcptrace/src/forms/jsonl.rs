//! The records as JSON Lines. What they say is told by `record::json`; here is only how it becomes
//! bytes: characters that a terminal obeys are escaped, and the one record that there are many of takes a
//! short way.

pub(crate) mod json;
pub(crate) mod parse;

use std::{
    io::{self, Write},
    net::IpAddr,
};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use super::time_text::TimeText;
use crate::model::escape::is_harmful;
use crate::model::{
    record::{Record, Timed},
    socket::Socket,
    task::{Comm, Task},
    transition::Transition,
};

/// Writes lines into memory.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    times: TimeText,
}

impl Lines {
    /// Adds a record.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, record: &Record) {
        match record {
            Record::Transition(transition) => self.transition(out, transition),
            _ => serialize(out, record),
        }
        out.push(b'\n');
    }

    /// The same bytes as [`serialize`] makes of it, in a fifth of the time.
    fn transition(&mut self, out: &mut Vec<u8>, Timed { time, what }: &Timed<Transition>) {
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
        out.extend_from_slice(self.times.bytes_of(*time));
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
        out.extend_from_slice(br#","old_state":""#);
        out.extend_from_slice(old_state.name().as_bytes());
        out.extend_from_slice(br#"","new_state":""#);
        out.extend_from_slice(new_state.name().as_bytes());
        out.extend_from_slice(br#"","dwell_ns":"#);
        known(out, what.dwell_ns());
        out.extend_from_slice(br#","oncpu":{"pid":"#);
        number(out, (*pid).into());
        out.extend_from_slice(br#","tid":"#);
        number(out, (*tid).into());
        out.extend_from_slice(br#","comm":"#);
        name(out, comm);
        out.extend_from_slice(br#"},"cgroup_id":"#);
        known(out, *cgroup_id);
        out.extend_from_slice(br#","mptcp":"#);
        out.extend_from_slice(if *is_mptcp { b"true}" } else { b"false}" });
    }
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
        // Memory takes everything.
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

fn serialize(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Memory takes everything, and no record has a key that is not text.
    let _ = value.serialize(&mut Serializer::with_formatter(out, JsonEscapes));
}

/// JSON without spaces, in which every character that a terminal would obey is escaped. JSON itself asks
/// for that only below U+0020.
struct JsonEscapes;

impl Formatter for JsonEscapes {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        // Most are plain, and JSON has escaped all other controls of ASCII already.
        if fragment.is_ascii() && !fragment.as_bytes().contains(&0x7f) {
            return out.write_all(fragment.as_bytes());
        }
        let mut from = 0;
        for (at, character) in fragment.char_indices().filter(|(_, character)| is_harmful(*character)) {
            out.write_all(fragment.get(from..at).unwrap_or_default().as_bytes())?;
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            from = at + character.len_utf8();
        }
        out.write_all(fragment.get(from..).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        endpoints::Endpoints,
        socket::{KernelSocket, SocketKey},
        state::State,
    };

    fn state() -> impl Strategy<Value = State> {
        (1_u8..=12).prop_map(|number| State::from_number(number).unwrap())
    }

    fn transition() -> impl Strategy<Value = Timed<Transition>> {
        let socket = (
            any::<Option<u64>>(),
            any::<Option<u32>>(),
            any::<([u8; 16], u16, [u8; 16], u16)>(),
            any::<bool>(),
        )
            .prop_map(|(cookie, netns, (mut laddr, lport, mut raddr, rport), is_mapped)| {
                if is_mapped {
                    for address in [&mut laddr, &mut raddr] {
                        address[..12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
                    }
                }
                Socket { cookie, netns, endpoints: Endpoints::new(laddr, lport, raddr, rport) }
            });
        let comm = prop_oneof![
            "[ -~]{0,15}".prop_map(|text| text.into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..16)
        ];
        let task = (any::<(u32, u32)>(), comm).prop_map(|((pid, tid), name)| {
            let mut comm = Comm::default();
            comm.0[..name.len()].copy_from_slice(&name);
            Task { pid, tid, comm }
        });
        let times = (0..4_000_000_000_000_000_000_i64, any::<u64>(), any::<Option<u64>>());
        (socket, task, times, state(), state(), any::<bool>(), any::<Option<u64>>()).prop_map(
            |(socket, oncpu, (time, ktime_ns, entered_ns), old_state, new_state, is_mptcp, cgroup_id)| {
                Timed {
                    time: Timestamp::from_nanosecond(time.into()).unwrap(),
                    what: Transition {
                        key: SocketKey(1),
                        socket,
                        is_mptcp,
                        ktime_ns,
                        old_state,
                        new_state,
                        entered_ns,
                        oncpu,
                        kernel_socket: KernelSocket(1),
                        cause: None,
                        cgroup_id,
                    },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn the_short_way_writes_what_the_long_one_does(transition in transition()) {
            let (mut short, mut long) = (Vec::new(), Vec::new());
            Lines::default().push(&mut short, &Record::Transition(transition));
            serialize(&mut long, &Record::Transition(transition));
            long.push(b'\n');
            prop_assert_eq!(String::from_utf8(short).unwrap(), String::from_utf8(long).unwrap());
        }

        #[test]
        fn text_is_harmless_and_reads_back_as_it_was(text in any::<String>()) {
            let mut out = Vec::new();
            serialize(&mut out, &text);
            let line = String::from_utf8(out).unwrap();
            prop_assert!(!line.contains(is_harmful), "{:?}", line);
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }

    #[test]
    fn controls_that_json_would_let_through_are_escaped() {
        let mut out = Vec::new();
        serialize(&mut out, "a\u{9b}2J\u{7f}\u{202e}\n");
        assert_eq!(out, br#""a\u009b2J\u007f\u202e\n""#);
    }
}
