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
use crate::table::update::Update;
use crate::table::value::ToAttribute;

/// The number that a batch is published as when it is published again.
const SECOND_REVISION: u64 = 2;

impl PollStore {
    /// Requeues a quarantined event that the API confirms. At most once per event.
    pub async fn requeue_quarantined(
        &self,
        event: &EventRecord,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = event.restart(now).only_if(Attribute::QuarantinedAt.exists());
        self.correct_once(update, Attribute::RequeuedByPollerAt, &now).await
    }

    /// Requeues a done batch that was published with results missing: it is published again, as revision 2. At
    /// most once per event.
    pub async fn requeue_as_revision(
        &self,
        event: &EventRecord,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = event.restart(now).only_if(Attribute::DoneAt.exists());
        self.correct_once(update, Attribute::Revision, &SECOND_REVISION).await
    }

    /// Applies a correction, unless its mark shows that it was applied before.
    async fn correct_once(
        &self,
        update: Update,
        mark: Attribute,
        value: &impl ToAttribute,
    ) -> Result<WriteOutcome, AwsError> {
        self.table.update_once(update.only_if(mark.is_missing()).set(mark, value)).await
    }
}
