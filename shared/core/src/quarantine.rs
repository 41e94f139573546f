//! What was proven and could not be used: read again, because an operator asked (P7).
//!
//! ```text
//!  no event in it   read by the present code ─┬─ an event ── record it, origin `replay` ─┬─ new ── enqueue ── closed: recorded
//!                                             │                                          └─ came meanwhile ── closed: duplicate
//!                                             └─ still not usable: stays
//!  made of one      its record is due again, if it is still given up ────────────────────── closed: requeued
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::delivery::{Delivery, Proof, Proven, Provider, Subject};
use crate::event::{Event, EventKey};
use crate::inbox::{Reason, record_expiry};
use crate::limits::RETENTION_MIN_DAYS;
use crate::providers::{Reading, read};
use crate::time::{UnixMillis, UnixSecs};

/// A quarantined delivery, or the bytes of an event that was given up: what stands in the table.
#[derive(Clone)]
pub struct Kept {
    /// Who sent it.
    pub provider: Provider,
    /// Why it is kept.
    pub reason: Reason,
    /// The bytes that were proven when they came.
    pub body: Vec<u8>,
    /// The headers that were kept, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// When the bytes first came.
    pub first_received_at: UnixMillis,
    /// The subject of the URL that they came by, if they came by one.
    pub subject: Option<Subject>,
    /// When they were signed, if they were.
    pub signed_at: Option<UnixSecs>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({}, {}, {} bytes)", self.provider.as_str(), self.reason.as_str(), self.body.len())
    }
}

/// What kept bytes turned out to be.
#[derive(Debug)]
pub enum Reread {
    /// An event by now.
    Event(Event),
    /// Still not usable, for this reason.
    Still(Reason),
    /// The item does not say how the bytes were proven: nothing may become of them (P4).
    Unproven,
}

/// Reads kept bytes by the present code. A time that was not right when they came is no obstacle any more: who asks
/// has decided that they shall count.
pub fn reread(kept: Kept) -> Reread {
    let Some(proof) = proof_of(&kept) else { return Reread::Unproven };
    let delivery = Delivery { body: kept.body, headers: kept.headers, received_at: kept.first_received_at };
    match read(Proven::out_of_quarantine(kept.provider, proof, delivery)) {
        Reading::Event(event) => Reread::Event(event),
        Reading::UnknownType(_) => Reread::Still(Reason::UnknownType),
        Reading::UnusableId(_) => Reread::Still(Reason::UnusableId),
        Reading::Unreadable(..) => Reread::Still(Reason::Unreadable),
    }
}

/// How it was proven, by what the proof of its provider leaves behind.
fn proof_of(kept: &Kept) -> Option<Proof> {
    match kept.provider {
        Provider::Rightfoot => kept.subject.clone().map(|subject| Proof::UrlToken { subject }),
        Provider::Fynapse => kept.signed_at.map(|signed_at| Proof::Signature { signed_at }),
    }
}

/// How a quarantined item was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Its event was recorded, out of it.
    Recorded,
    /// Its event had come meanwhile.
    Duplicate,
    /// The event that it was made of is on its way again.
    Requeued,
    /// An operator has decided that nothing shall become of it.
    Discarded,
}

impl Closed {
    /// Every way there is.
    pub const ALL: [Self; 4] = [Self::Recorded, Self::Duplicate, Self::Requeued, Self::Discarded];

    /// The name used in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Requeued => "requeued",
            Self::Discarded => "discarded",
        }
    }

    /// The way of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == name)
    }
}

/// Where a quarantined item stands: what operators name it by, as `<provider>/<subject>/<sha256 of the bytes>` of what came
/// by a minted URL, otherwise as `<provider>/<sha256>`. Whoever knows the bytes and holds another URL thus cannot touch it.
/// Items of the first version have no subject in their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeptId {
    /// Who sent it.
    pub provider: Provider,
    subject: Option<Subject>,
    hash: String,
}

impl KeptId {
    /// Of these bytes' hash; `None` if it is none.
    pub fn new(provider: Provider, subject: Option<&Subject>, hash: &str) -> Option<Self> {
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then(|| Self { provider, subject: subject.cloned(), hash: hash.to_owned() })
    }

