//! The progress of a batch: its completion, and the authorizers whose alerts are known.
//!
//! A caller with a webhook URL can add any number of alert records to a batch, of any size. So the two items that decide
//! what is to be done are read by their keys, and the alerts only where they are needed, and within limits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;

use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::limits::{ALERT_PAYLOADS_MAX_BYTES, ALERT_RECORDS_MAX, RIGHTFOOT_BODY_MAX_BYTES};
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::completion::CompletionRecord;
use inbox_core::providers::alerted_authorizers;
use inbox_core::rightfoot_api::Amount;
use inbox_core::time::UnixMillis;

use super::PollStore;
use crate::AwsError;
use crate::items::{AlertEffectItem, BatchItem, EventRecord};
use crate::table::attribute::Attribute;
use crate::table::key::{ALERT_EFFECT_SK_PREFIX, ALERT_SK_PREFIX, Key};
use crate::table::value::Item;
use crate::table::{BATCH_GET, QUERY};

/// A tracked batch and its completion, without its alerts.
#[derive(Clone, Debug)]
pub struct BatchProgress {
    /// The batch. Its failed authorizers are not loaded yet: see [`PollStore::excluded_authorizers`].
    batch: BatchItem,
    /// The record of its completion event.
    pub completion: Option<CompletionRecord>,
}

impl BatchProgress {
    /// Time at which it became known to be complete: by a response of the API, or by a record that confirms it.
    pub fn completed_at(&self) -> Option<UnixMillis> {
        let recorded =
            self.completion.as_ref().filter(|completion| completion.confirms_completion(&self.tracked));
        self.shown_complete_at.or(recorded.map(|completion| completion.received_at))
    }
}

impl Deref for BatchProgress {
    type Target = BatchItem;

    fn deref(&self) -> &BatchItem {
        &self.batch
    }
}

impl DerefMut for BatchProgress {
    fn deref_mut(&mut self) -> &mut BatchItem {
        &mut self.batch
    }
}

/// The authorizers of a batch with a known alert, as far as the limits allow to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertedAuthorizers {
    /// Authorizers whose alert was published, or is named by an event that may still be processed.
    pub authorizers: BTreeSet<Id>,
    /// The threshold that each alert was published with, where that is known.
    pub thresholds: BTreeMap<Id, Amount>,
    /// The number of alert events; one more than were read if the limit was reached.
    pub event_count: usize,
    /// Payload bytes that may still be loaded.
    payload_budget_bytes: usize,
}

impl PollStore {
    /// Reads the state of a batch; `None` if it is not tracked. One strongly consistent read of two items.
    pub async fn batch_progress(&self, batch_id: &Id) -> Result<Option<BatchProgress>, AwsError> {
        let tracked_key = Key::batch(batch_id);
        let completion_key = Key::event(&EventKey::RightfootCompletion { batch_id: batch_id.clone() });
        let items = self.table.get_all(vec![tracked_key.clone(), completion_key.clone()]).await?;
        let find = |key: &Key| items.iter().find(|item| Key::of_item(item).as_ref() == Some(key));
        let Some(tracked) = find(&tracked_key) else { return Ok(None) };
        let batch = BatchItem::from_item(tracked).ok_or(AwsError::unreadable_item(BATCH_GET))?;
        let completion = match find(&completion_key) {
            Some(item) => {
                let record = EventRecord::from_item(item).ok_or(AwsError::unreadable_item(BATCH_GET))?;
                Some(completion_record(record))
            }
            None => None,
        };
        Ok(Some(BatchProgress { batch, completion }))
    }

    /// Loads the authorizers that Rightfoot excluded when the batch was submitted.
    pub async fn excluded_authorizers(&self, progress: &BatchProgress) -> Result<BTreeSet<Id>, AwsError> {
        self.table.load_ids(progress.excluded.as_ref()).await
    }

