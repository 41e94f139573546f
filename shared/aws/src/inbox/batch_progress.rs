//! The progress of a batch: its completion, and the authorizers whose alerts are known.
//!
//! A caller with a webhook URL can add any number of alert records to a batch, of any size. So the two items that decide
//! what is to be done are read by their keys, and the alerts only where they are needed, and within limits.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::id::Id;
use inbox_core::limits::{ALERT_PAYLOADS_MAX_BYTES, ALERT_RECORDS_MAX, RIGHTFOOT_BODY_MAX_BYTES};
use inbox_core::origin::Origin;
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::completion::CompletionRecord;
use inbox_core::providers::alerted_authorizers;
use inbox_core::rightfoot_api::Amount;
use inbox_core::table_keys::batch_pk;
use inbox_core::time::UnixMillis;

use super::tracking::{ALERT_EFFECT_SK_PREFIX, TRACKED_SK, read_batch, subject_of};
use super::{Inbox, TrackingState, json_blobs};
use crate::AwsError;
use crate::item::{self, EventRecord, Item, text};

const QUERY: &str = "dynamodb:Query";
/// The sort key of a batch's completion event.
const COMPLETED_SK: &str = "completed";
/// The prefix of an alert event's sort key.
const ALERT_SK_PREFIX: &str = "alert#";
/// Attribute: when the API showed the batch complete.
pub(super) const SHOWN_COMPLETE_AT: &str = "shown_complete_at";

/// The state of a tracked batch, without its alerts.
#[derive(Clone, Debug)]
pub struct BatchProgress {
    /// The batch. Its failed authorizers are not loaded yet: see [`Inbox::excluded_authorizers`].
    pub tracked: TrackedBatch,
    /// Its `rev` and times.
    pub tracking: TrackingState,
    /// The record of its completion event.
    pub completion: Option<CompletionRecord>,
    /// Time at which the API showed it complete.
    shown_complete_at: Option<UnixMillis>,
    excluded: Option<Item>,
}

impl BatchProgress {
    /// Time at which it became known to be complete: by a response of the API, or by a record that confirms it.
    pub fn completed_at(&self) -> Option<UnixMillis> {
        let recorded =
            self.completion.as_ref().filter(|completion| completion.confirms_completion(&self.tracked));
        self.shown_complete_at.or(recorded.map(|completion| completion.received_at))
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

impl Inbox {
    /// Reads the state of a batch; `None` if it is not tracked. One strongly consistent read of two items.
    pub async fn batch_progress(&self, batch_id: &Id) -> Result<Option<BatchProgress>, AwsError> {
        let keys = [TRACKED_SK, COMPLETED_SK].map(|sk| item::key(&batch_pk(batch_id), sk));
        let mut items = self.batch_get(keys.into()).await?;
        let mut take = |sk: &str| {
            let at = items.iter().position(|item| item::string(item, "sk") == Some(sk))?;
            Some(items.swap_remove(at))
        };
        let (Some(item), completion) = (take(TRACKED_SK), take(COMPLETED_SK)) else { return Ok(None) };
        let (tracked, tracking) = read_batch(batch_id, &item)
            .zip(TrackingState::from_item(&item))
            .ok_or(AwsError::unreadable_item("dynamodb:BatchGetItem"))?;
        Ok(Some(BatchProgress {
            tracked,
            tracking,
            completion: completion.as_ref().and_then(read_completion),
            shown_complete_at: item::millis(&item, SHOWN_COMPLETE_AT),
            excluded: json_blobs::has_blob(&item).then_some(item),
        }))
    }

    /// Loads the authorizers that Rightfoot excluded when the batch was submitted.
    pub async fn excluded_authorizers(&self, batch: &BatchProgress) -> Result<BTreeSet<Id>, AwsError> {
        match &batch.excluded {
            Some(item) => self.load_ids(item).await,
            None => Ok(BTreeSet::new()),
        }
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
        // An alert that is only claimed does not count yet.
        let effects = self
            .query_sk_prefix(&tracked.batch_id, ALERT_EFFECT_SK_PREFIX)
            .projection_expression("sk, published_at, threshold");
        let mut effects = effects.into_paginator().items().send();
        while let Some(item) = effects.next().await {
            let item = item.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
            let authorizer = item::string(&item, "sk")
                .and_then(|sk| sk.strip_prefix(ALERT_EFFECT_SK_PREFIX))
                .and_then(Id::new);
            let Some(authorizer) = authorizer.filter(|_| item.contains_key("published_at")) else { continue };
            let threshold = item::string(&item, "threshold").and_then(|text| text.parse().ok());
            all.thresholds.extend(threshold.map(|threshold| (authorizer.clone(), threshold)));
            all.authorizers.insert(authorizer);
        }
        let mut start = None;
        loop {
            let remaining = ALERT_RECORDS_MAX.saturating_sub(all.event_count);
            let query =
                self.query_sk_prefix(&tracked.batch_id, ALERT_SK_PREFIX).set_exclusive_start_key(start);
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
        let fits = record.payload_bytes <= RIGHTFOOT_BODY_MAX_BYTES.min(all.payload_budget_bytes);
        // A forged alert must not hide a genuine one, so one that nobody will process, or that came by
        // another URL, does not count.
        if !record.is_quarantined && !has_other_subject && fits {
            all.payload_budget_bytes -= record.payload_bytes;
            all.authorizers.extend(alerted_authorizers(&self.payload_of(&record).await?));
        }
        Ok(())
    }

    /// A strongly consistent query of a batch's items whose sort key has this prefix.
    fn query_sk_prefix(&self, batch_id: &Id, prefix: &str) -> QueryFluentBuilder {
        self.db
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(batch_pk(batch_id)))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            .consistent_read(true)
    }
}

fn read_completion(item: &Item) -> Option<CompletionRecord> {
    Some(CompletionRecord {
        received_at: item::millis(item, "received_at")?,
        origin: item::string(item, "origin").and_then(Origin::from_name),
        subject: subject_of(item),
        is_quarantined: item.contains_key("quarantined_at"),
        results_published_untracked: item::parsed_number(item, super::poller_requeue::PUBLISHED_UNTRACKED),
        is_revised: item.contains_key(super::poller_requeue::REVISION),
    })
}
