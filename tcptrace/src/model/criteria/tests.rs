//! Criteria against single sockets. `kernel::filter` holds them to the kernel side.

use super::*;
use crate::model::{
    close_wait::Since,
    examples::{self, SECOND},
};

const LISTED_NS: u64 = 5_000 * SECOND;

/// A socket that a process holds, which has been silent for some nanoseconds.
fn finding(state: State, silent_ns: u64) -> Finding {
    examples::finding(state, Since::within(None, LISTED_NS - silent_ns), LISTED_NS)
}

fn judge(finding: &Finding, change: impl FnOnce(&mut Criteria)) -> Choice {
    let mut criteria =
        Criteria { states: StateSet::CLOSE_WAIT, older_than: Duration::from_mins(1), ..Criteria::default() };
    change(&mut criteria);
    criteria.judge(finding)
}

#[test]
fn only_what_is_old_enough_for_certain_is_chosen() {
    assert_eq!(judge(&finding(State::CloseWait, 60 * SECOND), |_| {}), Choice::Chosen);
    assert_eq!(judge(&finding(State::CloseWait, 59 * SECOND), |_| {}), Choice::TooYoung);
    assert_eq!(judge(&finding(State::LastAck, 90 * SECOND), |_| {}), Choice::Other);
}

#[test]
fn a_half_close_that_is_used_has_to_be_asked_for_by_its_name() {
    let mut half_open = finding(State::CloseWait, 90 * SECOND);
    half_open.verdict = Some(Verdict::HalfOpen);
    assert_eq!(judge(&half_open, |_| {}), Choice::StillUsed);
    assert_eq!(judge(&half_open, |criteria| criteria.verdicts = vec![Verdict::HalfOpen]), Choice::Chosen);

    let of_both = |criteria: &mut Criteria| {
        criteria.states = StateSet::CLOSE_WAIT.union([State::FinWait2].into_iter().collect());
        criteria.older_than = Duration::ZERO;
    };
    let mut reading = finding(State::FinWait2, 9 * SECOND);
    assert_eq!(judge(&reading, of_both), Choice::StillUsed, "its peer was heard from 9 s ago");
    assert_eq!(judge(&finding(State::FinWait2, 11 * SECOND), of_both), Choice::Chosen);
    reading.owners.clear();
    assert_eq!(judge(&reading, of_both), Choice::Chosen, "nobody reads what nobody holds");
}

fn other_end(state: State, is_closed: bool) -> OtherEnd {
    OtherEnd { state, is_closed: Some(is_closed), owners: Vec::new(), is_shut_for_reading: false }
}

#[test]
fn without_a_verdict_whoever_may_be_waited_for_is_spared() {
    let without_verdict = |other_end| {
        let finding = Finding { verdict: None, other_end, ..finding(State::CloseWait, 90 * SECOND) };
        (judge(&finding, |_| {}), judge(&finding, |criteria| criteria.verdicts = vec![Verdict::HalfOpen]))
    };
    let waits = (Choice::StillUsed, Choice::Chosen);
    assert_eq!(without_verdict(Some(other_end(State::FinWait2, false))), waits);
    assert_eq!(without_verdict(Some(other_end(State::FinWait1, false))), waits);
    let may_be_a_leak = (Choice::Chosen, Choice::Other);
    assert_eq!(without_verdict(Some(other_end(State::FinWait2, true))), may_be_a_leak, "closed");
    assert_eq!(without_verdict(Some(other_end(State::Close, true))), may_be_a_leak, "gone");
    assert_eq!(without_verdict(None), may_be_a_leak, "on another host");
}

#[test]
fn whoever_waits_for_an_answer_that_may_come_is_spared_however_long_it_takes() {
    let judged = |change: fn(&mut Finding)| {
        let mut waiting = Finding {
            other_end: Some(other_end(State::CloseWait, false)),
            ..finding(State::FinWait2, 3_600 * SECOND)
        };
        change(&mut waiting);
        judge(&waiting, |criteria| criteria.states = [State::FinWait2].into_iter().collect())
    };
    assert_eq!(judged(|_| {}), Choice::StillUsed);
    assert_eq!(judged(|waiting| waiting.other_end = None), Choice::Chosen, "on another host");
    let closed = judged(|waiting| waiting.other_end = Some(other_end(State::Close, true)));
    assert_eq!(closed, Choice::Chosen, "nobody is left to answer");
    assert_eq!(judged(|waiting| waiting.owners.clear()), Choice::Chosen, "nobody waits");
    let unseen = |waiting: &mut Finding| {
        waiting.owners.clear();
        waiting.unknown_because = Some(UnknownBecause::ProcessesNotRead);
    };
    assert_eq!(judged(unseen), Choice::StillUsed, "who holds it could not be seen");
}

#[test]
fn a_verdict_that_was_asked_for_keeps_out_all_others() {
    let stuck = finding(State::CloseWait, 90 * SECOND);
    let only = |verdicts: &[Verdict]| judge(&stuck, |criteria| criteria.verdicts = verdicts.to_vec());
    assert_eq!(only(&[Verdict::EofRead]), Choice::Chosen);
    assert_eq!(only(&[Verdict::EofUnread, Verdict::DataUnread]), Choice::Other);
    let mut unknown = stuck.clone();
    unknown.verdict = None;
    assert_eq!(judge(&unknown, |criteria| criteria.verdicts = vec![Verdict::EofRead]), Choice::Other);
    assert_eq!(judge(&unknown, |_| {}), Choice::Chosen, "no verdict was asked for");
}

