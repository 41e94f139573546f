//! The problem of a batch or schedule whose polls keep failing.

use crate::time::UnixMillis;

/// The reason of a poll that failed because of an AWS call.
pub const AWS_ERROR: &str = "fault";

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_lasts_from_its_first_poll_to_the_first_without_one() {
        let now = UnixMillis;
        assert_eq!(PollProblem::updated(None, None, 1, now(10)), None);
        let first = PollProblem::updated(None, Some("broken"), 2, now(20)).unwrap();
        assert_eq!(first, PollProblem { reason: "broken".to_owned(), since: now(20), first_poll: 2 });
        assert_eq!(PollProblem::updated(Some(&first), Some("broken"), 3, now(30)), Some(first.clone()));
        let other = PollProblem::updated(Some(&first), Some("unavailable"), 4, now(40)).unwrap();
        assert_eq!(other, PollProblem { reason: "unavailable".to_owned(), ..first.clone() });
        assert_eq!(
            (other.consecutive_polls(4), other.consecutive_polls(25), other.consecutive_polls(0)),
            (3, 24, 1)
        );
        assert_eq!(PollProblem::updated(Some(&other), None, 5, now(50)), None);
    }
}
