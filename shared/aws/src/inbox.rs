//! The table: what is written when, and by whom.
//!
//! ```text
//!  handler   put(rev 1, due +30s) ── send ── mark if rev=1
//!  relay                    claim: rev+1, due_at+=backoff if rev=seen ── send ── mark if rev=claimed
//! ```
//!
//! `rev` only grows, and every write names the `rev` that it saw: a late mark can neither undo a claim nor
//! hide one. A record is in the index `due` only while something has still to be done with it, and it has an
//! `expires_at` only while nothing has.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};

use inbox_core::delivery::{Proof, Proven};
use inbox_core::event::{Event, EventKey, Id, batch_pk, payload_hash};
use inbox_core::inbox::{
    Reason, Recorded, Trace, first_due, next_due, outbox_shard, parts_expiry, quarantine_expiry,
    record_expiry, refused_by,
};
use inbox_core::limits::{CLAIM_MARGIN_MS, RELAY_PAGE};
use inbox_core::message::{Head, Message, compose, may_carry, referenced};
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::Fault;
use crate::item::{self, Item, Record, Stored, VERSION, binary, number, text};
use crate::payload;

/// The index of what is due.
const DUE_INDEX: &str = "due";
/// The revision that a record is born with.
const FIRST_REV: u64 = 1;

/// The table `inbox`.
#[derive(Clone, Debug)]
pub struct Inbox {
    db: Client,
    table: String,
    retention_days: u64,
}

/// A record that the relay has claimed: it alone may send it until it is due again.
#[derive(Clone, Debug)]
pub struct Claimed {
    record: Record,
}

/// What a conditional write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was applied.
    Applied,
    /// Somebody else wrote in between; nothing was changed.
    Overtaken,
}

/// What became of a record that the index named.
#[derive(Debug)]
pub enum Claim {
    /// It is ours for a while.
    Ours(Box<Claimed>),
    /// The index lagged: it is enqueued, claimed by another run, or gone.
    NotDue,
}

impl Inbox {
    /// The inbox in this table. A finished record is kept `retention_days`, thirty at the least.
    pub fn new(db: Client, table: impl Into<String>, retention_days: u64) -> Self {
        Self { db, table: table.into(), retention_days }
    }

