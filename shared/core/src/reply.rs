//! What the callers hear: the one mapping from outcome to HTTP.

use serde_json::json;

use crate::delivery::{Provider, Refusal};
use crate::inbox::Reason;
use crate::providers::Unreadable;

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new event; its record is durable.
    Recorded,
    /// The event was recorded before.
    Duplicate,
    /// Proven, not usable, and kept.
    Quarantined(Reason),
    /// Proven, not readable, and kept.
    Unreadable(Unreadable),
    /// The signature is right, its time is not; kept.
    Stale,
    /// Not proven; not kept.
    Refused(Refusal),
    /// We cannot decide: the sender shall come again.
    Unavailable,
}

/// An answer: a status and a short constant body. There is never a `Retry-After` (P6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: String,
}

/// What `provider` hears about `outcome`. Fynapse never hears a status that kills the delivery for good (P6).
pub fn reply(provider: Provider, outcome: &Outcome) -> Reply {
    let (status, body) = match (outcome, provider) {
        (Outcome::Recorded, _) => (200, json!({"status": "received"})),
        (Outcome::Duplicate, _) => (200, json!({"status": "duplicate"})),
        (Outcome::Quarantined(_), _) | (Outcome::Unreadable(_), Provider::Fynapse) => {
            (200, json!({"status": "quarantined"}))
        }
        (Outcome::Unreadable(Unreadable::NotJson), Provider::Rightfoot) => {
            (400, json!({"error": "Invalid JSON payload"}))
        }
        (Outcome::Unreadable(Unreadable::MissingFields(fields)), Provider::Rightfoot) => {
            (400, json!({"error": "Missing required fields", "fields": fields}))
        }
        (Outcome::Stale | Outcome::Refused(_), _) => (403, json!({"error": "Forbidden"})),
        (Outcome::Unavailable, _) => (503, json!({"error": "Unavailable"})),
    };
    Reply { status, body: body.to_string() }
}

impl Outcome {
    /// The name used in metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Quarantined(_) | Self::Unreadable(_) => "quarantined",
            Self::Stale => "stale_but_authentic",
            Self::Refused(_) => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    /// What more there is to say in metrics and logs.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Quarantined(reason) => Some(reason.as_str()),
            Self::Unreadable(_) => Some(Reason::Unreadable.as_str()),
            Self::Stale => Some(Reason::Stale.as_str()),
            Self::Refused(refusal) => Some(refusal.as_str()),
            Self::Recorded | Self::Duplicate | Self::Unavailable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_every_outcome_has_its_reply() {
        use Outcome::{Duplicate, Quarantined, Recorded, Refused, Stale, Unavailable};
        let not_json = Outcome::Unreadable(Unreadable::NotJson);
        let missing = Outcome::Unreadable(Unreadable::MissingFields(vec!["event_uuid", "batch_id"]));
        let quarantined = (200, r#"{"status":"quarantined"}"#);
        let forbidden = (403, r#"{"error":"Forbidden"}"#);
        let table = [
            (Recorded, (200, r#"{"status":"received"}"#), (200, r#"{"status":"received"}"#)),
            (Duplicate, (200, r#"{"status":"duplicate"}"#), (200, r#"{"status":"duplicate"}"#)),
            (Quarantined(Reason::UnknownType), quarantined, quarantined),
            (Quarantined(Reason::UnusableId), quarantined, quarantined),
            (Quarantined(Reason::SubjectMismatch), quarantined, quarantined),
            (not_json, (400, r#"{"error":"Invalid JSON payload"}"#), quarantined),
            (
                missing,
                (400, r#"{"error":"Missing required fields","fields":["event_uuid","batch_id"]}"#),
                quarantined,
            ),
            (Stale, forbidden, forbidden),
            (Refused(Refusal::Malformed), forbidden, forbidden),
            (Refused(Refusal::Mismatch), forbidden, forbidden),
            (Refused(Refusal::Address), forbidden, forbidden),
            (Refused(Refusal::Revoked), forbidden, forbidden),
            (Unavailable, (503, r#"{"error":"Unavailable"}"#), (503, r#"{"error":"Unavailable"}"#)),
        ];
        for (outcome, rightfoot, fynapse) in table {
            for (provider, (status, body)) in [(Provider::Rightfoot, rightfoot), (Provider::Fynapse, fynapse)]
            {
                assert_eq!(
                    reply(provider, &outcome),
                    Reply { status, body: body.to_owned() },
                    "{provider:?} {outcome:?}"
                );
            }
        }
    }
}
