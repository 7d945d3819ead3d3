//! Clients that have read all that was meant for them, and clients that have not.
//!
//! The difference is in what came before: bytes that come out of a long silence and with the end of file answer nothing.

use super::{Pair, connected};
use crate::message::{Ends, Request};
use crate::stage::Stage;
use crate::truth::{Opened, Reason, Truth};
use anyhow::{Result, bail};
use std::time::Duration;

/// A silence that no answer leaves before it.
const SILENCE: Duration = Duration::from_millis(2_200);

/// A message and the end that comes so long after it have nothing to do with each other.
const LATER: Duration = Duration::from_millis(1_500);

/// What a server takes to answer, so that the clocks of the kernel tell a request from its answer.
const THOUGHT: Duration = Duration::from_millis(20);

const REQUEST: &[u8] = b"a request of some protocol";
const ANSWER: &[u8] = b"an answer of some protocol, which is read at once";

/// In no protocol that anybody knows.
pub(super) const UNKNOWN: [u8; 30] = [0xa7; 30];

const HTTP_OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// ERR packets of MySQL: the length, the sequence number, 0xff, the code, the state and the text.
const MYSQL_SHUTDOWN: &[u8] = b"\x24\0\0\0\xff\x1d\x04#08S01Server shutdown in progress";
const MYSQL_ANSWER: &[u8] = b"\x17\0\0\x01\xff\x28\x04#42000No such tables";

/// By which protocol, as a tool should call it, and in which words a server takes leave of a client that is idle.
const GOODBYES: [(&str, &[u8]); 7] = [
    ("tls", &[23, 3, 3, 0, 19, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    ("postgresql", b"E\0\0\0\x1dSFATAL\0C57P01\0Mshutdown\0\0"),
    ("mysql", MYSQL_SHUTDOWN),
    ("http", b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ("imap", b"* BYE Autologout; idle for too long\r\n"),
    ("amqp", b"\x01\0\0\0\0\0\x1c\0\x0a\0\x32\x01\x40\x11CONNECTION_FORCED\0\0\0\0\xce"),
    ("websocket", b"\x88\x0c\x03\xe9going away"),
];

/// The client is idle, as a pool's connections are, when the server says something and closes.
pub(crate) fn last_words(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = connected(stage, 1, false)?;
    let Pair { holder, peer, opened } = &pair;
    exchange_all(stage, &pair)?;
    std::thread::sleep(SILENCE);
    say_all(stage, &pair, &[&UNKNOWN])?;
    let ended = stage.end_seen_by(*peer, &[*holder])?;
    let mut truths = stage.truths(Some("eof_unread"), 31, opened, &[*holder], &ended)?;
    let words = Reason::new("last_words").is("bytes", UNKNOWN.len());
    for truth in &mut truths {
        truth.because(&[words.clone(), Reason::new("idle_in_pool")], &["client_left", "connected"]);
    }
    Ok(truths)
}

/// What the server says takes leave in so many words, whenever it comes.
pub(crate) fn last_words_known(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = connected(stage, GOODBYES.len(), false)?;
    exchange_all(stage, &pair)?;
    say_all(stage, &pair, &GOODBYES.map(|(_, words)| words))?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    let mut truths = Vec::new();
    for (one, (protocol, words)) in pair.opened.iter().zip(GOODBYES) {
        let unread = u32::try_from(words.len() + 1)?;
        let one = std::slice::from_ref(one);
        let mut truth = stage.truths(Some("eof_unread"), unread, one, &[pair.holder], &ended)?;
        let words = Reason::new("last_words").is("bytes", words.len()).is("protocol", protocol);
        for truth in &mut truth {
            truth.because(&[words.clone(), Reason::new("idle_in_pool")], &["client_left", "connected"]);
        }
        truths.extend(truth);
    }
    Ok(truths)
}

/// Answers that nobody reads, which look much like last words: one that comes at once, one that takes its time, one
/// that is an error; and a message that comes out of a silence, long before the end.
pub(crate) fn answers_unread(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = connected(stage, 4, false)?;
    let [at_once, late, error, pushed] = &pair.opened[..] else {
        bail!("there are {} connections", pair.opened.len())
    };
    exchange_all(stage, &pair)?;
    request(stage, &pair, late)?;
    std::thread::sleep(SILENCE);
    answer(stage, &pair, pushed, &UNKNOWN)?;
    std::thread::sleep(LATER);
    answer(stage, &pair, late, HTTP_OK)?;
    request(stage, &pair, at_once)?;
    answer(stage, &pair, at_once, &UNKNOWN)?;
    request(stage, &pair, error)?;
    answer(stage, &pair, error, MYSQL_ANSWER)?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    let lengths = [UNKNOWN.len(), HTTP_OK.len(), MYSQL_ANSWER.len(), UNKNOWN.len()];
    let mut truths = Vec::new();
    for (one, length) in pair.opened.iter().zip(lengths) {
        let (unread, one) = (u32::try_from(length + 1)?, std::slice::from_ref(one));
        truths.extend(stage.truths(Some("data_unread"), unread, one, &[pair.holder], &ended)?);
    }
    unread(&mut truths);
    Ok(truths)
}

/// A late answer in no protocol that anybody knows. Only the order of what was read and what was asked tells it from last
/// words.
pub(crate) fn late_answer_unread(stage: &mut Stage) -> Result<Vec<Truth>> {
    let pair = connected(stage, 1, false)?;
    exchange_all(stage, &pair)?;
    for one in &pair.opened {
        request(stage, &pair, one)?;
    }
    std::thread::sleep(SILENCE);
    say_all(stage, &pair, &[&UNKNOWN])?;
    let ended = stage.end_seen_by(pair.peer, &[pair.holder])?;
    let mut truths = stage.truths(Some("data_unread"), 31, &pair.opened, &[pair.holder], &ended)?;
    unread(&mut truths);
    Ok(truths)
}

fn unread(truths: &mut [Truth]) {
    for truth in truths {
        truth.mentions(&[Reason::new("connected")], &["last_words", "idle_in_pool", "client_left"]);
    }
}

/// A request and its answer, on each connection.
pub(super) fn exchange_all(stage: &mut Stage, pair: &Pair) -> Result<()> {
    for one in &pair.opened {
        request(stage, pair, one)?;
        std::thread::sleep(THOUGHT);
        answer(stage, pair, one, ANSWER)?;
        stage.order(pair.holder, &Request::Hear { on: one.ends, bytes: ANSWER.len() })?;
    }
    Ok(())
}

fn say_all(stage: &mut Stage, pair: &Pair, words: &[&[u8]]) -> Result<()> {
    pair.opened.iter().zip(words).try_for_each(|(one, words)| answer(stage, pair, one, words))
}

/// The holder asks.
pub(super) fn request(stage: &mut Stage, pair: &Pair, one: &Opened) -> Result<()> {
    let on: Ends = one.ends;
    stage.order(pair.holder, &Request::Say { on, bytes: REQUEST.to_vec() })?;
    stage.order(pair.peer, &Request::Hear { on: on.flipped(), bytes: REQUEST.len() })
}

pub(super) fn answer(stage: &mut Stage, pair: &Pair, one: &Opened, bytes: &[u8]) -> Result<()> {
    stage.order(pair.peer, &Request::Say { on: one.ends.flipped(), bytes: bytes.to_vec() })
}
