//! The mapping from a delivery's outcome to its HTTP reply.

use serde_json::json;

use crate::delivery::{Provider, RejectReason};
use crate::providers::{ParseError, ProviderSpec, UnreadableReply};
use crate::quarantine::QuarantineReason;

/// The outcome of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The event is new, and its record is durable.
    Recorded,
    /// The event was already recorded.
    Duplicate,
    /// Verified, but not an event that can be processed; quarantined.
    Quarantined(QuarantineReason),
    /// Verified, but the payload cannot be parsed; quarantined.
    Unreadable(ParseError),
    /// The signature is valid, but its time is outside the tolerance; quarantined.
    Stale,
    /// Not verified; nothing is stored.
    Rejected(RejectReason),
    /// Undecided, because a secret or a service is unavailable; the sender must deliver again.
    Unavailable,
}

/// An HTTP reply: a status and a short body without payload data. It never has a `Retry-After` (P6): Fynapse
/// makes 20 attempts in all, and a short pause would shrink its two days to minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: String,
}

/// The reply to `provider` for `outcome`. No provider gets a status that ends its retries (P6).
pub fn reply_for(provider: Provider, outcome: &DeliveryOutcome) -> Reply {
    let (status, body) = match (outcome, ProviderSpec::of(provider).unreadable_reply) {
        (DeliveryOutcome::Recorded, _) => (200, json!({"status": "received"})),
        (DeliveryOutcome::Duplicate, _) => (200, json!({"status": "duplicate"})),
        (DeliveryOutcome::Quarantined(_), _)
        | (DeliveryOutcome::Unreadable(_), UnreadableReply::Quarantined) => {
            (200, json!({"status": "quarantined"}))
        }
        (DeliveryOutcome::Unreadable(ParseError::NotJson), UnreadableReply::BadRequest) => {
            (400, json!({"error": "Invalid JSON payload"}))
        }
        (DeliveryOutcome::Unreadable(ParseError::MissingFields(fields)), UnreadableReply::BadRequest) => {
            (400, json!({"error": "Missing required fields", "fields": fields}))
        }
        // Fynapse retries a 403 for about two days, so a wrong secret loses nothing. The reason stays inside.
        (DeliveryOutcome::Stale | DeliveryOutcome::Rejected(_), _) => (403, json!({"error": "Forbidden"})),
        // Every provider retries a 503.
        (DeliveryOutcome::Unavailable, _) => (503, json!({"error": "Unavailable"})),
    };
    Reply { status, body: body.to_string() }
}

impl DeliveryOutcome {
    /// The name used in metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Quarantined(_) | Self::Unreadable(_) => "quarantined",
            Self::Stale => "stale_but_authentic",
            Self::Rejected(_) => "rejected",
            Self::Unavailable => "unavailable",
        }
    }

    /// The reason used beside the name in metrics and logs.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Quarantined(reason) => Some(reason.as_str()),
            Self::Unreadable(_) => Some(QuarantineReason::Unreadable.as_str()),
            Self::Stale => Some(QuarantineReason::Stale.as_str()),
            Self::Rejected(reason) => Some(reason.as_str()),
            Self::Recorded | Self::Duplicate | Self::Unavailable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_every_outcome_has_its_reply() {
        use DeliveryOutcome::{Duplicate, Quarantined, Recorded, Rejected, Stale, Unavailable};
        let not_json = DeliveryOutcome::Unreadable(ParseError::NotJson);
        let missing = DeliveryOutcome::Unreadable(ParseError::MissingFields(vec!["event_uuid", "batch_id"]));
        let quarantined = (200, r#"{"status":"quarantined"}"#);
        let forbidden = (403, r#"{"error":"Forbidden"}"#);
        let table = [
            (Recorded, (200, r#"{"status":"received"}"#), (200, r#"{"status":"received"}"#)),
            (Duplicate, (200, r#"{"status":"duplicate"}"#), (200, r#"{"status":"duplicate"}"#)),
            (Quarantined(QuarantineReason::UnknownType), quarantined, quarantined),
            (Quarantined(QuarantineReason::UnusableId), quarantined, quarantined),
            (Quarantined(QuarantineReason::SubjectMismatch), quarantined, quarantined),
            (not_json, (400, r#"{"error":"Invalid JSON payload"}"#), quarantined),
            (
                missing,
                (400, r#"{"error":"Missing required fields","fields":["event_uuid","batch_id"]}"#),
                quarantined,
            ),
            (Stale, forbidden, forbidden),
            (Rejected(RejectReason::Malformed), forbidden, forbidden),
            (Rejected(RejectReason::Mismatch), forbidden, forbidden),
            (Rejected(RejectReason::AddressNotAllowed), forbidden, forbidden),
            (Rejected(RejectReason::Revoked), forbidden, forbidden),
            (Unavailable, (503, r#"{"error":"Unavailable"}"#), (503, r#"{"error":"Unavailable"}"#)),
        ];
        for (outcome, rightfoot, fynapse) in table {
            for (provider, (status, body)) in [(Provider::Rightfoot, rightfoot), (Provider::Fynapse, fynapse)]
            {
                assert_eq!(
                    reply_for(provider, &outcome),
                    Reply { status, body: body.to_owned() },
                    "{provider:?} {outcome:?}"
                );
            }
        }
    }
}
