//! Batches, schedules and submissions in words: the steps of their timelines and their status, as `inboxctl timeline`
//! has them.

use inbox_aws::items::{BatchItem, ScheduleItem, SubmissionItem};
use inbox_core::id::Id;
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::{BatchStatus, SubmissionStatus};

use crate::event_text::{Step, audit_step};
use crate::time_text::{age, pluralize, with_age};

/// Class of the mark of a batch's status.
pub(crate) const fn batch_class(status: BatchStatus) -> &'static str {
    match status {
        BatchStatus::Tracked => "busy",
        BatchStatus::Settled => "good",
        BatchStatus::Overdue => "bad",
    }
}

/// Steps of a tracked batch.
pub(crate) fn batch_steps(batch: &BatchItem) -> Vec<Step> {
    let authorizers = pluralize(batch.tracked.expected, "authorizer", "authorizers");
    let steps = [
        (batch.tracked_at, format!("batch is tracked: {authorizers}")),
        (batch.done_at, "batch is settled".to_owned()),
        (batch.overdue_at, "batch is overdue".to_owned()),
    ];
    steps.into_iter().filter_map(|(at, step)| Some((at?, step))).collect()
}

/// Status of a batch, with its next poll and the problem of the last ones.
pub(crate) fn batch_status(batch: &BatchItem, now: UnixMillis) -> String {
    match BatchStatus::of(batch.done_at, batch.overdue_at) {
        BatchStatus::Overdue => format!("overdue since {}", with_age(batch.overdue_at, now)),
        BatchStatus::Settled => format!("settled {}", with_age(batch.done_at, now)),
        BatchStatus::Tracked if batch.tracking.due_at.is_none() => "tracked".to_owned(),
        BatchStatus::Tracked => {
            let problem = batch.tracking.problem.as_ref().map(|problem| {
                let text = problem_text(problem, batch.tracked.polls, now);
                match problem.missed_deadline(Some(batch.tracked.deadline), now) {
                    Some(at) => {
                        format!("; its deadline passed {} without an answer; {text}", with_age(Some(at), now))
                    }
                    None => format!("; {text}"),
                }
            });
            // A next poll alone would look healthy.
            format!("polled next {}{}", with_age(batch.tracking.due_at, now), problem.unwrap_or_default())
        }
    }
}

/// Steps of a tracked schedule.
pub(crate) fn schedule_steps(item: &ScheduleItem) -> Vec<Step> {
    let probes: Vec<_> = item.schedule.probes.iter().map(Id::as_str).collect();
    let steps = [
        (Some(item.schedule.since), format!("schedule is tracked, by {}", probes.join(", "))),
        (item.schedule.last_run_seen, "its last run that the poller saw".to_owned()),
        (item.done_at, "schedule has ended".to_owned()),
    ];
    steps.into_iter().filter_map(|(at, step)| Some((at?, step))).collect()
}

/// Status of a schedule.
pub(crate) fn schedule_status(item: &ScheduleItem, now: UnixMillis) -> String {
    let next = match item.tracking.due_at {
        Some(at) => format!("polled next {}", with_age(Some(at), now)),
        None => "no longer polled".to_owned(),
    };
    let problem = item.tracking.problem.as_ref();
    let problem = problem.map(|problem| format!("; {}", problem_text(problem, item.schedule.polls, now)));
    next + &problem.unwrap_or_default()
}

/// Steps of a submission.
pub(crate) fn submission_steps(item: &SubmissionItem) -> Vec<Step> {
    let kind = item.kind.as_str();
    let created_id = item.created_id.as_ref().map(Id::as_str).unwrap_or_default();
    // Rightfoot or an operator sets `declined_at`; an operator's action has the same time as its audit entry.
    let is_operators = |at: UnixMillis| item.audit_entries.iter().any(|entry| entry.at == at);
    let steps = [
        (Some(item.written_at), format!("submission of a {kind} is written")),
        (item.done_at, format!("submission has created {kind} {created_id}")),
        (item.declined_at.filter(|at| !is_operators(*at)), "Rightfoot declined the submission".to_owned()),
        (item.abandoned_at, "submission is abandoned: its outcome is unknown".to_owned()),
    ];
    let own = steps.into_iter().filter_map(|(at, step)| Some((at?, step)));
    let audit =
        item.audit_entries.iter().map(audit_step).map(|(at, step)| (at, format!("submission {step}")));
    own.chain(audit).collect()
}

/// Status of a submission; its mark's class, its name and the sentence.
pub(crate) fn submission_status(
    item: &SubmissionItem,
    now: UnixMillis,
) -> (&'static str, &'static str, String) {
    match item.status() {
        SubmissionStatus::Unknown { alarm_at } => (
            "warn",
            "unknown",
            format!(
                "its outcome is unknown; alarms from {} on: send the same request again",
                with_age(Some(alarm_at), now)
            ),
        ),
        SubmissionStatus::CreatedNothing => {
            ("warn", "created nothing", "it created nothing, and its name is free".to_owned())
        }
        SubmissionStatus::Created => {
            let id = item.created_id.as_ref().map_or("?", Id::as_str);
            ("good", "created", format!("it created {} {id}", item.kind.as_str()))
        }
        SubmissionStatus::Abandoned => {
            ("bad", "abandoned", "abandoned: it is unknown whether it created anything".to_owned())
        }
        SubmissionStatus::Concluded => ("good", "concluded", "nothing more to do".to_owned()),
    }
}

/// Meaning, reason and start of a problem of an item that was polled `polls` times.
fn problem_text(problem: &PollProblem, polls: u64, now: UnixMillis) -> String {
    let (reason, meaning) = (&problem.reason, problem_meaning(&problem.reason));
    let since = with_age(Some(problem.since), now);
    // These polls were answered, so none of them failed.
    if problem.is_of_schedule() {
        return format!("{meaning} ({reason}), since {since}");
    }
    let polls = match problem.consecutive_polls(polls) {
        1 => "poll".to_owned(),
        count => format!("{count} polls"),
    };
    format!("the last {polls} failed: {meaning} ({reason}), since {since}")
}

fn problem_meaning(reason: &str) -> &'static str {
    match reason {
        "stopped" => "it has stopped: Rightfoot names no next run, or one that did not happen",
        "run_not_found" => "it ran, and no probe's history shows the run",
        "unauthorized" => "Rightfoot does not accept the API key",
        "key_unavailable" => "the API key cannot be loaded",
        "rate_limited" => "Rightfoot has limited the rate",
        "unavailable" => "Rightfoot cannot be reached, or has an outage",
        "invalid_response" => "Rightfoot's response is not as documented",
        "aws_error" => "an AWS call failed",
        _ => "no answer",
    }
}

/// The deadline of a batch, with its distance.
pub(crate) fn deadline_text(batch: &BatchItem, now: UnixMillis) -> String {
    let at = batch.tracked.deadline;
    format!("{} ({})", at.rfc3339(), age(at, now))
}
