//! The record of a batch's completion: does it confirm that the batch is complete, and must it be published again.

use super::batch::TrackedBatch;
use crate::origin::Origin;
use crate::subject::Subject;
use crate::time::UnixMillis;

/// The record of a batch's completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionRecord {
    /// The time at which it was received or found.
    pub received_at: UnixMillis,
    /// The record's origin.
    pub origin: Origin,
    /// The subject of the URL that it came by, if any.
    pub subject: Option<Subject>,
    /// True if the event is quarantined.
    pub is_quarantined: bool,
    /// The number of results that were published while the batch was untracked; `None` if none were.
    pub results_published_untracked: Option<u64>,
    /// True if it was published again since, as a correction.
    pub is_revised: bool,
}

impl CompletionRecord {
    /// Returns `true` if the record shows that the batch is complete, so that the API need not be asked. A
    /// webhook is a hint: it confirms nothing if it came by another URL than the batch's, if its event is
    /// quarantined, or if it was published with results missing.
    pub fn confirms_completion(&self, tracked: &TrackedBatch) -> bool {
        // A polled completion comes from the API itself and needs no subject.
        let is_subject_mismatch = self.origin != Origin::Poll
            && self.subject.as_ref().zip(tracked.subject.as_ref()).is_some_and(|(its, ours)| its != ours);
        !self.is_quarantined
            && !is_subject_mismatch
            && !self.has_fewer_results_than(tracked.expected_results())
    }

    /// Returns `true` if it was published with fewer than `results` results, and not corrected since.
    pub fn has_fewer_results_than(&self, results: u64) -> bool {
        !self.is_revised && self.results_published_untracked.is_some_and(|published| published < results)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Id;

    const NOW: UnixMillis = UnixMillis(1_795_356_000_123);

    fn tracked(subject: Option<&str>) -> TrackedBatch {
        TrackedBatch {
            batch_id: Id::new("b-1").unwrap(),
            subject: subject.map(|subject| subject.parse().unwrap()),
            schedule_id: Id::new("s-1"),
            expected: 3,
            failed_authorizers: [Id::new("c").unwrap()].into(),
            deadline: NOW.plus(Duration::from_secs(3_600)),
            polls: 0,
        }
    }

    fn completion() -> CompletionRecord {
        CompletionRecord {
            received_at: NOW,
            origin: Origin::Webhook,
            subject: Some("ours".parse().unwrap()),
            is_quarantined: false,
            results_published_untracked: None,
            is_revised: false,
        }
    }

    #[test]
    fn p5_a_completion_confirms_by_the_batchs_own_url_by_poll_or_without_a_url_to_compare() {
        let ours = tracked(Some("ours"));
        let by = |subject: Option<&str>| CompletionRecord {
            subject: subject.map(|subject| subject.parse().unwrap()),
            ..completion()
        };
        assert!(by(Some("ours")).confirms_completion(&ours) && by(None).confirms_completion(&ours));
        assert!(!by(Some("another")).confirms_completion(&ours));
        assert!(
            !CompletionRecord { origin: Origin::Replay, ..by(Some("another")) }.confirms_completion(&ours)
        );
        assert!(by(Some("another")).confirms_completion(&tracked(None)), "tracked without a subject");
        assert!(CompletionRecord { origin: Origin::Poll, ..by(None) }.confirms_completion(&ours));
        assert!(!CompletionRecord { is_quarantined: true, ..completion() }.confirms_completion(&ours));
    }

    #[test]
    fn p5_a_completion_published_with_results_missing_confirms_nothing_until_it_is_revised() {
        let ours = tracked(Some("ours"));
        let published =
            |results| CompletionRecord { results_published_untracked: Some(results), ..completion() };
        assert!(
            !published(1).confirms_completion(&ours) && published(2).confirms_completion(&ours),
            "one of the three authorizers was not accepted"
        );
        assert!(CompletionRecord { is_revised: true, ..published(1) }.confirms_completion(&ours));
        assert!(
            published(2).has_fewer_results_than(3)
                && !published(3).has_fewer_results_than(3)
                && !completion().has_fewer_results_than(3)
        );
    }
}
