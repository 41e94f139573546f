//! Submissions to Rightfoot, and what exists there.

use std::collections::{BTreeMap, BTreeSet};

use super::Observed;

impl Observed {
    /// Ids of the batches and schedules that exist at Rightfoot because they were submitted.
    pub(super) fn made_at_rightfoot(&self) -> BTreeSet<&str> {
        let batches = self.rightfoot.submitted_batches().filter(|batch| batch.schedule_id.is_none());
        let schedules = self.rightfoot.schedules.iter().map(|schedule| schedule.schedule_id.as_str());
        batches.map(|batch| batch.batch_id.as_str()).chain(schedules).collect()
    }

    /// Number of submissions whose callers were given an id, by that id.
    pub(super) fn submissions_by_answer(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for (id, _) in self.submissions.iter().filter_map(|submission| submission.successes().next()) {
            *counts.entry(id).or_default() += 1;
        }
        counts
    }

    /// Partition keys of everything that must be tracked.
    pub(super) fn expected_tracked(&self) -> impl Iterator<Item = String> {
        let batches = self.rightfoot.submitted_batches().map(|it| format!("batch#{}", it.batch_id));
        let schedules = self.rightfoot.schedules.iter().map(|it| format!("schedule#{}", it.schedule_id));
        let submissions = self.submissions.iter().map(|it| format!("submission#{}", it.submission_id));
        batches.chain(schedules).chain(submissions).map(|pk| format!("rightfoot#{pk}"))
    }
}
