//! What happened, and what makes two deliveries the same event.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::delivery::{Provider, Verified};
use crate::limits::ID_MAX_BYTES;

/// What stays as it is inside an event id: RFC 3986's unreserved characters.
const ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the first version recorded the alerts that its poller found: no webhook may take it.
const LEGACY_POLLED_UUID: &str = "poll";
/// What the poller's `event_uuid` begins with, before the digest of whom its alerts are about: no webhook may take it.
const POLLED_UUID_PREFIX: &str = "poll-";

/// Something that happened at a provider. Made only from [`Proven`] bytes (P4).
#[derive(Debug)]
pub struct Event {
    key: EventKey,
    event_type: Cow<'static, str>,
    verified: Verified,
}

impl Event {
    pub(crate) fn new(key: EventKey, event_type: impl Into<Cow<'static, str>>, verified: Verified) -> Self {
        Self { key, event_type: event_type.into(), verified }
    }

    /// What makes it this event.
    pub fn key(&self) -> &EventKey {
        &self.key
    }

    /// The provider's own name of its type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// How it came to be recorded.
    pub fn origin(&self) -> Origin {
        self.verified.origin()
    }

    /// The proven bytes and what is known of their delivery.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Fynapse's `Idempotency-Key`: stored, not trusted, because it is not signed. One that is longer than an
    /// id may be counts as none.
    pub fn idempotency_key(&self) -> Option<&str> {
        match self.key.provider() {
            Provider::Fynapse => {
                self.verified.header("idempotency-key").filter(|key| key.len() <= ID_MAX_BYTES)
            }
            Provider::Rightfoot => None,
        }
    }
}

/// An id as a provider gave it: opaque, not empty, at most 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// Takes an id; `None` if it is empty or longer than [`ID_MAX_BYTES`].
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        (1..=ID_MAX_BYTES).contains(&id.len()).then_some(Self(id))
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom alerts are about, as one short text: the same authorizers give the same digest, others another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizersDigest([u8; 16]);

