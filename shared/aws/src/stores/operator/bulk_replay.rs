//! Bulk replays: the events of a filter, replayed once each, and under one number.
//!
//! All events of a bulk replay that name an authorizer's alert leave one tag at it, so one of them publishes it. They also
//! carry one replay number: if the worker of one crashes between publication and mark, another event publishes the alert
//! again, and consumers recognise it by its id and number.

use std::collections::BTreeMap;

use inbox_core::audit::AuditEntry;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;

use super::{EventFilter, OperatorStore, ReplayOutcome};
use crate::AwsError;
use crate::items::{BulkReplay, EventRecord};
use crate::stores::PageStart;

/// Events that are read with one call.
const PAGE_ITEMS: usize = 100;

/// The events that a bulk replay is to replay.
#[derive(Clone, Debug)]
pub struct BulkReplayPlan {
    /// The bulk replay.
    pub bulk: BulkReplay,
    /// The done events, the oldest first.
    pub events: Vec<EventKey>,
    /// Their number by type.
    pub by_type: BTreeMap<String, usize>,
    /// Times at which the first and the last of them were received.
    pub received: Option<(UnixMillis, UnixMillis)>,
    /// Number of events that are left out because they are not done, by state.
    pub skipped: BTreeMap<&'static str, usize>,
    /// Number of events that this bulk replay has replayed before.
    pub already_replayed: usize,
    /// True if the filter selects more events than the plan has.
    pub is_truncated: bool,
    /// True if a limit was met before all events of the filter's batches were read: another plan would not have the rest either.
    pub is_incomplete: bool,
}

impl OperatorStore {
    /// Plans the bulk replay of this id: of the events that a filter selects, the oldest first, until `limit` of them are done.
    pub async fn plan_bulk_replay(
        &self,
        bulk_id: &str,
        filter: &EventFilter,
        limit: usize,
        now: UnixMillis,
    ) -> Result<BulkReplayPlan, AwsError> {
        let mut plan = BulkReplayPlan::new(bulk_id);
        let mut start = PageStart::Oldest;
        loop {
            let page = self.list_events(filter, &start, PAGE_ITEMS, now).await?;
            plan.is_incomplete |= page.is_truncated;
            // A page has the newest item first.
            for event in page.items.iter().rev() {
                plan.add(event, limit, now);
                if plan.is_truncated {
                    return Ok(plan);
                }
            }
            let Some(newer) = page.newer else { return Ok(plan) };
            start = PageStart::NewerThan(newer);
        }
    }

    /// Plans the bulk replay of this id: of these events. Events that are not recorded are left out.
    pub async fn plan_bulk_replay_of(
        &self,
        bulk_id: &str,
        keys: &[EventKey],
        now: UnixMillis,
    ) -> Result<BulkReplayPlan, AwsError> {
        let mut plan = BulkReplayPlan::new(bulk_id);
        for key in keys {
            if let Some(event) = self.event(key).await? {
                plan.add(&event, keys.len(), now);
            }
        }
        Ok(plan)
    }

    /// Replays a done event as part of a bulk replay, once.
    pub async fn replay_in_bulk(
        &self,
        key: &EventKey,
        bulk: &BulkReplay,
        by: &AuditEntry,
    ) -> Result<ReplayOutcome, AwsError> {
        self.replay_done_in(Some(bulk), key, by).await
    }
}

impl BulkReplayPlan {
    fn new(bulk_id: &str) -> Self {
        Self {
            bulk: BulkReplay { id: bulk_id.to_owned(), replay: 1 },
            events: Vec::new(),
            by_type: BTreeMap::new(),
            received: None,
            skipped: BTreeMap::new(),
            already_replayed: 0,
            is_truncated: false,
            is_incomplete: false,
        }
    }

    fn add(&mut self, event: &EventRecord, limit: usize, now: UnixMillis) {
        let state = event.lifecycle.state(now);
        if let Some(bulk) = event.bulk_replay.as_ref().filter(|bulk| bulk.id == self.bulk.id) {
            self.already_replayed += 1;
            self.bulk.replay = self.bulk.replay.max(bulk.replay);
        } else if state != EventState::Done {
            *self.skipped.entry(state.as_str()).or_default() += 1;
        } else if self.events.len() == limit {
            self.is_truncated = true;
        } else {
            // The number must be new to each of them.
            self.bulk.replay = self.bulk.replay.max(event.replay + 1);
            let first = self.received.map_or(event.received_at, |(first, _)| first);
            self.received = Some((first, event.received_at));
            *self.by_type.entry(event.event_type.clone()).or_default() += 1;
            self.events.push(event.key.clone());
        }
    }
}
