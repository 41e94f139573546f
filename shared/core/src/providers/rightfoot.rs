//! Rightfoot's specification, and the parsing of its two webhooks (shared/providers/rightfoot.md, "Webhooks").

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Credential, FieldKind, JsonText, ParseError, ParseOutcome, ProviderSpec, UnreadableReply, non_empty,
    parse_error, parse_object,
};
use crate::delivery::Verified;
use crate::effect::alert::ReportedAlert;
use crate::event::{Event, EventKey};
use crate::id::Id;
use crate::json::strip_bom;
use crate::limits::{ALERTS_MAX, INSTITUTION_MAX_CHARS, RIGHTFOOT_BODY_MAX_BYTES};
use crate::rightfoot_api::Amount;

pub(super) const SPEC: ProviderSpec = ProviderSpec {
    title: "Rightfoot",
    route: "/webhooks/rightfoot/{token}",
    credential: Credential::UrlToken,
    secret_id_variable: "RIGHTFOOT_URL_KEY_SECRET_ID",
    secret_name: "rightfoot-url-key",
    allowed_cidrs_variable: "RIGHTFOOT_ALLOWED_CIDRS",
    // Smaller, because a leaked URL can send any body, and recorded bodies are read many times.
    body_max_bytes: RIGHTFOOT_BODY_MAX_BYTES,
    // Rightfoot documents this reply; its retries do not stop at a 400.
    unreadable_reply: UnreadableReply::BadRequest,
    type_prefix: "com.rightfoot.",
    source_uri: "/rightfoot/webhook",
    parse,
};

pub(crate) const BATCH_COMPLETED: &str = "BALANCE_BATCH_COMPLETED";
pub(crate) const THRESHOLD_ALERT: &str = "BALANCE_THRESHOLD_ALERT";

/// Required for both types, by Rightfoot's own sample receivers; `schedule_id` and `timestamp` are not.
const REQUIRED_FIELDS: [(&str, FieldKind); 3] =
    [("event_uuid", FieldKind::Text), ("type", FieldKind::Text), ("batch_id", FieldKind::Text)];
/// Also required for an alert.
const ALERTS_FIELD: (&str, FieldKind) = ("alerts", FieldKind::Array);

#[derive(Deserialize)]
struct WebhookPayload<'a> {
    #[serde(borrow)]
    event_uuid: Option<JsonText<'a>>,
    #[serde(borrow, rename = "type")]
    event_type: Option<JsonText<'a>>,
    #[serde(borrow)]
    batch_id: Option<JsonText<'a>>,
    #[serde(borrow)]
    alerts: Option<&'a RawValue>,
}

fn parse(verified: Verified) -> ParseOutcome {
    match parse_object(verified.body()).map(|envelope| parse_envelope(&envelope)) {
        Some(ParsedEnvelope::Event(key, event_type)) => {
            ParseOutcome::Event(Event::new(key, event_type, verified))
        }
        Some(ParsedEnvelope::UnknownType) => ParseOutcome::UnknownType(verified),
        Some(ParsedEnvelope::UnusableId) => ParseOutcome::UnusableId(verified),
        Some(ParsedEnvelope::MissingFields) | None => {
            let error = payload_error(verified.body());
            ParseOutcome::Unreadable(verified, error)
        }
    }
}

enum ParsedEnvelope {
    Event(EventKey, &'static str),
    UnknownType,
    UnusableId,
    MissingFields,
}

fn parse_envelope(envelope: &WebhookPayload<'_>) -> ParsedEnvelope {
    // The type comes first: an unknown type need not have the other fields.
    let event_type = match non_empty(&envelope.event_type) {
        Some(BATCH_COMPLETED) => BATCH_COMPLETED,
        Some(THRESHOLD_ALERT) => THRESHOLD_ALERT,
        Some(_) => return ParsedEnvelope::UnknownType,
        None => return ParsedEnvelope::MissingFields,
    };
    let (Some(batch_id), Some(event_uuid)) = (non_empty(&envelope.batch_id), non_empty(&envelope.event_uuid))
    else {
        return ParsedEnvelope::MissingFields;
    };
    let (Some(batch_id), Some(event_uuid)) = (Id::new(batch_id), Id::new(event_uuid)) else {
        return ParsedEnvelope::UnusableId;
    };
    if event_type == BATCH_COMPLETED {
        return ParsedEnvelope::Event(EventKey::RightfootCompletion { batch_id }, BATCH_COMPLETED);
    }
    // The elements are parsed later, so that one odd alert does not void the whole event.
    if !envelope.alerts.is_some_and(|alerts| alerts.get().starts_with('[')) {
        return ParsedEnvelope::MissingFields;
    }
    EventKey::alert(batch_id, event_uuid)
        .map_or(ParsedEnvelope::UnusableId, |key| ParsedEnvelope::Event(key, THRESHOLD_ALERT))
}

/// The content of a recorded alert, as far as it can be parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertPayload {
    /// The schedule whose run it was.
    pub schedule_id: Option<Id>,
    /// The alerts.
    pub alerts: Vec<ReportedAlert>,
    /// The number of further alerts without a usable authorizer.
    pub unreadable_alerts: usize,
}

