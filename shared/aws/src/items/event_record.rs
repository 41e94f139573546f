//! Records of events: the inbox, and, as long as they are due, the outbox.

use inbox_core::audit::AuditEntry;
use inbox_core::batch_results::{CompletionResults, PublishedResults};
use inbox_core::bus::EventMeta;
use inbox_core::due_queue::{DueQueue, first_due_at};
use inbox_core::duplicates::{DeliveryIdentity, DuplicateCount};
use inbox_core::effect::batch_snapshot::PreviousSnapshot;
use inbox_core::effect::{bulk_publisher_tag, publisher_tag};
use inbox_core::event::{Event, EventKey};
use inbox_core::lifecycle::Lifecycle;
use inbox_core::list_kind::ListKind;
use inbox_core::message::MessageMeta;
use inbox_core::origin::Origin;
use inbox_core::poll::batch::ResultsFound;
use inbox_core::subject::Subject;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::tracking_state::INITIAL_REV;
use super::{BulkReplay, PastCycle, StoredPayload};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::new_item::NewItem;
use crate::table::value::{Item, has, read, read_count, read_due_at, read_list};

/// The record of an event.
#[derive(Clone, Debug)]
pub struct EventRecord {
    /// The key of the event.
    pub key: EventKey,
    /// The type, as the provider names it.
    pub event_type: String,
    /// The origin: webhook, poll or replay.
    pub origin: Origin,
    /// Time at which it was received, or found by a poll.
    pub received_at: UnixMillis,
    /// Random id of the delivery that was recorded: shows if an existing record is the delivery's own put, whose response was
    /// lost.
    pub delivery_id: String,
    /// The `Idempotency-Key` header of its delivery.
    pub idempotency_key: Option<String>,
    /// The subject of the webhook URL that it came by.
    pub subject: Option<Subject>,
    /// Location, size and hash of its payload.
    pub payload: StoredPayload,
    /// Grows with every write that changes the state.
    pub rev: u64,
    /// The times from which its state follows.
    pub lifecycle: Lifecycle,
    /// Time at which it should be on the queue; `None` for a record that was never requeued or replayed: at its receipt.
    pub enqueue_after: Option<UnixMillis>,
    /// Number of attempts of the relay to enqueue it since it was due.
    pub attempts: u64,
    /// Number of times that SQS rejected the message itself.
    pub undeliverable_count: u64,
    /// Its deliveries after the recorded one.
    pub duplicates: DuplicateCount,
    /// Number of times that it was replayed on purpose.
    pub replay: u64,
    /// The bulk replay that it was last part of.
    pub bulk_replay: Option<BulkReplay>,
    /// Time at which it was last made due again after its end.
    pub restarted_at: Option<UnixMillis>,
    /// The result of the previous read of its batch, if it was requeued after one.
    pub previous_snapshot: Option<PreviousSnapshot>,
    /// Reason for the last requeue by a worker.
    pub retry_reason: Option<String>,
    /// Number of results of its batch when a worker last read that to its end, and requeued the event.
    pub results_found: Option<ResultsFound>,
    /// Number of results in its completion, or of its alerts on the bus, once it is done.
    pub published_count: Option<u64>,
    /// Number of results of its batch when that was published untracked.
    pub published_untracked: Option<u64>,
    /// The number that its batch is published as; `None` for the first.
    pub revision: Option<u64>,
    /// Time at which the poller requeued it out of quarantine.
    pub requeued_by_poller_at: Option<UnixMillis>,
    /// Its cycles before the current one, the earliest first.
    pub past_cycles: Vec<PastCycle>,
    /// Audit entries of operators.
    pub audit_entries: Vec<AuditEntry>,
    /// Time from which DynamoDB may delete its record.
    pub expires_at: Option<UnixSecs>,
}

