//! What `clear` must never touch: sockets that nobody said yes to, sockets in use, and those that took the place of
//! another between the list and the act.

use std::process::Command;

use crate::support::clear::{Clear, clear, command};
use crate::support::far_host::FarHost;
use crate::support::own_pair::OwnPair;
use crate::support::reconnection::{Connection, Listener, receive, state};
use crate::support::run::run_command;
use crate::support::terminal::{Left, Terminal};
use crate::support::truth::Truth;

live_tests! {
    without_yes_and_without_a_terminal_nothing_is_touched,
    a_destroyed_socket_ends_for_both_sides_and_a_sound_one_beside_it_goes_on,
    a_socket_that_is_shut_down_ends_orderly_for_both_sides_and_a_sound_one_beside_it_goes_on,
    a_connection_that_took_the_place_of_a_listed_one_is_never_touched,
    a_socket_that_went_on_or_is_used_after_it_was_listed_is_left_alone,
    only_yes_is_yes_on_a_terminal,
}

const ESTABLISHED: u8 = 1;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;

fn without_yes_and_without_a_terminal_nothing_is_touched() {
    let pair = OwnPair::left();
    let truth = std::slice::from_ref(&pair.truth);
    let listed = clear(truth, &["--older-than", "0s"]);
    assert_eq!(listed.outcome(&pair.truth), ("dry_run", Some(0)), "{}", listed.ran.messages);
    let record = listed.record(&pair.truth);
    assert_eq!(record["method"], "destroy", "{record}");
    assert_eq!(record["verdict"], "eof_read", "{record}");
    assert_eq!(record["owners"][0]["pid"], std::process::id(), "{record}");
    assert_eq!(listed.records.last().unwrap()["outcomes"]["dry_run"], 1);
    assert_eq!(state(&pair.leaked), CLOSE_WAIT);

    let shown = run_command(&mut command(truth, &["--older-than", "0s"]));
    assert!(shown.output.contains("--yes") && shown.output.contains("EMFILE"), "{}", shown.output);
    assert_eq!(state(&pair.leaked), CLOSE_WAIT);

    let waiting = Listener::new().connect_from(0);
    waiting.half_close();
    let truth = waiting.truth();
    let listed = clear(std::slice::from_ref(&truth), &["--older-than", "0s", "--verdict", "half_open"]);
    assert_eq!(listed.outcome(&truth), ("dry_run", Some(0)), "{}", listed.ran.messages);
    waiting.near.send(b"x").expect("the socket carries data as before");
    assert_eq!(receive(&waiting.far), Ok(1));
}

fn a_destroyed_socket_ends_for_both_sides_and_a_sound_one_beside_it_goes_on() {
    let (stuck, sound) = side_by_side();
    let truth = stuck.truth();
    let arguments = ["--older-than", "0s", "--yes", "--verdict", "half_open"];
    let session = clear(std::slice::from_ref(&truth), &arguments);
    assert_eq!(session.outcome(&truth), ("gone", Some(0)), "{}", session.ran.messages);
    // A reader gets the end of file before it gets the error (`tcp_recvmsg_locked`).
    assert_eq!(receive(&stuck.near), Ok(0), "what the application reads");
    let written = stuck.near.send(b"x").map_err(|error| error.raw_os_error());
    assert_eq!(written, Err(Some(libc::ECONNABORTED)), "what the application finds when it writes");
    assert_eq!(receive(&stuck.far), Err(Some(libc::ECONNRESET)), "what the peer finds");
    assert_eq!(session.records.iter().filter(|record| record["type"] == "cleared").count(), 1);
    assert!(sound.is_sound(), "the connection to the same listener");
}

fn a_socket_that_is_shut_down_ends_orderly_for_both_sides_and_a_sound_one_beside_it_goes_on() {
    let (stuck, sound) = side_by_side();
    let truth = stuck.truth();
    let arguments = ["--older-than", "0s", "--yes", "--verdict", "half_open", "--method", "shutdown"];
    let session = clear(std::slice::from_ref(&truth), &arguments);
    assert_eq!(session.outcome(&truth), ("gone", Some(0)), "{}", session.ran.messages);
    assert_eq!(receive(&stuck.near), Ok(0), "what the application finds");
    assert_eq!(receive(&stuck.far), Ok(0), "what the peer finds");
    assert_eq!(stuck.near.take_error().unwrap().map(|error| error.to_string()), None);
    assert_eq!(state(&stuck.near), CLOSE);
    assert!(sound.is_sound(), "the connection to the same listener");
}

/// Two connections to one listener: one half-closed, whose far end sees what becomes of it, and one in use.
fn side_by_side() -> (Connection, Connection) {
    let listener = Listener::new();
    let (stuck, sound) = (listener.connect_from(0), listener.connect_from(0));
    stuck.half_close();
    assert!(sound.is_sound());
    assert_eq!((state(&stuck.near), state(&sound.near)), (CLOSE_WAIT, ESTABLISHED));
    (stuck, sound)
}

