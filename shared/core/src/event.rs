//! An event, its dedupe key, and the ids derived from that key.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::delivery::{Provider, Verified};
use crate::id::Id;
use crate::limits::ID_MAX_BYTES;
use crate::origin::Origin;
use crate::table_keys::batch_pk;

/// Leaves RFC 3986's unreserved characters unencoded in an event id.
const ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The prefix of the poller's own `event_uuid`, before the digest of the authorizers. Reserved: no webhook
/// may use it.
const POLLED_UUID_PREFIX: &str = "poll-";

/// Something that happened at a provider. Made only from [`Verified`] bytes (P4).
#[derive(Debug)]
pub struct Event {
    key: EventKey,
    event_type: Cow<'static, str>,
    verified: Verified,
    idempotency_header: Option<&'static str>,
}

impl Event {
    pub(crate) fn new(key: EventKey, event_type: impl Into<Cow<'static, str>>, verified: Verified) -> Self {
        Self { key, event_type: event_type.into(), verified, idempotency_header: None }
    }

    /// Says which header the provider repeats in redeliveries.
    pub(crate) fn with_idempotency_header(self, name: &'static str) -> Self {
        Self { idempotency_header: Some(name), ..self }
    }

    /// The dedupe key.
    pub fn key(&self) -> &EventKey {
        &self.key
    }

    /// The provider's own name of the event's type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The origin to record.
    pub fn origin(&self) -> Origin {
        self.verified.origin()
    }

    /// The verified delivery that it was parsed from.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The provider's idempotency header, if it has one of at most [`ID_MAX_BYTES`]. It is stored, but not
    /// trusted, because it is not signed.
    pub fn idempotency_key(&self) -> Option<&str> {
        // Not part of the dedupe key: with a signed body, anybody could choose a fresh header.
        self.verified.header(self.idempotency_header?).filter(|key| key.len() <= ID_MAX_BYTES)
    }
}

/// A short digest of a set of authorizers. It depends on the ids alone, not on their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizersDigest([u8; 16]);