#[test]
fn criteria_on_connection_namespace_and_owner_hold_together() {
    let stuck = finding(State::CloseWait, 90 * SECOND);
    assert_eq!(judge(&stuck, |criteria| criteria.netns = vec![5]), Choice::Chosen);
    assert_eq!(judge(&stuck, |criteria| criteria.netns = vec![6]), Choice::Other);
    assert_eq!(judge(&stuck, |criteria| criteria.owners.pids = vec![71]), Choice::Chosen);
    assert_eq!(judge(&stuck, |criteria| criteria.owners.pids = vec![72]), Choice::Other);
    assert_eq!(judge(&stuck, |criteria| criteria.family = Some(Family::V6)), Choice::Other);
    let ports = |ports: &[(u16, Side)]| judge(&stuck, |criteria| criteria.ports = ports.to_vec());
    let (local, remote) = ((8080, Side::Local), (40_001, Side::Remote));
    assert_eq!(ports(&[local, (1, Side::Local), remote]), Choice::Chosen);
    assert_eq!(ports(&[local, (40_002, Side::Remote)]), Choice::Other, "both sides were asked for");
}

#[test]
fn a_listing_asks_for_an_age_in_close_wait_only_and_shows_half_closes() {
    let criteria = Criteria { older_than: Duration::from_mins(1), ..Criteria::default() };
    let mut stuck = finding(State::CloseWait, 60 * SECOND);
    assert!(criteria.admits_finding(&stuck));
    stuck.verdict = Some(Verdict::HalfOpen);
    assert!(criteria.admits_finding(&stuck));
    assert!(!criteria.admits_finding(&finding(State::CloseWait, 59 * SECOND)));
    assert!(criteria.admits_finding(&finding(State::FinWait2, 0)));
    let elsewhere = Criteria { netns: vec![6], ..Criteria::default() };
    assert!(!elsewhere.admits_finding(&stuck));
    let of_others = OwnerCriteria { pids: vec![72], ..OwnerCriteria::default() };
    assert!(!Criteria { owners: of_others, ..Criteria::default() }.admits_finding(&stuck));
}

#[test]
fn a_socket_whose_namespace_is_not_known_is_in_none_that_was_asked_for() {
    let mut socket = finding(State::CloseWait, 0).socket;
    let criteria = Criteria { netns: vec![5], ..Criteria::default() };
    assert!(criteria.admits_socket(&socket));
    socket.netns = None;
    assert!(!criteria.admits_socket(&socket));
    assert!(Criteria::default().admits_socket(&socket));
}

#[test]
fn ports_of_one_side_are_alternatives_and_the_sides_hold_together() {
    let admits = |ports: &[(u16, Side)]| {
        let local = ([10, 0, 0, 1], 80).into();
        let endpoints = Endpoints { local, remote: ([10, 0, 0, 2], 9000).into() };
        Criteria { ports: ports.to_vec(), ..Criteria::default() }.admits_endpoints(&endpoints)
    };
    assert!(admits(&[(80, Side::Local), (81, Side::Local)]));
    assert!(admits(&[(80, Side::Local), (9000, Side::Remote)]));
    assert!(!admits(&[(80, Side::Local), (9001, Side::Remote)]));
    assert!(!admits(&[(9000, Side::Local)]));
    assert!(admits(&[(9000, Side::Either)]));
    assert!(!admits(&[(9000, Side::Either), (81, Side::Local)]));
}

fn is_in(address: &str, range: &str) -> Option<bool> {
    Some(contains(&range.parse().ok()?, address.parse().ok()?))
}

#[test]
fn an_ipv4_range_contains_its_addresses_and_no_others() {
    assert_eq!(is_in("10.200.0.1", "10.1.2.3/8"), Some(true));
    assert_eq!(is_in("11.0.0.1", "10.1.2.3/8"), Some(false));
    assert_eq!(is_in("203.0.113.9", "0.0.0.0/0"), Some(true));
    assert_eq!(is_in("2001:db8::1", "0.0.0.0/0"), Some(false));
    assert_eq!(is_in("192.0.2.1", "192.0.2.1/32"), Some(true));
    assert_eq!(is_in("192.0.2.2", "192.0.2.1/32"), Some(false));
}

#[test]
fn an_ipv6_range_contains_mapped_addresses_too() {
    assert_eq!(is_in("2001:db8:ffff::1", "2001:db8::/32"), Some(true));
    assert_eq!(is_in("2001:db8:ffff::1", "2001:db8::/33"), Some(false));
    assert_eq!(is_in("2001:db8:0:1:00ff::", "2001:db8:0:1::/72"), Some(true));
    assert_eq!(is_in("203.0.113.9", "::/0"), Some(true));
    assert_eq!(is_in("10.1.2.3", "::ffff:10.0.0.0/104"), Some(true));
    assert_eq!(is_in("11.1.2.3", "::ffff:10.0.0.0/104"), Some(false));
}