fn a_connection_that_took_the_place_of_a_listed_one_is_never_touched() {
    for method in ["destroy", "shutdown"] {
        for is_stuck_too in [false, true] {
            let listener = Listener::new();
            let old = listener.connect_from(0);
            old.half_close();
            let old_truth = old.truth();
            let asking = asked_about(&old_truth, &["--verdict", "half_open", "--method", method]);

            let new = listener.connect_from(old.vanish());
            let expected = if is_stuck_too {
                new.half_close();
                CLOSE_WAIT
            } else {
                ESTABLISHED
            };
            let truth = new.truth();
            assert_eq!((truth.lport, truth.rport), (old_truth.lport, old_truth.rport), "the same ports");
            assert_ne!(truth.cookie, old_truth.cookie);

            let session = Clear::from(asking.answer("y"));
            let record = session.record(&old_truth);
            let context = format!("{method}, stuck too: {is_stuck_too}: {record}");
            assert_eq!(record["cookie"], old_truth.cookie.unwrap(), "{context}");
            assert_eq!(session.outcome(&old_truth), ("changed", Some(0)), "{context}");
            assert!(record["reason"].as_str().unwrap().contains("ended by itself"), "{context}");
            assert_eq!(state(&new.near), expected, "{context}");
            assert!(is_stuck_too || new.is_sound(), "{context}");
            new.near.send(b"x").expect("the new connection carries data");
            assert_eq!(receive(&new.far), Ok(1), "{context}");
        }
    }
}

fn a_socket_that_went_on_or_is_used_after_it_was_listed_is_left_alone() {
    // Of a peer elsewhere nobody knows that it still waits for the answer.
    let host = FarHost::new();
    let used = host.netns.within(|| Listener::of_far_clients().connect_from(0));
    used.half_close();
    let truth = Truth { netns: host.netns.inode(), ..used.truth() };
    let asking = asked_about(&truth, &[]);
    // The kernel's clock is coarse: the data has to come later than one of its steps after the list.
    std::thread::sleep(std::time::Duration::from_millis(100));
    used.near.send(b"x").unwrap();
    let session = Clear::from(asking.answer("y"));
    let reason = session.record(&truth)["reason"].as_str().unwrap();
    assert!(reason.contains("carried data"), "{reason}");
    assert_eq!(session.outcome(&truth).0, "changed");
    assert_eq!(receive(&used.far), Ok(1));
    assert_eq!(state(&used.near), CLOSE_WAIT);

    // The peer's window is closed, so our FIN has to wait for the data before it: the socket stays in LAST_ACK.
    let closing = Listener::new().connect_from(0);
    closing.near.set_nonblocking(true).unwrap();
    let much = vec![0; 65_536];
    while closing.near.send(&much).is_ok() {}
    closing.near.set_nonblocking(false).unwrap();
    closing.half_close();
    let asking = asked_about(&closing.truth(), &["--verdict", "half_open"]);
    closing.near.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(state(&closing.near), LAST_ACK);
    let session = Clear::from(asking.answer("y"));
    let reason = session.record(&closing.truth())["reason"].as_str().unwrap();
    assert!(reason.contains("LAST_ACK"), "{reason}");
    assert_eq!(session.outcome(&closing.truth()).0, "changed");
    assert_eq!(state(&closing.near), LAST_ACK);
}

fn only_yes_is_yes_on_a_terminal() {
    let OwnPair { leaked: stuck, truth } = OwnPair::left();
    for answer in ["", "n", "yo", "yes please"] {
        let Left { code, output, screen } = asked_about(&truth, &[]).answer(answer);
        assert_eq!(code, Some(0), "{answer:?}: {screen}");
        assert!(!output.contains("\"cleared\"") && output.contains("\"dry_run\":1"), "{answer:?}: {output}");
        assert_eq!(state(&stuck), CLOSE_WAIT, "{answer:?}");
    }
    let Left { code, output, screen } = asked_about(&truth, &[]).answer("YES");
    assert_eq!(code, Some(0), "{screen}");
    assert!(output.contains("\"gone\""), "{output}");
    assert!(screen.contains("ECONNABORTED") && screen.contains("EMFILE"), "what it means: {screen}");
    assert_eq!(state(&stuck), CLOSE);
}

/// Has `clear` list a socket, and waits for its question.
fn asked_about(truth: &Truth, arguments: &[&str]) -> Terminal {
    let (rport, netns) = (truth.rport.to_string(), truth.netns.to_string());
    let mut command: Command = command(&[], &["--older-than", "0s", "--format", "jsonl"]);
    command.args(["--rport", &rport, "--netns", &netns]).args(arguments);
    let terminal = Terminal::start(&mut command);
    terminal.wait_for("End 1 socket? [y/N]");
    terminal
}
