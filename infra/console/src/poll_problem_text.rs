//! The problem of a batch's or schedule's polls in words. The pages and `inboxctl` have the same words.

use inbox_aws::items::BatchItem;
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;

use crate::time_text::with_age;

/// Meaning, reason and start of a problem, for an item that was polled `polls` times.
pub fn problem_text(problem: &PollProblem, polls: u64, now: UnixMillis) -> String {
    let reason = &problem.reason;
    let meaning = failure_meaning(reason).unwrap_or("no answer");
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

/// The same for a batch, with the deadline that it has missed.
pub fn batch_problem_text(batch: &BatchItem, problem: &PollProblem, now: UnixMillis) -> String {
    let text = problem_text(problem, batch.tracked.polls, now);
    match problem.missed_deadline(Some(batch.tracked.deadline), now) {
        Some(at) => format!("its deadline passed {} without an answer; {text}", with_age(Some(at), now)),
        None => text,
    }
}

/// Meaning of the reason of a failed poll or read; `None` for one that this version does not know.
pub(crate) fn failure_meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "stopped" => "it has stopped: Rightfoot names no next run, or one that did not happen",
        "run_not_found" => "it ran, and no probe's history shows the run",
        "unauthorized" => "Rightfoot does not accept the API key",
        "forbidden" => "Rightfoot denies access to it",
        "key_unavailable" => "the API key cannot be loaded",
        "rate_limited" => "Rightfoot has limited the rate",
        "unavailable" => "Rightfoot cannot be reached, or has an outage",
        "invalid_response" => "Rightfoot's response is not as documented",
        "aws_error" => "an AWS call failed",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(60_000);
    const START: &str = "1970-01-01T00:00:00.000Z (60 s ago)";

    #[test]
    fn a_problem_is_shown_with_its_reason_age_and_count() {
        let problem_text = |reason: &str, polls| {
            let problem = PollProblem { reason: reason.to_owned(), since: UnixMillis(0), first_poll: 2 };
            problem_text(&problem, polls, NOW)
        };
        assert_eq!(
            problem_text("invalid_response", 2),
            format!(
                "the last poll failed: Rightfoot's response is not as documented (invalid_response), since {START}"
            )
        );
        assert!(problem_text("invalid_response", 25).starts_with("the last 24 polls failed: "));
        assert_eq!(
            problem_text("run_not_found", 0),
            format!("it ran, and no probe's history shows the run (run_not_found), since {START}")
        );
    }
}
