//! What to write into the inbox, and what its refusals mean.

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

/// What a delivery leaves in its record besides its payload: enough to recognise it when it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryIdentity {
    /// The delivery's own random id.
    pub delivery_id: String,
    /// SHA-256 of the payload.
    pub payload_hash: String,
    /// The `Idempotency-Key` it came under, if its provider sends one.
    pub idempotency_key: Option<String>,
    /// How it came.
    pub origin: Origin,
}

/// What the conditional put of a record came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// The event is new; its record stands.
    New,
    /// The event was recorded before.
    Duplicate {
        /// It came under another `Idempotency-Key` than the first time.
        idempotency_key_differs: bool,
        /// It came with other bytes than the first time; the first ones are kept.
        payload_differs: bool,
        /// It came by webhook, and the poller had found it before.
        is_late_webhook: bool,
    },
}

impl RecordOutcome {
    /// An event that was recorded before, by a delivery that does not differ from this one.
    pub const EXACT_DUPLICATE: Self =
        Self::Duplicate { idempotency_key_differs: false, payload_differs: false, is_late_webhook: false };
}

/// What it means that a record stands already. If it is this very delivery's own, our first attempt was
/// applied and its answer lost: the event is new.
pub fn classify_existing(existing: &DeliveryIdentity, incoming: &DeliveryIdentity) -> RecordOutcome {
    if existing.delivery_id == incoming.delivery_id {
        return RecordOutcome::New;
    }
    let is_polled = |trace: &DeliveryIdentity| trace.origin == Origin::Poll;
    RecordOutcome::Duplicate {
        idempotency_key_differs: existing.idempotency_key != incoming.idempotency_key,
        // What we found ourselves has no `event_uuid`: it differs from a webhook, and means the same.
        payload_differs: is_polled(existing) == is_polled(incoming)
            && existing.payload_hash != incoming.payload_hash,
        is_late_webhook: is_polled(existing) && !is_polled(incoming),
    }
}

/// Why proven bytes were kept and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuarantineReason {
    /// Not JSON, or a required field is missing.
    Unreadable,
    /// A type that we do not know.
    UnknownType,
    /// An id that cannot be a key.
    UnusableId,
    /// About a batch that was submitted under another subject.
    SubjectMismatch,
    /// The signature is right, its time is not.
    Stale,
    /// Recorded, and refused by SQS for what it is, again and again.
    QueueRefused,
    /// Recorded, and the provider's API does not show an alert that it tells.
    Unconfirmed,
    /// Recorded, and its batch was not complete when the deadline came.
    Incomplete,
    /// Recorded, and refused by EventBridge for what it is.
    BusRefused,
    /// Recorded, and an alert in it was published so often that no other replay can be remembered.
    ReplayLimit,
    /// Recorded, and the stored parts of its payload are gone.
    PayloadGone,
    /// Recorded, and its subject has as many open events about batches that nobody tracks as it may have.
    UntrackedLimit,
    /// Recorded, and its subject was revoked before it was worked on.
    SubjectRevoked,
}

impl QuarantineReason {
    /// Every reason there is.
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

    /// The reason of that name.
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

/// Who looks after what is due: the first half of a partition's name in the index `due`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueQueue {
    /// The relay: events that were recorded and not enqueued.
    Outbox,
    /// The poller: batches, schedules and submissions about which something is not known yet.
    Poll,
    /// The operators: deliveries and events that nobody can use before they have been looked at.
    Quarantine,
}

impl DueQueue {
    /// Every desk there is.
    pub const ALL: [Self; 3] = [Self::Outbox, Self::Poll, Self::Quarantine];

