//! Batches, schedules and submissions in words: the steps of their timelines, their status, and their results. The
//! pages and `inboxctl` have the same words.

use inbox_aws::items::{BatchItem, ScheduleItem, SubmissionItem};
use inbox_aws::stores::Timeline;
use inbox_core::batch_results::{BatchResults, FoundResults, ResultsReader};
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::{BatchStatus, SubmissionStatus};

use crate::event_text::{Step, alert_step, audit_step, event_steps};
use crate::poll_problem_text::{batch_problem_text, problem_text};
use crate::time_text::{age, pluralize, with_age};

/// Class of the mark of a batch's status.
pub(crate) const fn batch_class(status: BatchStatus) -> &'static str {
    match status {
        BatchStatus::Tracked => "busy",
        BatchStatus::Settled => "good",
        BatchStatus::Overdue => "bad",
    }
}

/// Steps of all items of a timeline, the earliest first. Those of an event begin with its id.
pub fn timeline_steps(timeline: &Timeline) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(timeline.submission.iter().flat_map(submission_steps));
    steps.extend(timeline.schedule.iter().flat_map(schedule_steps));
    steps.extend(timeline.batch.iter().flat_map(batch_steps));
    for event in &timeline.events {
        let id = event.key.event_id();
        steps.extend(event_steps(event).into_iter().map(|(at, step)| (at, format!("{id} {step}"))));
    }
    steps.extend(timeline.alerts.iter().filter_map(alert_step));
    steps.sort_by_key(|step| step.0);
    steps
}

fn batch_steps(batch: &BatchItem) -> Vec<Step> {
    let authorizers = pluralize(batch.tracked.expected, "authorizer", "authorizers");
    let found = batch.tracking.results_found.map(|found| {
        let results = pluralize(found.count, "result", "results");
        (found.since, format!("a poll finds {results} of the batch"))
    });
    let steps = [
        (batch.tracked_at, format!("batch is tracked: {authorizers}")),
        (batch.done_at, "batch is settled".to_owned()),
        (batch.overdue_at, "batch is overdue".to_owned()),
    ];
    steps.into_iter().filter_map(|(at, step)| Some((at?, step))).chain(found).collect()
}

/// Status of a batch: who takes the next step and when, and the problem of the last polls.
pub fn batch_status(batch: &BatchItem, now: UnixMillis) -> String {
    let time = |at| with_age(at, now);
    match BatchStatus::of(batch.done_at, batch.overdue_at) {
        BatchStatus::Overdue => format!(
            "overdue since {}: incomplete when Rightfoot answered past its deadline; polled no more",
            time(batch.overdue_at)
        ),
        BatchStatus::Settled => format!("settled {}", time(batch.done_at)),
        BatchStatus::Tracked if batch.tracking.due_at.is_none() => "tracked".to_owned(),
        BatchStatus::Tracked => {
            let due_at = time(batch.tracking.due_at);
            let next = match batch.shown_complete_at {
                Some(at) => format!("polled next {due_at}, for alerts; complete since {}", time(Some(at))),
                None if batch.tracked.is_past_deadline(now) => format!("polled next {due_at}"),
                None => format!("polled next {due_at}, until {}", time(Some(batch.tracked.deadline))),
            };
            // A next poll alone would look healthy.
            let problem = batch.tracking.problem.as_ref();
            match problem.map(|problem| batch_problem_text(batch, problem, now)) {
                Some(problem) => format!("{next}; {problem}"),
                None => next,
            }
        }
    }
}

/// Results of a batch in words: those that were found of those that there must be, by whom, and whether they are published.
pub fn results_text(results: &BatchResults, now: UnixMillis) -> String {
    let BatchResults { expected, found, published } = *results;
    let of_expected = |count: u64| match expected {
        Some(expected) => format!("{count} of {}", pluralize(expected, "result", "results")),
        None => pluralize(count, "result", "results"),
    };
    let found_text = |found: FoundResults| {
        let by = match found.by {
            ResultsReader::Poll => "a poll",
            ResultsReader::Worker => "the worker",
        };
        format!("{} found, by {by} {}", of_expected(found.count), with_age(Some(found.since), now))
    };
    match (found, published) {
        (Some(found), Some(published)) if found.count > published.count => {
            format!(
                "{}; published with {}, by {}",
                found_text(found),
                published.count,
                published.origin.as_str()
            )
        }
        (_, Some(published)) => {
            let at = with_age(Some(published.at), now);
            format!("{}, published {at}; by {}", of_expected(published.count), published.origin.as_str())
        }
        (Some(found), None) => found_text(found),
        (None, None) => match expected {
            Some(expected) => format!("none found yet of {}", pluralize(expected, "result", "results")),
            None => "none found yet".to_owned(),
        },
    }
}

