//! Rightfoot's two webhooks (shared/providers/rightfoot.md, "Webhooks").

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Kind, Reading, Text, Unreadable, diagnose, object, present};
use crate::delivery::Proven;
use crate::effect::alert::Alert;
use crate::event::{Event, EventKey, Id};
use crate::json::without_bom;
use crate::limits::{ALERTS_MAX, INSTITUTION_MAX_CHARS};
use crate::rightfoot::Amount;

pub(crate) const COMPLETED: &str = "BALANCE_BATCH_COMPLETED";
pub(crate) const ALERT: &str = "BALANCE_THRESHOLD_ALERT";

/// Required of both types by Rightfoot's own sample receivers; `schedule_id` and `timestamp` are not.
const REQUIRED: [(&str, Kind); 3] =
    [("event_uuid", Kind::Text), ("type", Kind::Text), ("batch_id", Kind::Text)];
/// Required of an alert on top.
const ALERTS: (&str, Kind) = ("alerts", Kind::Array);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_uuid: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    event_type: Option<Text<'a>>,
    #[serde(borrow)]
    batch_id: Option<Text<'a>>,
    #[serde(borrow)]
    alerts: Option<&'a RawValue>,
}

pub(super) fn read(proven: Proven) -> Reading {
    match object(proven.body()).map(|envelope| event_of(&envelope)) {
        Some(Found::Event(key, event_type)) => Reading::Event(Event::new(key, event_type, proven)),
        Some(Found::UnknownType) => Reading::UnknownType(proven),
        Some(Found::UnusableId) => Reading::UnusableId(proven),
        Some(Found::Incomplete) | None => {
            let why = explain(proven.body());
            Reading::Unreadable(proven, why)
        }
    }
}

enum Found {
    Event(EventKey, &'static str),
    UnknownType,
    UnusableId,
    Incomplete,
}

fn event_of(envelope: &Envelope<'_>) -> Found {
    let event_type = match present(&envelope.event_type) {
        Some(COMPLETED) => COMPLETED,
        Some(ALERT) => ALERT,
        Some(_) => return Found::UnknownType,
        None => return Found::Incomplete,
    };
    let (Some(batch_id), Some(event_uuid)) = (present(&envelope.batch_id), present(&envelope.event_uuid))
    else {
        return Found::Incomplete;
    };
    let (Some(batch_id), Some(event_uuid)) = (Id::new(batch_id), Id::new(event_uuid)) else {
        return Found::UnusableId;
    };
    if event_type == COMPLETED {
        return Found::Event(EventKey::RightfootCompletion { batch_id }, COMPLETED);
    }
    if !envelope.alerts.is_some_and(|alerts| alerts.get().starts_with('[')) {
        return Found::Incomplete;
    }
    EventKey::alert(batch_id, event_uuid).map_or(Found::UnusableId, |key| Found::Event(key, ALERT))
}

/// What a recorded alert tells, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The schedule whose run it was.
    pub schedule_id: Option<Id>,
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// How many more there are that name nobody.
    pub unreadable: usize,
}

/// What a recorded alert tells; `None` if it cannot be read, or tells of more than [`ALERTS_MAX`], which no run brings. Worker
/// and poller both read it here: what the one gives up must not be taken for told by the other.
pub fn alerts(payload: &[u8]) -> Option<Told> {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        schedule_id: Option<&'a RawValue>,
        #[serde(borrow)]
        alerts: Vec<&'a RawValue>,
    }
    let payload: Payload<'_> = object(payload).filter(|it: &Payload<'_>| it.alerts.len() <= ALERTS_MAX)?;
    let alerts: Vec<_> = payload.alerts.iter().filter_map(|told| alert(told)).collect();
    Some(Told {
        schedule_id: payload.schedule_id.and_then(id),
        unreadable: payload.alerts.len() - alerts.len(),
        alerts,
    })
}

fn alert(told: &RawValue) -> Option<Alert> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        authorizer_unique_id: &'a RawValue,
        #[serde(borrow)]
        institution_name: Option<&'a RawValue>,
        #[serde(borrow)]
        balance: Option<&'a RawValue>,
        #[serde(borrow)]
        threshold_amount: Option<&'a RawValue>,
    }
    let fields: Fields<'_> = object(told.get().as_bytes())?;
    let amount = |number: &RawValue| Amount::from_json_or_text(number).ok();
    let institution = fields.institution_name.and_then(|name| serde_json::from_str(name.get()).ok());
    Some(Alert {
        authorizer: id(fields.authorizer_unique_id)?,
        institution: institution.filter(|name: &String| name.chars().count() <= INSTITUTION_MAX_CHARS),
        balance: fields.balance.and_then(amount),
        threshold: fields.threshold_amount.and_then(amount),
    })
}

/// An id; where the API's answers are read, a number is one as well.
fn id(value: &RawValue) -> Option<Id> {
    match value.get().bytes().next() {
        Some(b'"') => Id::new(serde_json::from_str::<String>(value.get()).ok()?),
        Some(b'-' | b'0'..=b'9') => Id::new(value.get()),
        _ => None,
    }
}

