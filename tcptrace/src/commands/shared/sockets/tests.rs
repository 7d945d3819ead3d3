#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::model::{examples, transition::Cause};

const THRESHOLD: u64 = 1_000;

fn socket(cookie: u64) -> Socket {
    let port = u16::try_from(cookie % 60_000).unwrap();
    Socket {
        cookie: Some(cookie),
        netns: Some(4_026_531_840),
        endpoints: Endpoints { local: ([10, 0, 0, 1], 443).into(), remote: ([10, 0, 0, 2], port).into() },
    }
}

fn transition(cookie: u64, old_state: State, new_state: State, ktime_ns: u64) -> Transition {
    let (key, socket) = (SocketKey(cookie), socket(cookie));
    Transition { key, socket, ktime_ns, old_state, new_state, ..examples::transition() }
}

fn enters(cookie: u64, at: u64) -> Transition {
    transition(cookie, State::Established, State::CloseWait, at)
}

fn leaves(cookie: u64, at: u64) -> Transition {
    transition(cookie, State::CloseWait, State::LastAck, at)
}

fn preexisting(cookie: u64, since: u64) -> Preexisting {
    Preexisting { socket: socket(cookie), stuck: Stuck::InCloseWait, since: Since::within(None, since) }
}

fn table() -> CloseWaitTable {
    CloseWaitTable::new(Identity::Cookie, THRESHOLD, 100)
}

fn due_keys(table: &mut CloseWaitTable, now: u64) -> Vec<u64> {
    table.take_due(now, 100).iter().map(|due| due.key.0).collect()
}

#[test]
fn a_socket_is_due_at_the_threshold_and_only_once() {
    let mut table = table();
    assert_eq!(table.observe(&enters(7, 500)), None);
    assert!(due_keys(&mut table, 1_499).is_empty());
    let due = table.take_due(1_500, 100);
    assert_eq!(due.len(), 1);
    assert!(due[0].since.is_exact());
    assert_eq!(due[0].since.age_at(1_500), (1_000, Some(1_000)));
    assert!(due_keys(&mut table, 9_000).is_empty());
}

#[test]
fn a_socket_that_was_closed_in_time_is_never_due() {
    let mut table = table();
    table.observe(&enters(7, 500));
    let left = table.observe(&leaves(7, 900)).unwrap();
    assert_eq!(left.group_id, None);
    assert!(due_keys(&mut table, 9_000).is_empty());
    assert!(table.is_empty());
}

#[test]
fn a_reported_socket_that_leaves_gives_its_group_back() {
    let mut table = table();
    table.observe(&enters(7, 500));
    due_keys(&mut table, 2_000);
    table.settle(SocketKey(7), NextStep::Reported(42));
    assert_eq!(table.reported().count(), 1);
    let left = table.observe(&leaves(7, 3_000)).unwrap();
    assert_eq!(left.group_id, Some(42));
    assert_eq!(left.since.age_at(3_000).0, 2_500);
}

#[test]
fn a_half_open_socket_is_looked_at_again() {
    let mut table = table();
    table.observe(&enters(7, 500));
    due_keys(&mut table, 2_000);
    table.settle(SocketKey(7), NextStep::LookAgain(5_000));
    assert!(due_keys(&mut table, 4_999).is_empty());
    assert_eq!(due_keys(&mut table, 5_000), [7]);
}

#[test]
fn a_preexisting_socket_is_at_least_as_old_as_the_kernel_says() {
    let mut table = table();
    table.add_preexisting(&Preexisting { since: Since::within(Some(100), 300), ..preexisting(7, 300) });
    let due = table.take_due(1_300, 100);
    assert!(!due[0].since.is_exact());
    assert_eq!(due[0].since.age_at(1_300), (1_000, Some(1_200)));
}

#[test]
fn a_preexisting_socket_does_not_bring_back_a_socket_that_left_before_it_was_read() {
    let mut table = table();
    table.observe(&leaves(7, 900));
    table.add_preexisting(&preexisting(7, 300));
    assert!(table.is_empty());
}

