//! The specification of each provider, and the parsing of its payloads.
//!
//! Everything that differs between providers is in their [`ProviderSpec`]s, one in each file of this module. Rightfoot's
//! API, and the polling of it, are apart: see [`crate::poll`].

pub mod fynapse;
mod rightfoot;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::delivery::{Delivery, Provider, Verification, Verified};
use crate::event::Event;
use crate::json::strip_bom;
use crate::secret_keys::Keys;
use crate::time::UnixSecs;

pub use rightfoot::{AlertPayload, alerted_authorizers, parse_alerts};
pub(crate) use rightfoot::{BATCH_COMPLETED, THRESHOLD_ALERT};

/// Everything that differs between the providers.
#[derive(Debug)]
pub struct ProviderSpec {
    /// The name in sentences.
    pub title: &'static str,
    /// The path of the webhook route, as API Gateway writes it.
    pub route: &'static str,
    /// The evidence that its deliveries come with.
    pub credential: Credential,
    /// The environment variable with the name or ARN of the secret that verifies deliveries.
    pub secret_id_variable: &'static str,
    /// The name of that secret, without the stack's prefix.
    pub secret_name: &'static str,
    /// The environment variable with the addresses that may deliver, separated by commas; empty for all.
    pub allowed_cidrs_variable: &'static str,
    /// The largest accepted body, in bytes.
    pub body_max_bytes: usize,
    /// The reply to verified deliveries that cannot be parsed.
    pub unreadable_reply: UnreadableReply,
    /// The prefix of its event types in messages.
    pub(crate) type_prefix: &'static str,
    /// The `source` of its events in messages.
    pub(crate) source_uri: &'static str,
    parse: fn(Verified) -> ParseOutcome,
}

/// The evidence by which a provider's deliveries are verified.
#[derive(Clone, Copy, Debug)]
pub enum Credential {
    /// A signature over the body.
    Signature(&'static SignatureScheme),
    /// The token in the webhook's URL (see [`crate::url_token`]).
    UrlToken,
}

/// A way of signing deliveries.
#[derive(Debug)]
pub struct SignatureScheme {
    /// The header that carries the signature, in lower case.
    pub header: &'static str,
    /// Verifies a delivery. The number is the largest accepted difference between the signature's time and the
    /// delivery's, in seconds.
    pub verify: fn(Delivery, &Keys, u64) -> Verification,
    /// Makes the header's value for a body that is signed at this time, for test deliveries.
    pub sign: fn(UnixSecs, &[u8], &Keys) -> String,
    /// The environment variable with the encoding of the keys in the secret.
    pub key_codec_variable: &'static str,
    /// The environment variable with the largest accepted difference in time, in seconds.
    pub tolerance_variable: &'static str,
}

/// The reply to verified deliveries that cannot be parsed. They are quarantined in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadableReply {
    /// 400, with the reason.
    BadRequest,
    /// 200, for a provider whose retries end at a 400.
    Quarantined,
}

impl ProviderSpec {
    /// The specification of a provider.
    pub const fn of(provider: Provider) -> &'static Self {
        match provider {
            Provider::Rightfoot => &rightfoot::SPEC,
            Provider::Fynapse => &fynapse::SPEC,
        }
    }
}

/// The result of parsing a verified payload.
#[derive(Debug)]
pub enum ParseOutcome {
    /// An event.
    Event(Event),
    /// Well formed, but of an unknown type.
    UnknownType(Verified),
    /// An id or type that is too long, or reserved for polled events.
    UnusableId(Verified),
    /// Not an event.
    Unreadable(Verified, ParseError),
}

/// The reason why a payload is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not JSON, or not one unambiguous JSON object.
    NotJson,
    /// A required field is missing, empty, or not of its type.
    MissingFields(Vec<&'static str>),
}

/// Parses a verified payload. Unknown fields are ignored, and numbers are not converted: decimals stay as
/// received.
pub fn parse(verified: Verified) -> ParseOutcome {
    (ProviderSpec::of(verified.provider()).parse)(verified)
}

/// Parses a payload as one JSON object with the fields of `T`.
fn parse_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let json = std::str::from_utf8(strip_bom(body)).ok()?;
    // Serde would also accept an array, and fill the fields by their order.
    if !json.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// A string field that borrows from the payload unless it holds escapes.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a required field. An empty one counts as missing, because an empty id would make all events