impl AuthorizersDigest {
    /// Hashes the sorted authorizers, each after its length as eight bytes, with SHA-256, and keeps the first
    /// half.
    pub fn of<'a>(authorizers: impl IntoIterator<Item = &'a Id>) -> Self {
        let mut hash = Sha256::new();
        for authorizer in authorizers.into_iter().collect::<BTreeSet<_>>() {
            // The length keeps `a`, `bc` and `ab`, `c` apart.
            hash.update(u64::try_from(authorizer.as_str().len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(authorizer.as_str());
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        // Upper-case digits are rejected, so that no event has two ids.
        (hex::encode(bytes) == text).then_some(Self(bytes))
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for AuthorizersDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The dedupe key: deliveries with the same key are the same event. It also names the event's record in the
/// table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKey {
    /// A completed batch. Only the batch is part of the key, because it is not documented whether a retry
    /// repeats `event_uuid`.
    RightfootCompletion {
        /// The batch.
        batch_id: Id,
    },
    /// Threshold alerts of a run, from one webhook. `event_uuid` is part of the key because the alerts of a
    /// run may be split over several webhooks.
    RightfootAlert {
        /// The run's batch.
        batch_id: Id,
        /// The event's own id.
        event_uuid: Id,
    },
    /// Threshold alerts of a run that no webhook announced. A run may have several of these: a later poll may
    /// find alerts that an earlier one could not see.
    RightfootPolledAlert {
        /// The run's batch.
        batch_id: Id,
        /// The authorizers that the alerts are about.
        authorizers: AuthorizersDigest,
    },
    /// An event of a provider that signs, by its signed id.
    Signed {
        /// The provider; never Rightfoot.
        provider: Provider,
        /// The event's own id.
        event_id: Id,
    },
}

impl EventKey {
    /// The key of an alert webhook; `None` if its `event_uuid` is reserved for polled alerts.
    pub fn alert(batch_id: Id, event_uuid: Id) -> Option<Self> {
        let is_reserved = event_uuid.as_str().starts_with(POLLED_UUID_PREFIX);
        (!is_reserved).then_some(Self::RightfootAlert { batch_id, event_uuid })
    }

    /// The key of an event by its signed id; `None` for Rightfoot, which does not sign.
    pub fn signed(provider: Provider, event_id: Id) -> Option<Self> {
        (provider != Provider::Rightfoot).then_some(Self::Signed { provider, event_id })
    }

    /// The key of an alert that is already recorded: a webhook's, or the poller's own.
    fn recorded_alert(batch_id: Id, event_uuid: Id) -> Option<Self> {
        match event_uuid.as_str().strip_prefix(POLLED_UUID_PREFIX) {
            Some(digest) => AuthorizersDigest::parse(digest)
                .map(|authorizers| Self::RightfootPolledAlert { batch_id, authorizers }),
            None => Some(Self::RightfootAlert { batch_id, event_uuid }),
        }
    }

    /// The provider that the event comes from.
    pub fn provider(&self) -> Provider {
        match self {
            Self::RightfootCompletion { .. }
            | Self::RightfootAlert { .. }
            | Self::RightfootPolledAlert { .. } => Provider::Rightfoot,
            Self::Signed { provider, .. } => *provider,
        }
    }

    /// The batch that the event belongs to; `None` for others than Rightfoot's.
    pub fn batch_id(&self) -> Option<&Id> {
        match self {
            Self::RightfootCompletion { batch_id }
            | Self::RightfootAlert { batch_id, .. }
            | Self::RightfootPolledAlert { batch_id, .. } => Some(batch_id),
            Self::Signed { .. } => None,
        }
    }

    /// The record's partition key in the table. All items of one batch share one partition.
    pub fn pk(&self) -> String {
        match self {
            Self::RightfootCompletion { batch_id }
            | Self::RightfootAlert { batch_id, .. }
            | Self::RightfootPolledAlert { batch_id, .. } => batch_pk(batch_id),
            Self::Signed { provider, event_id } => {
                format!("{}#event#{}", provider.as_str(), event_id.as_str())
            }
        }
    }

    /// The record's sort key in the table.
    pub fn sk(&self) -> String {
        match self {
            Self::RightfootCompletion { .. } => "completed".to_owned(),
            Self::RightfootAlert { event_uuid, .. } => format!("alert#{}", event_uuid.as_str()),
            Self::RightfootPolledAlert { authorizers, .. } => format!("alert#{}", polled_uuid(*authorizers)),
            Self::Signed { .. } => "event".to_owned(),
        }
    }

    /// Parses the keys of an event's record; `None` if they belong to another kind of item.
    pub fn from_table_key(pk: &str, sk: &str) -> Option<Self> {
        if let Some(batch_id) = pk.strip_prefix("rightfoot#batch#") {
            let batch_id = Id::new(batch_id)?;
            return match sk.strip_prefix("alert#") {
                Some(event_uuid) => Self::recorded_alert(batch_id, Id::new(event_uuid)?),
                None => (sk == "completed").then_some(Self::RightfootCompletion { batch_id }),
            };
        }
        let (provider, event_id) = pk.split_once("#event#").filter(|_| sk == "event")?;
        Self::signed(Provider::from_name(provider)?, Id::new(event_id)?)
    }

    /// The event's id on the queue and the bus: a path whose opaque parts are percent-encoded, so that two
    /// keys never have the same id.
    pub fn event_id(&self) -> String {
        match self {
            Self::RightfootCompletion { batch_id } => format!("{}/completed", batch_path(batch_id)),
            Self::RightfootAlert { batch_id, event_uuid } => {
                format!("{}/alert/{}", batch_path(batch_id), encode_id(event_uuid))
            }
            Self::RightfootPolledAlert { batch_id, authorizers } => {
                // Not encoded: it has only letters, digits and a hyphen.
                format!("{}/alert/{}", batch_path(batch_id), polled_uuid(*authorizers))
            }
            Self::Signed { provider, event_id } => {
                format!("{}/event/{}", provider.as_str(), encode_id(event_id))
            }
        }
    }

    /// Parses an event id; the inverse of [`event_id`](Self::event_id).
    pub fn from_event_id(event_id: &str) -> Option<Self> {
        let elements: Vec<_> = event_id.split('/').collect();
        match elements.as_slice() {
            ["rightfoot", "batch", batch, "completed"] => {
                Some(Self::RightfootCompletion { batch_id: decode_id(batch)? })
            }
            ["rightfoot", "batch", batch, "alert", uuid] => {
                let key = Self::recorded_alert(decode_id(batch)?, decode_id(uuid)?)?;
                // A polled uuid in another spelling would be a second id of the same event.
                let is_polled = matches!(key, Self::RightfootPolledAlert { .. });
                (!is_polled || uuid.starts_with(POLLED_UUID_PREFIX)).then_some(key)
            }
            [provider, "event", id] => Self::signed(Provider::from_name(provider)?, decode_id(id)?),
            _ => None,
        }
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.event_id())
    }
}

/// The poller's own `event_uuid`.
fn polled_uuid(authorizers: AuthorizersDigest) -> String {
    format!("{POLLED_UUID_PREFIX}{authorizers}")
}

/// The common prefix of all ids that belong to a batch.
pub(crate) fn batch_path(batch_id: &Id) -> String {
    format!("rightfoot/batch/{}", encode_id(batch_id))
}

/// SHA-256 of a payload, in hexadecimal. Identifies equal payloads, and names the stored parts of a large
/// one.
pub fn payload_hash(payload: &[u8]) -> String {
    hex::encode(Sha256::digest(payload))
}

/// Percent-encodes an opaque string for an event id or a message attribute.
pub(crate) fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODE_SET).to_string()
}

