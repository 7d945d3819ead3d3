//! What a peer says before it goes: recognizes unread bytes that only take leave. Pure; any bytes give an answer.
//!
//! Only whole messages count that mean nothing else, because an answer that nobody read is another bug.

/// Most unread bytes that can be last words.
pub(crate) const MAX_BYTES: u32 = 512;

/// Whether the unread bytes are nothing but last words. `unread` has all of them.
pub(crate) fn are_last_words(unread: &[u8]) -> bool {
    !unread.is_empty()
        && (is_tls_alert(unread) || is_http2_goaway(unread) || is_postgres_shutdown(unread) || is_421(unread))
}

/// TLS alerts alone: RFC 8446, sections 5.1 and 6. Since TLS 1.3 an alert looks like application data, but is always as
/// long: two bytes of alert, one of type, and sixteen of authentication.
fn is_tls_alert(mut rest: &[u8]) -> bool {
    const ALERT: u8 = 21;
    const APPLICATION_DATA: u8 = 23;
    const SEALED_ALERT: usize = 2 + 1 + 16;
    let mut sealed = 0;
    while let [kind, 3, 0..=4, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match (*kind, length) {
            (ALERT, _) => {}
            // One byte more or less of application data is another length, but two such records may be anything.
            (APPLICATION_DATA, SEALED_ALERT) => sealed += 1,
            _ => return false,
        }
        let Some(next) = behind.get(length..) else { return false };
        rest = next;
    }
    rest.is_empty() && sealed <= 1
}

/// One or two GOAWAY frames on stream 0: RFC 9113, sections 4.1 and 6.8. A server that drains sends a first one early.
fn is_http2_goaway(mut rest: &[u8]) -> bool {
    const GOAWAY: u8 = 7;
    const FIXED_PART: usize = 8;
    let mut frames = 0;
    while let [a, b, c, GOAWAY, _flags, 0, 0, 0, 0, behind @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(next) = behind.get(length..).filter(|_| length >= FIXED_PART) else { return false };
        (rest, frames) = (next, frames + 1);
    }
    rest.is_empty() && frames <= 2
}

/// An ErrorResponse of PostgreSQL that says that the server ends the connection: SQLSTATE class 57P, and 25P03 and 57P05
/// for sessions that idle too long (PostgreSQL's documentation, "Message Formats" and "Error Codes").
fn is_postgres_shutdown(unread: &[u8]) -> bool {
    let [b'E', a, b, c, d, fields @ ..] = unread else { return false };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    let code = |field: &&[u8]| {
        field.strip_prefix(b"C").is_some_and(|code| code.starts_with(b"57P") || code == b"25P03")
    };
    length == fields.len() + 4 && fields.split(|byte| *byte == 0).collect::<Vec<_>>().iter().any(code)
}

/// One reply line of SMTP or FTP: "421" announces the end of the connection (RFC 5321, section 3.8; RFC 959).
fn is_421(unread: &[u8]) -> bool {
    unread.starts_with(b"421 ")
        && unread.ends_with(b"\r\n")
        && unread.iter().position(|byte| *byte == b'\n') == Some(unread.len() - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, length: usize) -> Vec<u8> {
        let mut record = vec![kind, 3, 3, 0, u8::try_from(length).unwrap_or(u8::MAX)];
        record.extend(vec![0xaa; length]);
        record
    }

    #[test]
    fn a_closing_alert_alone_is_last_words() {
        assert!(are_last_words(&record(21, 26)), "TLS 1.2");
        assert!(are_last_words(&record(21, 2)), "in the clear");
        assert!(are_last_words(&record(23, 19)), "TLS 1.3");
        assert!(are_last_words(&[record(21, 26), record(21, 26)].concat()));
    }

    #[test]
    fn an_answer_with_an_alert_behind_it_is_none() {
        assert!(!are_last_words(&[record(23, 64), record(21, 26)].concat()), "TLS 1.2");
        assert!(!are_last_words(&[record(23, 64), record(23, 19)].concat()), "TLS 1.3");
        assert!(!are_last_words(&[record(23, 19), record(23, 19)].concat()), "two short answers");
        assert!(!are_last_words(&record(23, 20)));
        let cut = record(21, 26);
        assert!(!are_last_words(&cut[..30]), "not whole");
    }

    #[test]
    fn plain_text_of_the_same_length_is_none() {
        assert!(!are_last_words(&[b'x'; 31]));
        assert!(!are_last_words(b""));
        assert!(!are_last_words(b"421"));
    }

    #[test]
    fn other_protocols_take_leave_too() {
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert!(are_last_words(&goaway));
        assert!(!are_last_words(&goaway[..16]));
        let mut data = goaway;
        data[3] = 0;
        assert!(!are_last_words(&data), "a DATA frame");
        let fields = b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
        let message = |fields: &[u8]| {
            let length = u32::try_from(fields.len() + 4).unwrap_or(0).to_be_bytes();
            [b"E", &length[..], fields].concat()
        };
        assert!(are_last_words(&message(fields)));
        assert!(!are_last_words(&message(b"SERROR\0C23505\0Mduplicate key\0\0")), "an answer");
        assert!(are_last_words(b"421 idle for too long\r\n"));
        assert!(!are_last_words(b"250 ok\r\n421 bye\r\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = are_last_words(&bytes);
        }
    }
}