#[test]
fn a_transition_counts_more_than_a_preexisting_socket_whichever_comes_first() {
    let mut table = table();
    table.observe(&enters(7, 800));
    table.add_preexisting(&preexisting(7, 300));
    table.add_preexisting(&preexisting(8, 300));
    table.observe(&enters(8, 800));
    for due in table.take_due(5_000, 100) {
        assert!(due.since.is_exact(), "{due:?}");
    }
    assert_eq!(table.len(), 2);
}

#[test]
fn a_full_table_counts_what_it_does_not_take() {
    let mut table = CloseWaitTable::new(Identity::Cookie, THRESHOLD, 2);
    for cookie in 1..=5 {
        table.observe(&enters(cookie, 500));
    }
    assert_eq!((table.len(), table.evicted()), (2, 3));
}

#[test]
fn preexisting_sockets_are_joined_by_address_where_transitions_have_no_cookie() {
    let nameless = |mut transition: Transition| {
        transition.key = SocketKey(0xffff_8880_0000_0000 + transition.key.0);
        transition.socket.cookie = None;
        transition
    };
    let mut table = CloseWaitTable::new(Identity::Address, THRESHOLD, 100);
    table.add_preexisting(&preexisting(7, 300));
    table.add_preexisting(&preexisting(8, 300));
    assert!(table.observe(&nameless(leaves(7, 900))).is_some());
    table.observe(&nameless(enters(8, 900)));
    assert_eq!(table.len(), 1);
    table.add_preexisting(&preexisting(8, 300));
    assert_eq!(table.len(), 1);
    let mut elsewhere = nameless(leaves(8, 950));
    elsewhere.key = SocketKey(0xffff_8880_1111_0000);
    elsewhere.socket.netns = Some(5);
    assert_eq!(table.observe(&elsewhere), None);
}

proptest! {
    /// Against a plain model: whatever is entered, left, listed and settled, in any order, the table
    /// holds exactly the sockets that entered and did not leave, and each is due at most once.
    #[test]
    fn the_table_agrees_with_a_plain_model(steps in proptest::collection::vec((0u8..4, 1u64..6), 1..60)) {
        let mut table = table();
        let mut model: HashMap<u64, bool> = HashMap::new();
        let mut left = std::collections::HashSet::new();
        for (time, (step, cookie)) in steps.into_iter().enumerate() {
            let now = (time as u64 + 1) * 400;
            match step {
                0 => {
                    table.observe(&enters(cookie, now));
                    model.insert(cookie, false);
                }
                1 => {
                    let was_there = model.remove(&cookie).is_some();
                    prop_assert_eq!(table.observe(&leaves(cookie, now)).is_some(), was_there);
                    left.insert(cookie);
                }
                2 => {
                    table.add_preexisting(&preexisting(cookie, now));
                    if !left.contains(&cookie) {
                        model.entry(cookie).or_insert(false);
                    }
                }
                _ => {
                    for key in due_keys(&mut table, now) {
                        prop_assert_eq!(model.insert(key, true), Some(false));
                        table.settle(SocketKey(key), NextStep::Reported(1));
                    }
                }
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.reported().count(), model.values().filter(|reported| **reported).count());
        }
    }
}

/// The connection ends, and nobody had closed the socket.
fn ends_held(cookie: u64, old_state: State, error: u16, at: u64) -> Transition {
    let cause = Some(Cause { error, oncpu_exiting: false, is_over: true });
    Transition { cause, ..transition(cookie, old_state, State::Close, at) }
}

const ECONNRESET: u16 = 104;

#[test]
fn a_descriptor_whose_connection_is_over_is_followed_like_one_in_close_wait() {
    let mut table = table();
    assert_eq!(table.observe(&ends_held(7, State::Established, ECONNRESET, 500)), None);
    assert_eq!((table.len(), table.is_empty()), (0, true), "it is not in CLOSE_WAIT");
    let due = table.take_due(1_500, 100);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].stuck, Stuck::Over(Some(EndedHow::Reset)));
    assert!(due[0].since.is_exact());
    table.observe(&ends_held(8, State::CloseWait, 110, 2_000));
    assert_eq!(table.take_due(3_000, 100)[0].stuck, Stuck::Over(Some(EndedHow::TimedOut)));
}