impl EventRecord {
    /// The record of a new event. If an operator had it parsed again out of quarantine, `replayed_by` becomes its first audit
    /// entry.
    pub(crate) fn new(
        event: &Event,
        delivery_id: &str,
        payload: StoredPayload,
        replayed_by: Option<&AuditEntry>,
    ) -> Self {
        let received_at = event.verified().received_at();
        // An event from quarantine is to be enqueued, and processed, from now on and not since its bytes were received.
        let replayed_at = replayed_by.map(|by| by.at);
        Self {
            key: event.key().clone(),
            event_type: event.event_type().to_owned(),
            origin: event.origin(),
            received_at,
            delivery_id: delivery_id.to_owned(),
            idempotency_key: event.idempotency_key().map(str::to_owned),
            subject: event.verified().subject().cloned(),
            payload,
            rev: INITIAL_REV,
            // Due from the start: if the function dies before it enqueues the event, the relay does.
            lifecycle: Lifecycle {
                due_at: Some(first_due_at(replayed_at.unwrap_or(received_at))),
                ..Lifecycle::default()
            },
            enqueue_after: replayed_at,
            attempts: 0,
            undeliverable_count: 0,
            duplicates: DuplicateCount::default(),
            replay: 0,
            bulk_replay: None,
            restarted_at: replayed_at,
            previous_snapshot: None,
            retry_reason: None,
            results_found: None,
            published_count: None,
            published_untracked: None,
            revision: None,
            requeued_by_poller_at: None,
            past_cycles: Vec::new(),
            audit_entries: replayed_by.into_iter().cloned().collect(),
            expires_at: None,
        }
    }

    /// The attributes of a new record.
    pub(crate) fn to_item(&self) -> Item {
        let key = Key::event(&self.key);
        let shard = self.lifecycle.due_at.map(|_| DueQueue::Outbox.shard(&key.pk));
        let audit_entries = Some(&self.audit_entries).filter(|entries| !entries.is_empty());
        NewItem::at(&key)
            .set(Attribute::Type, &self.event_type)
            .set(Attribute::Origin, &self.origin)
            .set(Attribute::ReceivedAt, &self.received_at)
            .listed(ListKind::Event, &key, self.received_at)
            .set(Attribute::DeliveryId, &self.delivery_id)
            .set_some(Attribute::IdempotencyKey, self.idempotency_key.as_ref())
            .set_some(Attribute::Subject, self.subject.as_ref())
            .extend(self.payload.attributes())
            .set(Attribute::Rev, &self.rev)
            .set(Attribute::Attempts, &self.attempts)
            .set_some(Attribute::Due, shard.as_ref())
            .set_some(Attribute::DueAt, self.lifecycle.due_at.as_ref())
            .set_some(Attribute::EnqueueAfter, self.enqueue_after.as_ref())
            .set_some(Attribute::RestartedAt, self.restarted_at.as_ref())
            .set_some(Attribute::AuditEntries, audit_entries)
            .build()
    }

