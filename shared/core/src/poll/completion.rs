//! The record of a batch's completion: whether it says that the batch is complete, and whether what was published of it
//! has to be published once more.

use super::batch::Tracked;
use crate::delivery::Subject;
use crate::event::Origin;
use crate::time::UnixMillis;

/// The record of a batch's completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// When it was received, or found.
    pub received_at: UnixMillis,
    /// How it came to be recorded.
    pub origin: Option<Origin>,
    /// Whose URL it came by, if it came by one.
    pub subject: Option<Subject>,
    /// Whether it is in quarantine.
    pub is_given_up: bool,
    /// How many results were published while nobody tracked the batch; `None` if that has not happened.
    pub published_untracked: Option<u64>,
    /// Whether it has been published once more since.
    pub is_revised: bool,
}

impl Completion {
    /// Whether it shows that the batch is complete, without a question to the API. A webhook is a hint: one by another URL
    /// than the batch's shows nothing, nor does one that was given up, or was published with results missing.
    pub fn counts(&self, tracked: &Tracked) -> bool {
        let is_anothers = self.origin != Some(Origin::Poll)
            && self.subject.as_ref().zip(tracked.subject.as_ref()).is_some_and(|(its, ours)| its != ours);
        !self.is_given_up && !is_anothers && !self.is_short_of(tracked.awaited())
    }

    /// Whether it was published with fewer results than these, and not again since.
    pub fn is_short_of(&self, results: u64) -> bool {
        !self.is_revised && self.published_untracked.is_some_and(|published| published < results)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::Id;

    const NOW: UnixMillis = UnixMillis(1_795_356_000_123);

    fn tracked(subject: Option<&str>) -> Tracked {
        Tracked {
            batch_id: Id::new("b-1").unwrap(),
            subject: subject.map(|subject| subject.parse().unwrap()),
            schedule_id: Id::new("s-1"),
            expected: 3,
            failed: [Id::new("c").unwrap()].into(),
            deadline: NOW.plus(Duration::from_secs(3_600)),
            polls: 0,
        }
    }

    fn completion() -> Completion {
        Completion {
            received_at: NOW,
            origin: Some(Origin::Webhook),
            subject: Some("ours".parse().unwrap()),
            is_given_up: false,
            published_untracked: None,
            is_revised: false,
        }
    }

    #[test]
    fn p5_a_completion_counts_by_the_batchs_own_url_by_poll_or_where_there_is_no_url_to_compare() {
        let ours = tracked(Some("ours"));
        let by = |subject: Option<&str>| Completion {
            subject: subject.map(|subject| subject.parse().unwrap()),
            ..completion()
        };
        assert!(by(Some("ours")).counts(&ours) && by(None).counts(&ours));
        assert!(!by(Some("another")).counts(&ours));
        assert!(!Completion { origin: Some(Origin::Replay), ..by(Some("another")) }.counts(&ours));
        assert!(by(Some("another")).counts(&tracked(None)), "tracked without a subject");
        assert!(Completion { origin: Some(Origin::Poll), ..by(None) }.counts(&ours));
        assert!(!Completion { is_given_up: true, ..completion() }.counts(&ours));
    }

    #[test]
    fn p5_what_was_published_with_results_missing_does_not_count_until_it_is_published_again() {
        let ours = tracked(Some("ours"));
        let published = |results| Completion { published_untracked: Some(results), ..completion() };
        assert!(!published(1).counts(&ours) && published(2).counts(&ours), "of three, one was refused");
        assert!(Completion { is_revised: true, ..published(1) }.counts(&ours));
        assert!(published(2).is_short_of(3) && !published(3).is_short_of(3) && !completion().is_short_of(3));
    }
}