    /// Reads the authorizers of a batch whose alert is known: published, or named by an event.
    ///
    /// An event that is quarantined, or came by another subject's URL, does not count. All published alerts are
    /// read, and of the events [`ALERT_RECORDS_MAX`]: an authorizer that only a later event names is found by
    /// the poller as well, and the worker publishes once.
    pub async fn already_alerted(&self, tracked: &TrackedBatch) -> Result<AlertedAuthorizers, AwsError> {
        let mut all = AlertedAuthorizers {
            payload_budget_bytes: ALERT_PAYLOADS_MAX_BYTES,
            ..AlertedAuthorizers::default()
        };
        // Without the set of publishers, which may be large.
        let effects = self.query_sk_prefix(
            &tracked.batch_id,
            ALERT_EFFECT_SK_PREFIX,
            &[Attribute::Pk, Attribute::Sk, Attribute::PublishedAt, Attribute::Threshold],
        );
        let mut effects = effects.into_paginator().items().send();
        while let Some(item) = effects.next().await {
            let item = item.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
            // An alert that is only claimed does not count yet.
            let effect = AlertEffectItem::from_item(&item).filter(|effect| effect.published_at.is_some());
            let Some(effect) = effect else { continue };
            all.thresholds.extend(effect.threshold.map(|threshold| (effect.authorizer.clone(), threshold)));
            all.authorizers.insert(effect.authorizer);
        }
        let mut start = None;
        loop {
            let remaining = ALERT_RECORDS_MAX.saturating_sub(all.event_count);
            let query =
                self.query_sk_prefix(&tracked.batch_id, ALERT_SK_PREFIX, &[]).set_exclusive_start_key(start);
            let query = query.limit(i32::try_from(remaining).unwrap_or(i32::MAX));
            let page = query.send().await.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
            all.event_count += page.items().len();
            for item in page.items() {
                self.add_alerted(item, tracked, &mut all).await?;
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(all);
            }
            if all.event_count >= ALERT_RECORDS_MAX {
                // One more than were read: there are others.
                all.event_count += 1;
                return Ok(all);
            }
        }
    }

    /// Adds the authorizers of one alert event, if it counts and its payload fits into the budget.
    async fn add_alerted(
        &self,
        item: &Item,
        tracked: &TrackedBatch,
        all: &mut AlertedAuthorizers,
    ) -> Result<(), AwsError> {
        let record = EventRecord::from_item(item).ok_or(AwsError::unreadable_item(QUERY))?;
        let has_other_subject =
            tracked.subject.as_ref().zip(record.subject.as_ref()).is_some_and(|(ours, its)| ours != its);
        let bytes = record.payload.bytes;
        let fits = bytes <= RIGHTFOOT_BODY_MAX_BYTES.min(all.payload_budget_bytes);
        // A forged alert must not hide a genuine one, so one that nobody will process, or that came by
        // another URL, does not count. One that was erased names nobody any more.
        let counts = !record.is_quarantined() && !has_other_subject && record.payload.erased_at().is_none();
        if counts && fits {
            all.payload_budget_bytes -= bytes;
            all.authorizers.extend(alerted_authorizers(&self.table.load_payload(&record.payload).await?));
        }
        Ok(())
    }

    /// A strongly consistent query of a batch's items whose sort key has this prefix: of these attributes, or of all if none is
    /// named.
    fn query_sk_prefix(&self, batch_id: &Id, prefix: &str, attributes: &[Attribute]) -> QueryFluentBuilder {
        let Key { pk, .. } = Key::batch(batch_id);
        let condition = Attribute::Pk.equals(&pk).and(Attribute::Sk.begins_with(prefix));
        self.table.query(&condition, attributes).consistent_read(true)
    }
}

fn completion_record(record: EventRecord) -> CompletionRecord {
    CompletionRecord {
        received_at: record.received_at,
        origin: record.origin,
        is_quarantined: record.is_quarantined(),
        results_published_untracked: record.published_untracked,
        is_revised: record.revision.is_some(),
        subject: record.subject,
    }
}
