//! Which sockets are chosen, from what was asked for. Pure.

use std::time::Duration;

use super::{
    connection_filter::KernelFilter,
    finding::Finding,
    owner::Evidence,
    owner_filter::OwnerFilter,
    state::{State, StateSet},
    verdict::Verdict,
};
use crate::diagnosis::verdict::ACTIVE_WINDOW_MS;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// States.
    pub states: StateSet,
    /// Sockets are old enough that have been in CLOSE_WAIT for this long for certain, or, in another state, have
    /// not heard from their peer for this long.
    pub older_than: Duration,
    /// Verdicts; none = all but a legitimate half-close.
    pub verdicts: Vec<Verdict>,
    /// Connections.
    pub filter: KernelFilter,
    /// Network namespaces (inode numbers); none = all.
    pub netns: Vec<u32>,
    /// Whose sockets.
    pub owners: OwnerFilter,
    /// At most so many, the oldest first.
    pub limit: Option<usize>,
}

/// What a selection makes of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is to end.
    Chosen,
    /// It was not asked for.
    Other,
    /// It is what was asked for, but for its age, or its age is not known.
    TooYoung,
    /// It is what was asked for, but a half-close that is still used.
    StillUsed,
}

impl Selection {
    /// What becomes of a socket.
    pub fn judge(&self, finding: &Finding) -> Choice {
        let netns = finding.socket.netns;
        let is_asked_for = self.states.contains(finding.state)
            && (self.netns.is_empty() || netns.is_some_and(|netns| self.netns.contains(&netns)))
            && self.filter.admits(&finding.socket.endpoints)
            && self.owners.admits(&finding.owners);
        let is_still_used = is_still_used(finding);
        let has_verdict = match finding.verdict {
            _ if is_still_used => true,
            Some(verdict) => self.verdicts.is_empty() || self.verdicts.contains(&verdict),
            None => self.verdicts.is_empty(),
        };
        if !is_asked_for || !has_verdict {
            Choice::Other
        } else if is_still_used && !self.wants_half_open() {
            Choice::StillUsed
        } else if !self.is_old_enough(finding.since.age_at(finding.looked_at_ns).0) {
            Choice::TooYoung
        } else {
            Choice::Chosen
        }
    }

    /// Whether even half-closes are to end that somebody uses: they have to be asked for by their name.
    pub fn wants_half_open(&self) -> bool {
        self.verdicts.contains(&Verdict::HalfOpen)
    }

    /// Whether an age in nanoseconds suffices.
    pub fn is_old_enough(&self, age_ns: u64) -> bool {
        u128::from(age_ns) >= self.older_than.as_nanos()
    }
}

/// Whether a half-close is legitimate: in CLOSE_WAIT by the verdict; in FIN_WAIT1 and FIN_WAIT2, where this side
/// has sent its end and may still be reading, by whether the peer of a socket that is held was heard from lately.
fn is_still_used(finding: &Finding) -> bool {
    match finding.state {
        State::FinWait1 | State::FinWait2 => {
            let is_held = finding.owners.iter().any(|owner| owner.evidence == Evidence::FdTable);
            is_held && finding.since.age_at(finding.looked_at_ns).0 < ACTIVE_WINDOW_MS * 1_000_000
        }
        _ => finding.verdict == Some(Verdict::HalfOpen),
    }
}

#[cfg(test)]
mod tests {
    use tcptrace_ebpf::config::{PortRule, SIDE_LOCAL, SIDE_REMOTE};

    use super::*;
    use crate::commands::clear::recheck::tests::{SECOND, finding};

    fn judge(finding: &Finding, change: impl FnOnce(&mut Selection)) -> Choice {
        let mut selection = Selection {
            states: StateSet::CLOSE_WAIT,
            older_than: Duration::from_secs(60),
            ..Selection::default()
        };
        change(&mut selection);
        selection.judge(finding)
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
        assert_eq!(
            judge(&half_open, |selection| selection.verdicts = vec![Verdict::HalfOpen]),
            Choice::Chosen
        );

        let of_both = |selection: &mut Selection| {
            selection.states = StateSet::CLOSE_WAIT.union([State::FinWait2].into_iter().collect());
            selection.older_than = Duration::ZERO;
        };
        let mut reading = finding(State::FinWait2, 9 * SECOND);
        assert_eq!(judge(&reading, of_both), Choice::StillUsed, "its peer was heard from 9 s ago");
        assert_eq!(judge(&finding(State::FinWait2, 11 * SECOND), of_both), Choice::Chosen);
        reading.owners.clear();
        assert_eq!(judge(&reading, of_both), Choice::Chosen, "nobody reads what nobody holds");
    }

    #[test]
    fn a_verdict_that_was_asked_for_keeps_out_all_others() {
        let stuck = finding(State::CloseWait, 90 * SECOND);
        let only = |verdicts: &[Verdict]| judge(&stuck, |selection| selection.verdicts = verdicts.to_vec());
        assert_eq!(only(&[Verdict::EofRead]), Choice::Chosen);
        assert_eq!(only(&[Verdict::EofUnread, Verdict::DataUnread]), Choice::Other);
        let mut untold = stuck.clone();
        untold.verdict = None;
        assert_eq!(judge(&untold, |selection| selection.verdicts = vec![Verdict::EofRead]), Choice::Other);
        assert_eq!(judge(&untold, |_| {}), Choice::Chosen, "no verdict was asked for");
    }

    #[test]
    fn filters_on_connection_namespace_and_owner_hold_together() {
        let stuck = finding(State::CloseWait, 90 * SECOND);
        assert_eq!(judge(&stuck, |selection| selection.netns = vec![5]), Choice::Chosen);
        assert_eq!(judge(&stuck, |selection| selection.netns = vec![6]), Choice::Other);
        assert_eq!(judge(&stuck, |selection| selection.owners.pids = vec![71]), Choice::Chosen);
        assert_eq!(judge(&stuck, |selection| selection.owners.pids = vec![72]), Choice::Other);
        assert_eq!(judge(&stuck, |selection| selection.filter.family = 6), Choice::Other);
        let ports = |rules: &[(u16, u16)]| {
            let rules = rules.iter().map(|(port, sides)| PortRule { port: *port, sides: *sides });
            judge(&stuck, |selection| selection.filter.ports = rules.collect())
        };
        let (local, remote) = ((8080, SIDE_LOCAL), (40_001, SIDE_REMOTE));
        assert_eq!(ports(&[local, (1, SIDE_LOCAL), remote]), Choice::Chosen);
        assert_eq!(ports(&[local, (40_002, SIDE_REMOTE)]), Choice::Other, "both sides were asked for");
    }
}
