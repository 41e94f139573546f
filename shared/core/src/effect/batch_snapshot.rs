//! A snapshot of a batch's balances, read page by page: only counts and a digest of the rows are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::limits::{SNAPSHOTS_APART_MIN_SECS, UNKNOWN_BATCH_DEADLINE_SECS};
use crate::poll::PollResult;
use crate::poll::batch::TrackedBatch;
use crate::rightfoot_api::Balance;
use crate::time::UnixMillis;

/// A summary of all rows that were read of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSnapshot {
    /// The number of authorizers that have a row.
    pub found: u64,
    /// The number of rows by status code.
    pub by_status_code: BTreeMap<i64, u64>,
    failed_authorizer_rows: u64,
    digest: [u8; 32],
}

/// An earlier snapshot of an untracked batch, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSnapshot {
    /// The digest of its rows.
    pub digest: String,
    /// The time when it was taken.
    pub at: UnixMillis,
}

impl BatchSnapshot {
    /// Adds a row. Each authorizer must be added only once.
    pub fn add(&mut self, row: &Balance, tracked: Option<&TrackedBatch>) {
        self.found += 1;
        *self.by_status_code.entry(row.status_code).or_default() += 1;
        self.failed_authorizer_rows +=
            u64::from(tracked.is_some_and(|batch| batch.failed_authorizers.contains(&row.authorizer)));
        // XOR makes the digest independent of the order of pages; no row is added twice, so none cancels another.
        for (sum, byte) in self.digest.iter_mut().zip(row_digest(row)) {
            *sum ^= byte;
        }
    }

    /// The number of results: rows of authorizers that Rightfoot accepted.
    pub const fn results(&self) -> u64 {
        self.found.saturating_sub(self.failed_authorizer_rows)
    }

    /// The digest of the rows, independent of their order, in hexadecimal.
    pub fn digest(&self) -> String {
        hex::encode(self.digest)
    }

    /// Returns `true` if the batch is complete. A tracked batch is complete when every authorizer that
    /// Rightfoot accepted has a result; an untracked batch, when an earlier snapshot, taken at least 60 s
    /// before this one began, matches. Never complete unless `is_full_list`: the list was read to its end,
    /// and every row could be parsed.
    pub fn is_complete(
        &self,
        is_full_list: bool,
        tracked: Option<&TrackedBatch>,
        previous: Option<&PreviousSnapshot>,
        started_at: UnixMillis,
    ) -> bool {
        is_full_list
            && match tracked {
                // The row of an authorizer that Rightfoot did not accept does not count.
                Some(batch) => self.results() >= batch.expected_results(),
                // An empty list proves nothing: the answer before completion is not documented.
                None => self.found > 0 && previous.is_some_and(|previous| self.matches(previous, started_at)),
            }
    }

    fn matches(&self, previous: &PreviousSnapshot, started_at: UnixMillis) -> bool {
        previous.digest == self.digest()
            && started_at.since(previous.at) >= Duration::from_secs(SNAPSHOTS_APART_MIN_SECS)
    }
}

/// The decision about an event whose batch is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncompleteDecision {
    /// Read the batch again later.
    Recheck {
        /// Not before this delay, if Rightfoot has asked for one.
        retry_after: Option<Duration>,
        /// This snapshot, to be stored and compared with the next one.
        seen: Option<PreviousSnapshot>,
    },
    /// Rightfoot has answered at or after the deadline, and nothing more is to be expected.
    Quarantine,
}

/// The time after which an answer ends an event whose batch is not complete: `deadline`, but at most two
/// hours for an untracked batch of which no snapshot has shown any row. Anybody who holds a URL can make up
/// any number of those.
pub fn max_completion_wait(
    deadline: Duration,
    tracked: Option<&TrackedBatch>,
    snapshot: &BatchSnapshot,
    previous: Option<&PreviousSnapshot>,
) -> Duration {
    let is_known = tracked.is_some() || previous.is_some() || snapshot.found > 0;
    if is_known { deadline } else { deadline.min(Duration::from_secs(UNKNOWN_BATCH_DEADLINE_SECS)) }
}

/// Decides about an event whose batch is not complete by the `result` of asking. Without an answer it is read
/// again (P9); past the deadline, too, if this is the first `snapshot` of an untracked batch.
pub fn decide_incomplete(
    result: &PollResult<()>,
    is_past_deadline: bool,
    snapshot: Option<PreviousSnapshot>,
    previous: Option<&PreviousSnapshot>,
) -> IncompleteDecision {
    // A single snapshot cannot show that nothing more comes, so it is compared with a second one.
    let is_first_snapshot = snapshot.is_some() && previous.is_none();
    if is_past_deadline && result.is_answer() && !is_first_snapshot {
        return IncompleteDecision::Quarantine;
    }
    let retry_after = match result {
        PollResult::RateLimited { retry_after } => *retry_after,
        PollResult::Answered(())
        | PollResult::NotReady
        | PollResult::Denied
        | PollResult::Unauthorized
        | PollResult::Unanswered => None,
    };
    IncompleteDecision::Recheck { retry_after, seen: snapshot }
}