    /// Records an event: payload parts first, then one conditional put, which is the commit point.
    /// On a fault the outcome is unknown.
    pub async fn record(&self, event: &Event, delivery_id: &str) -> Result<Recorded, Fault> {
        let payload = event.proven().body();
        let received_at = event.proven().received_at();
        let ours = Trace {
            delivery_id: delivery_id.to_owned(),
            payload_hash: payload_hash(payload),
            idempotency_key: event.idempotency_key().map(str::to_owned),
        };
        let expire_at = parts_expiry(received_at, self.retention_days);
        let stored = payload::store(&self.db, &self.table, payload, expire_at).await?;
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(new_record(event, &ours, &stored)))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Recorded::New),
            Err(error) => match standing(&error) {
                Some(old) => Ok(old
                    .map_or(Recorded::Duplicate { other_key: false, payload_differs: false }, |old| {
                        refused_by(&old, &ours)
                    })),
                None => Err(Fault::of("dynamodb:PutItem", &error)),
            },
        }
    }

    /// Writes down that the handler has put a new event on the queue.
    pub async fn mark_new(&self, key: &EventKey, now: UnixMillis) -> Result<Written, Fault> {
        self.mark(key, FIRST_REV, now).await
    }

    /// Writes down that the relay has put a claimed record's event on the queue.
    pub async fn mark_claimed(&self, claimed: &Claimed, now: UnixMillis) -> Result<Written, Fault> {
        self.mark(&claimed.record.key, claimed.record.rev, now).await
    }

    /// The subject that a batch was submitted under, if we submitted or track it. One strong read.
    pub async fn tracked_subject(&self, batch_id: &Id) -> Result<Option<String>, Fault> {
        let item = self.get(item::key(&batch_pk(batch_id), "tracked")).await?;
        Ok(item.as_ref().and_then(|tracked| item::string(tracked, "subject")).map(str::to_owned))
    }

    /// Keeps proven bytes that cannot be used (P7). The same bytes again are counted, not kept twice.
    pub async fn quarantine(&self, proven: &Proven, reason: Reason) -> Result<(), Fault> {
        let (payload, now) = (proven.body(), proven.received_at());
        let hash = payload_hash(payload);
        let expire_at = parts_expiry(now, self.retention_days);
        let stored = payload::store(&self.db, &self.table, payload, expire_at).await?;
        let mut kept = stored_attributes(&stored, &hash, payload.len());
        match proven.proof() {
            Proof::UrlToken { subject } => kept.insert("subject".to_owned(), text(subject.as_str())),
            Proof::Signature { signed_at } => kept.insert("signed_at".to_owned(), number(signed_at.0)),
        };
        kept.extend(proven.harmless_headers().map(|(name, value)| (format!("header_{name}"), text(value))));
        self.keep(proven.provider().as_str(), &hash, kept, reason, now).await
    }

    /// Puts a record that SQS itself refuses into quarantine, and takes it out of the index.
    pub async fn give_up(&self, claimed: &Claimed, now: UnixMillis) -> Result<Written, Fault> {
        let record = &claimed.record;
        let hash = &record.trace.payload_hash;
        let mut kept = stored_attributes(&record.stored, hash, record.payload_bytes);
        kept.insert("event_id".to_owned(), text(record.key.event_id()));
        self.keep(record.key.provider().as_str(), hash, kept, Reason::QueueRefused, now).await?;
        self.update(
            &record.key,
            record.rev,
            "SET quarantined_at = :now, expires_at = :at REMOVE due, due_at",
            [(":now", number(now.0)), (":at", number(record_expiry(now, self.retention_days).0))],
        )
        .await
    }

    /// Writes down that SQS refused a claimed record for what it is. Returns how often it did so far.
    /// `None` if somebody else claimed it meanwhile.
    pub async fn note_refusal(&self, claimed: &Claimed) -> Result<Option<u64>, Fault> {
        let refusals = claimed.record.refusals.saturating_add(1);
        let (key, rev) = (&claimed.record.key, claimed.record.rev);
        let written = self.update(key, rev, "SET refusals = :n", [(":n", number(refusals))]).await?;
        Ok((written == Written::Applied).then_some(refusals))
    }

    /// One page of a shard of the index: what waits to be enqueued, that which is due for longest first, and
    /// where the next page starts.
    pub async fn waiting(
        &self,
        shard: &str,
        start: Option<NextPage>,
    ) -> Result<(Vec<Waiting>, Option<NextPage>), Fault> {
        let page = self
            .db
            .query()
            .table_name(&self.table)
            .index_name(DUE_INDEX)
            .key_condition_expression("due = :shard")
            .expression_attribute_values(":shard", text(shard))
            .limit(i32::try_from(RELAY_PAGE).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start.map(|page| page.0))
            .send()
            .await
            .map_err(|error| Fault::of("dynamodb:Query", &error))?;
        let waiting = page.items().iter().filter_map(Waiting::read).collect();
        Ok((waiting, page.last_evaluated_key().cloned().map(NextPage)))
    }

    /// Reads records strongly: the index may lag. At most [`RELAY_PAGE`] at a time.
    pub async fn read(&self, waiting: &[Waiting]) -> Result<Found, Fault> {
        let mut found = Found::default();
        let mut wanted: Vec<_> = waiting.iter().map(|item| item::key(&item.pk, &item.sk)).collect();
        // What DynamoDB did not get to is asked for once more; what is left then is left to the next run.
        for _ in 0..2 {
            if wanted.is_empty() {
                break;
            }
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut wanted)))
                .consistent_read(true)
                .build()
                .map_err(|_| Fault::item("dynamodb:BatchGetItem"))?;
            let read = self.db.batch_get_item().request_items(&self.table, request).send().await;
            let answer = read.map_err(|error| Fault::of("dynamodb:BatchGetItem", &error))?;
            for item in answer.responses().and_then(|tables| tables.get(&self.table)).into_iter().flatten() {
                match Record::read(item) {
                    Some(record) => found.records.push(DueRecord(record)),
                    None => found.unreadable += 1,
                }
            }
            let left = answer.unprocessed_keys().and_then(|tables| tables.get(&self.table));
            wanted = left.map(|left| left.keys().to_vec()).unwrap_or_default();
        }
        found.unprocessed = wanted.len();
        Ok(found)
    }

    /// Claims a due record: it stays in the index, later, so that a crash of the claimer loses nothing.
    pub async fn claim(&self, due: DueRecord, now: UnixMillis) -> Result<Claim, Fault> {
        let mut record = due.0;
        self.keep_parts(&mut record, now).await?;
        let later = next_due(now, record.attempts);
        let written = self
            .update(
                &record.key,
                record.rev,
                "SET rev = rev + :one, attempts = :n, due_at = :later",
                [
                    (":one", number(1)),
                    (":n", number(record.attempts.saturating_add(1))),
                    (":later", number(later.0)),
                ],
            )
            .await?;
        Ok(match written {
            Written::Applied => {
                record.rev += 1;
                record.attempts += 1;
                record.due_at = Some(later);
                Claim::Ours(Box::new(Claimed { record }))
            }
            Written::Overtaken => Claim::NotDue,
        })
    }

    /// The message of a claimed record. Its payload is fetched only if it can travel inside.
    pub async fn message(&self, claimed: &Claimed) -> Result<Message, Fault> {
        let record = &claimed.record;
        let payload =
            if may_carry(record.payload_bytes) { Some(self.payload_of(record).await?) } else { None };
        let head = Head {
            key: &record.key,
            event_type: &record.event_type,
            origin: record.origin,
            received_at: record.received_at,
            replay: record.replay,
        };
        Ok(compose(head, payload.as_deref()))
    }

    /// The payload that a message's `dataref` points to: exactly the bytes that were proven.
    /// `None` if the reference is not ours or the event is not recorded.
    pub async fn resolve(&self, dataref: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(key) = referenced(dataref) else { return Ok(None) };
        match self.get(item::key(&key.pk(), &key.sk())).await? {
            Some(item) => {
                let record = Record::read(&item).ok_or(Fault::item("dynamodb:GetItem"))?;
                self.payload_of(&record).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn payload_of(&self, record: &Record) -> Result<Vec<u8>, Fault> {
        let hash = &record.trace.payload_hash;
        payload::load(&self.db, &self.table, &record.stored, hash, record.payload_bytes).await
    }

    /// Parts must outlive their record, also one that could not be enqueued for months.
    async fn keep_parts(&self, record: &mut Record, now: UnixMillis) -> Result<(), Fault> {
        let Stored::Parts { names, expire_at } = &mut record.stored else { return Ok(()) };
        if *expire_at > record_expiry(now, self.retention_days) {
            return Ok(());
        }
        let later = parts_expiry(now, self.retention_days);
        payload::keep_until(&self.db, &self.table, names, later).await?;
        *expire_at = later;
        let set = "SET parts_expire_at = :at";
        self.update(&record.key, record.rev, set, [(":at", number(later.0))]).await?;
        Ok(())
    }

    async fn mark(&self, key: &EventKey, rev: u64, now: UnixMillis) -> Result<Written, Fault> {
        self.update(
            key,
            rev,
            "SET sent_at = :now, expires_at = :at REMOVE due, due_at",
            [(":now", number(now.0)), (":at", number(record_expiry(now, self.retention_days).0))],
        )
        .await
    }

    /// Every write to a standing record goes through here: it names the `rev` that it saw. An applied mark
    /// leaves `rev` alone but takes `due` away, so a second writer with the same `rev` is told apart by it.
    async fn update<const N: usize>(
        &self,
        key: &EventKey,
        rev: u64,
        expression: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<Written, Fault> {
        let mut update = self
            .db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&key.pk(), &key.sk())))
            .update_expression(expression)
            .condition_expression("rev = :seen AND attribute_exists(due)")
            .expression_attribute_values(":seen", number(rev));
        for (name, value) in values {
            update = update.expression_attribute_values(name, value);
        }
        match update.send().await {
            Ok(_) => Ok(Written::Applied),
            Err(error) if refused(&error) => Ok(Written::Overtaken),
            Err(error) => Err(Fault::of("dynamodb:UpdateItem", &error)),
        }
    }

    async fn keep(
        &self,
        provider: &str,
        hash: &str,
        kept: Item,
        reason: Reason,
        now: UnixMillis,
    ) -> Result<(), Fault> {
        let fixed = [
            ("reason", text(reason.as_str())),
            ("last_received_at", number(now.0)),
            ("expires_at", number(quarantine_expiry(now).0)),
        ];
        let mut names = HashMap::new();
        let mut values = HashMap::from([(":one".to_owned(), number(1)), (":now".to_owned(), number(now.0))]);
        let mut sets = vec!["first_received_at = if_not_exists(first_received_at, :now)".to_owned()];
        let all = kept.into_iter().chain(fixed.map(|(name, value)| (name.to_owned(), value)));
        for (index, (name, value)) in all.enumerate() {
            names.insert(format!("#k{index}"), name);
            values.insert(format!(":k{index}"), value);
            sets.push(format!("#k{index} = :k{index}"));
        }
        self.db
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::key(&format!("quarantine#{provider}#{hash}"), "delivery")))
            .update_expression(format!("SET {} ADD deliveries :one", sets.join(", ")))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| Fault::of("dynamodb:UpdateItem", &error))
    }

    async fn get(&self, key: Item) -> Result<Option<Item>, Fault> {
        let get = self.db.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        match get.send().await {
            Ok(answer) => Ok(answer.item),
            Err(error) => Err(Fault::of("dynamodb:GetItem", &error)),
        }
    }
}

