//! Admission of events: limits the calls to Rightfoot that the holder of one URL can cause.

use inbox_aws::AwsError;
use inbox_aws::stores::ClaimedEvent;
use inbox_core::event::EventKey;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::quarantine::QuarantineReason;

use crate::EventWorker;

impl EventWorker {
    /// Returns the reason to quarantine an event before Rightfoot is called about its batch, or `None` to admit it.
    ///
    /// Always admits an event about a tracked batch that the API verifies. A revoked subject
    /// does not stop an event that an operator replays.
    pub(crate) async fn check_admission(
        &self,
        event: &ClaimedEvent,
        tracked: Option<&TrackedBatch>,
    ) -> Result<Option<QuarantineReason>, AwsError> {
        let Some(subject) = event.subject.as_ref() else { return Ok(None) };
        let is_completion = matches!(event.key, EventKey::RightfootCompletion { .. });
        // An alert that the API need not confirm may have been forged by anybody who holds the URL.
        let is_verified = is_completion || self.verify_alerts;
        // We have submitted a tracked batch, and the poller may already count its alert as delivered.
        let is_trusted = tracked.is_some() && is_verified;
        // A reprocessed event passes: an operator or the poller has made it due again on purpose.
        if !is_trusted && !event.is_reprocessed() && self.revoked_subjects.contains(subject) {
            return Ok(Some(QuarantineReason::SubjectRevoked));
        }
        // An event that is not verified causes no calls to Rightfoot, so it needs no slot.
        if is_trusted || !is_verified {
            return Ok(None);
        }
        let has_slot = self.processing.acquire_untracked_slot(event, self.clock.now()).await?;
        Ok((!has_slot).then_some(QuarantineReason::UntrackedLimit))
    }
}