fn encode_id(id: &Id) -> String {
    percent_encode(id.as_str())
}

fn decode_id(element: &str) -> Option<Id> {
    Id::new(percent_decode_str(element).decode_utf8().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    #[test]
    fn keys_match_the_data_model() {
        let completion = EventKey::RightfootCompletion { batch_id: id("5d3c") };
        let alert = EventKey::alert(id("5d3c"), id("7b6f")).unwrap();
        let extract = EventKey::signed(Provider::Fynapse, id("a3ef")).unwrap();
        let keys = |key: &EventKey| (key.pk(), key.sk(), key.event_id());
        let expected = |pk: &str, sk: &str, id: &str| (pk.to_owned(), sk.to_owned(), id.to_owned());
        assert_eq!(
            keys(&completion),
            expected("rightfoot#batch#5d3c", "completed", "rightfoot/batch/5d3c/completed")
        );
        assert_eq!(
            keys(&alert),
            expected("rightfoot#batch#5d3c", "alert#7b6f", "rightfoot/batch/5d3c/alert/7b6f")
        );
        assert_eq!(keys(&extract), expected("fynapse#event#a3ef", "event", "fynapse/event/a3ef"));
        assert_eq!(EventKey::from_event_id("rightfoot/event/a3ef"), None);
        assert_eq!(EventKey::from_table_key("rightfoot#event#a3ef", "event"), None);
    }

    #[test]
    fn opaque_ids_cannot_imitate_another_key() {
        let crafted = EventKey::RightfootCompletion { batch_id: id("b/alert/u%2F#é") };
        assert_eq!(crafted.event_id(), "rightfoot/batch/b%2Falert%2Fu%252F%23%C3%A9/completed");
        for reserved in ["poll-", "poll-u", "poll-b1946ac92492d2347c6235b4d2611184"] {
            assert_eq!(EventKey::alert(id("b"), id(reserved)), None, "the poller's own: {reserved}");
        }
        assert!(EventKey::alert(id("b"), id("polls")).is_some());
        assert_eq!(Id::new(""), None);
        assert!(Id::new("x".repeat(512)).is_some());
        assert_eq!(Id::new("x".repeat(513)), None);
    }

    #[test]
    fn p5_polled_alerts_are_keyed_by_their_authorizers() {
        let polled_alert = |ids: &[&str]| {
            let ids: Vec<_> = ids.iter().map(|text| id(text)).collect();
            EventKey::RightfootPolledAlert { batch_id: id("b"), authorizers: AuthorizersDigest::of(&ids) }
        };
        // printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\2bc' | sha256sum | cut -c -32
        assert_eq!(polled_alert(&["a", "bc"]).sk(), "alert#poll-3fafa1cf2f19a7c1129beb20cf0983f7");
        assert_eq!(polled_alert(&["bc", "a"]), polled_alert(&["a", "bc"]), "in any order");
        assert_ne!(polled_alert(&["ab", "c"]), polled_alert(&["a", "bc"]));
        assert_ne!(polled_alert(&["a"]), polled_alert(&["a", "bc"]));
        let key = polled_alert(&["a"]);
        assert_eq!(EventKey::from_event_id(&key.event_id()), Some(key.clone()));
        assert_eq!(
            EventKey::from_event_id(&key.event_id().replace("poll-", "p%6Fll-")),
            None,
            "one id for one event"
        );
        assert_eq!(EventKey::from_table_key(&key.pk(), &key.sk()), Some(key));
    }

    #[test]
    fn reserved_uuids_without_a_digest_are_no_event() {
        for reserved in ["poll-", "poll-u", "poll-ABCD"] {
            assert_eq!(EventKey::from_table_key("rightfoot#batch#b", &format!("alert#{reserved}")), None);
            assert_eq!(EventKey::from_event_id(&format!("rightfoot/batch/b/alert/{reserved}")), None);
        }
    }

    proptest! {
        #[test]
        fn every_key_round_trips_through_its_event_id_and_table_key(a in "\\PC{1,40}", b in "\\PC{1,40}", kind in 0..3) {
            let key = match kind {
                0 => Some(EventKey::RightfootCompletion { batch_id: id(&a) }),
                1 => EventKey::alert(id(&a), id(&b)),
                _ => EventKey::signed(Provider::Fynapse, id(&a)),
            };
            if let Some(key) = key {
                prop_assert_eq!(EventKey::from_event_id(&key.event_id()), Some(key.clone()));
                prop_assert_eq!(EventKey::from_table_key(&key.pk(), &key.sk()), Some(key));
            }
        }

        #[test]
        fn parsing_an_event_id_never_panics(text in "\\PC*") {
            let _ = EventKey::from_event_id(&text);
            let _ = EventKey::from_table_key(&text, &text);
        }
    }
}