/// one.
fn non_empty<'a>(field: &'a Option<JsonText<'_>>) -> Option<&'a str> {
    field.as_ref().map(|text| text.0.as_ref()).filter(|text| !text.is_empty())
}

/// The type of a required field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    Text,
    Array,
}

/// Finds the reason why a payload does not have the expected shape. Slower than [`parse_object`], but
/// precise.
fn parse_error(body: &[u8], required: &[(&'static str, FieldKind)]) -> ParseError {
    let Ok(fields) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(strip_bom(body)) else {
        return ParseError::NotJson;
    };
    let missing: Vec<_> = required
        .iter()
        .filter(|(name, kind)| !fields.get(*name).is_some_and(|value| is_of_kind(value, *kind)))
        .map(|(name, _)| *name)
        .collect();
    // Every field is there, and still the typed parse has failed: a key occurs twice.
    if missing.is_empty() { ParseError::NotJson } else { ParseError::MissingFields(missing) }
}

fn is_of_kind(value: &RawValue, kind: FieldKind) -> bool {
    match kind {
        FieldKind::Text => {
            serde_json::from_str::<Cow<'_, str>>(value.get()).is_ok_and(|text| !text.is_empty())
        }
        FieldKind::Array => value.get().starts_with('['),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::delivery::VerifiedBy;
    use crate::time::UnixMillis;
    use proptest::prelude::*;

    pub(crate) fn verified(provider: Provider, body: &[u8]) -> Verified {
        let delivery = Delivery { body: body.to_vec(), headers: [].into(), received_at: UnixMillis(0) };
        let verified_by = match ProviderSpec::of(provider).credential {
            Credential::UrlToken => VerifiedBy::UrlToken { subject: "demo".parse().unwrap() },
            Credential::Signature(_) => VerifiedBy::Signature { signed_at: UnixSecs(0) },
        };
        Verified::new(provider, verified_by, delivery)
    }

    pub(crate) fn unreadable(provider: Provider, body: &str) -> ParseError {
        let ParseOutcome::Unreadable(_, error) = parse(verified(provider, body.as_bytes())) else {
            panic!("{body}")
        };
        error
    }

    #[test]
    fn p7_anything_but_one_json_object_is_unreadable() {
        for &provider in Provider::ALL {
            for body in [
                "",
                "x",
                "[]",
                "3",
                "null",
                "\"text\"",
                "{",
                "{}}",
                "{\"a\":1,}",
                "\u{feff}",
                "\u{feff}\u{feff}{}",
            ] {
                assert_eq!(unreadable(provider, body), ParseError::NotJson, "{body}");
            }
            // Arrays that hold every field in the order in which it is declared.
            for body in [r#"["e","balance.extracted"]"#, r#"["u","BALANCE_BATCH_COMPLETED","b",[]]"#] {
                assert_eq!(unreadable(provider, body), ParseError::NotJson, "{body}");
            }
            let not_utf8 = b"{\"event_id\":\"x\",\"event_type\":\"y\",\"z\":\"\xff\"}";
            assert!(matches!(
                parse(verified(provider, not_utf8)),
                ParseOutcome::Unreadable(_, ParseError::NotJson)
            ));
        }
    }

    #[test]
    fn a_byte_order_mark_is_ignored_and_stored() {
        for (provider, body) in [
            (Provider::Fynapse, r#"{"event_id":"e","event_type":"balance.extracted"}"#),
            (Provider::Rightfoot, r#"{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"b"}"#),
        ] {
            let body = format!("\u{feff}{body}");
            let ParseOutcome::Event(event) = parse(verified(provider, body.as_bytes())) else {
                panic!("{body}")
            };
            assert_eq!(event.verified().body(), body.as_bytes());
            let ParseError::MissingFields(_) = unreadable(provider, "\u{feff}{}") else {
                panic!("{provider:?}")
            };
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            for &provider in Provider::ALL {
                let _ = parse(verified(provider, &body));
            }
        }

        #[test]
        fn p4_an_events_bytes_are_the_verified_bytes(id in "[a-z]{1,20}", amount in "-?[1-9][0-9]{0,30}\\.[0-9]{1,30}") {
            let body = format!(r#" {{"event_id":"{id}","event_type":"balance.extracted","data":{{"amount":{amount}}}}} "#);
            let ParseOutcome::Event(event) = parse(verified(Provider::Fynapse, body.as_bytes())) else { panic!("{body}") };
            prop_assert_eq!(event.verified().body(), body.as_bytes());
        }
    }
}
