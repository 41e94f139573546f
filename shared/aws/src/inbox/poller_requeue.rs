//! Records that the poller makes due again, because the API shows more than came of them.
//!
//! ```text
//!  quarantined           requeue:  due now, rev+1 if rev=seen and quarantined and not requeued so before ── relay ── …
//!  done, results missing revise:   due now, rev+1 if rev=seen and done and not revised before            ── relay ── …
//! ```
//!
//! Each happens once per record: if it is quarantined again, or short of results again, it is left to an operator.

use inbox_core::due_queue::DueQueue;
use inbox_core::time::UnixMillis;

use super::replay::{RESTART_REMOVE, RESTART_SET};
use super::{EventView, Inbox, WriteOutcome, past_cycles};
use crate::AwsError;
use crate::conditional;
use crate::item::{self, number, text};

/// Attribute: when the poller requeued a quarantined record.
const REQUEUED_BY_POLLER_AT: &str = "given_back_at";
/// Attribute: how many results a batch had when it was published untracked.
pub(super) const PUBLISHED_UNTRACKED: &str = "published_untracked";
/// Attribute: the revision as which a batch is published; absent for the first.
pub(super) const REVISION: &str = "revision";

impl Inbox {
    /// Requeues a quarantined event that the API confirms. At most once per event.
    pub async fn requeue_quarantined(
        &self,
        event: &EventView,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.requeue_once(event, "quarantined_at", (REQUEUED_BY_POLLER_AT, now.0), now).await
    }

    /// Requeues a done batch that was published with results missing: it is published again, as revision 2. At
    /// most once per event.
    pub async fn requeue_as_revision(
        &self,
        event: &EventView,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.requeue_once(event, "done_at", (REVISION, 2), now).await
    }

    /// Makes an event that has ended in the state `end` due again, and sets the attribute `mark`.
    async fn requeue_once(
        &self,
        event: &EventView,
        end: &str,
        (mark, value): (&str, i64),
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&event.key.pk(), &event.key.sk())))
            .condition_expression(format!(
                "rev = :seen AND attribute_exists({end}) AND attribute_not_exists({mark})"
            ))
            .expression_attribute_values(":seen", number(event.rev))
            .expression_attribute_values(":mark", number(value))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":shard", text(DueQueue::Outbox.shard(&event.key.pk())))
            .expression_attribute_values(":now", number(now.0))
            .expression_attribute_values(":cycles", past_cycles::with_current_cycle(event));
        conditional::update(update, &format!("{RESTART_SET}, {mark} = :mark {RESTART_REMOVE}")).await
    }
}
