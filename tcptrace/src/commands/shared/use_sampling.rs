//! When processes are asked what they have left. Pure.

use crate::model::process::UseQuery;

/// Processes asked in one go: those with the most stuck sockets.
pub(crate) const MOST_ASKED: usize = 64;

/// The time between two questions: a part of the session so far, so that a short one can tell a trend and a long one
/// costs little.
const SHORTEST_INTERVAL_NS: u64 = 1_000_000_000;
const LONGEST_INTERVAL_NS: u64 = 10_000_000_000;
const PART_OF_SESSION: u64 = 16;

/// A pause lasts at least this many times as long as the answer took: before Linux 6.2 descriptors are counted one by one.
const PAUSE_PER_ANSWER: u64 = 50;

/// What was asked last, and when to ask next.
#[derive(Debug, Default)]
pub(crate) struct UseSampling {
    began_ns: Option<u64>,
    asked_ns: u64,
    next_ns: u64,
    asked: Vec<UseQuery>,
}

impl UseSampling {
    /// Whether it is time to ask. The first call begins.
    pub(crate) fn is_due(&mut self, now_ns: u64) -> bool {
        self.began_ns.get_or_insert(now_ns);
        now_ns >= self.next_ns
    }

    /// Notes what is asked.
    pub(crate) fn ask(&mut self, queries: Vec<UseQuery>, now_ns: u64) {
        let lasted = now_ns.saturating_sub(self.began_ns.unwrap_or(now_ns));
        let interval = (lasted / PART_OF_SESSION).clamp(SHORTEST_INTERVAL_NS, LONGEST_INTERVAL_NS);
        (self.asked, self.asked_ns, self.next_ns) = (queries, now_ns, now_ns.saturating_add(interval));
    }

    /// Takes out what was asked, and when, now that there is an answer.
    pub(crate) fn answered(&mut self, took_ns: u64) -> (Vec<UseQuery>, u64) {
        let pause = took_ns.saturating_mul(PAUSE_PER_ANSWER);
        self.next_ns = self.next_ns.max(self.asked_ns.saturating_add(pause));
        (std::mem::take(&mut self.asked), self.asked_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::examples::SECOND;

    #[test]
    fn questions_become_rarer_and_a_slow_answer_makes_them_rarer_still() {
        let mut sampling = UseSampling::default();
        let mut asked = Vec::new();
        for second in 0..600 {
            if sampling.is_due(second * SECOND) {
                sampling.ask(Vec::new(), second * SECOND);
                assert_eq!(sampling.answered(1_000_000).1, second * SECOND);
                asked.push(second);
            }
        }
        assert_eq!(asked.iter().filter(|second| **second < 16).count(), 16);
        let late: Vec<_> = asked.iter().skip_while(|second| **second < 300).collect();
        assert!(late.windows(2).all(|pair| pair[1] - pair[0] == 10), "{late:?}");
        sampling.ask(Vec::new(), 600 * SECOND);
        sampling.answered(2 * SECOND);
        assert!(!sampling.is_due(699 * SECOND) && sampling.is_due(700 * SECOND));
    }
}
