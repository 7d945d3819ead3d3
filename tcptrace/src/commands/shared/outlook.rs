//! What a process has left, and for how long: its stuck sockets, its descriptors and its accept queue over time. Pure.

use crate::{
    diagnosis::trend::Level,
    model::process::{AcceptQueue, ProcessUse},
};

/// The levels of one process.
#[derive(Clone, Debug)]
pub(crate) struct Outlook {
    /// Stuck sockets.
    stuck: Level,
    /// Descriptors in use: those of sockets, and all others.
    descriptors: Level,
    /// Connections that wait for accept().
    queue: Level,
    latest: ProcessUse,
}

impl Outlook {
    /// Of a process that had nothing stuck at this time; `None` when that is not known, because nobody looked before.
    pub(crate) fn since(at_ns: Option<u64>) -> Self {
        Self {
            stuck: at_ns.map_or_else(Level::default, |at_ns| Level::since(at_ns, 0)),
            descriptors: Level::default(),
            queue: Level::default(),
            latest: ProcessUse::default(),
        }
    }

    pub(crate) fn note_stuck(&mut self, now_ns: u64, sockets: u64) {
        self.stuck.note(now_ns, sockets);
    }

    /// Notes what it had left when it was asked. What could not be read, because the process has ended, is not known
    /// any more.
    pub(crate) fn note_use(&mut self, now_ns: u64, found: &ProcessUse) {
        match found.descriptors.used {
            Some(used) => self.descriptors.note(now_ns, used),
            None => self.descriptors = Level::default(),
        }
        match found.queue {
            Some(queue) => self.queue.note(now_ns, u64::from(queue.length)),
            None => self.queue = Level::default(),
        }
        self.latest = *found;
    }

    pub(crate) fn latest(&self) -> ProcessUse {
        self.latest
    }

    /// Growth of the number of stuck sockets.
    pub(crate) fn per_minute(&self, now_ns: u64) -> Option<f64> {
        self.stuck.per_minute(now_ns)
    }

    /// Growth of the number of descriptors in use.
    pub(crate) fn fds_per_minute(&self, now_ns: u64) -> Option<f64> {
        self.descriptors.per_minute(now_ns)
    }

    /// When no descriptor is left.
    pub(crate) fn fds_run_out_in_ns(&self, now_ns: u64) -> Option<u64> {
        self.descriptors.reaches_in_ns(self.latest.descriptors.limit?, now_ns)
    }

    /// When the queue is full; 0 when it is.
    pub(crate) fn queue_full_in_ns(&self, now_ns: u64) -> Option<u64> {
        let queue = self.latest.queue?;
        let AcceptQueue { limit, .. } = queue;
        if queue.is_full() { Some(0) } else { self.queue.reaches_in_ns(u64::from(limit) + 1, now_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{examples::SECOND, process::DescriptorUse};

    fn found(used: u64, queue: Option<(u32, u32)>) -> ProcessUse {
        ProcessUse {
            descriptors: DescriptorUse { used: Some(used), limit: Some(1_000) },
            queue: queue.map(|(length, limit)| AcceptQueue { length, limit }),
        }
    }

    #[test]
    fn the_forecast_goes_by_the_descriptors_in_use_and_not_by_the_stuck_sockets() {
        let mut outlook = Outlook::since(Some(0));
        for second in 1..=60 {
            outlook.note_stuck(second * SECOND, second * 5);
            // The application closes other descriptors meanwhile.
            outlook.note_use(second * SECOND, &found(500, None));
        }
        let now = 60 * SECOND;
        assert!(outlook.per_minute(now).is_some_and(|rate| (rate - 300.0).abs() < 10.0));
        assert_eq!((outlook.fds_per_minute(now), outlook.fds_run_out_in_ns(now)), (Some(0.0), None));
        for second in 61..=130 {
            outlook.note_use(second * SECOND, &found(500 + (second - 60) * 2, None));
        }
        let left = outlook.fds_run_out_in_ns(130 * SECOND).unwrap_or_default();
        assert!(left.abs_diff(180 * SECOND) < 20 * SECOND, "{left}");
    }

    #[test]
    fn without_a_sample_from_before_the_first_one_is_no_step() {
        let mut outlook = Outlook::since(None);
        assert_eq!(outlook.per_minute(90 * SECOND), None, "one look says nothing");
        for second in 60..=90 {
            outlook.note_stuck(second * SECOND, 500 + (second - 60) * 5);
        }
        assert!(outlook.per_minute(90 * SECOND).is_some_and(|rate| (rate - 300.0).abs() < 10.0));
    }

    #[test]
    fn a_queue_has_a_forecast_of_its_own_and_is_full_with_one_more_than_the_backlog() {
        let mut outlook = Outlook::since(Some(0));
        let full_in = |outlook: &Outlook, second| outlook.queue_full_in_ns(second * SECOND);
        for second in 1..=20 {
            outlook
                .note_use(second * SECOND, &found(9, Some((u32::try_from(second).unwrap_or_default(), 99))));
        }
        let left = full_in(&outlook, 20).unwrap_or_default();
        assert!(left.abs_diff(80 * SECOND) < 10 * SECOND, "{left}");
        assert_eq!(outlook.fds_run_out_in_ns(20 * SECOND), None, "they take no descriptor");
        outlook.note_use(21 * SECOND, &found(9, Some((100, 99))));
        assert_eq!(full_in(&outlook, 90), Some(0));
        outlook.note_use(91 * SECOND, &found(9, Some((99, 99))));
        assert_eq!(full_in(&outlook, 91), None);
        outlook.note_use(92 * SECOND, &ProcessUse::default());
        assert_eq!((full_in(&outlook, 92), outlook.latest()), (None, ProcessUse::default()));
    }
}