impl Claimed {
    /// The event.
    pub fn key(&self) -> &EventKey {
        &self.record.key
    }

    /// How often it was claimed so far, this time included.
    pub fn attempts(&self) -> u64 {
        self.record.attempts
    }

    /// Whether the claim lasts long enough to send and mark: after it, another run may claim the record.
    pub fn lasts(&self, now: UnixMillis) -> bool {
        self.record.due_at.is_some_and(|until| now.plus(Duration::from_millis(CLAIM_MARGIN_MS)) < until)
    }
}

/// Where the next page of the index starts.
#[derive(Clone, Debug)]
pub struct NextPage(Item);

/// What a strong read of waiting records came to.
#[derive(Debug, Default)]
pub struct Found {
    /// The records.
    pub records: Vec<DueRecord>,
    /// How many are not of a form that we can read.
    pub unreadable: usize,
    /// How many DynamoDB did not get to.
    pub unprocessed: usize,
}

/// The key of an item that the index says waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
    /// From when on something is to be done with it.
    pub due_at: UnixMillis,
}

impl Waiting {
    fn read(item: &Item) -> Option<Self> {
        Some(Self {
            pk: item::string(item, "pk")?.to_owned(),
            sk: item::string(item, "sk")?.to_owned(),
            due_at: UnixMillis(item::parsed(item, "due_at")?),
        })
    }
}

