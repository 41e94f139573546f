//! Submissions to Rightfoot, and what exists there.

use super::comparison::Comparison;
use super::observed::Observed;

impl Observed {
    /// The batches and schedules that exist at Rightfoot because they were submitted, and the submissions that were
    /// answered with their ids.
    pub(super) fn compared_submissions(&self) -> Comparison<(), ()> {
        let batches = self.rightfoot.submitted_batches().filter(|batch| batch.schedule_id.is_none());
        let schedules = self.rightfoot.schedules.iter().map(|schedule| &schedule.schedule_id);
        let made = batches.map(|batch| &batch.batch_id).chain(schedules).map(|id| (id.clone(), ()));
        let answers = self.submissions.iter().filter_map(|submission| submission.successes().next());
        Comparison::of(made, answers.map(|(id, _)| (id.to_owned(), ())))
    }

    /// Partition keys of everything that must be tracked.
    pub(super) fn expected_tracked(&self) -> impl Iterator<Item = String> {
        let batches = self.rightfoot.submitted_batches().map(|it| format!("batch#{}", it.batch_id));
        let schedules = self.rightfoot.schedules.iter().map(|it| format!("schedule#{}", it.schedule_id));
        let submissions = self.submissions.iter().map(|it| format!("submission#{}", it.submission_id));
        batches.chain(schedules).chain(submissions).map(|pk| format!("rightfoot#{pk}"))
    }
}