/// Parses a recorded alert. `None` if it cannot be parsed, or has more than [`ALERTS_MAX`] alerts, which no
/// run has. Worker and poller both use this function: an alert that the worker quarantines must not count as
/// announced for the poller.
pub fn parse_alerts(payload: &[u8]) -> Option<AlertPayload> {
    #[derive(Deserialize)]
    struct AlertFields<'a> {
        #[serde(borrow)]
        schedule_id: Option<&'a RawValue>,
        #[serde(borrow)]
        alerts: Vec<&'a RawValue>,
    }
    let payload: AlertFields<'_> =
        parse_object(payload).filter(|it: &AlertFields<'_>| it.alerts.len() <= ALERTS_MAX)?;
    let alerts: Vec<_> = payload.alerts.iter().filter_map(|value| parse_alert(value)).collect();
    Some(AlertPayload {
        schedule_id: payload.schedule_id.and_then(parse_id),
        unreadable_alerts: payload.alerts.len() - alerts.len(),
        alerts,
    })
}

fn parse_alert(value: &RawValue) -> Option<ReportedAlert> {
    #[derive(Deserialize)]
    struct AlertItem<'a> {
        #[serde(borrow)]
        authorizer_unique_id: &'a RawValue,
        #[serde(borrow)]
        institution_name: Option<&'a RawValue>,
        #[serde(borrow)]
        balance: Option<&'a RawValue>,
        #[serde(borrow)]
        threshold_amount: Option<&'a RawValue>,
    }
    let fields: AlertItem<'_> = parse_object(value.get().as_bytes())?;
    let amount = |number: &RawValue| Amount::from_json_or_text(number).ok();
    let institution = fields.institution_name.and_then(|name| serde_json::from_str(name.get()).ok());
    Some(ReportedAlert {
        authorizer: parse_id(fields.authorizer_unique_id)?,
        institution: institution.filter(|name: &String| name.chars().count() <= INSTITUTION_MAX_CHARS),
        balance: fields.balance.and_then(amount),
        threshold: fields.threshold_amount.and_then(amount),
    })
}

/// Parses an id. A number is accepted as well, as in the API's answers.
fn parse_id(value: &RawValue) -> Option<Id> {
    match value.get().bytes().next() {
        Some(b'"') => Id::new(serde_json::from_str::<String>(value.get()).ok()?),
        Some(b'-' | b'0'..=b'9') => Id::new(value.get()),
        _ => None,
    }
}

/// The authorizers of a recorded alert, as far as it can be parsed.
pub fn alerted_authorizers(payload: &[u8]) -> BTreeSet<Id> {
    let parsed = parse_alerts(payload).unwrap_or_default();
    parsed.alerts.into_iter().map(|alert| alert.authorizer).collect()
}

