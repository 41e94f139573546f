//! Records that the poller makes due again, because the API shows more than came of them.
//!
//! ```text
//!  quarantined           requeue:  due now, rev+1 if rev=seen and quarantined and not requeued so before ── relay ── …
//!  done, results missing revise:   due now, rev+1 if rev=seen and done and not revised before            ── relay ── …
//! ```
//!
//! Each happens once per record: if it is quarantined again, or short of results again, it is left to an operator.

use inbox_core::time::UnixMillis;

use super::PollStore;
use crate::AwsError;
use crate::items::EventRecord;
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;

/// The number that a batch is published as when it is published again.
const SECOND_REVISION: u64 = 2;

impl PollStore {
    /// Requeues a quarantined event that the API confirms. At most once per event.
    pub async fn requeue_quarantined(
        &self,
        event: &EventRecord,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = event
            .restart(now)
            .only_if(Attribute::QuarantinedAt.exists())
            .only_if(Attribute::RequeuedByPollerAt.is_missing())
            .set(Attribute::RequeuedByPollerAt, &now);
        self.table.update_once(update).await
    }

    /// Requeues a done batch that was published with results missing: it is published again, as revision 2. At
    /// most once per event.
    pub async fn requeue_as_revision(
        &self,
        event: &EventRecord,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = event
            .restart(now)
            .only_if(Attribute::DoneAt.exists())
            .only_if(Attribute::Revision.is_missing())
            .set(Attribute::Revision, &SECOND_REVISION);
        self.table.update_once(update).await
    }
}
