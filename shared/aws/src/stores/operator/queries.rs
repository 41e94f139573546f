//! Lists of events, batches and problems. They read the whole table, a part at a time, so they are in no order.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_core::audit::message_expiry;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::limits::QUEUE_RETENTION_DAYS;
use inbox_core::time::UnixMillis;

use super::OperatorStore;
use crate::AwsError;
use crate::items::{BatchItem, EventRecord, ScheduleItem};
use crate::table::attribute::Attribute;
use crate::table::key::{BATCH_PK_PREFIX, TRACKED_SK};
use crate::table::value::Item;
use crate::table::{ScanCursor, ScanPage};

/// A filter of events; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only events of this provider.
    pub provider: Option<Provider>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Only events in one of these states; empty for any.
    pub states: BTreeSet<EventState>,
    /// Only events received at this time or later.
    pub since: Option<UnixMillis>,
    /// Only events received before this time.
    pub until: Option<UnixMillis>,
}

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

    /// Lists recorded events in no order, at most `limit`. Reads the table, a few dozen megabytes per call at
    /// most; [`ScanPage::next`] says where to go on.
    pub async fn list_events(
        &self,
        event_filter: &EventFilter,
        after: Option<ScanCursor>,
        limit: usize,
        now: UnixMillis,
    ) -> Result<ScanPage<EventRecord>, AwsError> {
        let mut filter = Attribute::DeliveryId.exists();
        if let Some(provider) = event_filter.provider {
            filter = filter.and(Attribute::Pk.begins_with(&format!("{}#", provider.as_str())));
        }
        if let Some(event_type) = &event_filter.event_type {
            filter = filter.and(Attribute::Type.equals(event_type));
        }
        if let Some(since) = event_filter.since {
            filter = filter.and(Attribute::ReceivedAt.is_at_least(&since));
        }
        if let Some(until) = event_filter.until {
            filter = filter.and(Attribute::ReceivedAt.is_below(&until));
        }
        // The state is derived from times and never stored, so DynamoDB cannot filter by it.
        let matches = |event: &EventRecord| {
            event_filter.states.is_empty() || event_filter.states.contains(&event.lifecycle.state(now))
        };
        self.table.scan(&filter, after, limit, |item| EventRecord::from_item(item).filter(matches)).await
    }

    /// Lists events that are not done although no queue can hold their message any more. Reads a part of the
    /// table, as [`Self::list_events`] does: `next` is `None` if that was all.
    pub async fn list_lost_events(
        &self,
        limit: usize,
        now: UnixMillis,
    ) -> Result<ScanPage<EventRecord>, AwsError> {
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
        self.table.scan(&filter, None, limit, |item| EventRecord::from_item(item).filter(is_lost)).await
    }

    /// Lists batches that are or were tracked, in no order, as [`Self::list_events`] does.
    pub async fn list_batches(
        &self,
        after: Option<ScanCursor>,
        limit: usize,
        matches: impl Fn(&BatchItem) -> bool,
    ) -> Result<ScanPage<BatchItem>, AwsError> {
        let filter = Attribute::Sk.equals(TRACKED_SK).and(Attribute::Pk.begins_with(BATCH_PK_PREFIX));
        self.table.scan(&filter, after, limit, |item| BatchItem::from_item(item).filter(&matches)).await
    }

    /// Lists tracked batches and schedules whose polls have a problem, in no order, as [`Self::list_events`] does.
    pub async fn list_poll_problems(&self, limit: usize) -> Result<ScanPage<TrackedWithProblem>, AwsError> {
        let filter = Attribute::Sk
            .equals(TRACKED_SK)
            .and(Attribute::Due.exists())
            .and(Attribute::PollProblem.exists());
        let read = |item: &Item| {
            let batch = BatchItem::from_item(item).map(|batch| TrackedWithProblem::Batch(batch.into()));
            batch.or_else(|| {
                ScheduleItem::from_item(item).map(|schedule| TrackedWithProblem::Schedule(schedule.into()))
            })
        };
        self.table.scan(&filter, None, limit, read).await
    }
}
