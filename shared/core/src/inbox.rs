//! What to write into the inbox, and what its refusals mean.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::delivery::Subject;
use crate::event::{Id, Origin};
use crate::limits::{
    PARTS_MARGIN_DAYS, QUARANTINE_RETENTION_DAYS, RELAY_AGE_MS, RELAY_BACKOFF_MAX_MS, RELAY_BATCH_BYTES,
    RELAY_BATCH_MESSAGES, RETENTION_MIN_DAYS, SHARDS, UNTRACKED_OPEN_DAYS,
};
use crate::time::{UnixMillis, UnixSecs};

/// What a delivery leaves in its record besides its payload: enough to recognise it when it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
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
pub enum Recorded {
    /// The event is new; its record stands.
    New,
    /// The event was recorded before.
    Duplicate {
        /// It came under another `Idempotency-Key` than the first time.
        other_key: bool,
        /// It came with other bytes than the first time; the first ones are kept.
        payload_differs: bool,
        /// It came by webhook, and the poller had found it before.
        late_webhook: bool,
    },
}

impl Recorded {
    /// An event that was recorded before, by a delivery that does not differ from this one.
    pub const SAME_AGAIN: Self =
        Self::Duplicate { other_key: false, payload_differs: false, late_webhook: false };
}

/// What it means that a record stands already. If it is this very delivery's own, our first attempt was
/// applied and its answer lost: the event is new.
pub fn refused_by(standing: &Trace, ours: &Trace) -> Recorded {
    if standing.delivery_id == ours.delivery_id {
        return Recorded::New;
    }
    let polled = |trace: &Trace| trace.origin == Origin::Poll;
    Recorded::Duplicate {
        other_key: standing.idempotency_key != ours.idempotency_key,
        // What we found ourselves has no `event_uuid`: it differs from a webhook, and means the same.
        payload_differs: polled(standing) == polled(ours) && standing.payload_hash != ours.payload_hash,
        late_webhook: polled(standing) && !polled(ours),
    }
}

/// Why proven bytes were kept and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
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

impl Reason {
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
pub enum Desk {
    /// The relay: events that were recorded and not enqueued.
    Outbox,
    /// The poller: batches, schedules and submissions about which something is not known yet.
    Poll,
    /// The operators: deliveries and events that nobody can use before they have been looked at.
    Quarantine,
}

impl Desk {
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
        self.partition(byte % SHARDS)
    }

    /// Every partition that has to be looked at.
    pub fn shards(self) -> impl Iterator<Item = String> {
        (0..SHARDS).map(move |shard| self.partition(shard))
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
pub fn open_sk(since: UnixMillis) -> String {
    let at = since.rfc3339();
    format!("open#{}", at.split('T').next().unwrap_or(&at))
}

/// When the item of a subject's open events may be deleted that is written to at `now`.
pub fn open_expiry(now: UnixMillis) -> UnixSecs {
    now.secs().plus_days(UNTRACKED_OPEN_DAYS)
}

/// A text in 22 characters: 16 bytes of its SHA-256, as base64url. For sets of ids, which have to fit into one item.
pub fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

/// When a new record becomes the relay's.
pub fn first_due(received_at: UnixMillis) -> UnixMillis {
    received_at.plus(Duration::from_millis(RELAY_AGE_MS))
}

/// When the relay looks at a record again after it has claimed it `attempts` times before: 30 s, doubling up
/// to 15 min. Until then the claim lasts.
pub fn next_due(now: UnixMillis, attempts: u64) -> UnixMillis {
    let doublings = u32::try_from(attempts.min(20)).unwrap_or(20);
    let pause_ms = RELAY_AGE_MS.saturating_mul(1 << doublings).min(RELAY_BACKOFF_MAX_MS);
    now.plus(Duration::from_millis(pause_ms))
}

/// When a record with which nothing more is to be done may be deleted.
pub fn record_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(RETENTION_MIN_DAYS))
}

/// When a record that was given up may be deleted: after the quarantined item that leads to it.
pub fn parked_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
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
pub struct Load {
    /// Entries at the most.
    pub entries: usize,
    /// Bytes at the most, all entries together.
    pub bytes: usize,
}

/// What one call of the relay to SQS carries.
pub const RELAY_LOAD: Load = Load { entries: RELAY_BATCH_MESSAGES, bytes: RELAY_BATCH_BYTES };