#[test]
fn a_reset_in_close_wait_ends_one_stay_and_begins_another() {
    let mut table = table();
    table.observe(&enters(7, 500));
    assert_eq!(due_keys(&mut table, 1_500), [7]);
    table.settle(SocketKey(7), NextStep::Reported(4));
    let left = table.observe(&ends_held(7, State::CloseWait, ECONNRESET, 2_000)).unwrap();
    assert_eq!(left.group_id, Some(4));
    let due = table.take_due(3_000, 100);
    assert_eq!((due.len(), due[0].since.age_at(3_000)), (1, (1_000, Some(1_000))));
    assert_eq!(table.reported_before(SocketKey(7)), Some(4), "one socket, reported again");
    table.settle(SocketKey(7), NextStep::Reported(5));
    assert_eq!(table.reported_over(), 1);
    let held = Preexisting { stuck: Stuck::Over(None), ..preexisting(7, 4_000) };
    assert!(table.update_over(&[held]).is_empty());
    assert_eq!(table.reported_over(), 1, "it is known");
    let closed = table.update_over(&[]);
    assert_eq!(closed.iter().map(|left| left.group_id).collect::<Vec<_>>(), [Some(5)]);
    assert_eq!((table.reported_over(), table.len()), (0, 0));
}

#[test]
fn a_socket_that_is_shut_down_and_not_closed_leaves_close_wait_and_its_descriptor_stays() {
    let mut table = table();
    table.observe(&enters(7, 500));
    assert_eq!(due_keys(&mut table, 1_500), [7]);
    table.settle(SocketKey(7), NextStep::Reported(4));
    let cause = Some(Cause { error: 0, oncpu_exiting: false, is_over: true });
    let left = table.observe(&Transition { cause, ..leaves(7, 2_000) }).unwrap();
    assert_eq!((left.group_id, table.len()), (Some(4), 0));
    assert_eq!(table.reported_before(SocketKey(7)), Some(4));
    assert_eq!(table.take_due(3_000, 100)[0].stuck, Stuck::Over(Some(EndedHow::ShutDown)));
}

#[test]
fn what_was_found_of_a_socket_before_its_connection_was_over_does_not_settle_it() {
    for found in [NextStep::LookAgain(2_100), NextStep::Reported(4), NextStep::Gone, NextStep::Ignored] {
        let mut table = table();
        table.observe(&enters(7, 500));
        assert_eq!(due_keys(&mut table, 1_500), [7]);
        table.observe(&ends_held(7, State::CloseWait, ECONNRESET, 2_000));
        assert!(!table.is_being_looked_at(SocketKey(7)));
        table.settle(SocketKey(7), found);
        assert!(due_keys(&mut table, 2_999).is_empty(), "{found:?}");
        assert_eq!(due_keys(&mut table, 3_000), [7], "{found:?}");
        table.settle(SocketKey(7), NextStep::Reported(5));
        assert!(due_keys(&mut table, 9_000).is_empty(), "{found:?}");
        assert_eq!(table.reported_before(SocketKey(7)), None, "it was reported for the first time");
    }
}

#[test]
fn a_descriptor_that_nobody_saw_coming_is_due_after_the_threshold_from_then_on() {
    let mut table = table();
    table.preexisting_complete();
    let held = Preexisting { stuck: Stuck::Over(None), ..preexisting(7, 4_000) };
    assert!(table.update_over(&[held]).is_empty());
    assert!(due_keys(&mut table, 4_999).is_empty());
    assert_eq!(due_keys(&mut table, 5_000), [7]);
}

#[test]
fn the_room_in_the_table_is_for_both_kinds_together() {
    let mut table = CloseWaitTable::new(Identity::Cookie, THRESHOLD, 2);
    table.observe(&enters(1, 0));
    table.observe(&ends_held(2, State::Established, ECONNRESET, 0));
    table.observe(&ends_held(3, State::Established, ECONNRESET, 0));
    assert_eq!((table.len(), table.evicted()), (1, 1));
}
