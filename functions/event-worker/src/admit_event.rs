//! Admission of events: reads and writes what [`inbox_core::effect::admission`] decides about.

use inbox_aws::AwsError;
use inbox_aws::stores::ClaimedEvent;
use inbox_core::effect::admission::{Admission, AdmissionFacts};
use inbox_core::event::EventKey;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::quarantine::QuarantineReason;

use crate::EventWorker;

impl EventWorker {
    /// Returns the reason to quarantine an event before Rightfoot is called about its batch, or `None` to admit it.
    pub(crate) async fn check_admission(
        &self,
        event: &ClaimedEvent,
        tracked: Option<&TrackedBatch>,
    ) -> Result<Option<QuarantineReason>, AwsError> {
        let Some(subject) = event.subject.as_ref() else { return Ok(None) };
        let is_completion = matches!(event.key, EventKey::RightfootCompletion { .. });
        let facts = AdmissionFacts {
            is_tracked: tracked.is_some(),
            is_verified: is_completion || self.verify_alerts,
            is_reprocessed: event.is_reprocessed(),
            is_subject_revoked: self.revoked_subjects.contains(subject),
        };
        match facts.decide() {
            Admission::Admitted => Ok(None),
            Admission::Rejected(reason) => Ok(Some(reason)),
            Admission::NeedsSlot => {
                let has_slot = self.processing.acquire_untracked_slot(event, self.clock.now()).await?;
                Ok((!has_slot).then_some(QuarantineReason::UntrackedLimit))
            }
        }
    }
}
