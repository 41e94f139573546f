//! The inbox's records: the result of writing one, its times, its shards in the index `due`, and its expiry.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::delivery::Subject;
use crate::event::{Id, Origin};
use crate::limits::{
    DUE_SHARDS, PARTS_MARGIN_DAYS, QUARANTINE_RETENTION_DAYS, RELAY_AGE_MS, RELAY_BACKOFF_MAX_MS,
    RELAY_BATCH_BYTES, RELAY_BATCH_MESSAGES, RETENTION_MIN_DAYS, UNTRACKED_OPEN_DAYS,
};
use crate::time::{UnixMillis, UnixSecs};

/// The data that a record keeps to recognise the same delivery or event again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryIdentity {
    /// The receiver's random id of the delivery.
    pub delivery_id: String,
    /// SHA-256 of the payload.
    pub payload_hash: String,
    /// Its `Idempotency-Key` header, if the provider sends one.
    pub idempotency_key: Option<String>,
    /// Its origin.
    pub origin: Origin,
}

/// The result of the conditional put of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// The event is new and recorded.
    New,
    /// The event was already recorded.
    Duplicate {
        /// True if its `Idempotency-Key` differs from the recorded one.
        idempotency_key_differs: bool,
        /// True if its bytes differ from the recorded ones, which are kept.
        payload_differs: bool,
        /// True if this is a webhook for an event that the poller had recorded.
        is_late_webhook: bool,
    },
}

impl RecordOutcome {
    /// A duplicate without any difference from the recorded delivery.
    pub const EXACT_DUPLICATE: Self =
        Self::Duplicate { idempotency_key_differs: false, payload_differs: false, is_late_webhook: false };
}

/// Interprets a record that already exists. If it was written by this very delivery, our first attempt
/// succeeded and only its answer was lost: the event is new.
pub fn classify_existing(existing: &DeliveryIdentity, incoming: &DeliveryIdentity) -> RecordOutcome {
    if existing.delivery_id == incoming.delivery_id {
        return RecordOutcome::New;
    }
    let is_polled = |identity: &DeliveryIdentity| identity.origin == Origin::Poll;
    RecordOutcome::Duplicate {
        idempotency_key_differs: existing.idempotency_key != incoming.idempotency_key,
        // A polled event has no `event_uuid`: its bytes always differ from the webhook's for the same event.
        payload_differs: is_polled(existing) == is_polled(incoming)
            && existing.payload_hash != incoming.payload_hash,
        is_late_webhook: is_polled(existing) && !is_polled(incoming),
    }
}

/// The reason why verified bytes were quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuarantineReason {
    /// Not JSON, or a required field is missing.
    Unreadable,
    /// An event type that this version does not know.
    UnknownType,
    /// An id that is too long or reserved.
    UnusableId,
    /// Its batch was submitted under another subject.
    SubjectMismatch,
    /// The signature is valid, but its time is outside the tolerance.
    Stale,
    /// Recorded, but SQS has rejected its message
    /// [`RELAY_SQS_ERRORS_MAX`](crate::limits::RELAY_SQS_ERRORS_MAX) times.
    QueueRefused,
    /// Recorded, but the provider's API does not confirm one of its alerts.
    Unconfirmed,
    /// Recorded, but its batch was not complete at the deadline.
    Incomplete,
    /// Recorded, but EventBridge has rejected it.
    BusRefused,
    /// Recorded, but one of its alerts has been published so often that no further replay can be remembered.
    ReplayLimit,
    /// Recorded, but the stored parts of its payload are missing.
    PayloadGone,
    /// Recorded, but its subject already has the maximum number of open events about untracked batches.
    UntrackedLimit,
    /// Recorded, but its subject was revoked before it was processed.
    SubjectRevoked,
}

impl QuarantineReason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Unreadable,
        Self::UnknownType,
        Self::UnusableId,
        Self::SubjectMismatch,
        Self::Stale,
        Self::QueueRefused,
        Self::Unconfirmed,
        Self::Incomplete,
        Self::BusRefused,
        Self::ReplayLimit,
        Self::PayloadGone,
        Self::UntrackedLimit,
        Self::SubjectRevoked,
    ];

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// The name used in the table, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::UnknownType => "unknown_type",
            Self::UnusableId => "unusable_id",
            Self::SubjectMismatch => "subject_mismatch",
            Self::Stale => "stale",
            Self::QueueRefused => "queue_refused",
            Self::Unconfirmed => "unconfirmed",
            Self::Incomplete => "incomplete",
            Self::BusRefused => "bus_refused",
            Self::ReplayLimit => "replay_limit",
            Self::PayloadGone => "payload_gone",
            Self::UntrackedLimit => "untracked_limit",
            Self::SubjectRevoked => "subject_revoked",
        }
    }
}

/// A family of partitions of the index `due`, named after the function or people that process its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueQueue {
    /// Recorded events that are not enqueued, for the relay.
    Outbox,
    /// Batches, schedules and submissions with something still unknown, for the poller.
    Poll,
    /// Quarantined deliveries and events, for the operators.
    Quarantine,
}

