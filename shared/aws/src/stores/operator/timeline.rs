//! Timelines: all items under one partition key.

use inbox_core::batch_results::{BatchResults, CompletionResults};
use inbox_core::event::EventKey;

use super::OperatorStore;
use crate::AwsError;
use crate::items::{AlertEffectItem, BatchItem, EventRecord, ScheduleItem, SubmissionItem};
use crate::table::QUERY;
use crate::table::attribute::Attribute;
use crate::table::key::{ALERT_EFFECT_SK_PREFIX, ERASED_ALERT_SK_PREFIX, Key, SUBMITTED_SK, TRACKED_SK};
use crate::table::value::Item;

/// The timeline of one batch, event, schedule or submission: all items under its partition key.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The submission.
    pub submission: Option<SubmissionItem>,
    /// The schedule.
    pub schedule: Option<ScheduleItem>,
    /// The batch.
    pub batch: Option<BatchItem>,
    /// The events, the earliest first.
    pub events: Vec<EventRecord>,
    /// The published alerts of the batch.
    pub alerts: Vec<AlertEffectItem>,
    /// Number of items that could not be read.
    pub unreadable: usize,
}

impl Timeline {
    /// The results of the batch, if it is tracked, or a number of its results is known.
    pub fn batch_results(&self) -> Option<BatchResults> {
        let completion = self.events.iter().find(|it| matches!(it.key, EventKey::RightfootCompletion { .. }));
        match (&self.batch, completion.map(EventRecord::completion_results)) {
            (Some(batch), _) => Some(batch.results(completion)),
            (None, Some(known)) if known != CompletionResults::default() => {
                Some(BatchResults::of(None, None, known))
            }
            (None, _) => None,
        }
    }

    /// Returns `true` if there is no item.
    pub fn is_empty(&self) -> bool {
        self.submission.is_none()
            && self.schedule.is_none()
            && self.batch.is_none()
            && self.events.is_empty()
            && self.alerts.is_empty()
            && self.unreadable == 0
    }

    fn add_item(&mut self, item: &Item) {
        let sk = Key::of_item(item).map(|key| key.sk).unwrap_or_default();
        let is_readable = match sk.as_str() {
            // Batches and schedules have the same sort key. Each type reads only items of its own partitions.
            TRACKED_SK => {
                self.batch = BatchItem::from_item(item);
                self.schedule = ScheduleItem::from_item(item);
                self.batch.is_some() || self.schedule.is_some()
            }
            SUBMITTED_SK => {
                self.submission = SubmissionItem::from_item(item);
                self.submission.is_some()
            }
            effect if effect.starts_with(ALERT_EFFECT_SK_PREFIX) => {
                push(&mut self.alerts, AlertEffectItem::from_item(item))
            }
            // It names nobody, so there is nothing to show.
            erased if erased.starts_with(ERASED_ALERT_SK_PREFIX) => true,
            _ => push(&mut self.events, EventRecord::from_item(item)),
        };
        self.unreadable += usize::from(!is_readable);
    }
}

/// Adds an item that could be read. Returns `false` if there is none.
fn push<T>(all: &mut Vec<T>, item: Option<T>) -> bool {
    let is_readable = item.is_some();
    all.extend(item);
    is_readable
}

impl OperatorStore {
    /// Reads all items under one partition key. One strongly consistent query.
    pub async fn timeline(&self, pk: &str) -> Result<Timeline, AwsError> {
        let query = self.table.query(&Attribute::Pk.equals(pk), &[]).consistent_read(true);
        let mut items = query.into_paginator().items().send();
        let mut timeline = Timeline::default();
        while let Some(item) = items.next().await {
            timeline.add_item(&item.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?);
        }
        // Sort keys are not in the order of time.
        timeline.events.sort_by_key(|event| event.received_at);
        Ok(timeline)
    }
}
