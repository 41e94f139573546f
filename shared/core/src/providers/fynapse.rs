//! Fynapse's specification, and the parsing of its webhooks (shared/providers/fynapse.md, "Envelope"). Every
//! `event_type` is accepted; `data` has no fixed schema.

pub mod signature;

use serde::Deserialize;

use super::{
    Credential, FieldKind, JsonText, ParseOutcome, ProviderSpec, SignatureScheme, UnreadableReply, non_empty,
    parse_error, parse_object,
};
use crate::delivery::{Provider, Verified};
use crate::event::{Event, EventKey};
use crate::id::Id;
use crate::limits::{BODY_MAX_BYTES, ID_MAX_BYTES};

pub(super) const SPEC: ProviderSpec = ProviderSpec {
    title: "Fynapse",
    route: "/webhooks/fynapse",
    credential: Credential::Signature(&SignatureScheme {
        header: signature::HEADER,
        verify: signature::verify,
        sign: signature::sign,
        key_codec_variable: "FYNAPSE_KEY_CODEC",
        tolerance_variable: "FYNAPSE_TOLERANCE_SECS",
    }),
    secret_id_variable: "FYNAPSE_SIGNING_SECRET_ID",
    secret_name: "fynapse-signing",
    allowed_cidrs_variable: "FYNAPSE_ALLOWED_CIDRS",
    body_max_bytes: BODY_MAX_BYTES,
    unreadable_reply: UnreadableReply::Quarantined,
    type_prefix: "com.fynapse.",
    source_uri: "/fynapse/webhook",
    parse,
};

/// The header with the idempotency key. It is stored, but not trusted, because it is not signed.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";

const REQUIRED_FIELDS: [(&str, FieldKind); 2] =
    [("event_id", FieldKind::Text), ("event_type", FieldKind::Text)];

#[derive(Deserialize)]
struct EventPayload<'a> {
    #[serde(borrow)]
    event_id: Option<JsonText<'a>>,
    #[serde(borrow)]
    event_type: Option<JsonText<'a>>,
}

fn parse(verified: Verified) -> ParseOutcome {
    let envelope: Option<EventPayload<'_>> = parse_object(verified.body());
    let fields =
        envelope.as_ref().and_then(|it| Some((non_empty(&it.event_id)?, non_empty(&it.event_type)?)));
    let Some((event_id, event_type)) = fields else {
        let error = parse_error(verified.body(), &REQUIRED_FIELDS);
        return ParseOutcome::Unreadable(verified, error);
    };
    let event_type = event_type.to_owned();
    match Id::new(event_id).filter(|_| event_type.len() <= ID_MAX_BYTES) {
        Some(event_id) => {
            let key = EventKey::Signed { provider: Provider::Fynapse, event_id };
            let event = Event::new(key, event_type, verified);
            ParseOutcome::Event(event.with_idempotency_header(IDEMPOTENCY_HEADER))
        }
        None => ParseOutcome::UnusableId(verified),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ParseError;
    use super::super::tests::{unreadable, verified};
    use super::*;
    use Provider::Fynapse;

    fn parse_text(body: &str) -> ParseOutcome {
        super::super::parse(verified(Fynapse, body.as_bytes()))
    }

    #[test]
    fn any_event_type_is_an_event() {
        for event_type in ["balance.extracted", "something.else"] {
            let body = format!(
                r#"{{"event_id":"a3ef","event_type":"{event_type}","metadata":{{}},"event_timestamp":17,"data":[150.00]}}"#
            );
            let ParseOutcome::Event(event) = parse_text(&body) else { panic!("{body}") };
            assert_eq!(event.key().event_id(), "fynapse/event/a3ef");
            assert_eq!(event.event_type(), event_type);
        }
    }

    #[test]
    fn p7_missing_fields_are_named() {
        assert_eq!(
            unreadable(Fynapse, r#"{"event_id":7,"data":{}}"#),
            ParseError::MissingFields(vec!["event_id", "event_type"])
        );
        assert_eq!(
            unreadable(Fynapse, r#"{"event_id":"","event_type":"balance.extracted"}"#),
            ParseError::MissingFields(vec!["event_id"])
        );
    }

    #[test]
    fn p7_over_long_ids_and_types_are_told_apart() {
        let body = |id: usize, event_type: usize| {
            format!(r#"{{"event_id":"{}","event_type":"{}"}}"#, "i".repeat(id), "t".repeat(event_type))
        };
        assert!(matches!(parse_text(&body(512, 512)), ParseOutcome::Event(_)));
        assert!(matches!(parse_text(&body(513, 1)), ParseOutcome::UnusableId(_)));
        assert!(matches!(parse_text(&body(1, 513)), ParseOutcome::UnusableId(_)));
    }
}
