//! Recognition of a delivery or an event that is already recorded.

use crate::origin::Origin;
use crate::time::UnixMillis;

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

/// The duplicates of an event that its record has counted. A count may be missing, or counted twice, if its write
/// failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuplicateCount {
    /// The number of duplicates.
    pub total: u64,
    /// The number of those whose payload differed from the recorded one.
    pub differing: u64,
    /// The time at which the last one was received; `None` if there were none.
    pub last_at: Option<UnixMillis>,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
