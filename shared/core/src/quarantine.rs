//! Quarantined deliveries: their ids, and parsing them again when an operator replays one (P7).
//!
//! ```text
//!  without a record   parsed by the present code ─┬─ an event ── recorded, origin `replay` ─┬─ new ── enqueued ── resolution: recorded
//!                                                 │                                         └─ recorded before ── resolution: duplicate
//!                                                 └─ still not usable: remains quarantined
//!  of a recorded event   its record becomes due again, if it is still quarantined ─────────────────────────────── resolution: requeued
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::delivery::{Delivery, Provider, Subject, Verified, VerifiedBy};
use crate::event::{Event, EventKey};
use crate::inbox::{QuarantineReason, record_expiry};
use crate::limits::RETENTION_MIN_DAYS;
use crate::providers::{ParseOutcome, parse};
use crate::time::{UnixMillis, UnixSecs};

/// A quarantined delivery, or the bytes of a quarantined event, as stored in the table.
#[derive(Clone)]
pub struct QuarantinedDelivery {
    /// The sender.
    pub provider: Provider,
    /// The reason for the quarantine.
    pub reason: QuarantineReason,
    /// The bytes, verified when they were received.
    pub body: Vec<u8>,
    /// The stored headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The time at which the bytes were first received.
    pub first_received_at: UnixMillis,
    /// The subject of the URL that they came by, if any.
    pub subject: Option<Subject>,
    /// The time of their signature, if they were signed.
    pub signed_at: Option<UnixSecs>,
}

impl fmt::Debug for QuarantinedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "QuarantinedDelivery({}, {}, {} bytes)",
            self.provider.as_str(),
            self.reason.as_str(),
            self.body.len()
        )
    }
}

/// The result of parsing quarantined bytes again.
#[derive(Debug)]
pub enum Reparsed {
    /// They are an event now.
    Event(Event),
    /// They are still not usable, for this reason.
    StillUnusable(QuarantineReason),
    /// The item does not say what verified the bytes, so they must not be used (P4).
    Unverified,
}

/// Parses quarantined bytes by the present code. A stale signature is no obstacle: by replaying them, the
/// operator has accepted it.
pub fn reparse(item: QuarantinedDelivery) -> Reparsed {
    let Some(verified_by) = verified_by(&item) else { return Reparsed::Unverified };
    // Consumers see when the event was received, not when it was replayed.
    let delivery = Delivery { body: item.body, headers: item.headers, received_at: item.first_received_at };
    match parse(Verified::from_quarantine(item.provider, verified_by, delivery)) {
        ParseOutcome::Event(event) => Reparsed::Event(event),
        ParseOutcome::UnknownType(_) => Reparsed::StillUnusable(QuarantineReason::UnknownType),
        ParseOutcome::UnusableId(_) => Reparsed::StillUnusable(QuarantineReason::UnusableId),
        ParseOutcome::Unreadable(..) => Reparsed::StillUnusable(QuarantineReason::Unreadable),
    }
}

/// Restores the evidence from what the provider's kind of verification has stored.
fn verified_by(item: &QuarantinedDelivery) -> Option<VerifiedBy> {
    match item.provider {
        Provider::Rightfoot => item.subject.clone().map(|subject| VerifiedBy::UrlToken { subject }),
        Provider::Fynapse => item.signed_at.map(|signed_at| VerifiedBy::Signature { signed_at }),
    }
}

/// The resolution of a quarantined item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Its event was recorded.
    Recorded,
    /// Its event was already recorded.
    Duplicate,
    /// Its event, which had been recorded before, is due again.
    Requeued,
    /// An operator has discarded it.
    Discarded,
}

impl Resolution {
    /// Every resolution.
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

    /// The resolution with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resolution| resolution.as_str() == name)
    }
}

/// The id of a quarantined item, as operators write it: `<provider>/<subject>/<sha256 of the bytes>` if it
/// came by a minted URL, otherwise `<provider>/<sha256>`. The subject keeps apart the items of different
/// URLs, so that somebody who knows the bytes and holds another URL cannot change this one. Items of the
/// first version have no subject in their id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuarantineId {
    /// The sender.
    pub provider: Provider,
    subject: Option<Subject>,
    hash: String,
}