fn schedule_steps(item: &ScheduleItem) -> Vec<Step> {
    let probes: Vec<_> = item.schedule.probes.iter().map(Id::as_str).collect();
    let steps = [
        (Some(item.schedule.since), format!("schedule is tracked, by {}", probes.join(", "))),
        (item.schedule.last_run_seen, "its last run that the poller saw".to_owned()),
        (item.done_at, "schedule has ended".to_owned()),
    ];
    steps.into_iter().filter_map(|(at, step)| Some((at?, step))).collect()
}

/// Status of a schedule: its next poll, and the problem of the last ones.
pub fn schedule_status(item: &ScheduleItem, now: UnixMillis) -> String {
    let next = match item.tracking.due_at {
        Some(at) => format!("polled next {}", with_age(Some(at), now)),
        None => "no longer polled".to_owned(),
    };
    let problem = item.tracking.problem.as_ref();
    let problem = problem.map(|problem| format!("; {}", problem_text(problem, item.schedule.polls, now)));
    next + &problem.unwrap_or_default()
}

fn submission_steps(item: &SubmissionItem) -> Vec<Step> {
    let kind = item.kind.as_str();
    let created_id = item.created_id.as_ref().map(Id::as_str).unwrap_or_default();
    // Rightfoot or an operator sets `declined_at`; an operator's action has the same time as its audit entry.
    let is_operators = |at: UnixMillis| item.audit_entries.iter().any(|entry| entry.at == at);
    let steps = [
        (Some(item.written_at), format!("submission of a {kind} is written")),
        (item.done_at, format!("submission has created {kind} {created_id}")),
        (item.declined_at.filter(|at| !is_operators(*at)), "Rightfoot declined the submission".to_owned()),
    ];
    let own = steps.into_iter().filter_map(|(at, step)| Some((at?, step)));
    let audit =
        item.audit_entries.iter().map(audit_step).map(|(at, step)| (at, format!("submission {step}")));
    let abandoned = "submission is abandoned: its outcome is unknown";
    own.chain(audit).chain(item.abandoned_at.map(|at| (at, abandoned.to_owned()))).collect()
}

/// Class of the mark of a submission's status, and its name.
pub(crate) fn submission_mark(item: &SubmissionItem) -> (&'static str, &'static str) {
    match item.status() {
        SubmissionStatus::Unknown { .. } => ("warn", "unknown"),
        SubmissionStatus::CreatedNothing => ("warn", "created nothing"),
        SubmissionStatus::Created => ("good", "created"),
        SubmissionStatus::Abandoned => ("bad", "abandoned"),
        SubmissionStatus::Concluded => ("good", "concluded"),
    }
}

/// Status of a submission, and what its sender has to do.
pub fn submission_status(item: &SubmissionItem, now: UnixMillis) -> String {
    match item.status() {
        SubmissionStatus::Unknown { alarm_at } => format!(
            "its outcome is unknown; alarms from {} on: send the same request again",
            with_age(Some(alarm_at), now)
        ),
        SubmissionStatus::CreatedNothing => "it created nothing, and its name is free".to_owned(),
        SubmissionStatus::Created => {
            let id = item.created_id.as_ref().map_or("?", Id::as_str);
            format!("it created {} {id}", item.kind.as_str())
        }
        SubmissionStatus::Abandoned => "abandoned: it is unknown whether it created anything".to_owned(),
        SubmissionStatus::Concluded => "nothing more to do".to_owned(),
    }
}

/// The deadline of a batch, with its distance.
pub(crate) fn deadline_text(batch: &BatchItem, now: UnixMillis) -> String {
    let at = batch.tracked.deadline;
    format!("{} ({})", at.rfc3339(), age(at, now))
}

#[cfg(test)]
mod tests {
    use inbox_core::batch_results::PublishedResults;
    use inbox_core::origin::Origin;

    use super::*;

    const NOW: UnixMillis = UnixMillis(60_000);
    const START: &str = "1970-01-01T00:00:00.000Z (60 s ago)";

    #[test]
    fn the_results_of_a_batch_name_who_found_and_who_published_them() {
        let found = |count, by| Some(FoundResults { count, by, since: UnixMillis(0) });
        let published = |count, origin| Some(PublishedResults { count, origin, at: UnixMillis(0) });
        let text =
            |expected, found, published| results_text(&BatchResults { expected, found, published }, NOW);
        let by_poll = found(2, ResultsReader::Poll);
        assert_eq!(text(Some(3), None, None), "none found yet of 3 results");
        assert_eq!(text(None, None, None), "none found yet");
        assert_eq!(text(Some(3), by_poll, None), format!("2 of 3 results found, by a poll {START}"));
        assert_eq!(
            text(None, found(1, ResultsReader::Worker), None),
            format!("1 result found, by the worker {START}")
        );
        assert_eq!(
            text(Some(3), found(3, ResultsReader::Worker), published(3, Origin::Webhook)),
            format!("3 of 3 results, published {START}; by webhook")
        );
        assert_eq!(
            text(Some(3), found(3, ResultsReader::Poll), published(2, Origin::Webhook)),
            format!("3 of 3 results found, by a poll {START}; published with 2, by webhook")
        );
    }
}