fn row_digest(row: &Balance) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(row.status_code.to_be_bytes());
    hash.update(row.amount.map(|amount| amount.to_string()).unwrap_or_default());
    // The id comes last, behind a byte that no amount contains, so that no two different rows hash the same input.
    hash.update([0]);
    hash.update(row.authorizer.as_str());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    const NOW: UnixMillis = UnixMillis(1_795_356_000_123);

    fn row(authorizer: &str, amount: Option<&str>) -> Balance {
        let amount = amount.map(|text| text.parse().unwrap());
        let status_code = if amount.is_some() { 0 } else { 3300 };
        Balance { authorizer: Id::new(authorizer).unwrap(), amount, status_code, checked_at: None }
    }

    fn tracked(expected: u64, failed: &[&str]) -> TrackedBatch {
        TrackedBatch {
            batch_id: Id::new("b-1").unwrap(),
            subject: None,
            schedule_id: None,
            expected,
            failed_authorizers: failed.iter().map(|name| Id::new(*name).unwrap()).collect(),
            deadline: NOW,
            polls: 0,
        }
    }

    fn snapshot(rows: &[Balance], tracked: Option<&TrackedBatch>) -> BatchSnapshot {
        let mut snapshot = BatchSnapshot::default();
        rows.iter().for_each(|row| snapshot.add(row, tracked));
        snapshot
    }

    #[test]
    fn p5_a_tracked_batch_is_complete_with_every_result_and_the_last_page() {
        let complete = |rows: &[Balance], last, tracked: &TrackedBatch| {
            snapshot(rows, Some(tracked)).is_complete(last, Some(tracked), None, NOW)
        };
        let three = [row("a", Some("1.00")), row("b", None), row("c", Some("2"))];
        assert!(complete(&three, true, &tracked(3, &[])));
        assert!(!complete(&three, false, &tracked(3, &[])), "every row, but not the last page");
        assert!(!complete(&three[..2], true, &tracked(3, &[])), "the last page, but a row is missing");
        assert!(complete(&three[..2], true, &tracked(3, &["c"])), "a failed authorizer is not awaited");
        assert!(
            !complete(&three[1..], true, &tracked(3, &["c"])),
            "a failed authorizer's row does not count"
        );
        assert!(!complete(&[], true, &tracked(0, &[])), "an empty list");
        assert_eq!(snapshot(&three, None).by_status_code, [(0, 2), (3300, 1)].into());
    }

    #[test]
    fn p9_an_incomplete_batch_is_quarantined_only_by_an_answer_after_the_deadline() {
        let shown = Some(PreviousSnapshot { digest: "d".to_owned(), at: NOW });
        let recheck = |retry_after, snapshot| IncompleteDecision::Recheck { retry_after, seen: snapshot };
        for answer in [PollResult::Answered(()), PollResult::NotReady, PollResult::Denied] {
            assert_eq!(decide_incomplete(&answer, false, None, None), recheck(None, None));
            assert_eq!(decide_incomplete(&answer, true, None, None), IncompleteDecision::Quarantine);
            assert_eq!(
                decide_incomplete(&answer, true, None, shown.as_ref()),
                IncompleteDecision::Quarantine
            );
        }
        let pause = Some(Duration::from_secs(7));
        for (silence, retry_after) in [
            (PollResult::Unauthorized, None),
            (PollResult::Unanswered, None),
            (PollResult::RateLimited { retry_after: pause }, pause),
        ] {
            assert_eq!(decide_incomplete(&silence, true, None, None), recheck(retry_after, None));
        }
        let first = decide_incomplete(&PollResult::Answered(()), true, shown.clone(), None);
        assert_eq!(first, recheck(None, shown.clone()), "a first snapshot is checked once more");
        assert_eq!(
            decide_incomplete(&PollResult::Answered(()), true, shown.clone(), shown.as_ref()),
            IncompleteDecision::Quarantine
        );
    }

    #[test]
    fn unknown_batches_are_awaited_two_hours_and_known_ones_until_the_deadline() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let (nothing, something) = (BatchSnapshot::default(), snapshot(&[row("a", None)], None));
        let (ours, shown) = (tracked(1, &[]), PreviousSnapshot { digest: "d".to_owned(), at: NOW });
        assert_eq!(max_completion_wait(hours(24), None, &nothing, None), hours(2));
        assert_eq!(max_completion_wait(hours(1), None, &nothing, None), hours(1), "what is set is shorter");
        assert_eq!(max_completion_wait(hours(24), Some(&ours), &nothing, None), hours(24), "it is tracked");
        assert_eq!(max_completion_wait(hours(24), None, &something, None), hours(24), "it is shown");
        assert_eq!(max_completion_wait(hours(24), None, &nothing, Some(&shown)), hours(24), "it was shown");
    }

    #[test]
    fn an_untracked_batch_is_complete_when_two_snapshots_a_minute_apart_match() {
        let rows = [row("a", Some("1.00")), row("b", None)];
        let shown = snapshot(&rows, None);
        let at = |secs| NOW.minus(Duration::from_secs(secs));
        let complete = |snapshot: &BatchSnapshot, last, digest: String, taken_at| {
            snapshot.is_complete(last, None, Some(&PreviousSnapshot { digest, at: taken_at }), NOW)
        };
        assert!(complete(&shown, true, shown.digest(), at(60)));
        assert!(!complete(&shown, true, shown.digest(), at(59)), "too close");
        assert!(!complete(&shown, false, shown.digest(), at(60)), "not to the end");
        assert!(!shown.is_complete(true, None, None, NOW), "a first snapshot");
        assert!(
            !complete(&BatchSnapshot::default(), true, BatchSnapshot::default().digest(), at(60)),
            "empty"
        );
        let other = [
            vec![row("a", Some("1.01")), row("b", None)],
            vec![row("a", Some("1.00"))],
            vec![row("a", None)],
        ];
        for other in other {
            assert!(!complete(&snapshot(&other, None), true, shown.digest(), at(60)), "it has changed");
        }
        let reversed = snapshot(&[rows[1].clone(), rows[0].clone()], None);
        assert!(complete(&reversed, true, shown.digest(), at(60)), "the order does not matter");
    }
}