impl AuthorizersDigest {
    /// The first half of SHA-256 over the sorted authorizers, each after its length as eight bytes.
    pub fn of<'a>(authorizers: impl IntoIterator<Item = &'a Id>) -> Self {
        let mut hash = Sha256::new();
        for authorizer in authorizers.into_iter().collect::<BTreeSet<_>>() {
            hash.update(u64::try_from(authorizer.as_str().len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(authorizer.as_str());
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        // Written in one way only: two event ids never mean the same event.
        (hex::encode(bytes) == text).then_some(Self(bytes))
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for AuthorizersDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The dedupe key: where the event's record stands in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKey {
    /// A batch is complete. It carries nothing but its batch (whether a retry repeats `event_uuid` is not documented).
    RightfootCompletion {
        /// The batch.
        batch_id: Id,
    },
    /// Authorizers of a run met their threshold. A run's alerts might come split, hence the uuid.
    RightfootAlert {
        /// The run's batch.
        batch_id: Id,
        /// The event's own id.
        event_uuid: Id,
    },
    /// The alerts of a run that no webhook told. A run may have several: what was not seen at first is found later.
    RightfootPolledAlert {
        /// The run's batch.
        batch_id: Id,
        /// Whom they are about; `None` in what the first version recorded.
        authorizers: Option<AuthorizersDigest>,
    },
    /// A Fynapse event, by its signed `event_id`.
    Fynapse {
        /// The event's own id.
        event_id: Id,
    },
}

impl EventKey {
    /// The key of an alert webhook; `None` for a uuid that could be taken for one of the poller's own.
    pub fn alert(batch_id: Id, event_uuid: Id) -> Option<Self> {
        let is_reserved =
            event_uuid.as_str() == LEGACY_POLLED_UUID || event_uuid.as_str().starts_with(POLLED_UUID_PREFIX);
        (!is_reserved).then_some(Self::RightfootAlert { batch_id, event_uuid })
    }

    /// The key of an alert that is recorded already. The first version also recorded webhooks whose uuid is reserved now.
    fn recorded_alert(batch_id: Id, event_uuid: Id) -> Self {
        match parse_polled_uuid(event_uuid.as_str()) {
            Some(authorizers) => Self::RightfootPolledAlert { batch_id, authorizers },
            None => Self::RightfootAlert { batch_id, event_uuid },
        }
    }

    /// Whose event it is.
    pub fn provider(&self) -> Provider {
        match self {
            Self::RightfootCompletion { .. }
            | Self::RightfootAlert { .. }
            | Self::RightfootPolledAlert { .. } => Provider::Rightfoot,
            Self::Fynapse { .. } => Provider::Fynapse,
        }
    }

    /// The batch it is about, if it is about one.
    pub fn batch_id(&self) -> Option<&Id> {
        match self {
            Self::RightfootCompletion { batch_id }
            | Self::RightfootAlert { batch_id, .. }
            | Self::RightfootPolledAlert { batch_id, .. } => Some(batch_id),
            Self::Fynapse { .. } => None,
        }
    }

    /// The partition: the story that it belongs to.
    pub fn pk(&self) -> String {
        match self {
            Self::RightfootCompletion { batch_id }
            | Self::RightfootAlert { batch_id, .. }
            | Self::RightfootPolledAlert { batch_id, .. } => batch_pk(batch_id),
            Self::Fynapse { event_id } => format!("fynapse#event#{}", event_id.as_str()),
        }
    }

    /// The place in its story.
    pub fn sk(&self) -> String {
        match self {
            Self::RightfootCompletion { .. } => "completed".to_owned(),
            Self::RightfootAlert { event_uuid, .. } => format!("alert#{}", event_uuid.as_str()),
            Self::RightfootPolledAlert { authorizers, .. } => format!("alert#{}", polled_uuid(*authorizers)),
            Self::Fynapse { .. } => "event".to_owned(),
        }
    }

    /// The key whose record stands at this place of the table, if it is the place of an event record.
    pub fn from_table_key(pk: &str, sk: &str) -> Option<Self> {
        if let Some(batch_id) = pk.strip_prefix("rightfoot#batch#") {
            let batch_id = Id::new(batch_id)?;
            return match sk.strip_prefix("alert#") {
                Some(event_uuid) => Some(Self::recorded_alert(batch_id, Id::new(event_uuid)?)),
                None => (sk == "completed").then_some(Self::RightfootCompletion { batch_id }),
            };
        }
        let event_id = Id::new(pk.strip_prefix("fynapse#event#")?)?;
        (sk == "event").then_some(Self::Fynapse { event_id })
    }

    /// The event's id on the queue: a path whose opaque elements are percent-encoded, so that two keys never
    /// share one.
    pub fn event_id(&self) -> String {
        match self {
            Self::RightfootCompletion { batch_id } => format!("{}/completed", batch_path(batch_id)),
            Self::RightfootAlert { batch_id, event_uuid } => {
                format!("{}/alert/{}", batch_path(batch_id), encode_id(event_uuid))
            }
            Self::RightfootPolledAlert { batch_id, authorizers } => {
                format!("{}/alert/{}", batch_path(batch_id), polled_uuid(*authorizers))
            }
            Self::Fynapse { event_id } => format!("fynapse/event/{}", encode_id(event_id)),
        }
    }

    /// Reads an event's id back.
    pub fn from_event_id(event_id: &str) -> Option<Self> {
        let elements: Vec<_> = event_id.split('/').collect();
        match elements.as_slice() {
            ["rightfoot", "batch", batch, "completed"] => {
                Some(Self::RightfootCompletion { batch_id: decode_id(batch)? })
            }
            ["rightfoot", "batch", batch, "alert", uuid] => {
                let key = Self::recorded_alert(decode_id(batch)?, decode_id(uuid)?);
                // Written otherwise than we write it, the poller's own name is none.
                let is_polled = matches!(key, Self::RightfootPolledAlert { .. });
                (!is_polled || parse_polled_uuid(uuid).is_some()).then_some(key)
            }
            ["fynapse", "event", id] => Some(Self::Fynapse { event_id: decode_id(id)? }),
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
fn polled_uuid(authorizers: Option<AuthorizersDigest>) -> String {
    authorizers.map_or_else(
        || LEGACY_POLLED_UUID.to_owned(),
        |authorizers| format!("{POLLED_UUID_PREFIX}{authorizers}"),
    )
}

/// Whom the poller's alert of this `event_uuid` is about; `None` if it is none of the poller's.
fn parse_polled_uuid(event_uuid: &str) -> Option<Option<AuthorizersDigest>> {
    if event_uuid == LEGACY_POLLED_UUID {
        return Some(None);
    }
    event_uuid.strip_prefix(POLLED_UUID_PREFIX).and_then(AuthorizersDigest::parse).map(Some)
}

/// The partition of a batch's story.
pub fn batch_pk(batch_id: &Id) -> String {
    format!("rightfoot#batch#{}", batch_id.as_str())
}

/// What the ids of all that concerns a batch begin with.
pub(crate) fn batch_path(batch_id: &Id) -> String {
    format!("rightfoot/batch/{}", encode_id(batch_id))
}

/// How an event came to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The provider told us.
    Webhook,
    /// We asked.
    Poll,
    /// It was quarantined, and an operator had it read again.
    Replay,
}

impl Origin {
    /// The word used in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::Replay => "replay",
        }
    }

    /// The origin of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Webhook, Self::Poll, Self::Replay].into_iter().find(|origin| origin.as_str() == name)
    }
}

/// SHA-256 of a payload, in hexadecimal: tells whether two payloads are the same, and names stored parts.
pub fn payload_hash(payload: &[u8]) -> String {
    hex::encode(Sha256::digest(payload))
}

/// An opaque string as it stands inside an event id or a message attribute.
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
        let extract = EventKey::Fynapse { event_id: id("a3ef") };
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
    }

    #[test]
    fn opaque_ids_cannot_imitate_another_key() {
        let crafted = EventKey::RightfootCompletion { batch_id: id("b/alert/u%2F#é") };
        assert_eq!(crafted.event_id(), "rightfoot/batch/b%2Falert%2Fu%252F%23%C3%A9/completed");
        for reserved in ["poll", "poll-", "poll-u", "poll-b1946ac92492d2347c6235b4d2611184"] {
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
            EventKey::RightfootPolledAlert {
                batch_id: id("b"),
                authorizers: Some(AuthorizersDigest::of(&ids)),
            }
        };
        // printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\2bc' | sha256sum | cut -c -32
        assert_eq!(polled_alert(&["a", "bc"]).sk(), "alert#poll-3fafa1cf2f19a7c1129beb20cf0983f7");
        assert_eq!(polled_alert(&["bc", "a"]), polled_alert(&["a", "bc"]), "in any order");
        assert_ne!(polled_alert(&["ab", "c"]), polled_alert(&["a", "bc"]));
        assert_ne!(polled_alert(&["a"]), polled_alert(&["a", "bc"]));
        for key in
            [polled_alert(&["a"]), EventKey::RightfootPolledAlert { batch_id: id("b"), authorizers: None }]
        {
            assert_eq!(EventKey::from_event_id(&key.event_id()), Some(key.clone()));
            assert_eq!(EventKey::from_table_key(&key.pk(), &key.sk()), Some(key));
        }
        assert_eq!(EventKey::from_event_id("rightfoot/batch/b/alert/p%6Fll"), None, "one id for one event");
    }

    #[test]
    fn alerts_that_the_first_version_recorded_under_reserved_uuids_are_read() {
        for (pk, sk) in [("rightfoot#batch#b", "alert#poll-u"), ("rightfoot#batch#b", "alert#poll-ABCD")] {
            let key = EventKey::from_table_key(pk, sk).unwrap();
            assert!(matches!(key, EventKey::RightfootAlert { .. }));
            assert_eq!((key.pk().as_str(), key.sk().as_str()), (pk, sk));
            assert_eq!(EventKey::from_event_id(&key.event_id()), Some(key));
        }
    }

    proptest! {
        #[test]
        fn every_key_can_be_read_back_from_its_id_and_from_its_place(a in "\\PC{1,40}", b in "\\PC{1,40}", kind in 0..3) {
            let key = match kind {
                0 => Some(EventKey::RightfootCompletion { batch_id: id(&a) }),
                1 => EventKey::alert(id(&a), id(&b)),
                _ => Some(EventKey::Fynapse { event_id: id(&a) }),
            };
            if let Some(key) = key {
                prop_assert_eq!(EventKey::from_event_id(&key.event_id()), Some(key.clone()));
                prop_assert_eq!(EventKey::from_table_key(&key.pk(), &key.sk()), Some(key));
            }
        }

        #[test]
        fn no_text_makes_the_reading_of_an_id_panic(text in "\\PC*") {
            let _ = EventKey::from_event_id(&text);
            let _ = EventKey::from_table_key(&text, &text);
        }
    }
}
