//! The problem of a batch or schedule whose polls keep failing.

use std::time::Duration;

use crate::time::UnixMillis;

/// Duration after which failing polls need an operator. The alarm `poll-failed` waits as long.
const FAILING_AFTER: Duration = Duration::from_secs(60 * 60);
/// The reason of a poll that failed because of an AWS call.
pub const AWS_ERROR: &str = "aws_error";

/// Consecutive polls that failed, or that found a schedule stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollProblem {
    /// The reason of the last one: a stable name, as in logs and metrics.
    pub reason: String,
    /// The time of the first one.
    pub since: UnixMillis,
    /// The number of the first one, by the item's poll counter.
    pub first_poll: u64,
}

impl PollProblem {
    /// The problem after poll `poll_number` with this `reason`; `None` if there is no reason, so that a good
    /// poll ends it.
    pub fn updated(
        previous: Option<&Self>,
        reason: Option<&'static str>,
        poll_number: u64,
        now: UnixMillis,
    ) -> Option<Self> {
        let reason = reason?.to_owned();
        Some(match previous {
            // Another reason does not begin a new problem: no poll has succeeded in between.
            Some(previous) => Self { reason, ..previous.clone() },
            None => Self { reason, since: now, first_poll: poll_number },
        })
    }

    /// The number of consecutive polls with the problem, of `total_polls` so far.
    pub fn consecutive_polls(&self, total_polls: u64) -> u64 {
        total_polls.saturating_sub(self.first_poll).saturating_add(1)
    }

    /// Returns `true` if Rightfoot has answered, and the schedule does not run.
    pub fn is_of_schedule(&self) -> bool {
        matches!(self.reason.as_str(), "stopped" | "run_not_found")
    }

    /// Returns the batch's deadline if it has passed. While its polls fail, a batch does not become overdue: no
    /// answer says that it is incomplete.
    pub fn missed_deadline(&self, deadline_at: Option<UnixMillis>, now: UnixMillis) -> Option<UnixMillis> {
        deadline_at.filter(|deadline| *deadline <= now)
    }

    /// Returns `true` if an operator has to act: the problem does not pass by itself, lasts for an hour, or a batch
    /// has missed its deadline because of it.
    pub fn needs_operator(&self, deadline_at: Option<UnixMillis>, now: UnixMillis) -> bool {
        self.is_of_schedule()
            || matches!(self.reason.as_str(), "unauthorized" | "key_unavailable" | AWS_ERROR)
            || now.since(self.since) >= FAILING_AFTER
            || self.missed_deadline(deadline_at, now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_lasts_from_its_first_poll_to_the_first_without_one() {
        let now = UnixMillis;
        assert_eq!(PollProblem::updated(None, None, 1, now(10)), None);
        let first = PollProblem::updated(None, Some("invalid_response"), 2, now(20)).unwrap();
        assert_eq!(
            first,
            PollProblem { reason: "invalid_response".to_owned(), since: now(20), first_poll: 2 }
        );
        assert_eq!(
            PollProblem::updated(Some(&first), Some("invalid_response"), 3, now(30)),
            Some(first.clone())
        );
        let other = PollProblem::updated(Some(&first), Some("unavailable"), 4, now(40)).unwrap();
        assert_eq!(other, PollProblem { reason: "unavailable".to_owned(), ..first.clone() });
        assert_eq!(
            (other.consecutive_polls(4), other.consecutive_polls(25), other.consecutive_polls(0)),
            (3, 24, 1)
        );
        assert_eq!(PollProblem::updated(Some(&other), None, 5, now(50)), None);
    }

    #[test]
    fn an_operator_is_needed_for_what_does_not_pass_or_lasts() {
        let now = UnixMillis(3_600_000);
        let problem = |reason: &str, since| PollProblem {
            reason: reason.to_owned(),
            since: UnixMillis(since),
            first_poll: 1,
        };
        for reason in ["stopped", "run_not_found", "unauthorized", "key_unavailable", AWS_ERROR] {
            assert!(problem(reason, now.0).needs_operator(None, now), "{reason}");
        }
        for reason in ["rate_limited", "unavailable", "invalid_response"] {
            assert!(!problem(reason, 1).needs_operator(None, now), "{reason}");
            assert!(problem(reason, 0).needs_operator(None, now), "{reason}: for an hour");
            let deadlines = [now, UnixMillis(now.0 + 1)].map(Some);
            assert_eq!(
                deadlines.map(|at| problem(reason, 1).needs_operator(at, now)),
                [true, false],
                "{reason}"
            );
        }
        assert!(problem("stopped", 0).is_of_schedule() && !problem("invalid_response", 0).is_of_schedule());
    }
}
