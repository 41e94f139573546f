//! The table `inbox`: every write, and the condition that guards it.
//!
//! ```text
//!  handler   put(rev 1, due +30s) ── send ── mark if rev=1
//!  relay                    claim: rev+1, due_at+=backoff if rev=seen ── send ── mark if rev=claimed
//!  worker                                                 claim event ── effect ── done if claim=mine
//!                                                            └ not yet: rev+1, due again, claim dropped
//!  poller    defer: rev+1, due_at=later if rev=seen ── ask ── record the event ── finish if rev=seen+1
//!                                                                  └ recorded, but quarantined or published short: due again, once
//!  operator  due again, rev+1 if rev=seen and (done, quarantined, or declared lost)
//! ```
//!
//! `rev` only grows, and every write that changes the state of an event, a batch or a schedule names the `rev`, or the
//! claim, that it has read: a late mark can neither undo a claim nor hide one. (Expediting a schedule is the exception: it
//! changes only a time.) A record is in the index `due` only while it has work left, and it has an `expires_at` only while
//! it has none.

mod alert_claims;
mod batch_progress;
mod bound_subjects;
mod due_index;
mod json_blobs;
mod outbox;
mod past_cycles;
mod poll_problem;
mod poller_requeue;
mod processing;
mod quarantine;
mod queries;
mod replay;
mod submission_release;
mod submissions;
mod table_scan;
mod tracking;
mod transaction;
mod untracked_quota;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use inbox_core::audit::AuditEntry;
use inbox_core::delivery::{Provider, Verified, VerifiedBy};
use inbox_core::due_queue::{DueQueue, first_due_at};
use inbox_core::duplicates::{DeliveryIdentity, RecordOutcome, classify_existing};
use inbox_core::event::{Event, EventKey, payload_hash};
use inbox_core::expiry::{parts_expiry, quarantine_expiry, record_expiry};
use inbox_core::id::Id;
use inbox_core::message::parse_dataref;
use inbox_core::quarantine::{QuarantineId, QuarantineReason};
use inbox_core::subject::Subject;
use inbox_core::table_keys::batch_pk;
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::AwsError;
use crate::conditional::{self, condition_failed, existing_item};
use crate::item::{self, EventRecord, Item, PayloadLocation, SCHEMA_VERSION, binary, number, text};
use crate::payload;

pub use alert_claims::{AcquiredAlert, AlertClaim};
pub use batch_progress::{AlertedAuthorizers, BatchProgress};
pub use due_index::{DueKey, DuePage, DueScan};
pub use outbox::{ClaimedRecord, DueRecord, DueRecords, RelayClaim};
pub use past_cycles::PastCycle;
pub use poll_problem::TrackedWithProblem;
pub use processing::{ClaimedEvent, EventClaim};
pub use quarantine::QuarantinedItem;
pub use queries::{AlertView, BatchView, EventFilter, EventView, ScheduleView, SubmissionView, Timeline};
pub use replay::ReplayOutcome;
pub use submission_release::ReleaseOutcome;
pub use submissions::{
    BeginOutcome, CompleteOutcome, Created, NewSubmission, StoredSubmission, TrackOutcome,
};
pub use table_scan::{ScanCursor, ScanPage};
pub use tracking::{ScheduleProgress, TrackingState};

/// The `rev` of a new item.
const INITIAL_REV: u64 = 1;

/// Reads and writes the table `inbox`.
#[derive(Clone, Debug)]
pub struct Inbox {
    db: Client,
    table: String,
    retention_days: u64,
}

/// Outcome of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The write was applied.
    Applied,
    /// Another writer was first; nothing was changed.
    Conflict,
}

impl Inbox {
    /// Creates a client of this table. A finished record is kept for `retention_days`, at least thirty.
    pub fn new(db: Client, table: impl Into<String>, retention_days: u64) -> Self {
        Self { db, table: table.into(), retention_days }
    }

    /// Returns `true` if the event is recorded. One strongly consistent read.
    pub(crate) async fn is_recorded(&self, key: &EventKey) -> Result<bool, AwsError> {
        Ok(self.get_item(item::key(&key.pk(), &key.sk())).await?.is_some())
    }

    /// Records an event: payload parts first, then one conditional put, which is the commit point. After an
    /// error the outcome is unknown.
    pub async fn record(&self, event: &Event, delivery_id: &str) -> Result<RecordOutcome, AwsError> {
        self.record_with_audit(event, delivery_id, None).await
    }

    /// Records an event from quarantine, like [`Inbox::record`]; `by` becomes its first audit entry.
    pub async fn record_replayed(
        &self,
        event: &Event,
        delivery_id: &str,
        by: &AuditEntry,
    ) -> Result<RecordOutcome, AwsError> {
        self.record_with_audit(event, delivery_id, Some(by)).await
    }