    /// Reads an event record; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let Key { pk, sk } = Key::of_item(item)?;
        let snapshot = read(item, Attribute::SnapshotDigest).zip(read(item, Attribute::SnapshotAt));
        Some(Self {
            key: EventKey::from_table_key(&pk, &sk)?,
            event_type: read(item, Attribute::Type)?,
            origin: read(item, Attribute::Origin)?,
            received_at: read(item, Attribute::ReceivedAt)?,
            delivery_id: read(item, Attribute::DeliveryId)?,
            idempotency_key: read(item, Attribute::IdempotencyKey),
            subject: read(item, Attribute::Subject),
            payload: StoredPayload::from_item(item)?,
            rev: read(item, Attribute::Rev)?,
            lifecycle: Lifecycle {
                due_at: read_due_at(item),
                sent_at: read(item, Attribute::SentAt),
                claim_until: read(item, Attribute::ClaimUntil),
                done_at: read(item, Attribute::DoneAt),
                quarantined_at: read(item, Attribute::QuarantinedAt),
                requeues: read_count(item, Attribute::Requeues),
            },
            enqueue_after: read(item, Attribute::EnqueueAfter),
            attempts: read_count(item, Attribute::Attempts),
            undeliverable_count: read_count(item, Attribute::UndeliverableCount),
            duplicates: DuplicateCount {
                total: read_count(item, Attribute::Duplicates),
                differing: read_count(item, Attribute::DifferingDuplicates),
                last_at: read(item, Attribute::LastDuplicateAt),
            },
            replay: read_count(item, Attribute::Replay),
            bulk_replay: read(item, Attribute::BulkReplay),
            restarted_at: read(item, Attribute::RestartedAt),
            previous_snapshot: snapshot.map(|(digest, at)| PreviousSnapshot { digest, at }),
            retry_reason: read(item, Attribute::RetryReason),
            results_found: read(item, Attribute::ResultsFound),
            published_count: read(item, Attribute::PublishedCount),
            published_untracked: read(item, Attribute::PublishedUntracked),
            revision: read(item, Attribute::Revision),
            requeued_by_poller_at: read(item, Attribute::RequeuedByPollerAt),
            past_cycles: read_list(item, Attribute::PastCycles),
            audit_entries: read_list(item, Attribute::AuditEntries),
            expires_at: read(item, Attribute::ExpiresAt),
        })
    }

    pub(crate) fn table_key(&self) -> Key {
        Key::event(&self.key)
    }

    /// The identity of the delivery that it was made from.
    pub(crate) fn identity(&self) -> DeliveryIdentity {
        DeliveryIdentity {
            delivery_id: self.delivery_id.clone(),
            payload_hash: self.payload.hash.clone(),
            idempotency_key: self.idempotency_key.clone(),
            origin: self.origin,
        }
    }

    /// The times and counts of its current cycle.
    pub fn current_cycle(&self) -> PastCycle {
        PastCycle {
            sent_at: self.lifecycle.sent_at,
            done_at: self.lifecycle.done_at,
            quarantined_at: self.lifecycle.quarantined_at,
            requeues: self.lifecycle.requeues,
            retry_reason: self.retry_reason.clone(),
            published_count: self.published_count,
        }
    }

    /// The results of its batch that it knows of; none unless it is a completion.
    pub fn completion_results(&self) -> CompletionResults {
        if !matches!(self.key, EventKey::RightfootCompletion { .. }) {
            return CompletionResults::default();
        }
        let published_in = |cycle: &PastCycle| {
            let (count, at) = cycle.published_count.zip(cycle.done_at)?;
            Some(PublishedResults { count, origin: self.origin, at })
        };
        let past = || self.past_cycles.iter().rev().find_map(published_in);
        CompletionResults {
            found: self.results_found,
            published: published_in(&self.current_cycle()).or_else(past),
        }
    }

    /// Start of its current cycle: when it was received, or when it was last made due again after its end.
    pub fn processing_since(&self) -> UnixMillis {
        self.restarted_at.unwrap_or(self.received_at)
    }

    /// Returns `true` if an operator or the poller made it due again after its end.
    pub const fn is_reprocessed(&self) -> bool {
        self.restarted_at.is_some()
    }

    /// Returns `true` if the event was quarantined.
    pub const fn is_quarantined(&self) -> bool {
        self.lifecycle.quarantined_at.is_some()
    }

    /// The tag of this replay of the event among the publishers of an alert. All events of a bulk replay share one, so that each
    /// alert is published once in it.
    pub(crate) fn publisher_tag(&self) -> String {
        match &self.bulk_replay {
            Some(bulk) if bulk.replay == self.replay => bulk_publisher_tag(&bulk.id),
            Some(_) | None => publisher_tag(&self.key.event_id(), self.replay),
        }
    }

    /// The metadata of the event, for its message.
    pub fn message_meta(&self) -> MessageMeta<'_> {
        MessageMeta {
            key: &self.key,
            event_type: &self.event_type,
            origin: self.origin,
            received_at: self.received_at,
            replay: self.replay,
        }
    }

    /// The metadata of the event, for the events that are published on the bus.
    pub fn event_meta(&self) -> EventMeta<'_> {
        EventMeta {
            key: &self.key,
            event_type: &self.event_type,
            origin: self.origin,
            received_at: self.received_at,
            replay: self.replay,
            revision: self.revision.unwrap_or(1),
        }
    }
}

/// Returns `true` if an item is the record of an event, whatever its form.
pub(crate) fn is_event_record(item: &Item) -> bool {
    has(item, Attribute::DeliveryId)
}
