//! Which events Rightfoot is asked about: what whoever holds one URL can make us ask is bounded.

use inbox_aws::AwsError;
use inbox_aws::inbox::ClaimedEvent;
use inbox_core::event::EventKey;
use inbox_core::inbox::QuarantineReason;
use inbox_core::poll::batch::TrackedBatch;

use crate::EventWorker;

impl EventWorker {
    /// Why an event goes to quarantine before Rightfoot is asked about its batch, if it does.
    ///
    /// An event about a tracked batch that is verified never does: we have submitted that, and by then the poller may have
    /// taken an alert for told. What an operator has had worked on again is not turned away because its subject is revoked: he knows.
    pub(crate) async fn check_admission(
        &self,
        event: &ClaimedEvent,
        tracked: Option<&TrackedBatch>,
    ) -> Result<Option<QuarantineReason>, AwsError> {
        let Some(subject) = event.subject() else { return Ok(None) };
        let is_completion = matches!(event.key(), EventKey::RightfootCompletion { .. });
        // An alert that is told unasked is told by whoever made it up.
        let is_verified = is_completion || self.verify_alerts;
        let is_trusted = tracked.is_some() && is_verified;
        if !is_trusted && !event.is_reprocessed && self.revoked_subjects.contains(subject) {
            return Ok(Some(QuarantineReason::SubjectRevoked));
        }
        if is_trusted || !is_verified {
            return Ok(None);
        }
        let has_slot = self.inbox.acquire_untracked_slot(event, self.clock.now()).await?;
        Ok((!has_slot).then_some(QuarantineReason::UntrackedLimit))
    }
}