impl DueQueue {
    /// Every family.
    pub const ALL: [Self; 3] = [Self::Outbox, Self::Poll, Self::Quarantine];

    /// The name used in the index.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Poll => "poll",
            Self::Quarantine => "quarantine",
        }
    }

    /// The partition of the index `due` for items with this partition key.
    pub fn shard(self, pk: &str) -> String {
        // Items hash evenly over the shards, so that no partition of the index gets all writes.
        let byte = Sha256::digest(pk.as_bytes()).first().copied().unwrap_or(0);
        self.partition(byte % DUE_SHARDS)
    }

    /// Every partition of the family; all of them must be read.
    pub fn shards(self) -> impl Iterator<Item = String> {
        (0..DUE_SHARDS).map(move |shard| self.partition(shard))
    }

    fn partition(self, shard: u8) -> String {
        format!("{}#{shard:02}", self.as_str())
    }
}

/// The partition key of all items of a schedule.
pub fn schedule_pk(schedule_id: &Id) -> String {
    format!("rightfoot#schedule#{}", schedule_id.as_str())
}

/// The partition key of a submission's item.
pub fn submission_pk(submission_id: &str) -> String {
    format!("rightfoot#submission#{submission_id}")
}

/// The partition key of all items of a subject.
pub fn subject_pk(subject: &Subject) -> String {
    format!("rightfoot#subject#{subject}")
}

/// The sort key, in the subject's partition, of the item that holds the open events received on the day of
/// `since`, in UTC.
pub fn open_events_sk(since: UnixMillis) -> String {
    let at = since.rfc3339();
    format!("open#{}", at.split('T').next().unwrap_or(&at))
}

/// The earliest deletion of an open-events item that is written at `now`.
pub fn open_events_expiry(now: UnixMillis) -> UnixSecs {
    now.secs().plus_days(UNTRACKED_OPEN_DAYS)
}

/// Hashes a text to 22 characters: 16 bytes of SHA-256 as base64url. For sets of ids, which must fit into one
/// item.
pub fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

/// The time from which the relay takes over a new record.
pub fn first_due_at(received_at: UnixMillis) -> UnixMillis {
    received_at.plus(Duration::from_millis(RELAY_AGE_MS))
}

/// The end of the relay's claim on a record that it has claimed `attempts` times before: after 30 s, doubling
/// up to 15 min. Then it tries again.
pub fn next_due_at(now: UnixMillis, attempts: u64) -> UnixMillis {
    // The cap keeps the shift from overflowing; the longest delay is reached far below it.
    let doublings = u32::try_from(attempts.min(20)).unwrap_or(20);
    let pause_ms = RELAY_AGE_MS.saturating_mul(1 << doublings).min(RELAY_BACKOFF_MAX_MS);
    now.plus(Duration::from_millis(pause_ms))
}

/// The earliest deletion of a finished record.
pub fn record_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    // A record must outlive every message about its event.
    now.secs().plus_days(retention_days.max(RETENTION_MIN_DAYS))
}

/// The earliest deletion of the record of a quarantined event: later than the quarantined item that refers to
/// it.
pub fn quarantined_record_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(QUARANTINE_RETENTION_DAYS + 1))
}

/// The earliest deletion of a quarantined delivery.
pub fn quarantine_expiry(now: UnixMillis) -> UnixSecs {
    now.secs().plus_days(QUARANTINE_RETENTION_DAYS)
}

/// The earliest deletion of payload parts that are referred to at `now`: later than everything that may refer
/// to them.
pub fn parts_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(QUARANTINE_RETENTION_DAYS) + PARTS_MARGIN_DAYS)
}

/// The limits of one batched call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// The maximum number of entries.
    pub max_entries: usize,
    /// The maximum size of all entries together, in bytes.
    pub max_bytes: usize,
}

/// The limits of one `SendMessageBatch` of the relay.
pub const RELAY_CHUNK_LIMITS: ChunkLimits =
    ChunkLimits { max_entries: RELAY_BATCH_MESSAGES, max_bytes: RELAY_BATCH_BYTES };