/// A record that the index named, strongly read.
#[derive(Clone, Debug)]
pub struct DueRecord(Record);

impl DueRecord {
    /// Whether it is due: the index may lag behind the record.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.0.due_at.is_some_and(|due_at| due_at <= now)
    }

    /// Whether it still waits to be enqueued, now or later.
    pub fn waits(&self) -> bool {
        self.0.due_at.is_some()
    }

    /// When its event reached us.
    pub fn received_at(&self) -> UnixMillis {
        self.0.received_at
    }
}

fn new_record(event: &Event, trace: &Trace, stored: &Stored) -> Item {
    let (key, received_at) = (event.key(), event.proven().received_at());
    let mut record = item::key(&key.pk(), &key.sk());
    record.extend(stored_attributes(stored, &trace.payload_hash, event.proven().body().len()));
    let mut set = |name: &str, value| record.insert(name.to_owned(), value);
    set("v", number(VERSION));
    set("type", text(event.event_type()));
    set("origin", text(event.origin().as_str()));
    set("received_at", number(received_at.0));
    set("delivery_id", text(&trace.delivery_id));
    set("rev", number(FIRST_REV));
    set("attempts", number(0));
    set("due", text(outbox_shard(&key.pk())));
    set("due_at", number(first_due(received_at).0));
    if let Some(idempotency_key) = &trace.idempotency_key {
        set("idempotency_key", text(idempotency_key));
    }
    if let Some(subject) = event.proven().subject() {
        set("subject", text(subject.as_str()));
    }
    record
}

fn stored_attributes(stored: &Stored, hash: &str, payload_bytes: usize) -> Item {
    let mut attributes = HashMap::from([
        ("payload_hash".to_owned(), text(hash)),
        ("payload_bytes".to_owned(), number(payload_bytes)),
    ]);
    match stored {
        Stored::Inline(payload) => attributes.extend([("payload".to_owned(), binary(payload.as_slice()))]),
        Stored::Parts { names, expire_at: UnixSecs(expire_at) } => attributes.extend([
            ("parts".to_owned(), AttributeValue::L(names.iter().map(text).collect())),
            ("parts_expire_at".to_owned(), number(expire_at)),
        ]),
    }
    attributes
}

/// If the put was refused because a record stands: what that record says, or `None` inside if it did not come
/// back or cannot be read.
fn standing<R>(error: &SdkError<PutItemError, R>) -> Option<Option<Trace>> {
    let PutItemError::ConditionalCheckFailedException(refusal) = error.as_service_error()? else {
        return None;
    };
    Some(refusal.item().and_then(item::trace))
}

fn refused<R>(error: &SdkError<UpdateItemError, R>) -> bool {
    error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}
