//! What is known about a batch: whether it is complete, and whose alerts have been told.
//!
//! Whoever holds a URL can add alert records to a batch, as many and as large as he likes. So the two items that say what
//! is to be done are read by their keys, and the alerts only where they are asked for, and within bounds.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::event::{Id, Origin, batch_pk};
use inbox_core::limits::{ALERT_PAYLOADS_MAX_BYTES, ALERT_RECORDS_MAX, RIGHTFOOT_BODY_MAX_BYTES};
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::poll::completion::CompletionRecord;
use inbox_core::providers::alerted_authorizers;
use inbox_core::rightfoot_api::Amount;
use inbox_core::time::UnixMillis;

use super::tracking::{ALERT_EFFECT_SK_PREFIX, TRACKED_SK, read_batch, subject_of};
use super::{Inbox, TrackingState, json_blobs};
use crate::AwsError;
use crate::item::{self, EventRecord, Item, text};

const QUERY: &str = "dynamodb:Query";
/// The place of a batch's completion in its story.
const COMPLETED_SK: &str = "completed";
/// What the place of an alert event begins with.
const ALERT_SK_PREFIX: &str = "alert#";
/// When the API has shown a batch complete.
pub(super) const SHOWN_COMPLETE_AT: &str = "shown_complete_at";

/// What is known about a batch, but for its alerts.
#[derive(Clone, Debug)]
pub struct BatchProgress {
    /// What is watched. Whom Rightfoot refused is not read yet: see [`Inbox::refused`].
    pub tracked: TrackedBatch,
    /// How far it has come.
    pub tracking: TrackingState,
    /// The record of its completion.
    pub completion: Option<CompletionRecord>,
    /// When the API has shown it complete.
    shown_complete_at: Option<UnixMillis>,
    excluded: Option<Item>,
}

impl BatchProgress {
    /// When it became known to be complete: by an answer of the API, or by a record that counts.
    pub fn completed_at(&self) -> Option<UnixMillis> {
        let recorded =
            self.completion.as_ref().filter(|completion| completion.confirms_completion(&self.tracked));
        self.shown_complete_at.or(recorded.map(|completion| completion.received_at))
    }
}

/// Whose alerts have been told, as far as the bounds let us read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertedAuthorizers {
    /// Whose alert an event has told that may still have its effect, or has had it.
    pub authorizers: BTreeSet<Id>,
    /// By which threshold each alert was published, where that is known.
    pub thresholds: BTreeMap<Id, Amount>,
    /// How many alert events there are, or one more than are read.
    pub event_count: usize,
    /// Bytes of payload that may still be loaded.
    payload_budget_bytes: usize,
}

impl Inbox {
    /// What is known about a batch, by one strong read of two items; `None` if it is not watched.
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

    /// Whom Rightfoot refused when the batch was submitted.
    pub async fn excluded_authorizers(&self, batch: &BatchProgress) -> Result<BTreeSet<Id>, AwsError> {
        match &batch.excluded {
            Some(item) => self.load_ids(item).await,
            None => Ok(BTreeSet::new()),
        }
    }

    /// Whose alert an event has told, or has had its effect. One that was given up, or came by another URL than the
    /// batch's, has told nothing. All effects are read, and of the events [`ALERT_RECORDS_MAX`]: whoever is told by one
    /// beyond that is told by the poller as well, and the worker acts once.
    pub async fn already_alerted(&self, tracked: &TrackedBatch) -> Result<AlertedAuthorizers, AwsError> {
        let mut all = AlertedAuthorizers {
            payload_budget_bytes: ALERT_PAYLOADS_MAX_BYTES,
            ..AlertedAuthorizers::default()
        };
        // One that is claimed only is nothing yet.
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
                all.event_count += 1;
                return Ok(all);
            }
        }
    }

    /// Adds whom one alert event tells of, if it tells anything and there is room for its payload.
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
        if !record.is_quarantined && !has_other_subject && fits {
            all.payload_budget_bytes -= record.payload_bytes;
            all.authorizers.extend(alerted_authorizers(&self.payload_of(&record).await?));
        }
        Ok(())
    }

    /// A strong query for what stands below a prefix in the story of a batch.
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