/// Splits items, in order, into chunks within the limits. An item that is larger than the limit gets a chunk
/// of its own.
pub fn chunk_by_size<T>(items: Vec<T>, limits: ChunkLimits, size_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut chunks: Vec<Vec<T>> = Vec::new();
    let mut remaining_bytes = 0;
    for item in items {
        let size = size_of(&item);
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < limits.max_entries && size <= remaining_bytes => chunk.push(item),
            _ => {
                chunks.push(vec![item]);
                remaining_bytes = limits.max_bytes;
            }
        }
        remaining_bytes = remaining_bytes.saturating_sub(size);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(delivery: &str, hash: &str, key: Option<&str>) -> DeliveryIdentity {
        DeliveryIdentity {
            delivery_id: delivery.to_owned(),
            payload_hash: hash.to_owned(),
            idempotency_key: key.map(str::to_owned),
            origin: Origin::Webhook,
        }
    }

    #[test]
    fn p3_a_conflict_with_our_own_first_attempt_is_new() {
        let ours = identity("d1", "h", Some("k"));
        assert_eq!(classify_existing(&ours, &ours), RecordOutcome::New);
    }

    #[test]
    fn duplicates_report_differing_keys_and_payloads() {
        let existing = identity("d1", "h", Some("k"));
        let classify = |hash, key| classify_existing(&existing, &identity("d2", hash, key));
        let duplicate = |other_key, payload_differs| RecordOutcome::Duplicate {
            idempotency_key_differs: other_key,
            payload_differs,
            is_late_webhook: false,
        };
        assert_eq!(classify("h", Some("k")), duplicate(false, false));
        assert_eq!(classify("h", Some("other")), duplicate(true, false));
        assert_eq!(classify("h", None), duplicate(true, false));
        assert_eq!(classify("other", Some("k")), duplicate(false, true));
    }

    #[test]
    fn p5_a_webhook_after_the_poll_is_a_late_duplicate() {
        let (mut polled, webhook) = (identity("d1", "h1", None), identity("d2", "h2", None));
        polled.origin = Origin::Poll;
        let duplicate = |late_webhook| RecordOutcome::Duplicate {
            idempotency_key_differs: false,
            payload_differs: false,
            is_late_webhook: late_webhook,
        };
        assert_eq!(classify_existing(&polled, &webhook), duplicate(true));
        assert_eq!(
            classify_existing(&webhook, &polled),
            duplicate(false),
            "the webhook came during the poll"
        );
    }

    #[test]
    fn due_items_spread_over_every_shard_of_their_queue() {
        for (queue, first, last) in [
            (DueQueue::Outbox, "outbox#00", "outbox#15"),
            (DueQueue::Poll, "poll#00", "poll#15"),
            (DueQueue::Quarantine, "quarantine#00", "quarantine#15"),
        ] {
            let used: std::collections::BTreeSet<_> =
                (0..500).map(|n| queue.shard(&format!("fynapse#event#{n}"))).collect();
            assert_eq!(used, queue.shards().collect());
            assert_eq!(queue.shards().next().as_deref(), Some(first));
            assert_eq!(queue.shards().last().as_deref(), Some(last));
        }
    }

    #[test]
    fn p2_relay_retries_back_off_up_to_fifteen_minutes() {
        let pause = |attempts| next_due_at(UnixMillis(0), attempts).0 / 1_000;
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(pause), [30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(pause(u64::MAX), 900);
        assert_eq!(first_due_at(UnixMillis(5)), UnixMillis(30_005));
    }

    #[test]
    fn nothing_expires_before_what_refers_to_it() {
        let now = UnixMillis(1_000);
        assert_eq!(record_expiry(now, 1), UnixSecs(1 + 30 * 86_400), "thirty days at the least");
        assert_eq!(record_expiry(now, 400), UnixSecs(1 + 400 * 86_400));
        for retention in [1, 30, 90, 400] {
            assert!(parts_expiry(now, retention) > record_expiry(now, retention));
            assert!(parts_expiry(now, retention) > quarantine_expiry(now));
            assert!(parts_expiry(now, retention) > quarantined_record_expiry(now, retention));
            assert!(quarantined_record_expiry(now, retention) > quarantine_expiry(now));
        }
    }

    #[test]
    fn the_open_events_of_a_subject_have_an_item_for_each_day() {
        let end_of_day = UnixMillis(1_767_398_399_999);
        assert_eq!(open_events_sk(end_of_day), "open#2026-01-02");
        assert_eq!(open_events_sk(UnixMillis(end_of_day.0 + 1)), "open#2026-01-03");
        assert_eq!(subject_pk(&"payroll-1".parse().unwrap()), "rightfoot#subject#payroll-1");
        assert_eq!(open_events_expiry(UnixMillis(1_000)), UnixSecs(1 + 2 * 86_400));
        // printf %s rightfoot/batch/b-1/completed | openssl dgst -sha256 -binary | head -c 16 | basenc --base64url
        assert_eq!(short_hash("rightfoot/batch/b-1/completed"), "Jr93xGI6qIuj0DsqUjzU5w");
    }

    #[test]
    fn p7_every_reason_parses_from_its_name() {
        for reason in QuarantineReason::ALL {
            assert_eq!(QuarantineReason::from_name(reason.as_str()), Some(reason));
        }
        assert_eq!(QuarantineReason::from_name("boredom"), None);
    }

    proptest! {
        #[test]
        fn chunks_keep_order_and_both_limits(sizes in proptest::collection::vec(0usize..1_100_000, 0..60)) {
            let cut = chunk_by_size(sizes.clone(), RELAY_CHUNK_LIMITS, |size| *size);
            prop_assert_eq!(cut.concat(), sizes);
            for batch in &cut {
                prop_assert!((1..=10).contains(&batch.len()));
                prop_assert!(batch.len() == 1 || batch.iter().sum::<usize>() <= 900 * 1024);
            }
        }
    }
}