    /// The partition of its item.
    pub fn pk(&self) -> String {
        format!("quarantine#{}", self.joined('#'))
    }

    /// The item that stands in this partition, if it is one of quarantine.
    pub fn from_pk(pk: &str) -> Option<Self> {
        Self::split(pk.strip_prefix("quarantine#")?, '#')
    }

    /// Reads a name as it is printed.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::split(name, '/')
    }

    fn joined(&self, between: char) -> String {
        let parts = [
            Some(self.provider.as_str()),
            self.subject.as_ref().map(Subject::as_str),
            Some(self.hash.as_str()),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        parts.join(&between.to_string())
    }

    /// A subject holds neither of the characters that stand between.
    fn split(joined: &str, between: char) -> Option<Self> {
        let (provider, rest) = joined.split_once(between)?;
        let (subject, hash) = match rest.split_once(between) {
            Some((subject, hash)) => (Some(subject.parse::<Subject>().ok()?), hash),
            None => (None, rest),
        };
        Self::new(Provider::from_name(provider)?, subject.as_ref(), hash)
    }
}

impl fmt::Display for KeptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined('/'))
    }
}

/// Where the bytes of an event are kept when it is given up: the name of today, and the one that the first version gave it.
pub fn kept_ids_of(key: &EventKey, subject: Option<&Subject>, payload_hash: &str) -> Vec<KeptId> {
    let ids = [subject, None].map(|subject| KeptId::new(key.provider(), subject, payload_hash));
    let mut ids: Vec<_> = ids.into_iter().flatten().collect();
    ids.dedup();
    ids
}