    async fn record_with_audit(
        &self,
        event: &Event,
        delivery_id: &str,
        by: Option<&AuditEntry>,
    ) -> Result<RecordOutcome, AwsError> {
        let payload = event.verified().body();
        let received_at = event.verified().received_at();
        let identity = DeliveryIdentity {
            delivery_id: delivery_id.to_owned(),
            payload_hash: payload_hash(payload),
            idempotency_key: event.idempotency_key().map(str::to_owned),
            origin: event.origin(),
        };
        // An event from quarantine was received long ago: its parts are kept from the replay on.
        let expire_at = parts_expiry(by.map_or(received_at, |by| by.at), self.retention_days);
        let stored = payload::store(&self.db, &self.table, payload, expire_at).await?;
        let mut record = new_record_item(event, &identity, &stored);
        record.extend(by.into_iter().flat_map(replay::replay_attributes));
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(record))
            // The first put wins. The existing item comes back with the error, to compare the duplicate with
            // it.
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(RecordOutcome::New),
            Err(error) if condition_failed(&error) => {
                // Without the old item there is nothing to compare; the event is recorded in any case.
                let old = existing_item(&error).and_then(item::delivery_identity);
                Ok(old.map_or(RecordOutcome::EXACT_DUPLICATE, |old| classify_existing(&old, &identity)))
            }
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:PutItem", &error)),
        }
    }

    /// Marks a new event as sent by the webhook function. Conflicts if the relay has claimed the record.
    pub async fn mark_new_sent(&self, key: &EventKey, now: UnixMillis) -> Result<WriteOutcome, AwsError> {
        self.mark_sent(key, INITIAL_REV, now).await
    }

    /// The subject that a batch was submitted under, if it is tracked. One strongly consistent read.
    pub async fn tracked_subject(&self, batch_id: &Id) -> Result<Option<String>, AwsError> {
        let item = self.get_item(item::key(&batch_pk(batch_id), "tracked")).await?;
        Ok(item.as_ref().and_then(|tracked| item::string(tracked, "subject")).map(str::to_owned))
    }

    /// Quarantines verified bytes that cannot be processed (P7). The same bytes again are counted, not stored
    /// twice, and open a closed item again.
    pub async fn quarantine_delivery(
        &self,
        verified: &Verified,
        reason: QuarantineReason,
    ) -> Result<(), AwsError> {
        let (payload, now) = (verified.body(), verified.received_at());
        let hash = payload_hash(payload);
        let expire_at = parts_expiry(now, self.retention_days);
        let stored = payload::store(&self.db, &self.table, payload, expire_at).await?;
        let mut attributes = payload_attributes(&stored, &hash, payload.len());
        // Whether a stale delivery may be replayed depends on the age of its signature.
        if let VerifiedBy::Signature { signed_at } = verified.verified_by() {
            attributes.insert("signed_at".to_owned(), number(signed_at.0));
        }
        attributes
            .extend(verified.storable_headers().map(|(name, value)| (format!("header_{name}"), text(value))));
        self.put_quarantined((verified.provider(), verified.subject(), &hash), attributes, reason, now).await
    }

    /// The payload that a message's `dataref` points to: exactly the verified bytes.
    ///
    /// `None` if the reference is not one of this inbox's, or the event is not recorded.
    pub async fn resolve_dataref(&self, dataref: &str) -> Result<Option<Vec<u8>>, AwsError> {
        let Some(key) = parse_dataref(dataref) else { return Ok(None) };
        match self.get_item(item::key(&key.pk(), &key.sk())).await? {
            Some(item) => {
                let record =
                    EventRecord::from_item(&item).ok_or(AwsError::unreadable_item("dynamodb:GetItem"))?;
                self.payload_of(&record).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn payload_of(&self, record: &EventRecord) -> Result<Vec<u8>, AwsError> {
        let hash = &record.identity.payload_hash;
        payload::load(&self.db, &self.table, &record.payload_location, hash, record.payload_bytes).await
    }

    async fn mark_sent(&self, key: &EventKey, rev: u64, now: UnixMillis) -> Result<WriteOutcome, AwsError> {
        self.update_at_rev(
            item::key(&key.pk(), &key.sk()),
            rev,
            // The expiry is set here and not only by the worker, because a deployment may have no worker.
            "sent_at = :now, expires_at = :at REMOVE due, due_at",
            [(":now", number(now.0)), (":at", number(record_expiry(now, self.retention_days).0))],
        )
        .await
    }

    /// Updates an existing due item on the condition that its `rev` is still the one read.
    async fn update_at_rev<const N: usize>(
        &self,
        key: Item,
        rev: u64,
        set: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<WriteOutcome, AwsError> {
        self.update_at_rev_if(key, rev, None, set, values).await
    }

    /// Updates as [`Inbox::update_at_rev`], on one more condition with its value.
    async fn update_at_rev_if<const N: usize>(
        &self,
        key: Item,
        rev: u64,
        and: Option<(&str, (&str, AttributeValue))>,
        set: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<WriteOutcome, AwsError> {
        let (condition, value) = and.unzip();
        let condition = condition.map(|and| format!(" AND {and}")).unwrap_or_default();
        let mut update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            // A mark leaves `rev` unchanged but removes `due`, so a second writer with the same `rev` fails.
            .condition_expression(format!("rev = :seen AND attribute_exists(due){condition}"))
            .expression_attribute_values(":seen", number(rev));
        for (name, value) in values.into_iter().chain(value) {
            update = update.expression_attribute_values(name, value);
        }
        conditional::update(update, set).await
    }

    /// Creates or reopens the quarantined item of this provider, subject and payload hash.
    async fn put_quarantined(
        &self,
        (provider, subject, hash): (Provider, Option<&Subject>, &str),
        mut attributes: Item,
        reason: QuarantineReason,
        now: UnixMillis,
    ) -> Result<(), AwsError> {
        let id = QuarantineId::new(provider, subject, hash)
            .ok_or(AwsError::unreadable_item("dynamodb:UpdateItem"))?;
        let pk = id.pk();
        attributes.extend(subject.map(|subject| ("subject".to_owned(), text(subject.as_str()))));
        let fixed = [
            ("due", text(DueQueue::Quarantine.shard(&pk))),
            ("reason", text(reason.as_str())),
            ("last_received_at", number(now.0)),
            // The only items that are due and expire: one that nobody closes goes after 90 days.
            ("expires_at", number(quarantine_expiry(now).0)),
        ];
        // Names are aliased: header names contain `-`, which an expression does not allow.
        let mut names = HashMap::new();
        let mut values = HashMap::from([(":one".to_owned(), number(1)), (":now".to_owned(), number(now.0))]);
        // The place in the index does not change when the same bytes come again.
        let first = ["first_received_at", "due_at"];
        let mut sets = first.map(|it| format!("{it} = if_not_exists(first_received_at, :now)")).to_vec();
        let all = attributes.into_iter().chain(fixed.map(|(name, value)| (name.to_owned(), value)));
        for (index, (name, value)) in all.enumerate() {
            names.insert(format!("#k{index}"), name);
            values.insert(format!(":k{index}"), value);
            sets.push(format!("#k{index} = :k{index}"));
        }
        // No condition: every delivery counts, and a repeated request only counts one too many.
        self.db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&pk, quarantine::DELIVERY_SK)))
            .update_expression(format!(
                "SET {} REMOVE closed_at, closed_as ADD deliveries :one",
                sets.join(", ")
            ))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk_error("dynamodb:UpdateItem", &error))
    }

    async fn get_item(&self, key: Item) -> Result<Option<Item>, AwsError> {
        let get = self.db.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        match get.send().await {
            Ok(answer) => Ok(answer.item),
            Err(error) => Err(AwsError::from_sdk_error("dynamodb:GetItem", &error)),
        }
    }
}

