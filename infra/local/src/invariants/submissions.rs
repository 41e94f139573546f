//! Submissions to Rightfoot, and what exists there.

use rightfoot_requests::RequestError;
use serde_json::Value;

use super::comparison::Comparison;
use super::observed::{Observed, SubmissionResponse};

impl SubmissionResponse {
    /// The response that a caller sees; `None` if the process has crashed.
    pub fn of(outcome: &Option<Result<Value, RequestError>>) -> Self {
        match outcome {
            None => Self::Crashed,
            Some(Err(error)) => Self::Failed(error.name()),
            Some(Ok(answer)) => Self::parse(answer),
        }
    }

    fn parse(answer: &Value) -> Self {
        let id = answer.get("batch_id").or_else(|| answer.get("schedule_id")).and_then(Value::as_str);
        let failed = answer.get("failed_authorizers").and_then(Value::as_array).into_iter().flatten();
        let failed = failed.filter_map(|failed| failed.get("authorizer_unique_id")?.as_str());
        Self::Succeeded {
            // Without an id, it matches no batch at Rightfoot and becomes a violation.
            id: id.unwrap_or_default().to_owned(),
            failed_authorizers: failed.map(str::to_owned).collect(),
        }
    }
}

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
