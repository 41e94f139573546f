//! The admission of an event before Rightfoot is called about its batch: it limits the calls that the holder of one URL can
//! cause.

use crate::quarantine::QuarantineReason;

/// What the admission of an event about a batch depends on. The event was delivered to a URL with a subject; any other event is
/// admitted.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionFacts {
    /// The batch is tracked: this system has submitted it, or was asked to track it.
    pub is_tracked: bool,
    /// The API verifies the event: a completion always, an alert unless `VERIFY_ALERTS` is false.
    pub is_verified: bool,
    /// An operator or the poller has made the event due again on purpose.
    pub is_reprocessed: bool,
    /// The URL's subject is revoked.
    pub is_subject_revoked: bool,
}

/// The admission of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The event is processed.
    Admitted,
    /// The event is processed if its subject has fewer open events about untracked batches than
    /// [`crate::limits::UNTRACKED_OPEN_MAX`].
    NeedsSlot,
    /// The event is quarantined without a call to Rightfoot.
    Rejected(QuarantineReason),
}

impl AdmissionFacts {
    /// Decides the admission.
    pub fn decide(self) -> Admission {
        // We have submitted a tracked batch, and the poller may already count its alert as delivered. But an
        // alert that the API need not confirm may have been forged by anybody who holds the URL.
        let is_trusted = self.is_tracked && self.is_verified;
        if self.is_subject_revoked && !is_trusted && !self.is_reprocessed {
            return Admission::Rejected(QuarantineReason::SubjectRevoked);
        }
        // An event that is not verified causes no calls to Rightfoot, so it needs no slot.
        if is_trusted || !self.is_verified { Admission::Admitted } else { Admission::NeedsSlot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(facts: [bool; 4]) -> Admission {
        let [is_tracked, is_verified, is_reprocessed, is_subject_revoked] = facts;
        AdmissionFacts { is_tracked, is_verified, is_reprocessed, is_subject_revoked }.decide()
    }

    #[test]
    fn an_event_about_an_untracked_batch_needs_a_slot_unless_it_causes_no_calls() {
        assert_eq!(admission([false, true, false, false]), Admission::NeedsSlot);
        assert_eq!(admission([false, true, true, false]), Admission::NeedsSlot, "reprocessed");
        assert_eq!(admission([false, false, false, false]), Admission::Admitted, "not verified");
        assert_eq!(admission([true, true, false, false]), Admission::Admitted, "tracked");
        assert_eq!(admission([true, false, false, false]), Admission::Admitted);
    }

    #[test]
    fn a_revoked_subject_stops_what_is_not_trusted_and_not_reprocessed() {
        let revoked = Admission::Rejected(QuarantineReason::SubjectRevoked);
        assert_eq!(admission([false, true, false, true]), revoked);
        assert_eq!(admission([false, false, false, true]), revoked);
        assert_eq!(admission([true, false, false, true]), revoked, "tracked, but perhaps forged");
        assert_eq!(admission([true, true, false, true]), Admission::Admitted);
        assert_eq!(admission([false, true, true, true]), Admission::NeedsSlot, "reprocessed");
        assert_eq!(admission([false, false, true, true]), Admission::Admitted);
    }
}