/// Whether the record of a delivery that was signed at that time may have expired: it was kept for [`RETENTION_MIN_DAYS`] at the
/// least, from a time after its signature, and nobody knows what was set then. What is recorded again is published again, as new.
pub fn may_have_expired(signed_at: UnixSecs, now: UnixMillis) -> bool {
    record_expiry(UnixMillis(signed_at.0.saturating_mul(1_000)), RETENTION_MIN_DAYS) <= now.secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Origin, payload_hash};

    fn kept(provider: Provider, body: &str) -> Kept {
        let headers = BTreeMap::from([("idempotency-key".to_owned(), "k-1".to_owned())]);
        let mut kept = Kept {
            provider,
            reason: Reason::UnknownType,
            body: body.as_bytes().to_vec(),
            headers,
            first_received_at: UnixMillis(1_000),
            subject: None,
            signed_at: None,
        };
        match provider {
            Provider::Rightfoot => kept.subject = Some("demo".parse().unwrap()),
            Provider::Fynapse => kept.signed_at = Some(UnixSecs(7)),
        }
        kept
    }

    #[test]
    fn p7_what_can_be_read_by_now_is_an_event_with_the_bytes_time_and_proof_of_the_delivery() {
        let body = r#"{"event_id":"a3ef","event_type":"balance.extracted"}"#;
        let Reread::Event(event) = reread(kept(Provider::Fynapse, body)) else { panic!("not read") };
        assert_eq!(event.key().event_id(), "fynapse/event/a3ef");
        assert_eq!((event.origin(), event.idempotency_key()), (Origin::Replay, Some("k-1")));
        assert_eq!(event.proven().body(), body.as_bytes());
        assert_eq!(event.proven().received_at(), UnixMillis(1_000));
        assert_eq!(event.proven().proof(), &Proof::Signature { signed_at: UnixSecs(7) });

        let body = r#"{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"b"}"#;
        let Reread::Event(event) = reread(kept(Provider::Rightfoot, body)) else { panic!("not read") };
        assert_eq!(event.proven().subject().map(Subject::as_str), Some("demo"));
        assert_eq!(event.origin(), Origin::Replay);
    }

    #[test]
    fn p7_what_still_cannot_be_read_says_why() {
        let still = |provider, body: &str| {
            let Reread::Still(reason) = reread(kept(provider, body)) else { panic!("{body}") };
            reason
        };
        assert_eq!(still(Provider::Rightfoot, r#"{"type":"NEW"}"#), Reason::UnknownType);
        assert_eq!(still(Provider::Fynapse, "{"), Reason::Unreadable);
        let long = format!(r#"{{"event_id":"{}","event_type":"t"}}"#, "i".repeat(513));
        assert_eq!(still(Provider::Fynapse, &long), Reason::UnusableId);
    }

    #[test]
    fn p4_bytes_without_the_proof_of_their_provider_become_nothing() {
        for provider in Provider::ALL {
            let mut kept = kept(provider, r#"{"event_id":"a","event_type":"t"}"#);
            (kept.subject, kept.signed_at) = match provider {
                Provider::Rightfoot => (None, Some(UnixSecs(7))),
                Provider::Fynapse => ("demo".parse().ok(), None),
            };
            assert!(matches!(reread(kept), Reread::Unproven), "{provider:?}");
        }
    }

    #[test]
    fn an_item_is_named_by_provider_subject_and_hash_and_nothing_else_is_a_name() {
        let hash = payload_hash(b"x");
        let demo: Subject = "demo".parse().unwrap();
        let signed = KeptId::new(Provider::Fynapse, None, &hash).unwrap();
        let by_url = KeptId::new(Provider::Rightfoot, Some(&demo), &hash).unwrap();
        assert_eq!(
            (signed.to_string(), signed.pk()),
            (format!("fynapse/{hash}"), format!("quarantine#fynapse#{hash}"))
        );
        assert_eq!(by_url.to_string(), format!("rightfoot/demo/{hash}"));
        assert_eq!(by_url.pk(), format!("quarantine#rightfoot#demo#{hash}"));
        for id in [signed, by_url] {
            assert_eq!(KeptId::from_name(&id.to_string()), Some(id.clone()));
            assert_eq!(KeptId::from_pk(&id.pk()), Some(id));
        }
        for wrong in [
            "",
            "fynapse",
            "fynapse/",
            "fynapse/abc",
            "elsewhere/abc",
            "rightfoot/demo/",
            "rightfoot/demo/abc",
        ] {
            assert_eq!(KeptId::from_name(wrong), None, "{wrong}");
        }
        for wrong in [
            format!("fynapse/{}", "A".repeat(64)),
            format!("rightfoot//{hash}"),
            format!("rightfoot/a/b/{hash}"),
            format!("rightfoot/a b/{hash}"),
        ] {
            assert_eq!(KeptId::from_name(&wrong), None, "{wrong}");
        }
        for way in Closed::ALL {
            assert_eq!(Closed::from_name(way.as_str()), Some(way));
        }
    }

    #[test]
    fn p7_the_item_of_an_event_has_a_name_of_today_and_may_have_one_of_the_first_version() {
        let hash = payload_hash(b"x");
        let (key, demo) = (
            EventKey::from_event_id("rightfoot/batch/b/completed").unwrap(),
            "demo".parse::<Subject>().unwrap(),
        );
        let names = |subject| -> Vec<_> {
            kept_ids_of(&key, subject, &hash).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(Some(&demo)), [format!("rightfoot/demo/{hash}"), format!("rightfoot/{hash}")]);
        assert_eq!(names(None), [format!("rightfoot/{hash}")]);
        assert_eq!(kept_ids_of(&key, None, "no hash"), []);
    }

    #[test]
    fn p10_a_signature_is_too_old_when_a_record_of_its_day_has_expired() {
        let day = |days: i64| UnixMillis(days * 86_400_000);
        let signed_at = UnixSecs(5 * 86_400);
        assert!(!may_have_expired(signed_at, UnixMillis(day(35).0 - 1)), "thirty days at the least");
        assert!(may_have_expired(signed_at, day(35)));
        assert!(!may_have_expired(UnixSecs(i64::MAX), day(95)));
    }

    #[test]
    fn p8_debug_shows_no_body() {
        assert_eq!(
            format!("{:?}", kept(Provider::Fynapse, "secret")),
            "Kept(fynapse, unknown_type, 6 bytes)"
        );
    }
}
