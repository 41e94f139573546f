//! Text of a problem of a batch's or schedule's polls: its meaning, and what to do.

use inbox_aws::items::BatchItem;
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::Timestamp;

/// Problem of the polls of a batch or schedule.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PollProblemOutput {
    /// Result of the last poll: a stable name, as in the poller's log lines.
    reason: String,
    since: Timestamp,
    /// Number of consecutive polls with a problem.
    polls: u64,
}

impl PollProblemOutput {
    /// Problem of an item that was polled `polls` times.
    pub(crate) fn from_record(problem: Option<&PollProblem>, polls: u64) -> Option<Self> {
        problem.map(|problem| Self {
            reason: problem.reason.clone(),
            since: Timestamp(problem.since),
            polls: problem.consecutive_polls(polls),
        })
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

/// Meaning, reason and start of a problem, for an item that was polled `polls` times.
pub(crate) fn problem_text(problem: &PollProblem, polls: u64, now: UnixMillis) -> String {
    let (reason, meaning) = (&problem.reason, meaning(&problem.reason));
    let since = Timestamp(problem.since).with_age(now);
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

/// The same for a batch, with the deadline that it has missed.
pub(crate) fn batch_problem_text(batch: &BatchItem, problem: &PollProblem, now: UnixMillis) -> String {
    let text = problem_text(problem, batch.tracked.polls, now);
    match problem.missed_deadline(Some(batch.tracked.deadline), now) {
        Some(at) => format!("its deadline passed {} without an answer; {text}", Timestamp(at).with_age(now)),
        None => text,
    }
}

fn meaning(reason: &str) -> &'static str {
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

/// What to do about the problem.
pub(crate) fn advice(reason: &str) -> &'static str {
    match reason {
        "stopped" => {
            "look at the schedule at Rightfoot; if you ended it on purpose, `inboxctl schedules untrack SCHEDULE --by NAME --why '…'`"
        }
        "run_not_found" => "ask Rightfoot for the run; track the schedule with other probes",
        "unauthorized" | "key_unavailable" => "put a good key into the secret of Rightfoot's API",
        "aws_error" => "`error` in rightfoot-poller's log lines names the call",
        _ => "if it lasts, ask Rightfoot; rightfoot-poller's log lines say more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_reason_age_and_count() {
        let problem_text = |reason: &str, polls| {
            let problem = PollProblem { reason: reason.to_owned(), since: UnixMillis(0), first_poll: 2 };
            problem_text(&problem, polls, UnixMillis(60_000))
        };
        assert_eq!(
            problem_text("invalid_response", 2),
            "the last poll failed: Rightfoot's response is not as documented (invalid_response), \
             since 1970-01-01T00:00:00.000Z (60 s ago)"
        );
        assert!(problem_text("invalid_response", 25).starts_with("the last 24 polls failed: "));
        assert_eq!(
            problem_text("run_not_found", 0),
            "it ran, and no probe's history shows the run (run_not_found), since 1970-01-01T00:00:00.000Z (60 s ago)"
        );
    }
}
