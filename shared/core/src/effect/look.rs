//! A look at the balances of a batch, page by page: of the rows only their count is kept, and a digest.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::limits::{LOOKS_APART_SECS, UNKNOWN_BATCH_DEADLINE_SECS};
use crate::poll::Observation;
use crate::poll::batch::Tracked;
use crate::rightfoot::Balance;
use crate::time::UnixMillis;

/// What has been seen of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// How many authorizers have a row.
    pub found: u64,
    /// How many rows have which status code.
    pub by_status: BTreeMap<i64, u64>,
    of_refused: u64,
    digest: [u8; 32],
}

/// What an earlier look at a batch that nobody tracks has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The digest of its rows.
    pub digest: String,
    /// When it was over.
    pub at: UnixMillis,
}

impl Look {
    /// Takes in a row: of each authorizer one.
    pub fn take(&mut self, row: &Balance, tracked: Option<&Tracked>) {
        self.found += 1;
        *self.by_status.entry(row.status_code).or_default() += 1;
        self.of_refused += u64::from(tracked.is_some_and(|batch| batch.failed.contains(&row.authorizer)));
        // Each row is there once, so the order in which they came does not matter.
        for (sum, byte) in self.digest.iter_mut().zip(digest_of(row)) {
            *sum ^= byte;
        }
    }

    /// The rows, whatever their order, in hexadecimal.
    pub fn digest(&self) -> String {
        hex::encode(self.digest)
    }

    /// Whether the batch is complete: of one that is tracked, whether everybody is there whom Rightfoot has not
    /// refused; of another one, whether an earlier look, a minute before this one began, has shown the same. Never
    /// unless the list is whole: read to its end, and every row of it could be read.
    pub fn is_complete(
        &self,
        is_whole: bool,
        tracked: Option<&Tracked>,
        earlier: Option<&Earlier>,
        began_at: UnixMillis,
    ) -> bool {
        is_whole
            && match tracked {
                Some(batch) => self.found - self.of_refused >= batch.awaited(),
                None => self.found > 0 && earlier.is_some_and(|earlier| self.repeats(earlier, began_at)),
            }
    }

    fn repeats(&self, earlier: &Earlier, began_at: UnixMillis) -> bool {
        earlier.digest == self.digest() && began_at.since(earlier.at) >= Duration::from_secs(LOOKS_APART_SECS)
    }
}

/// What becomes of an event whose batch is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Its batch is looked at again.
    LookAgain {
        /// Not before then, if Rightfoot has said so.
        retry_after: Option<Duration>,
        /// What this look has shown, to be compared with the next one.
        seen: Option<Earlier>,
    },
    /// Rightfoot has answered at or after the deadline, and nothing more is to be expected.
    GiveUp,
}

/// From when an event is worked on until an answer ends it: for as long as Rightfoot is asked about a batch (`deadline`),
/// and about a batch that nobody tracks and no look has shown anything of, two hours at most. Whoever holds a URL can make
/// up any number of those.
pub fn patience(
    deadline: Duration,
    tracked: Option<&Tracked>,
    look: &Look,
    earlier: Option<&Earlier>,
) -> Duration {
    let is_known = tracked.is_some() || earlier.is_some() || look.found > 0;
    if is_known { deadline } else { deadline.min(Duration::from_secs(UNKNOWN_BATCH_DEADLINE_SECS)) }
}

/// What becomes of an event whose batch is not complete by what was `observed`. While there is no answer, it is looked
/// at again (P9); past the deadline also where a batch that nobody tracks was `shown` for the first time.
pub fn not_complete(
    observed: &Observation<()>,
    is_past_deadline: bool,
    shown: Option<Earlier>,
    earlier: Option<&Earlier>,
) -> Next {
    let is_first_sight = shown.is_some() && earlier.is_none();
    if is_past_deadline && observed.is_answer() && !is_first_sight {
        return Next::GiveUp;
    }
    let retry_after = match observed {
        Observation::RateLimited { retry_after } => *retry_after,
        Observation::Answered(())
        | Observation::NotReady
        | Observation::Refused
        | Observation::Unauthorized
        | Observation::Unanswered => None,
    };
    Next::LookAgain { retry_after, seen: shown }
}