/// Whose alerts a recorded alert tells, as far as it can be read.
pub fn alerted(payload: &[u8]) -> BTreeSet<Id> {
    let told = alerts(payload).unwrap_or_default();
    told.alerts.into_iter().map(|alert| alert.authorizer).collect()
}

fn explain(body: &[u8]) -> Unreadable {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Text<'a>,
    }
    let is_alert =
        serde_json::from_slice::<Typed<'_>>(without_bom(body)).is_ok_and(|typed| typed.event_type.0 == ALERT);
    let mut required = REQUIRED.to_vec();
    required.extend(is_alert.then_some(ALERTS));
    diagnose(body, &required)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{proven, unreadable};
    use super::*;
    use crate::delivery::Provider::Rightfoot;

    fn read_text(body: &str) -> Reading {
        super::super::read(proven(Rightfoot, body.as_bytes()))
    }

    fn event(body: &str) -> Event {
        let Reading::Event(event) = read_text(body) else { panic!("{body}") };
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
    fn p5_an_alert_tells_of_everybody_that_it_names() {
        let told = alerted(
            br#"{"alerts":[{"authorizer_unique_id":"a","balance":1},{"authorizer_unique_id":7},"b",{"authorizer_unique_id":"c"}]}"#,
        );
        assert_eq!(told.iter().map(Id::as_str).collect::<Vec<_>>(), ["7", "a", "c"]);
        assert_eq!(alerted(b"{}"), BTreeSet::new());
    }

    #[test]
    fn what_an_alert_tells_is_read_digit_for_digit_and_what_names_nobody_is_counted() {
        let told = alerts(
            br#"{"schedule_id":"s-1","alerts":[
                {"authorizer_unique_id":"a","institution_name":"First","balance":150.00,"threshold_amount":1e2},
                {"authorizer_unique_id":7,"balance":"1,150","threshold_amount":null,"institution_name":3},
                {"authorizer_unique_id":"c","balance":"150.00","threshold_amount":" 1e2 "},
                {"balance":1,"threshold_amount":1}, "b", null]}"#,
        )
        .unwrap();
        assert_eq!((told.schedule_id.as_ref().map(Id::as_str), told.unreadable), (Some("s-1"), 3));
        let [first, second, third] = &told.alerts[..] else { panic!("three alerts") };
        assert_eq!((first.authorizer.as_str(), first.institution.as_deref()), ("a", Some("First")));
        let printed =
            |alert: &Alert| [alert.balance, alert.threshold].map(|it| it.map(|amount| amount.to_string()));
        assert_eq!(printed(first), [Some("150.00".to_owned()), Some("100".to_owned())]);
        assert_eq!((second.authorizer.as_str(), second.institution.as_deref()), ("7", None));
        assert_eq!(printed(second), [None, None], "a separator is not guessed");
        assert_eq!(printed(third), [Some("150.00".to_owned()), Some("100".to_owned())], "numbers as text");

        let long = |name: usize| {
            let name = "n".repeat(name);
            alerts(
                format!(r#"{{"alerts":[{{"authorizer_unique_id":"a","institution_name":"{name}"}}]}}"#)
                    .as_bytes(),
            )
            .unwrap()
        };
        assert!(long(200).alerts[0].institution.is_some() && long(201).alerts[0].institution.is_none());
        for unreadable in [b"{}".as_slice(), b"[]", br#"{"alerts":[],"schedule_id":1,"schedule_id":2}"#] {
            assert_eq!(alerts(unreadable), None);
        }
        assert_eq!(alerts(br#"{"alerts":[]}"#), Some(Told::default()));
    }

    #[test]
    fn p7_missing_fields_are_named() {
        let missing = |body: &str| match unreadable(Rightfoot, body) {
            Unreadable::MissingFields(fields) => fields,
            Unreadable::NotJson => panic!("{body}"),
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
            Unreadable::NotJson,
            "which of the two batches it means cannot be known"
        );
    }

    #[test]
    fn p7_a_third_type_is_unknown_and_not_broken() {
        assert!(matches!(read_text(r#"{"type":"balance_check.run.completed"}"#), Reading::UnknownType(_)));
    }

    #[test]
    fn p7_ids_that_cannot_be_keys_are_told_apart() {
        let completed = |batch: &str| {
            read_text(&format!(
                r#"{{"event_uuid":"u","type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch}"}}"#
            ))
        };
        assert!(matches!(completed(&"b".repeat(512)), Reading::Event(_)));
        assert!(matches!(completed(&"b".repeat(513)), Reading::UnusableId(_)));
        assert!(matches!(
            read_text(r#"{"event_uuid":"poll","type":"BALANCE_THRESHOLD_ALERT","batch_id":"b","alerts":[]}"#),
            Reading::UnusableId(_)
        ));
    }
}
