//! A problem of a batch's or schedule's polls, as it is printed, and what to do about it.

use inbox_core::poll::problem::PollProblem;
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
