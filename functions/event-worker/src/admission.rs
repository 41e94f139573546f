//! Which events Rightfoot is asked about: what whoever holds one URL can make us ask is bounded.

use inbox_aws::Fault;
use inbox_aws::inbox::Work;
use inbox_core::event::EventKey;
use inbox_core::inbox::Reason;
use inbox_core::poll::batch::Tracked;

use crate::EventWorker;

impl EventWorker {
    /// Why an event goes to quarantine before Rightfoot is asked about its batch, if it does.
    ///
    /// An event about a tracked batch never does: we have submitted that, and by then the poller may have taken an alert for
    /// told. What an operator has had worked on again is not turned away because its subject is revoked: he knows.
    pub(crate) async fn turned_away(
        &self,
        work: &Work,
        tracked: Option<&Tracked>,
    ) -> Result<Option<Reason>, Fault> {
        let Some(subject) = work.subject().filter(|_| tracked.is_none()) else { return Ok(None) };
        if !work.by_operator && self.revoked.contains(subject) {
            return Ok(Some(Reason::SubjectRevoked));
        }
        // An alert that is told unasked is done at once.
        let is_completion = matches!(work.key(), EventKey::RightfootCompletion { .. });
        if !is_completion && !self.verify_alerts {
            return Ok(None);
        }
        let is_counted = self.inbox.open_untracked(work, self.clock.now()).await?;
        Ok((!is_counted).then_some(Reason::UntrackedLimit))
    }
}
