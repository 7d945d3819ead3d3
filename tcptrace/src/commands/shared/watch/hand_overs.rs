//! Finds out, for the sums, who has the reported sockets of processes that have ended: a descriptor may have been
//! inherited, or handed over. Writes no record.

use super::{BATCH, Watch};
use crate::{
    commands::shared::error::CommandError,
    inspect::thread::{Answer, InspectorGone},
    model::process::ProcessUse,
};

impl Watch<'_> {
    /// What the processes of the tally have left, once reported sockets are with those who hold them now.
    ///
    /// # Errors
    /// When the thread that looks at processes has ended.
    pub(super) async fn last_use(&mut self, now_ns: u64) -> Result<Vec<ProcessUse>, CommandError> {
        let uses = self.ask_all_for_use().await?;
        if self.follow_hand_overs(&uses, now_ns).await? { self.ask_all_for_use().await } else { Ok(uses) }
    }

    async fn ask_all_for_use(&mut self) -> Result<Vec<ProcessUse>, CommandError> {
        self.inspector.ask_for_use(self.tally.queries());
        match self.inspector.answer().await? {
            Answer::ProcessUse { found, .. } => Ok(found),
            Answer::Preexisting(..) | Answer::Findings(_) | Answer::HeldOver(_) => Err(InspectorGone.into()),
        }
    }

    /// Looks once more at sockets of processes that have ended; whether any of them is with others now.
    async fn follow_hand_overs(&mut self, uses: &[ProcessUse], now_ns: u64) -> Result<bool, CommandError> {
        let has_ended = |index: usize| uses.get(index).is_some_and(|found| found.descriptors.used.is_none());
        let left = self.table.reported_with(|group_id| self.tally.has_owner(group_id, has_ended), BATCH);
        if left.is_empty() {
            return Ok(false);
        }
        self.inspector.ask_about(left.iter().map(|(due, _)| *due).collect());
        let Answer::Findings(findings) = self.inspector.answer().await? else {
            return Err(InspectorGone.into());
        };
        let mut is_any = false;
        for ((due, group_id), finding) in left.iter().zip(&findings) {
            // Where nobody is found now, or nobody who was asked for, the one that was is the best that is known.
            let has_others = !finding.owners.is_empty() && self.criteria.admits_owners(&finding.owners);
            if finding.is_stuck && has_others {
                self.tally.end(*group_id, due.since, now_ns);
                self.table.regroup(due.key, self.tally.report_again(finding, *group_id));
                is_any = true;
            }
        }
        Ok(is_any)
    }
}
