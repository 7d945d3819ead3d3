//! What a peer says before it goes: recognizes unread bytes that only take leave, by what they are or, where no protocol
//! is recognized, by when they came. Pure; any bytes give an answer.
//!
//! Only whole messages count that mean nothing else, because an answer that nobody read is another bug.

use crate::model::{activity::ActivityTimes, connection_side::ConnectionSide};

/// Most unread bytes that can be last words.
pub(crate) const MAX_BYTES: u32 = 512;

/// Last words lie unread in a socket, and nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastWords {
    pub bytes: u32,
    /// `None` when only the time tells.
    pub protocol: Option<Protocol>,
}

/// A protocol whose last words are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tls,
    Http,
    Http2,
    WebSocket,
    PostgreSql,
    MySql,
    Amqp,
    Mqtt,
    Imap,
    Smtp,
    Quit,
}

impl Protocol {
    /// The word in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::WebSocket => "websocket",
            Self::PostgreSql => "postgresql",
            Self::MySql => "mysql",
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Imap => "imap",
            Self::Smtp => "smtp",
            Self::Quit => "quit",
        }
    }

    /// What was said, for people.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Tls => "a closing alert of TLS",
            Self::Http => "HTTP's answer 408 to a connection that idles",
            Self::Http2 => "GOAWAY of HTTP/2",
            Self::WebSocket => "a close frame of WebSocket",
            Self::PostgreSql => "PostgreSQL's end of a session",
            Self::MySql => "MySQL's end of a session",
            Self::Amqp => "connection.close of AMQP",
            Self::Mqtt => "DISCONNECT of MQTT",
            Self::Imap => "BYE of IMAP",
            Self::Smtp => "421 of SMTP or FTP",
            Self::Quit => "QUIT",
        }
    }
}

/// What unread bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// Nothing but last words.
    Last(Protocol),
    /// Certainly something that was to be read.
    Ordinary,
    /// Neither is known.
    Unknown,
}

/// Who takes leave in these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    Client,
    Server,
    Either,
}

impl Speaker {
    /// Whether the peer of a socket of this side may have said it. In doubt it may.
    fn may_be_peer_of(self, side: Option<ConnectionSide>) -> bool {
        match (self, side) {
            (Self::Client, Some(ConnectionSide::Connected))
            | (Self::Server, Some(ConnectionSide::Accepted)) => false,
            (Self::Client | Self::Server | Self::Either, _) => true,
        }
    }
}

/// What the unread bytes of a socket are; `unread` has all of them. The words of a client are none of a server, whose
/// answers may begin with the same bytes.
pub(crate) fn recognize(unread: &[u8], side: Option<ConnectionSide>) -> Words {
    type Rule = fn(&[u8]) -> bool;
    const KNOWN: [(Protocol, Speaker, Rule); 15] = [
        (Protocol::Tls, Speaker::Either, is_tls_alert),
        (Protocol::Http2, Speaker::Either, is_http2_goaway),
        (Protocol::PostgreSql, Speaker::Client, |unread| unread == b"X\0\0\0\x04"),
        (Protocol::PostgreSql, Speaker::Server, is_postgres_end),
        (Protocol::MySql, Speaker::Client, |unread| unread == [1, 0, 0, 0, 1]),
        (Protocol::MySql, Speaker::Server, is_mysql_end),
        (Protocol::Http, Speaker::Server, is_http_timeout),
        (Protocol::WebSocket, Speaker::Client, |unread| is_websocket_close(unread, true)),
        (Protocol::WebSocket, Speaker::Server, |unread| is_websocket_close(unread, false)),
        (Protocol::Amqp, Speaker::Either, is_amqp_close),
        (Protocol::Mqtt, Speaker::Client, |unread| {
            matches!(unread, [0xe0, 0] | [0xe0, 1, _] | [0xe0, 2, _, 0])
        }),
        (Protocol::Mqtt, Speaker::Server, is_mqtt_server_end),
        (Protocol::Imap, Speaker::Server, |unread| is_line(unread, b"* BYE")),
        (Protocol::Smtp, Speaker::Server, |unread| is_line(unread, b"421 ")),
        (Protocol::Quit, Speaker::Client, |unread| {
            unread.eq_ignore_ascii_case(b"QUIT\r\n") || unread == b"*1\r\n$4\r\nQUIT\r\n"
        }),
    ];
    if unread.is_empty() {
        return Words::Unknown;
    }
    let is_known =
        |(_, speaker, is_last): &(Protocol, Speaker, Rule)| speaker.may_be_peer_of(side) && is_last(unread);
    match KNOWN.into_iter().find(is_known) {
        Some((protocol, ..)) => Words::Last(protocol),
        None if is_ordinary(unread) => Words::Ordinary,
        None => Words::Unknown,
    }
}

