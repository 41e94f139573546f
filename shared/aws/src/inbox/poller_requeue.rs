//! Records that the poller finds where it was to record something: what the API shows may be more than became of them.
//!
//! ```text
//!  given up             give back: due now, rev+1 if rev=seen and quarantined and never given back ── relay ── …
//!  done, results missed revise:    due now, rev+1 if rev=seen and done and never revised           ── relay ── …
//! ```
//!
//! Each happens once to a record: what is given up again, or is short again, is an operator's.

use inbox_core::inbox::DueQueue;
use inbox_core::time::UnixMillis;

use super::replay::{RESTART_REMOVE, RESTART_SET};
use super::{EventView, Inbox, WriteOutcome, past_cycles};
use crate::AwsError;
use crate::conditional;
use crate::item::{self, number, text};

/// When the poller has given a record back out of quarantine.
const REQUEUED_BY_POLLER_AT: &str = "given_back_at";
/// How many results a batch had when it was published while nobody tracked it.
pub(super) const PUBLISHED_UNTRACKED: &str = "published_untracked";
/// As which revision a batch is published: absent for the first.
pub(super) const REVISION: &str = "revision";

impl Inbox {
    /// Puts an event on its way again that was given up although the API shows what it tells; once at most.
    pub async fn requeue_quarantined(
        &self,
        event: &EventView,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.requeue_once(event, "quarantined_at", (REQUEUED_BY_POLLER_AT, now.0), now).await
    }

    /// Has a batch published once more, as its second revision, that was published with results missing; once at most.
    pub async fn requeue_as_revision(
        &self,
        event: &EventView,
        now: UnixMillis,
    ) -> Result<WriteOutcome, AwsError> {
        self.requeue_once(event, "done_at", (REVISION, 2), now).await
    }

    /// Makes an event due that has come to this end, and marks that it was.
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