fn new_record_item(event: &Event, identity: &DeliveryIdentity, stored: &PayloadLocation) -> Item {
    let (key, received_at) = (event.key(), event.verified().received_at());
    let mut record = item::key(&key.pk(), &key.sk());
    record.extend(payload_attributes(stored, &identity.payload_hash, event.verified().body().len()));
    let mut set = |name: &str, value| record.insert(name.to_owned(), value);
    set("v", number(SCHEMA_VERSION));
    set("type", text(event.event_type()));
    set("origin", text(event.origin().as_str()));
    set("received_at", number(received_at.0));
    // Shows whether a record that exists is this delivery's own put, whose response was lost.
    set("delivery_id", text(&identity.delivery_id));
    set("rev", number(INITIAL_REV));
    set("attempts", number(0));
    // Due from the start: if the function dies before it enqueues the event, the relay does.
    set("due", text(DueQueue::Outbox.shard(&key.pk())));
    set("due_at", number(first_due_at(received_at).0));
    if let Some(idempotency_key) = &identity.idempotency_key {
        set("idempotency_key", text(idempotency_key));
    }
    if let Some(subject) = event.verified().subject() {
        set("subject", text(subject.as_str()));
    }
    record
}

fn payload_attributes(stored: &PayloadLocation, hash: &str, payload_bytes: usize) -> Item {
    let mut attributes = HashMap::from([
        ("payload_hash".to_owned(), text(hash)),
        ("payload_bytes".to_owned(), number(payload_bytes)),
    ]);
    match stored {
        PayloadLocation::Inline(payload) => {
            attributes.extend([("payload".to_owned(), binary(payload.as_slice()))])
        }
        PayloadLocation::Parts { names, expire_at: UnixSecs(expire_at) } => attributes.extend([
            ("parts".to_owned(), AttributeValue::L(names.iter().map(text).collect())),
            ("parts_expire_at".to_owned(), number(expire_at)),
        ]),
    }
    attributes
}
