//! What the relay does with records that were not enqueued.

use std::time::Duration;

use aws_sdk_dynamodb::types::KeysAndAttributes;

use inbox_core::event::EventKey;
use inbox_core::inbox::{Reason, next_due, parked_expiry, parts_expiry, record_expiry};
use inbox_core::limits::CLAIM_MARGIN_MS;
use inbox_core::message::{Head, Message, compose, may_carry};
use inbox_core::time::{UnixMillis, UnixSecs};

use super::due::Waiting;
use super::{Inbox, Written, stored_attributes};
use crate::item::{self, Record, Stored, number, text};
use crate::payload;
use crate::{Cause, Fault};

/// A record that the relay has claimed: it alone may send it until it is due again.
#[derive(Clone, Debug)]
pub struct Claimed {
    record: Record,
}

/// What became of a record that the index named.
#[derive(Debug)]
pub enum Claim {
    /// It is ours for a while.
    Ours(Box<Claimed>),
    /// It is ours for a while, and the stored parts of its payload are gone: it cannot be sent.
    WithoutPayload(Box<Claimed>),
    /// The index lagged: it is enqueued, claimed by another run, or gone.
    NotDue,
}

impl Inbox {
    /// Reads records strongly: the index may lag. At most [`inbox_core::limits::DUE_PAGE`] at a time.
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
        let expires_at = record_expiry(now, self.retention_days);
        let has_payload = self.keep_parts_that_stand(&mut record, expires_at, now).await?;
        let later = next_due(now, record.attempts);
        let written = self
            .update(
                record.place(),
                record.rev,
                "rev = rev + :one, attempts = :n, due_at = :later",
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
                let claimed = Box::new(Claimed { record });
                if has_payload { Claim::Ours(claimed) } else { Claim::WithoutPayload(claimed) }
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
            origin: record.trace.origin,
            received_at: record.received_at,
            replay: record.replay,
        };
        Ok(compose(head, payload.as_deref()))
    }

    /// Writes down that the relay has put a claimed record's event on the queue.
    pub async fn mark_claimed(&self, claimed: &Claimed, now: UnixMillis) -> Result<Written, Fault> {
        self.mark(&claimed.record.key, claimed.record.rev, now).await
    }

    /// Writes down that SQS refused a claimed record for what it is. Returns how often it did so far.
    /// `None` if somebody else claimed it meanwhile.
    pub async fn note_refusal(&self, claimed: &Claimed) -> Result<Option<u64>, Fault> {
        let refusals = claimed.record.refusals.saturating_add(1);
        let (place, rev) = (claimed.record.place(), claimed.record.rev);
        let written = self.update(place, rev, "refusals = :n", [(":n", number(refusals))]).await?;
        Ok((written == Written::Applied).then_some(refusals))
    }

    /// Puts a claimed record that cannot be sent into quarantine, and takes it out of the index. A record that a worker has
    /// claimed stays: it was sent after all.
    pub async fn give_up(
        &self,
        claimed: &Claimed,
        reason: Reason,
        now: UnixMillis,
    ) -> Result<Written, Fault> {
        let record = &mut claimed.record.clone();
        let expires_at = parked_expiry(now, self.retention_days);
        self.keep_parts_that_stand(record, expires_at, now).await?;
        let hash = &record.trace.payload_hash;
        let mut kept = stored_attributes(&record.stored, hash, record.payload_bytes);
        kept.insert("event_id".to_owned(), text(record.key.event_id()));
        let whose = (record.key.provider(), record.subject.as_ref(), hash.as_str());
        self.keep(whose, kept, reason, now).await?;
        let no_claim = "(attribute_not_exists(claim_until) OR claim_until < :now)";
        self.update_if(
            record.place(),
            record.rev,
            Some((no_claim, (":now", number(now.0)))),
            // Whoever had the claim, and was too slow, must not put it back: it would expire before its item does.
            "quarantined_at = :now, expires_at = :at REMOVE due, due_at, claim_by, claim_until",
            [(":at", number(expires_at.0))],
        )
        .await
    }

    /// Keeps the parts of a payload as long as their record. Says whether they stand: an operator may replay a record whose
    /// parts have expired.
    pub(super) async fn keep_parts_that_stand(
        &self,
        record: &mut Record,
        record_expires_at: UnixSecs,
        now: UnixMillis,
    ) -> Result<bool, Fault> {
        match self.keep_parts(record, record_expires_at, now).await {
            Ok(()) => Ok(true),
            Err(fault) if fault.cause == Cause::PayloadGone => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Parts must outlive their record, also one that could not be enqueued for months.
    async fn keep_parts(
        &self,
        record: &mut Record,
        record_expires_at: UnixSecs,
        now: UnixMillis,
    ) -> Result<(), Fault> {
        let Stored::Parts { names, expire_at } = &mut record.stored else { return Ok(()) };
        if *expire_at > record_expires_at {
            return Ok(());
        }
        let later = parts_expiry(now, self.retention_days);
        payload::keep_until(&self.db, &self.table, names, later).await?;
        *expire_at = later;
        let set = "parts_expire_at = :at";
        self.update(record.place(), record.rev, set, [(":at", number(later.0))]).await?;
        Ok(())
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

    /// From when on it should be on the queue.
    pub fn wanted_at(&self) -> UnixMillis {
        self.0.wanted_at
    }
}