impl QuarantineId {
    /// Makes an id; `None` if `hash` is not a SHA-256 in lower-case hexadecimal.
    pub fn new(provider: Provider, subject: Option<&Subject>, hash: &str) -> Option<Self> {
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then(|| Self { provider, subject: subject.cloned(), hash: hash.to_owned() })
    }

    /// The partition key of its item.
    pub fn pk(&self) -> String {
        format!("quarantine#{}", self.join('#'))
    }

    /// Parses a partition key; `None` if it belongs to another kind of item.
    pub fn from_pk(pk: &str) -> Option<Self> {
        Self::parse(pk.strip_prefix("quarantine#")?, '#')
    }

    /// Parses an id as it is printed.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::parse(name, '/')
    }

    fn join(&self, separator: char) -> String {
        let parts = [
            Some(self.provider.as_str()),
            self.subject.as_ref().map(Subject::as_str),
            Some(self.hash.as_str()),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        parts.join(&separator.to_string())
    }

    fn parse(text: &str, separator: char) -> Option<Self> {
        let (provider, rest) = text.split_once(separator)?;
        // Unambiguous, because a subject contains neither of the separators.
        let (subject, hash) = match rest.split_once(separator) {
            Some((subject, hash)) => (Some(subject.parse::<Subject>().ok()?), hash),
            None => (None, rest),
        };
        Self::new(Provider::from_name(provider)?, subject.as_ref(), hash)
    }
}

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join('/'))
    }
}

/// The ids under which the bytes of a quarantined event may be stored: the current one, and the one of the
/// first version.
pub fn quarantine_ids_of(key: &EventKey, subject: Option<&Subject>, payload_hash: &str) -> Vec<QuarantineId> {
    let ids = [subject, None].map(|subject| QuarantineId::new(key.provider(), subject, payload_hash));
    let mut ids: Vec<_> = ids.into_iter().flatten().collect();
    // Without a subject, both ids are the same.
    ids.dedup();
    ids
}

