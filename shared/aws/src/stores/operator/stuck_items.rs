//! Reads of events, and searches for what is stuck: lost events, and problems of the polls.

use std::time::Duration;

use inbox_core::audit::message_expiry;
use inbox_core::due_queue::DueQueue;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::limits::{LIST_EXAMINED_MAX, QUEUE_RETENTION_DAYS};
use inbox_core::time::UnixMillis;

use super::OperatorStore;
use crate::AwsError;
use crate::items::{BatchItem, EventRecord, ScheduleItem, TrackingState};
use crate::table::BATCH_GET_KEYS_MAX;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::Item;

/// A tracked batch or schedule whose polls have a problem.
#[derive(Clone, Debug)]
pub enum TrackedWithProblem {
    /// A batch.
    Batch(Box<BatchItem>),
    /// A schedule.
    Schedule(Box<ScheduleItem>),
}

impl OperatorStore {
    /// Reads an event. One strongly consistent read.
    pub async fn event(&self, key: &EventKey) -> Result<Option<EventRecord>, AwsError> {
        self.table.event(key).await
    }

    /// Loads the payload of an event.
    pub async fn event_payload(&self, event: &EventRecord) -> Result<Vec<u8>, AwsError> {
        self.table.load_payload(&event.payload).await
    }

    /// Lists events that are not done although no queue can hold their message any more, in no order, at most `limit`. Reads a
    /// part of the table, a few dozen megabytes at most: the boolean is `true` if there may be more.
    pub async fn list_lost_events(
        &self,
        limit: usize,
        now: UnixMillis,
    ) -> Result<(Vec<EventRecord>, bool), AwsError> {
        let sent_before = now.minus(Duration::from_secs(QUEUE_RETENTION_DAYS * 86_400));
        let filter = Attribute::DeliveryId
            .exists()
            .and(Attribute::DoneAt.is_missing())
            .and(Attribute::QuarantinedAt.is_missing())
            .and(Attribute::SentAt.is_at_most(&sent_before));
        // A redrive sends the message anew, so it may exist longer than `sent_at` implies.
        let is_lost = |event: &EventRecord| {
            let sent_at = event.lifecycle.sent_at.filter(|_| event.lifecycle.state(now) == EventState::Sent);
            sent_at.is_some_and(|at| message_expiry(at, &event.audit_entries) <= now)
        };
        self.table.scan(&filter, limit, |item| EventRecord::from_item(item).filter(is_lost)).await
    }

    /// Lists tracked batches and schedules whose polls have a problem, among the items that the poller handles: at most
    /// [`LIST_EXAMINED_MAX`], those that are due for longest. The boolean is `true` if there are more.
    pub async fn list_poll_problems(&self) -> Result<(Vec<TrackedWithProblem>, bool), AwsError> {
        let (due_keys, has_more) =
            self.due_index.list_due_keys(DueQueue::Poll, None, LIST_EXAMINED_MAX).await?;
        let mut found = Vec::new();
        for keys in due_keys.chunks(BATCH_GET_KEYS_MAX) {
            let keys = keys.iter().map(|it| Key::new(&it.pk, &it.sk)).collect();
            found.extend(self.table.get_all(keys).await?.iter().filter_map(read_problem));
        }
        Ok((found, has_more))
    }
}

/// Reads a batch or schedule that is still polled and whose polls have a problem.
fn read_problem(item: &Item) -> Option<TrackedWithProblem> {
    let has_problem = |tracking: &TrackingState| tracking.due_at.is_some() && tracking.problem.is_some();
    if let Some(batch) = BatchItem::from_item(item) {
        return has_problem(&batch.tracking).then(|| TrackedWithProblem::Batch(batch.into()));
    }
    let schedule = ScheduleItem::from_item(item)?;
    has_problem(&schedule.tracking).then(|| TrackedWithProblem::Schedule(schedule.into()))
}
