//! Reads the record layouts of classic tracepoints from their `format` files in tracefs.
//!
//! A layout is no ABI: `protocol` of a transition had one byte before Linux 5.6, and some distributions' kernels
//! have a longer header. An unexpected layout is an error; nothing here guesses.

use tcptrace_ebpf::config::{EVENT_BYTES, FormatOffsets, ReceiveOffsets};
use thiserror::Error;

/// The file of `sock:inet_sock_set_state`, below the root of tracefs.
pub(crate) const TRANSITION_FILE: &str = "events/sock/inet_sock_set_state/format";

/// The file of `sock:sock_recv_length`, below the root of tracefs.
pub(crate) const RECEIVE_FILE: &str = "events/sock/sock_recv_length/format";

/// The programs cannot read records of this layout.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum UnexpectedFormat {
    /// The record has no such field.
    #[error("the tracepoint's format has no field `{0}`")]
    Missing(&'static str),
    /// A field has an unexpected size.
    #[error("the tracepoint's field `{name}` is {size} bytes long, which is not expected")]
    Size {
        /// Name of the field.
        name: &'static str,
        /// Its length in bytes.
        size: u32,
    },
    /// A field lies beyond the part of the record that the programs read.
    #[error("the tracepoint's field `{0}` lies further back than is expected")]
    Beyond(&'static str),
}

/// Offset and size in bytes of the field called `name`.
fn field(text: &str, name: &'static str) -> Result<(u32, u32), UnexpectedFormat> {
    let number =
        |part: Option<&str>, key: &str| -> Option<u32> { part?.trim().strip_prefix(key)?.parse().ok() };
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("field:"))
        .find_map(|line| {
            let mut parts = line.split(';');
            let declaration = parts.next()?;
            let declared = declaration.split('[').next()?.rsplit([' ', '*']).next()?;
            (declared == name).then_some(())?;
            Some((number(parts.next(), "offset:")?, number(parts.next(), "size:")?))
        })
        .ok_or(UnexpectedFormat::Missing(name))
}

/// Like [`field`], but refuses other sizes than these.
fn sized(text: &str, name: &'static str, sizes: &[u32]) -> Result<(u32, u32), UnexpectedFormat> {
    match field(text, name)? {
        (offset, size) if sizes.contains(&size) => Ok((offset, size)),
        (_, size) => Err(UnexpectedFormat::Size { name, size }),
    }
}

/// The offsets in the text of [`RECEIVE_FILE`].
///
/// # Errors
/// When a field is missing or has an unexpected size.
pub(crate) fn receive(text: &str) -> Result<ReceiveOffsets, UnexpectedFormat> {
    Ok(ReceiveOffsets {
        sk: sized(text, "sk", &[8])?.0,
        protocol: sized(text, "protocol", &[2])?.0,
        ret: sized(text, "ret", &[4])?.0,
        flags: sized(text, "flags", &[4])?.0,
    })
}

/// The offsets in the text of [`TRANSITION_FILE`].
///
/// # Errors
/// When a field is missing or has an unexpected size.
pub(crate) fn transition(text: &str) -> Result<FormatOffsets, UnexpectedFormat> {
    let sized = |name, sizes: &[u32]| match sized(text, name, sizes)? {
        (offset, size) if offset.saturating_add(size) as usize > EVENT_BYTES => {
            Err(UnexpectedFormat::Beyond(name))
        }
        found => Ok(found),
    };
    let (protocol, protocol_size) = sized("protocol", &[1, 2])?;
    Ok(FormatOffsets {
        skaddr: sized("skaddr", &[8])?.0,
        oldstate: sized("oldstate", &[4])?.0,
        newstate: sized("newstate", &[4])?.0,
        sport: sized("sport", &[2])?.0,
        dport: sized("dport", &[2])?.0,
        family: sized("family", &[2])?.0,
        protocol,
        protocol_size,
        saddr_v6: sized("saddr_v6", &[16])?.0,
        daddr_v6: sized("daddr_v6", &[16])?.0,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    /// As Linux 5.4 prints it: one byte of protocol.
    const LINUX_5_4: &str = "name: inet_sock_set_state\nID: 1300\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;\n\
        \tfield:int newstate;\toffset:20;\tsize:4;\tsigned:1;\n\
        \tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;\n\
        \tfield:__u16 dport;\toffset:26;\tsize:2;\tsigned:0;\n\
        \tfield:__u16 family;\toffset:28;\tsize:2;\tsigned:0;\n\
        \tfield:__u8 protocol;\toffset:30;\tsize:1;\tsigned:0;\n\
        \tfield:__u8 saddr[4];\toffset:31;\tsize:4;\tsigned:0;\n\
        \tfield:__u8 daddr[4];\toffset:35;\tsize:4;\tsigned:0;\n\
        \tfield:__u8 saddr_v6[16];\toffset:39;\tsize:16;\tsigned:0;\n\
        \tfield:__u8 daddr_v6[16];\toffset:55;\tsize:16;\tsigned:0;\n";

    #[test]
    fn reads_a_layout_with_one_byte_of_protocol() {
        let offsets = transition(LINUX_5_4).unwrap();
        assert_eq!((offsets.protocol, offsets.protocol_size), (30, 1));
        assert_eq!((offsets.saddr_v6, offsets.daddr_v6), (39, 55));
    }

    #[test]
    fn reads_a_layout_with_a_longer_header() {
        let shifted = LINUX_5_4.replace("skaddr;\toffset:8;", "skaddr;\toffset:16;");
        assert_eq!(transition(&shifted).unwrap().skaddr, 16);
    }

    #[test]
    fn reads_the_layout_of_a_receiving_call() {
        // As Linux 6.12 prints it.
        let text = "format:\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
            \tfield:void * sk;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:__u16 family;\toffset:16;\tsize:2;\tsigned:0;\n\
            \tfield:__u16 protocol;\toffset:18;\tsize:2;\tsigned:0;\n\
            \tfield:int ret;\toffset:20;\tsize:4;\tsigned:1;\n\
            \tfield:int flags;\toffset:24;\tsize:4;\tsigned:1;\n";
        assert_eq!(receive(text), Ok(ReceiveOffsets { sk: 8, protocol: 18, ret: 20, flags: 24 }));
    }

    #[test]
    fn refuses_a_missing_field_and_a_strange_size() {
        assert_eq!(transition("format:\n"), Err(UnexpectedFormat::Missing("protocol")));
        let strange = LINUX_5_4.replace("oldstate;\toffset:16;\tsize:4;", "oldstate;\toffset:16;\tsize:2;");
        assert_eq!(transition(&strange), Err(UnexpectedFormat::Size { name: "oldstate", size: 2 }));
    }
}
