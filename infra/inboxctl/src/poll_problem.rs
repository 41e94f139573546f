//! Problem of a batch's or schedule's polls, with its meaning and advice.

use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::output::Timestamp;

/// Problem of the polls of a batch or schedule.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PollProblemOutput {
    /// Result of the last poll: a stable name, as in the poller's log lines.
    pub(crate) reason: String,
    pub(crate) since: Timestamp,
    /// Number of consecutive polls with a problem.
    pub(crate) polls: u64,
}

/// Severity of a problem: transient ones may pass by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Transient,
    NeedsAction,
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

    /// Returns `true` if Rightfoot has answered, and the schedule does not run.
    fn is_schedule_problem(&self) -> bool {
        matches!(self.reason.as_str(), "stopped" | "run_not_found")
    }

    pub(crate) fn severity(&self) -> Severity {
        match self.reason.as_str() {
            "stopped" | "run_not_found" | "unauthorized" | "no_key" | "fault" => Severity::NeedsAction,
            _ => Severity::Transient,
        }
    }

    /// Meaning, reason and start of the problem.
    pub(crate) fn text(&self, now: UnixMillis) -> String {
        let (reason, since) = (&self.reason, self.since.with_age(now));
        // These polls were answered, so none of them failed.
        if self.is_schedule_problem() {
            return format!("{} ({reason}), since {since}", self.meaning());
        }
        let polls = if self.polls == 1 { "poll".to_owned() } else { format!("{} polls", self.polls) };
        format!("the last {polls} failed: {} ({reason}), since {since}", self.meaning())
    }

    fn meaning(&self) -> &'static str {
        match self.reason.as_str() {
            "stopped" => "it has stopped: Rightfoot names no next run, or one that did not happen",
            "run_not_found" => "it ran, and no probe's history shows the run",
            "unauthorized" => "Rightfoot does not accept the API key",
            "no_key" => "the API key cannot be loaded",
            "rate_limited" => "Rightfoot has limited the rate",
            "unavailable" => "Rightfoot cannot be reached, or has an outage",
            "broken" => "Rightfoot's response is not as documented",
            "fault" => "an AWS call failed",
            _ => "no answer",
        }
    }

    /// What to do about the problem.
    pub(crate) fn advice(&self) -> &'static str {
        match self.reason.as_str() {
            "stopped" => {
                "look at the schedule at Rightfoot; if you ended it on purpose, delete its item (infra/OPERATIONS.md, \"Monitoring\")"
            }
            "run_not_found" => "ask Rightfoot for the run; track the schedule with other probes",
            "unauthorized" | "no_key" => "put a good key into the secret of Rightfoot's API",
            "fault" => "`error` in rightfoot-poller's log lines names the call",
            _ => "if it lasts, ask Rightfoot; rightfoot-poller's log lines say more",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_reason_age_and_count() {
        let problem_text = |reason: &str, polls| {
            let problem = PollProblem { reason: reason.to_owned(), since: UnixMillis(0), first_poll: 2 };
            PollProblemOutput::from_record(Some(&problem), polls).unwrap().text(UnixMillis(60_000))
        };
        assert_eq!(
            problem_text("broken", 2),
            "the last poll failed: Rightfoot's response is not as documented (broken), \
             since 1970-01-01T00:00:00.000Z (60 s ago)"
        );
        assert!(problem_text("broken", 25).starts_with("the last 24 polls failed: "));
        assert_eq!(
            problem_text("run_not_found", 0),
            "it ran, and no probe's history shows the run (run_not_found), since 1970-01-01T00:00:00.000Z (60 s ago)"
        );
    }
}