/// Cuts what is to be sent into what one call takes, in order. An item that is larger than that gets a batch of its own.
pub fn batches<T>(items: Vec<T>, most: Load, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let size = bytes(&item);
        match batches.last_mut() {
            Some(batch) if batch.len() < most.entries && size <= room => batch.push(item),
            _ => {
                batches.push(vec![item]);
                room = most.bytes;
            }
        }
        room = room.saturating_sub(size);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trace(delivery: &str, hash: &str, key: Option<&str>) -> Trace {
        Trace {
            delivery_id: delivery.to_owned(),
            payload_hash: hash.to_owned(),
            idempotency_key: key.map(str::to_owned),
            origin: Origin::Webhook,
        }
    }

    #[test]
    fn p3_a_refusal_by_our_own_first_attempt_reads_as_new() {
        let ours = trace("d1", "h", Some("k"));
        assert_eq!(refused_by(&ours, &ours), Recorded::New);
    }

    #[test]
    fn a_duplicate_tells_whether_its_key_and_payload_are_the_same() {
        let standing = trace("d1", "h", Some("k"));
        let seen = |hash, key| refused_by(&standing, &trace("d2", hash, key));
        let duplicate = |other_key, payload_differs| Recorded::Duplicate {
            other_key,
            payload_differs,
            late_webhook: false,
        };
        assert_eq!(seen("h", Some("k")), duplicate(false, false));
        assert_eq!(seen("h", Some("other")), duplicate(true, false));
        assert_eq!(seen("h", None), duplicate(true, false));
        assert_eq!(seen("other", Some("k")), duplicate(false, true));
    }

    #[test]
    fn p5_a_webhook_that_comes_after_the_poll_is_late_and_nothing_else() {
        let (mut polled, told) = (trace("d1", "h1", None), trace("d2", "h2", None));
        polled.origin = Origin::Poll;
        let duplicate =
            |late_webhook| Recorded::Duplicate { other_key: false, payload_differs: false, late_webhook };
        assert_eq!(refused_by(&polled, &told), duplicate(true));
        assert_eq!(refused_by(&told, &polled), duplicate(false), "the webhook came during the poll");
    }

    #[test]
    fn due_items_spread_over_every_shard_of_their_desk() {
        for (desk, first, last) in [
            (Desk::Outbox, "outbox#00", "outbox#15"),
            (Desk::Poll, "poll#00", "poll#15"),
            (Desk::Quarantine, "quarantine#00", "quarantine#15"),
        ] {
            let used: std::collections::BTreeSet<_> =
                (0..500).map(|n| desk.shard(&format!("fynapse#event#{n}"))).collect();
            assert_eq!(used, desk.shards().collect());
            assert_eq!(desk.shards().next().as_deref(), Some(first));
            assert_eq!(desk.shards().last().as_deref(), Some(last));
        }
    }

    #[test]
    fn p2_the_relay_comes_back_later_and_later_but_at_least_every_quarter_of_an_hour() {
        let pause = |attempts| next_due(UnixMillis(0), attempts).0 / 1_000;
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(pause), [30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(pause(u64::MAX), 900);
        assert_eq!(first_due(UnixMillis(5)), UnixMillis(30_005));
    }

    #[test]
    fn nothing_expires_before_what_refers_to_it() {
        let now = UnixMillis(1_000);
        assert_eq!(record_expiry(now, 1), UnixSecs(1 + 30 * 86_400), "thirty days at the least");
        assert_eq!(record_expiry(now, 400), UnixSecs(1 + 400 * 86_400));
        for retention in [1, 30, 90, 400] {
            assert!(parts_expiry(now, retention) > record_expiry(now, retention));
            assert!(parts_expiry(now, retention) > quarantine_expiry(now));
            assert!(parts_expiry(now, retention) > parked_expiry(now, retention));
            assert!(parked_expiry(now, retention) > quarantine_expiry(now));
        }
    }

    #[test]
    fn the_open_events_of_a_subject_have_an_item_for_each_day() {
        let end_of_day = UnixMillis(1_767_398_399_999);
        assert_eq!(open_sk(end_of_day), "open#2026-01-02");
        assert_eq!(open_sk(UnixMillis(end_of_day.0 + 1)), "open#2026-01-03");
        assert_eq!(subject_pk(&"payroll-1".parse().unwrap()), "rightfoot#subject#payroll-1");
        assert_eq!(open_expiry(UnixMillis(1_000)), UnixSecs(1 + 2 * 86_400));
        // printf %s rightfoot/batch/b-1/completed | openssl dgst -sha256 -binary | head -c 16 | basenc --base64url
        assert_eq!(short_hash("rightfoot/batch/b-1/completed"), "Jr93xGI6qIuj0DsqUjzU5w");
    }

    #[test]
    fn p7_every_reason_is_known_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::from_name("boredom"), None);
    }

    proptest! {
        #[test]
        fn batches_keep_order_and_both_bounds(sizes in proptest::collection::vec(0usize..1_100_000, 0..60)) {
            let cut = batches(sizes.clone(), RELAY_LOAD, |size| *size);
            prop_assert_eq!(cut.concat(), sizes);
            for batch in &cut {
                prop_assert!((1..=10).contains(&batch.len()));
                prop_assert!(batch.len() == 1 || batch.iter().sum::<usize>() <= 900 * 1024);
            }
        }
    }
}