/// Returns `true` if the record of a delivery signed at `signed_at` may have expired. A record is kept for at
/// least [`RETENTION_MIN_DAYS`] from a time after the signature; the retention that was configured then is
/// unknown. A delivery recorded once more would be published again as new.
pub fn record_may_have_expired(signed_at: UnixSecs, now: UnixMillis) -> bool {
    record_expiry(UnixMillis(signed_at.0.saturating_mul(1_000)), RETENTION_MIN_DAYS) <= now.secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Origin, payload_hash};

    fn quarantined(provider: Provider, body: &str) -> QuarantinedDelivery {
        let headers = BTreeMap::from([("idempotency-key".to_owned(), "k-1".to_owned())]);
        let mut item = QuarantinedDelivery {
            provider,
            reason: QuarantineReason::UnknownType,
            body: body.as_bytes().to_vec(),
            headers,
            first_received_at: UnixMillis(1_000),
            subject: None,
            signed_at: None,
        };
        match provider {
            Provider::Rightfoot => item.subject = Some("demo".parse().unwrap()),
            Provider::Fynapse => item.signed_at = Some(UnixSecs(7)),
        }
        item
    }

    #[test]
    fn p7_a_delivery_that_parses_now_becomes_an_event_with_its_original_metadata() {
        let body = r#"{"event_id":"a3ef","event_type":"balance.extracted"}"#;
        let Reparsed::Event(event) = reparse(quarantined(Provider::Fynapse, body)) else {
            panic!("not read")
        };
        assert_eq!(event.key().event_id(), "fynapse/event/a3ef");
        assert_eq!((event.origin(), event.idempotency_key()), (Origin::Replay, Some("k-1")));
        assert_eq!(event.verified().body(), body.as_bytes());
        assert_eq!(event.verified().received_at(), UnixMillis(1_000));
        assert_eq!(event.verified().verified_by(), &VerifiedBy::Signature { signed_at: UnixSecs(7) });

        let body = r#"{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"b"}"#;
        let Reparsed::Event(event) = reparse(quarantined(Provider::Rightfoot, body)) else {
            panic!("not read")
        };
        assert_eq!(event.verified().subject().map(Subject::as_str), Some("demo"));
        assert_eq!(event.origin(), Origin::Replay);
    }

    #[test]
    fn p7_a_delivery_that_still_does_not_parse_gives_a_reason() {
        let reason_of = |provider, body: &str| {
            let Reparsed::StillUnusable(reason) = reparse(quarantined(provider, body)) else {
                panic!("{body}")
            };
            reason
        };
        assert_eq!(reason_of(Provider::Rightfoot, r#"{"type":"NEW"}"#), QuarantineReason::UnknownType);
        assert_eq!(reason_of(Provider::Fynapse, "{"), QuarantineReason::Unreadable);
        let long = format!(r#"{{"event_id":"{}","event_type":"t"}}"#, "i".repeat(513));
        assert_eq!(reason_of(Provider::Fynapse, &long), QuarantineReason::UnusableId);
    }

    #[test]
    fn p4_deliveries_without_their_providers_verification_are_not_parsed() {
        for provider in Provider::ALL {
            let mut item = quarantined(provider, r#"{"event_id":"a","event_type":"t"}"#);
            (item.subject, item.signed_at) = match provider {
                Provider::Rightfoot => (None, Some(UnixSecs(7))),
                Provider::Fynapse => ("demo".parse().ok(), None),
            };
            assert!(matches!(reparse(item), Reparsed::Unverified), "{provider:?}");
        }
    }

    #[test]
    fn quarantine_ids_round_trip_and_other_text_is_none() {
        let hash = payload_hash(b"x");
        let demo: Subject = "demo".parse().unwrap();
        let signed = QuarantineId::new(Provider::Fynapse, None, &hash).unwrap();
        let by_url = QuarantineId::new(Provider::Rightfoot, Some(&demo), &hash).unwrap();
        assert_eq!(
            (signed.to_string(), signed.pk()),
            (format!("fynapse/{hash}"), format!("quarantine#fynapse#{hash}"))
        );
        assert_eq!(by_url.to_string(), format!("rightfoot/demo/{hash}"));
        assert_eq!(by_url.pk(), format!("quarantine#rightfoot#demo#{hash}"));
        for id in [signed, by_url] {
            assert_eq!(QuarantineId::from_name(&id.to_string()), Some(id.clone()));
            assert_eq!(QuarantineId::from_pk(&id.pk()), Some(id));
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
            assert_eq!(QuarantineId::from_name(wrong), None, "{wrong}");
        }
        for wrong in [
            format!("fynapse/{}", "A".repeat(64)),
            format!("rightfoot//{hash}"),
            format!("rightfoot/a/b/{hash}"),
            format!("rightfoot/a b/{hash}"),
        ] {
            assert_eq!(QuarantineId::from_name(&wrong), None, "{wrong}");
        }
        for resolution in Resolution::ALL {
            assert_eq!(Resolution::from_name(resolution.as_str()), Some(resolution));
        }
    }

    #[test]
    fn p7_an_event_has_a_current_quarantine_id_and_one_of_the_first_version() {
        let hash = payload_hash(b"x");
        let (key, demo) = (
            EventKey::from_event_id("rightfoot/batch/b/completed").unwrap(),
            "demo".parse::<Subject>().unwrap(),
        );
        let names = |subject| -> Vec<_> {
            quarantine_ids_of(&key, subject, &hash).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(Some(&demo)), [format!("rightfoot/demo/{hash}"), format!("rightfoot/{hash}")]);
        assert_eq!(names(None), [format!("rightfoot/{hash}")]);
        assert_eq!(quarantine_ids_of(&key, None, "no hash"), []);
    }

    #[test]
    fn p10_a_signature_is_too_old_once_its_record_may_have_expired() {
        let day = |days: i64| UnixMillis(days * 86_400_000);
        let signed_at = UnixSecs(5 * 86_400);
        assert!(!record_may_have_expired(signed_at, UnixMillis(day(35).0 - 1)), "thirty days at the least");
        assert!(record_may_have_expired(signed_at, day(35)));
        assert!(!record_may_have_expired(UnixSecs(i64::MAX), day(95)));
    }

    #[test]
    fn p8_debug_shows_no_body() {
        assert_eq!(
            format!("{:?}", quarantined(Provider::Fynapse, "secret")),
            "QuarantinedDelivery(fynapse, unknown_type, 6 bytes)"
        );
    }
}