    /// The name used in the index.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Poll => "poll",
            Self::Quarantine => "quarantine",
        }
    }

    /// The partition of the index `due` in which an item of this story waits.
    pub fn shard(self, pk: &str) -> String {
        let byte = Sha256::digest(pk.as_bytes()).first().copied().unwrap_or(0);
        self.partition(byte % DUE_SHARDS)
    }

    /// Every partition that has to be looked at.
    pub fn shards(self) -> impl Iterator<Item = String> {
        (0..DUE_SHARDS).map(move |shard| self.partition(shard))
    }

    fn partition(self, shard: u8) -> String {
        format!("{}#{shard:02}", self.as_str())
    }
}

/// The partition of a schedule's story.
pub fn schedule_pk(schedule_id: &Id) -> String {
    format!("rightfoot#schedule#{}", schedule_id.as_str())
}

/// The partition of a submission's story.
pub fn submission_pk(submission_id: &str) -> String {
    format!("rightfoot#submission#{submission_id}")
}

/// The partition of what is known about a subject.
pub fn subject_pk(subject: &Subject) -> String {
    format!("rightfoot#subject#{subject}")
}

/// The place, in its subject's partition, of the open events that came on the day of `since`, in UTC.
pub fn open_events_sk(since: UnixMillis) -> String {
    let at = since.rfc3339();
    format!("open#{}", at.split('T').next().unwrap_or(&at))
}

/// When the item of a subject's open events may be deleted that is written to at `now`.
pub fn open_events_expiry(now: UnixMillis) -> UnixSecs {
    now.secs().plus_days(UNTRACKED_OPEN_DAYS)
}

/// A text in 22 characters: 16 bytes of its SHA-256, as base64url. For sets of ids, which have to fit into one item.
pub fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

/// When a new record becomes the relay's.
pub fn first_due_at(received_at: UnixMillis) -> UnixMillis {
    received_at.plus(Duration::from_millis(RELAY_AGE_MS))
}

/// When the relay looks at a record again after it has claimed it `attempts` times before: 30 s, doubling up
/// to 15 min. Until then the claim lasts.
pub fn next_due_at(now: UnixMillis, attempts: u64) -> UnixMillis {
    let doublings = u32::try_from(attempts.min(20)).unwrap_or(20);
    let pause_ms = RELAY_AGE_MS.saturating_mul(1 << doublings).min(RELAY_BACKOFF_MAX_MS);
    now.plus(Duration::from_millis(pause_ms))
}

/// When a record with which nothing more is to be done may be deleted.
pub fn record_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(RETENTION_MIN_DAYS))
}

/// When a record that was given up may be deleted: after the quarantined item that leads to it.
pub fn quarantined_record_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(QUARANTINE_RETENTION_DAYS + 1))
}

/// When a quarantined delivery may be deleted.
pub fn quarantine_expiry(now: UnixMillis) -> UnixSecs {
    now.secs().plus_days(QUARANTINE_RETENTION_DAYS)
}

/// When payload parts may be deleted that are last referred to at `now`: after anything that may refer to them.
pub fn parts_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(QUARANTINE_RETENTION_DAYS) + PARTS_MARGIN_DAYS)
}

/// What one call may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Entries at the most.
    pub max_entries: usize,
    /// Bytes at the most, all entries together.
    pub max_bytes: usize,
}

/// What one call of the relay to SQS carries.
pub const RELAY_CHUNK_LIMITS: ChunkLimits =
    ChunkLimits { max_entries: RELAY_BATCH_MESSAGES, max_bytes: RELAY_BATCH_BYTES };

/// Cuts what is to be sent into what one call takes, in order. An item that is larger than that gets a batch of its own.
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
        fn batches_keep_order_and_both_bounds(sizes in proptest::collection::vec(0usize..1_100_000, 0..60)) {
            let cut = chunk_by_size(sizes.clone(), RELAY_CHUNK_LIMITS, |size| *size);
            prop_assert_eq!(cut.concat(), sizes);
            for batch in &cut {
                prop_assert!((1..=10).contains(&batch.len()));
                prop_assert!(batch.len() == 1 || batch.iter().sum::<usize>() <= 900 * 1024);
            }
        }
    }
}
