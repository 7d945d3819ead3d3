//! `clear --state`: sockets in other states that have begun to end, some of which are still in use.

use std::net::Shutdown;

use crate::support::clear::{Clear, clear, command};
use crate::support::leaky::Leaky;
use crate::support::netns::Netns;
use crate::support::own_pair::OwnPair;
use crate::support::reconnection::{Connection, Listener, receive, state};
use crate::support::truth::Truth;
use crate::support::until;

live_tests! {
    what_the_kernel_keeps_of_closed_connections_is_ended_and_nobody_else,
    a_half_close_that_is_read_from_has_to_be_asked_for_by_its_name,
    a_peer_that_does_not_answer_is_waited_for_a_moment_and_then_destroyed_if_wanted,
}

const CLOSE: u8 = 7;
const FIN_WAIT2: u8 = 5;

/// Longer than what was heard from the peer counts as lately.
const SILENCE: std::time::Duration = std::time::Duration::from_millis(10_500);

fn what_the_kernel_keeps_of_closed_connections_is_ended_and_nobody_else() {
    // The peer of each leaked socket has called close(): it waits in FIN_WAIT2 without a holder.
    let mut leaky = Leaky::start("accepted_kept", &["--count", "3"]);
    let ends = flipped(&leaky.truths);
    let session = end(&ends, &["--state", "FIN_WAIT2", "--limit", "1", "--yes"]);
    assert_eq!(outcomes(&session, &ends), ["gone"], "{}", session.ran.messages);
    let session = end(&ends, &["--state", "FIN_WAIT2", "--state", "TIME_WAIT", "--yes"]);
    assert_eq!(outcomes(&session, &ends), ["gone", "gone"], "{}", session.ran.messages);
    for record in session.records.iter().filter(|record| record["type"] == "cleared") {
        assert_eq!(record["state"], "FIN_WAIT2");
        assert_eq!(record["owners"], serde_json::json!([]));
        assert!(record["close_wait_ns"].is_null() && record["verdict"].is_null(), "{record}");
    }
    assert!(
        clear(&leaky.truths, &["--older-than", "0s"]).records.len() > 3,
        "the leaked ones are still there"
    );
    leaky.close();

    let listener = Listener::new();
    let closed = listener.connect_from(0);
    let truth = closed.truth();
    closed.half_close();
    let Connection { near, far } = closed;
    drop(near);
    // The far end closed first, so it is the one that stays.
    assert_eq!(receive(&far), Ok(0));
    drop(far);
    let ends = flipped(&[truth]);
    let session = end(&ends, &["--state", "time-wait", "--yes"]);
    assert_eq!(outcomes(&session, &ends), ["gone"], "{}", session.ran.messages);
    assert_eq!(outcomes(&end(&ends, &["--state", "TIME_WAIT"]), &ends), [""; 0], "nothing is left");
}

fn a_half_close_that_is_read_from_has_to_be_asked_for_by_its_name() {
    let listener = Listener::new();
    let connection = listener.connect_from(0);
    connection.near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive(&connection.far), Ok(0));
    connection.far.send(b"x").unwrap();
    assert_eq!((receive(&connection.near), state(&connection.near)), (Ok(1), FIN_WAIT2));
    let truths = [connection.truth()];
    let spared = end(&truths, &["--state", "FIN_WAIT2", "--yes"]);
    assert_eq!(outcomes(&spared, &truths), [""; 0]);
    assert_eq!(state(&connection.near), FIN_WAIT2);
    // However long the answer takes: the far end has not closed.
    std::thread::sleep(SILENCE);
    let spared = end(&truths, &["--state", "FIN_WAIT2", "--older-than", "10s", "--yes"]);
    assert_eq!(outcomes(&spared, &truths), [""; 0]);
    let ended = end(&truths, &["--state", "FIN_WAIT2", "--verdict", "half_open", "--yes"]);
    assert_eq!(outcomes(&ended, &truths), ["gone"], "{}", ended.ran.messages);
    assert_eq!(state(&connection.near), CLOSE);
}

fn a_peer_that_does_not_answer_is_waited_for_a_moment_and_then_destroyed_if_wanted() {
    let netns = Netns::new();
    let OwnPair { leaked, mut truth } = netns.within(OwnPair::left);
    truth.netns = netns.inode();
    let truths = [truth];
    let _inhabitant = netns.inhabitant();
    // From now on no packet is delivered.
    netns.within(|| crate::support::netns::bring_loopback(false));
    let shut = clear(&truths, &["--older-than", "0s", "--yes", "--method", "shutdown"]);
    assert_eq!(shut.outcome(&truths[0]), ("closing", Some(0)), "{}", shut.ran.messages);
    let reason = shut.record(&truths[0])["reason"].as_str().unwrap();
    assert!(reason.contains("LAST_ACK"), "{reason}");
    let destroyed = end(&truths, &["--state", "LAST_ACK", "--yes"]);
    assert_eq!(outcomes(&destroyed, &truths), ["gone"], "{}", destroyed.ran.messages);
    until("it is closed", || state(&leaked) == CLOSE);
}

/// The truths about the other ends.
fn flipped(truths: &[Truth]) -> Vec<Truth> {
    let flip = |truth: &Truth| Truth {
        laddr: truth.raddr.clone(),
        lport: truth.rport,
        raddr: truth.laddr.clone(),
        rport: truth.lport,
        cookie: None,
        ..truth.clone()
    };
    truths.iter().map(flip).collect()
}

fn end(truths: &[Truth], arguments: &[&str]) -> Clear {
    Clear::of(command(truths, arguments).args(["--format", "jsonl"]))
}

fn outcomes<'a>(session: &'a Clear, truths: &[Truth]) -> Vec<&'a str> {
    assert_eq!(session.ran.code, Some(0), "{}", session.ran.messages);
    let cleared = session.records.iter().filter(|record| record["type"] == "cleared");
    cleared
        .map(|record| {
            assert!(truths.iter().any(|truth| truth.is_about(record)), "a stranger: {record}");
            record["outcome"].as_str().unwrap()
        })
        .collect()
}