fn payload_error(body: &[u8]) -> ParseError {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        event_type: JsonText<'a>,
    }
    let is_alert = serde_json::from_slice::<Typed<'_>>(strip_bom(body))
        .is_ok_and(|typed| typed.event_type.0 == THRESHOLD_ALERT);
    let mut required = REQUIRED_FIELDS.to_vec();
    required.extend(is_alert.then_some(ALERTS_FIELD));
    parse_error(body, &required)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{unreadable, verified};
    use super::*;
    use crate::delivery::Provider::Rightfoot;

    fn parse_text(body: &str) -> ParseOutcome {
        super::super::parse(verified(Rightfoot, body.as_bytes()))
    }

    fn event(body: &str) -> Event {
        let ParseOutcome::Event(event) = parse_text(body) else { panic!("{body}") };
        event
    }

    #[test]
    fn both_documented_types_become_events() {
        let completed = event(
            r#"{"event_uuid":"f47ac10b","type":"BALANCE_BATCH_COMPLETED","batch_id":"5d3c6bbb","new_field":[1e400]}"#,
        );
        assert_eq!(completed.key().event_id(), "rightfoot/batch/5d3c6bbb/completed");
        assert_eq!(completed.event_type(), "BALANCE_BATCH_COMPLETED");
        let alert = event(
            r#"{"event_uuid":"7b6ff2ac","type":"BALANCE_THRESHOLD_ALERT","schedule_id":"6ddd","batch_id":"d0b1","alerts":[{"authorizer_unique_id":"user-123","balance":150.00,"threshold_amount":100.00}],"timestamp":"2024-01-15T10:30:00Z"}"#,
        );
        assert_eq!(alert.key().event_id(), "rightfoot/batch/d0b1/alert/7b6ff2ac");
        assert_eq!(alert.event_type(), "BALANCE_THRESHOLD_ALERT");
    }

    #[test]
    fn schedule_and_timestamp_are_optional_and_escapes_are_read() {
        let alert =
            event(r#"{"alerts":[],"batch_id":"b\u0031","type":"BALANCE_THRESHOLD_ALERT","event_uuid":"u"}"#);
        assert_eq!(alert.key().event_id(), "rightfoot/batch/b1/alert/u");
    }

    #[test]
    fn p5_every_named_authorizer_is_alerted() {
        let authorizers = alerted_authorizers(
            br#"{"alerts":[{"authorizer_unique_id":"a","balance":1},{"authorizer_unique_id":7},"b",{"authorizer_unique_id":"c"}]}"#,
        );
        assert_eq!(authorizers.iter().map(Id::as_str).collect::<Vec<_>>(), ["7", "a", "c"]);
        assert_eq!(alerted_authorizers(b"{}"), BTreeSet::new());
    }

    #[test]
    fn alerts_are_parsed_digit_for_digit_and_those_without_an_authorizer_are_counted() {
        let parsed = parse_alerts(
            br#"{"schedule_id":"s-1","alerts":[
                {"authorizer_unique_id":"a","institution_name":"First","balance":150.00,"threshold_amount":1e2},
                {"authorizer_unique_id":7,"balance":"1,150","threshold_amount":null,"institution_name":3},
                {"authorizer_unique_id":"c","balance":"150.00","threshold_amount":" 1e2 "},
                {"balance":1,"threshold_amount":1}, "b", null]}"#,
        )
        .unwrap();
        assert_eq!((parsed.schedule_id.as_ref().map(Id::as_str), parsed.unreadable_alerts), (Some("s-1"), 3));
        let [first, second, third] = &parsed.alerts[..] else { panic!("three alerts") };
        assert_eq!((first.authorizer.as_str(), first.institution.as_deref()), ("a", Some("First")));
        let printed = |alert: &ReportedAlert| {
            [alert.balance, alert.threshold].map(|it| it.map(|amount| amount.to_string()))
        };
        assert_eq!(printed(first), [Some("150.00".to_owned()), Some("100".to_owned())]);
        assert_eq!((second.authorizer.as_str(), second.institution.as_deref()), ("7", None));
        assert_eq!(printed(second), [None, None], "a separator is not guessed");
        assert_eq!(printed(third), [Some("150.00".to_owned()), Some("100".to_owned())], "numbers as text");

        let long = |name: usize| {
            let name = "n".repeat(name);
            parse_alerts(
                format!(r#"{{"alerts":[{{"authorizer_unique_id":"a","institution_name":"{name}"}}]}}"#)
                    .as_bytes(),
            )
            .unwrap()
        };
        assert!(long(200).alerts[0].institution.is_some() && long(201).alerts[0].institution.is_none());
        for unreadable in [b"{}".as_slice(), b"[]", br#"{"alerts":[],"schedule_id":1,"schedule_id":2}"#] {
            assert_eq!(parse_alerts(unreadable), None);
        }
        assert_eq!(parse_alerts(br#"{"alerts":[]}"#), Some(AlertPayload::default()));
    }

    #[test]
    fn p7_missing_fields_are_named() {
        let missing = |body: &str| match unreadable(Rightfoot, body) {
            ParseError::MissingFields(fields) => fields,
            ParseError::NotJson => panic!("{body}"),
        };
        assert_eq!(missing("{}"), ["event_uuid", "type", "batch_id"]);
        assert_eq!(missing(r#"{"type":"BALANCE_BATCH_COMPLETED","batch_id":"b"}"#), ["event_uuid"]);
        assert_eq!(missing(r#"{"type":7,"event_uuid":"u","batch_id":null}"#), ["type", "batch_id"]);
        assert_eq!(
            missing(r#"{"type":"BALANCE_BATCH_COMPLETED","event_uuid":"","batch_id":"b"}"#),
            ["event_uuid"]
        );
        assert_eq!(
            missing(r#"{"type":"BALANCE_THRESHOLD_ALERT","event_uuid":"u","batch_id":"b"}"#),
            ["alerts"]
        );
        assert_eq!(
            missing(r#"{"type":"BALANCE_THRESHOLD_ALERT","event_uuid":"u","batch_id":"b","alerts":{}}"#),
            ["alerts"]
        );
        assert_eq!(
            unreadable(
                Rightfoot,
                r#"{"type":"BALANCE_BATCH_COMPLETED","event_uuid":"u","batch_id":"a","batch_id":"b"}"#
            ),
            ParseError::NotJson,
            "which of the two batches it means cannot be known"
        );
    }

    #[test]
    fn p7_a_third_type_is_unknown_and_not_broken() {
        assert!(matches!(
            parse_text(r#"{"type":"balance_check.run.completed"}"#),
            ParseOutcome::UnknownType(_)
        ));
    }

    #[test]
    fn p7_ids_that_cannot_be_keys_are_told_apart() {
        let completed = |batch: &str| {
            parse_text(&format!(
                r#"{{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch}"}}"#
            ))
        };
        assert!(matches!(completed(&"b".repeat(512)), ParseOutcome::Event(_)));
        assert!(matches!(completed(&"b".repeat(513)), ParseOutcome::UnusableId(_)));
        assert!(matches!(
            parse_text(
                r#"{"event_uuid":"poll-u","type":"BALANCE_THRESHOLD_ALERT","batch_id":"b","alerts":[]}"#
            ),
            ParseOutcome::UnusableId(_)
        ));
    }
}