/// What tells last words by their time, of a connection that this side made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub unread: u32,
    /// All bytes that have arrived, read or not, the FIN counting as one; `None` where the kernel does not tell.
    pub received: Option<u64>,
    pub times: ActivityTimes,
    /// Milliseconds since the FIN, at least.
    pub since_fin_ms: u64,
}

/// Whether few bytes came with the FIN without having been asked for, after this side had read something: an answer
/// comes sooner after the request, and of a first answer nothing was read before.
pub(crate) fn came_as_last_words(arrival: &Arrival) -> bool {
    /// Milliseconds between last words and the FIN, at most.
    const MOMENT_MS: u64 = 250;
    /// Milliseconds since this side sent something, at least.
    const PAUSE_MS: u32 = 1_000;
    let Arrival { unread, received, times, since_fin_ms } = *arrival;
    let pause_ms = times.last_data_sent_ms.saturating_sub(times.last_data_recv_ms);
    (1..=MAX_BYTES).contains(&unread)
        && received.is_some_and(|received| received > u64::from(unread) + 1)
        && since_fin_ms.abs_diff(u64::from(times.last_data_recv_ms)) <= MOMENT_MS
        && pause_ms >= PAUSE_MS
}

/// The beginnings of answers that are no last words: HTTP/1, and RESP of Redis but for its errors.
fn is_ordinary(unread: &[u8]) -> bool {
    let is_resp = matches!(unread, [b'+' | b':' | b'$' | b'*', .., b'\r', b'\n']);
    unread.starts_with(b"HTTP/1.") || is_resp
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

/// The end of a session of PostgreSQL (its documentation, "Message Formats" and "Error Codes") as its server says it: an
/// ErrorResponse with SQLSTATE class 57P, or 25P03 and 57P05 for sessions that idle too long.
fn is_postgres_end(unread: &[u8]) -> bool {
    let [b'E', a, b, c, d, fields @ ..] = unread else { return false };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    let code = |field: &&[u8]| {
        field.strip_prefix(b"C").is_some_and(|code| code.starts_with(b"57P") || code == b"25P03")
    };
    length == fields.len() + 4 && fields.split(|byte| *byte == 0).collect::<Vec<_>>().iter().any(code)
}

/// The end of a session of MySQL (its documentation, "Client/Server Protocol") as its server says it: an error that it
/// sends without having been asked. Its sequence number is 0, while an answer has 1 or more.
fn is_mysql_end(unread: &[u8]) -> bool {
    let [a, b, c, 0, 0xff, rest @ ..] = unread else { return false };
    usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16 == rest.len() + 1 && rest.len() > 2
}

/// DISCONNECT of a server, which MQTT has since version 5, and always for a reason that is an error (section 3.14.2.1).
fn is_mqtt_server_end(unread: &[u8]) -> bool {
    matches!(unread, [0xe0, 1, reason] | [0xe0, 2, reason, 0] if *reason >= 0x80)
}

/// An answer to a request that never came (RFC 9110, section 15.5.9): some proxies send it before they close an idle
/// connection.
fn is_http_timeout(unread: &[u8]) -> bool {
    matches!(
        unread,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', b'4', b'0', b'8', b' ' | b'\r', ..]
    )
}

/// One close frame (RFC 6455, sections 5.1 and 5.5.1): what clients send is masked, what servers send is not.
fn is_websocket_close(unread: &[u8], is_masked: bool) -> bool {
    let [0x88, length, rest @ ..] = unread else { return false };
    let mask = if is_masked { 4 } else { 0 };
    let payload = usize::from(length & 0x7f);
    (length & 0x80 != 0) == is_masked && payload <= 125 && payload != 1 && rest.len() == payload + mask
}

/// One method frame on channel 0 with class 10 and method 50 (AMQP 0-9-1, sections 2.3.5 and 1.4 of its reference).
fn is_amqp_close(unread: &[u8]) -> bool {
    let [1, 0, 0, a, b, c, d, 0, 10, 0, 50, rest @ .., 0xce] = unread else { return false };
    u32::from_be_bytes([*a, *b, *c, *d]) as usize == rest.len() + 4
}

/// One line that begins so.
fn is_line(unread: &[u8], beginning: &[u8]) -> bool {
    unread.starts_with(beginning)
        && unread.ends_with(b"\r\n")
        && unread.iter().position(|byte| *byte == b'\n') == Some(unread.len() - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn says_goodbye(unread: &[u8]) -> bool {
        matches!(recognize(unread, None), Words::Last(_))
    }

    fn record(kind: u8, length: usize) -> Vec<u8> {
        let mut record = vec![kind, 3, 3, 0, u8::try_from(length).unwrap_or(u8::MAX)];
        record.extend(vec![0xaa; length]);
        record
    }

    #[test]
    fn a_closing_alert_alone_is_last_words() {
        assert!(says_goodbye(&record(21, 26)), "TLS 1.2");
        assert!(says_goodbye(&record(21, 2)), "in the clear");
        assert!(says_goodbye(&record(23, 19)), "TLS 1.3");
        assert!(says_goodbye(&[record(21, 26), record(21, 26)].concat()));
    }

    #[test]
    fn an_answer_with_an_alert_behind_it_is_none() {
        assert!(!says_goodbye(&[record(23, 64), record(21, 26)].concat()), "TLS 1.2");
        assert!(!says_goodbye(&[record(23, 64), record(23, 19)].concat()), "TLS 1.3");
        assert!(!says_goodbye(&[record(23, 19), record(23, 19)].concat()), "two short answers");
        assert!(!says_goodbye(&record(23, 20)));
        let cut = record(21, 26);
        assert!(!says_goodbye(&cut[..30]), "not whole");
    }

    #[test]
    fn plain_text_of_the_same_length_is_none() {
        assert!(!says_goodbye(&[b'x'; 31]));
        assert!(!says_goodbye(b""));
        assert!(!says_goodbye(b"421"));
    }

    #[test]
    fn other_protocols_take_leave_too() {
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert!(says_goodbye(&goaway));
        assert!(!says_goodbye(&goaway[..16]));
        let mut data = goaway;
        data[3] = 0;
        assert!(!says_goodbye(&data), "a DATA frame");
        let fields = b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
        let message = |fields: &[u8]| {
            let length = u32::try_from(fields.len() + 4).unwrap_or(0).to_be_bytes();
            [b"E", &length[..], fields].concat()
        };
        assert!(says_goodbye(&message(fields)));
        assert!(!says_goodbye(&message(b"SERROR\0C23505\0Mduplicate key\0\0")), "an answer");
        assert!(says_goodbye(b"421 idle for too long\r\n"));
        assert!(!says_goodbye(b"250 ok\r\n421 bye\r\n"));
        for (unread, protocol) in [
            (&b"X\0\0\0\x04"[..], Protocol::PostgreSql),
            (b"\x08\0\0\0\xff\x48\x04idle!", Protocol::MySql),
            (b"\x01\0\0\0\x01", Protocol::MySql),
            (b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", Protocol::Http),
            (b"\x88\x02\x03\xe8", Protocol::WebSocket),
            (b"\x88\x82abcd\x03\xe8", Protocol::WebSocket),
            (b"\x01\0\0\0\0\0\x09\0\x0a\0\x32\x01\x40\0\0\0\xce", Protocol::Amqp),
            (b"\xe0\0", Protocol::Mqtt),
            (b"* BYE idle for too long\r\n", Protocol::Imap),
            (b"quit\r\n", Protocol::Quit),
        ] {
            assert_eq!(recognize(unread, None), Words::Last(protocol), "{unread:?}");
            let cut = &unread[..unread.len() - 1];
            let is_whole_without = matches!(protocol, Protocol::Http);
            assert!(is_whole_without || !says_goodbye(cut), "{cut:?}");
        }
        assert_ne!(
            recognize(b"\x08\0\0\x01\xff\x48\x04idle!", None),
            Words::Last(Protocol::MySql),
            "an answer"
        );
    }

    #[test]
    fn what_only_a_client_says_is_no_leave_of_a_server() {
        let is = |unread: &[u8], side| matches!(recognize(unread, Some(side)), Words::Last(_));
        for words in [
            &b"X\0\0\0\x04"[..],
            b"\x01\0\0\0\x01",
            b"\x88\x82abcd\x03\xe8",
            b"\xe0\0",
            b"\xe0\x01\x04",
            b"QUIT\r\n",
        ] {
            assert!(is(words, ConnectionSide::Accepted), "{words:?}");
            assert!(!is(words, ConnectionSide::Connected), "{words:?}");
        }
    }

    #[test]
    fn what_only_a_server_says_is_no_leave_of_a_client() {
        let is = |unread: &[u8], side| matches!(recognize(unread, Some(side)), Words::Last(_));
        for words in [
            &b"E\0\0\0\x0eC57P01\0M\0\0"[..],
            b"\x08\0\0\0\xff\x48\x04idle!",
            b"HTTP/1.1 408 Request Timeout\r\n\r\n",
            b"\x88\x02\x03\xe8",
            b"* BYE idle for too long\r\n",
            b"421 idle for too long\r\n",
        ] {
            assert!(is(words, ConnectionSide::Connected), "{words:?}");
            assert!(!is(words, ConnectionSide::Accepted), "{words:?}");
        }
        // Either may say these.
        for words in [&record(21, 26)[..], &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]] {
            assert!(is(words, ConnectionSide::Connected) && is(words, ConnectionSide::Accepted));
        }
        assert!(is(b"\xe0\x01\x8b", ConnectionSide::Connected), "MQTT 5: the server shuts down");
    }

    #[test]
    fn an_answer_is_no_last_word_whenever_it_came() {
        for answer in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"+OK\r\n", b"$2\r\nhi\r\n"] {
            assert_eq!(recognize(answer, None), Words::Ordinary);
        }
        assert_eq!(recognize(b"so long", None), Words::Unknown);
        assert_eq!(recognize(b"", None), Words::Unknown);
    }

    #[test]
    fn few_bytes_that_came_with_the_fin_unasked_for_are_last_words() {
        let times =
            ActivityTimes { last_data_sent_ms: 9_000, last_data_recv_ms: 5_000, last_ack_recv_ms: 5_000 };
        let idle = Arrival { unread: 118, received: Some(500), times, since_fin_ms: 4_990 };
        assert!(came_as_last_words(&idle));
        let answered = ActivityTimes { last_data_sent_ms: 5_010, ..times };
        assert!(!came_as_last_words(&Arrival { times: answered, ..idle }), "an answer");
        assert!(!came_as_last_words(&Arrival { received: Some(119), ..idle }), "the first answer");
        assert!(!came_as_last_words(&Arrival { received: None, ..idle }));
        assert!(!came_as_last_words(&Arrival { since_fin_ms: 3_000, ..idle }), "long before the FIN");
        assert!(!came_as_last_words(&Arrival { unread: 513, received: Some(9_000), ..idle }), "too much");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for side in [None, Some(ConnectionSide::Accepted), Some(ConnectionSide::Connected)] {
                let _ = recognize(&bytes, side);
            }
        }
    }
}
