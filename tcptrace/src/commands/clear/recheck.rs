//! Checks right before the act that a socket is still what was listed. Pure.

use crate::{
    inspect::age::{self as since, JIFFY_NS},
    model::{clearing::Change, criteria::Criteria, finding::Finding, state::State},
    netlink::DiagSocket,
};

/// Compares a listed socket with the kernel's fresh answer for the same cookie, asked at `asked_ns` (CLOCK_MONOTONIC,
/// nanoseconds).
///
/// # Errors
/// The change, if the socket must not be touched.
pub(crate) fn recheck(
    listed: &Finding,
    fresh: &DiagSocket,
    asked_ns: u64,
    criteria: &Criteria,
) -> Result<(), Change> {
    match State::from_number(fresh.state) {
        Some(state) if state == listed.state => {}
        Some(State::Close) | None => return Err(Change::Ended),
        Some(state) => return Err(Change::State(state)),
    }
    let mut age_ns = since::bracket(asked_ns..=asked_ns, fresh.times).age_at(asked_ns).0;
    // A socket does not come back to CLOSE_WAIT, and where keep-alive is at work it is no sign of use that its peer has
    // answered since.
    if listed.state == State::CloseWait && listed.keep_alive == Some(true) {
        age_ns = age_ns.max(listed.since.age_at(asked_ns).0);
    }
    if !criteria.is_old_enough(age_ns) {
        return Err(Change::HeardFrom);
    }
    if let Some(times) = fresh.times
        && !criteria.wants_half_open()
    {
        let quiet_ms = u64::from(times.last_data_sent_ms.min(times.last_data_recv_ms));
        let since_listed_ns = asked_ns.saturating_sub(listed.looked_at_ns);
        if quiet_ms * 1_000_000 + 2 * JIFFY_NS < since_listed_ns {
            return Err(Change::Used);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{
        activity::ActivityTimes, close_wait::Since, examples, socket::TcpFlavour, verdict::Verdict,
    };

    pub(crate) const SECOND: u64 = 1_000_000_000;
    const LISTED_NS: u64 = 5_000 * SECOND;

    /// A socket that a process holds, which has been silent for some nanoseconds.
    pub(crate) fn finding(state: State, silent_ns: u64) -> Finding {
        examples::finding(state, Since::within(None, LISTED_NS - silent_ns), LISTED_NS)
    }

    /// The kernel's answer 30 s later.
    fn later(state: State, sent_ms: u32, received_ms: u32, heard_ms: u32) -> DiagSocket {
        DiagSocket {
            flavour: TcpFlavour::Tcp,
            cookie: 9,
            family: 4,
            local: ([10, 0, 0, 1], 8080).into(),
            remote: ([192, 0, 2, 1], 40_001).into(),
            state: state as u8,
            inode: 1,
            uid: 0,
            recv_q: 0,
            send_q: 0,
            interface: 0,
            cgroup_id: None,
            times: Some(ActivityTimes {
                last_data_sent_ms: sent_ms,
                last_data_recv_ms: received_ms,
                last_ack_recv_ms: heard_ms,
            }),
            sending: None,
            received_bytes: None,
            sent_bytes: None,
            side: None,
            is_shut_for_reading: false,
            is_mptcp_subflow: false,
            is_v6_only: None,
            minisocket_left_ms: None,
            timestamps: None,
            keeps_alive: false,
        }
    }

    fn outcome(fresh: &DiagSocket, verdicts: &[Verdict]) -> Result<(), Change> {
        let criteria = Criteria {
            older_than: Duration::from_mins(1),
            verdicts: verdicts.to_vec(),
            ..Criteria::default()
        };
        recheck(&finding(State::CloseWait, 100 * SECOND), fresh, LISTED_NS + 30 * SECOND, &criteria)
    }

    #[test]
    fn a_socket_that_nothing_happened_to_is_the_same() {
        assert_eq!(outcome(&later(State::CloseWait, 200_000, 200_000, 130_000), &[]), Ok(()));
    }

    #[test]
    fn a_socket_that_went_on_by_itself_is_left_alone() {
        let went_to = |state| outcome(&later(state, 200_000, 200_000, 130_000), &[]);
        assert_eq!(went_to(State::LastAck), Err(Change::State(State::LastAck)));
        assert_eq!(went_to(State::Close), Err(Change::Ended));
    }

    #[test]
    fn a_socket_whose_age_is_not_certain_any_more_is_left_alone() {
        assert_eq!(outcome(&later(State::CloseWait, 200_000, 200_000, 20_000), &[]), Err(Change::HeardFrom));
    }

    #[test]
    fn an_answer_to_a_keepalive_probe_makes_a_socket_no_younger() {
        let probed = Finding { keep_alive: Some(true), ..finding(State::CloseWait, 100 * SECOND) };
        let criteria = Criteria { older_than: Duration::from_mins(1), ..Criteria::default() };
        let fresh = later(State::CloseWait, 200_000, 200_000, 20_000);
        assert_eq!(recheck(&probed, &fresh, LISTED_NS + 30 * SECOND, &criteria), Ok(()));
    }

    #[test]
    fn a_socket_that_carried_data_meanwhile_is_left_alone_unless_half_closes_were_asked_for() {
        let sent = later(State::CloseWait, 10_000, 200_000, 130_000);
        assert_eq!(outcome(&sent, &[]), Err(Change::Used));
        assert_eq!(outcome(&sent, &[Verdict::EofRead, Verdict::HalfOpen]), Ok(()));
        let sent_before = later(State::CloseWait, 31_000, 200_000, 130_000);
        assert_eq!(outcome(&sent_before, &[]), Ok(()), "sent before it was listed");
    }

    #[test]
    fn a_minisocket_has_no_times_and_is_old_enough_for_nobody_who_asks_for_an_age() {
        let mut fresh = later(State::CloseWait, 0, 0, 0);
        fresh.times = None;
        assert_eq!(outcome(&fresh, &[]), Err(Change::HeardFrom));
        let criteria = Criteria::default();
        assert_eq!(recheck(&finding(State::CloseWait, 0), &fresh, LISTED_NS, &criteria), Ok(()));
    }
}
