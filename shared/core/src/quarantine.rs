//! Quarantined deliveries: why they are kept, their ids, and how their items are closed (P7).

use std::collections::BTreeMap;
use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::delivery::Provider;
use crate::expiry::record_expiry;
use crate::limits::RETENTION_MIN_DAYS;
use crate::subject::Subject;
use crate::time::{UnixMillis, UnixSecs};

/// The reason why verified bytes were quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// The name used in the table, metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

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

/// The resolution of a quarantined item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Resolution {
    /// Its event was recorded.
    Recorded,
    /// Its event was already recorded.
    Duplicate,
    /// Its event, which had been recorded before, is due again.
    Requeued,
    /// An operator has discarded it.
    Discarded,
    /// Its bytes were erased, because they named a person who was erased.
    Erased,
}

impl Resolution {
    /// The name used in the table.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The resolution with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// The id of a quarantined item, as operators write it: `<provider>/<subject>/<sha256 of the bytes>` if it
/// came by a minted URL, otherwise `<provider>/<sha256>`. The subject keeps apart the items of different
/// URLs, so that somebody who knows the bytes and holds another URL cannot change this one.
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

/// Returns `true` if the record of a delivery signed at `signed_at` may have expired. A record is kept for at
/// least [`RETENTION_MIN_DAYS`] from a time after the signature; the retention that was configured then is
/// unknown. A delivery recorded once more would be published again as new.
pub fn record_may_have_expired(signed_at: UnixSecs, now: UnixMillis) -> bool {
    record_expiry(UnixMillis(signed_at.0.saturating_mul(1_000)), RETENTION_MIN_DAYS) <= now.secs()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::payload_hash;
    use crate::providers::{Credential, ProviderSpec};

    pub(crate) fn quarantined(provider: Provider, body: &str) -> QuarantinedDelivery {
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
        match ProviderSpec::of(provider).credential {
            Credential::UrlToken => item.subject = Some("demo".parse().unwrap()),
            Credential::Signature(_) => item.signed_at = Some(UnixSecs(7)),
        }
        item
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