fn digest_of(row: &Balance) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(row.status_code.to_be_bytes());
    hash.update(row.amount.map(|amount| amount.to_string()).unwrap_or_default());
    // Last, and behind a byte that no amount holds: whatever an id is, two rows never read the same.
    hash.update([0]);
    hash.update(row.authorizer.as_str());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Id;

    const NOW: UnixMillis = UnixMillis(1_795_356_000_123);

    fn row(authorizer: &str, amount: Option<&str>) -> Balance {
        let amount = amount.map(|text| text.parse().unwrap());
        let status_code = if amount.is_some() { 0 } else { 3300 };
        Balance { authorizer: Id::new(authorizer).unwrap(), amount, status_code, checked_at: None }
    }

    fn tracked(expected: u64, failed: &[&str]) -> Tracked {
        Tracked {
            batch_id: Id::new("b-1").unwrap(),
            subject: None,
            schedule_id: None,
            expected,
            failed: failed.iter().map(|name| Id::new(*name).unwrap()).collect(),
            deadline: NOW,
            polls: 0,
        }
    }

    fn look(rows: &[Balance], tracked: Option<&Tracked>) -> Look {
        let mut look = Look::default();
        rows.iter().for_each(|row| look.take(row, tracked));
        look
    }

    #[test]
    fn p5_a_tracked_batch_is_complete_when_everybody_is_there_and_the_last_page_was_read() {
        let complete = |rows: &[Balance], last, tracked: &Tracked| {
            look(rows, Some(tracked)).is_complete(last, Some(tracked), None, NOW)
        };
        let three = [row("a", Some("1.00")), row("b", None), row("c", Some("2"))];
        assert!(complete(&three, true, &tracked(3, &[])));
        assert!(!complete(&three, false, &tracked(3, &[])), "everybody alone");
        assert!(!complete(&three[..2], true, &tracked(3, &[])), "the last page alone");
        assert!(complete(&three[..2], true, &tracked(3, &["c"])), "nobody waits for whom Rightfoot refused");
        assert!(!complete(&three[1..], true, &tracked(3, &["c"])), "and who was refused does not count");
        assert!(!complete(&[], true, &tracked(0, &[])), "an empty list");
        assert_eq!(look(&three, None).by_status, [(0, 2), (3300, 1)].into());
    }

    #[test]
    fn p9_an_event_is_given_up_by_an_answer_at_or_after_the_deadline_and_by_nothing_else() {
        let shown = Some(Earlier { digest: "d".to_owned(), at: NOW });
        let again = |retry_after, seen| Next::LookAgain { retry_after, seen };
        for answer in [Observation::Answered(()), Observation::NotReady, Observation::Refused] {
            assert_eq!(not_complete(&answer, false, None, None), again(None, None));
            assert_eq!(not_complete(&answer, true, None, None), Next::GiveUp);
            assert_eq!(not_complete(&answer, true, None, shown.as_ref()), Next::GiveUp);
        }
        let pause = Some(Duration::from_secs(7));
        for (silence, retry_after) in [
            (Observation::Unauthorized, None),
            (Observation::Unanswered, None),
            (Observation::RateLimited { retry_after: pause }, pause),
        ] {
            assert_eq!(not_complete(&silence, true, None, None), again(retry_after, None));
        }
        let first = not_complete(&Observation::Answered(()), true, shown.clone(), None);
        assert_eq!(
            first,
            again(None, shown.clone()),
            "a batch that is shown for the first time is looked at once more"
        );
        assert_eq!(
            not_complete(&Observation::Answered(()), true, shown.clone(), shown.as_ref()),
            Next::GiveUp
        );
    }

    #[test]
    fn an_event_waits_two_hours_for_a_batch_that_nobody_knows_and_until_the_deadline_for_any_other() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let (nothing, something) = (Look::default(), look(&[row("a", None)], None));
        let (ours, shown) = (tracked(1, &[]), Earlier { digest: "d".to_owned(), at: NOW });
        assert_eq!(patience(hours(24), None, &nothing, None), hours(2));
        assert_eq!(patience(hours(1), None, &nothing, None), hours(1), "what is set is shorter");
        assert_eq!(patience(hours(24), Some(&ours), &nothing, None), hours(24), "it is tracked");
        assert_eq!(patience(hours(24), None, &something, None), hours(24), "it is shown");
        assert_eq!(patience(hours(24), None, &nothing, Some(&shown)), hours(24), "it was shown");
    }

    #[test]
    fn an_untracked_batch_is_complete_when_two_looks_a_minute_apart_show_the_same() {
        let rows = [row("a", Some("1.00")), row("b", None)];
        let shown = look(&rows, None);
        let at = |secs| NOW.minus(Duration::from_secs(secs));
        let complete = |look: &Look, last, digest: String, seen_at| {
            look.is_complete(last, None, Some(&Earlier { digest, at: seen_at }), NOW)
        };
        assert!(complete(&shown, true, shown.digest(), at(60)));
        assert!(!complete(&shown, true, shown.digest(), at(59)), "too close");
        assert!(!complete(&shown, false, shown.digest(), at(60)), "not to the end");
        assert!(!shown.is_complete(true, None, None, NOW), "a first look");
        assert!(!complete(&Look::default(), true, Look::default().digest(), at(60)), "empty");
        let other = [
            vec![row("a", Some("1.01")), row("b", None)],
            vec![row("a", Some("1.00"))],
            vec![row("a", None)],
        ];
        for other in other {
            assert!(!complete(&look(&other, None), true, shown.digest(), at(60)), "it has changed");
        }
        let turned = look(&[rows[1].clone(), rows[0].clone()], None);
        assert!(complete(&turned, true, shown.digest(), at(60)), "the order does not matter");
    }
}
