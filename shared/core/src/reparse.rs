//! Parsing of a quarantined delivery again, when an operator replays it (P7).
//!
//! ```text
//!  without a record   parsed by the present code ─┬─ an event ── recorded, origin `replay` ─┬─ new ── enqueued ── resolution: recorded
//!                                                 │                                         └─ recorded before ── resolution: duplicate
//!                                                 └─ still not usable: remains quarantined
//!  of a recorded event   its record becomes due again, if it is still quarantined ─────────────────────────────── resolution: requeued
//! ```

use crate::delivery::{Delivery, Verified, VerifiedBy};
use crate::event::Event;
use crate::providers::{Credential, ParseOutcome, ProviderSpec, parse};
use crate::quarantine::{QuarantineReason, QuarantinedDelivery};

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
    match ProviderSpec::of(item.provider).credential {
        Credential::UrlToken => item.subject.clone().map(|subject| VerifiedBy::UrlToken { subject }),
        Credential::Signature(_) => item.signed_at.map(|signed_at| VerifiedBy::Signature { signed_at }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Provider;
    use crate::origin::Origin;
    use crate::quarantine::tests::quarantined;
    use crate::subject::Subject;
    use crate::time::{UnixMillis, UnixSecs};

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
        for &provider in Provider::ALL {
            let mut item = quarantined(provider, r#"{"event_id":"a","event_type":"t"}"#);
            (item.subject, item.signed_at) = match ProviderSpec::of(provider).credential {
                Credential::UrlToken => (None, Some(UnixSecs(7))),
                Credential::Signature(_) => ("demo".parse().ok(), None),
            };
            assert!(matches!(reparse(item), Reparsed::Unverified), "{provider:?}");
        }
    }
}
