//! The SQS message of an event: CloudEvents 1.0 in structured JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use strum::IntoStaticStr;

use crate::delivery::Provider;
use crate::event::{Event, EventKey, percent_encode};
use crate::json::is_embeddable;
use crate::limits::MESSAGE_MAX_BYTES;
use crate::origin::Origin;
use crate::providers::ProviderSpec;
use crate::time::UnixMillis;

const DATAREF_SCHEME: &str = "inbox:///";
const DATA_KEY: &str = ",\"data\":";

/// The metadata of an event that its message carries.
#[derive(Clone, Copy, Debug)]
pub struct MessageMeta<'a> {
    /// The event's key.
    pub key: &'a EventKey,
    /// The provider's own name of the event's type.
    pub event_type: &'a str,
    /// The event's origin.
    pub origin: Origin,
    /// The time at which the inbox received the event.
    pub received_at: UnixMillis,
    /// The number of times that an operator had it sent again; 0 for never.
    pub replay: u64,
}

impl<'a> MessageMeta<'a> {
    /// The metadata for the first message of a new event.
    pub fn of(event: &'a Event) -> Self {
        Self {
            key: event.key(),
            event_type: event.event_type(),
            origin: event.origin(),
            received_at: event.verified().received_at(),
            replay: 0,
        }
    }
}

/// A message for the queue.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// The CloudEvents event as JSON.
    pub body: String,
    /// The message attribute `provider`.
    pub provider: Provider,
    /// The message attribute `type`.
    pub event_type: String,
}

impl std::fmt::Debug for QueueMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QueueMessage({} bytes)", self.body.len())
    }
}

impl QueueMessage {
    /// The message's size as SQS counts it: the body, and names, types and values of the attributes.
    pub fn size_bytes(&self) -> usize {
        const NAMES_AND_TYPES: usize = "providerString".len() + "typeString".len();
        self.body.len() + NAMES_AND_TYPES + self.provider.as_str().len() + self.event_type.len()
    }
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    event_type: String,
    time: String,
    datacontenttype: &'static str,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataref: Option<String>,
}

/// Returns `true` if a payload of this size may fit into its message. If not, there is no need to load it.
pub fn fits_inline(payload_bytes: usize) -> bool {
    payload_bytes < MESSAGE_MAX_BYTES
}

/// Builds the message of an event. `payload` is JSON that was parsed before; it is embedded byte for byte.
/// The message carries the reference `inbox:///<id>` instead if there is no payload, or if the payload would
/// make the message larger than 200 KiB, holds a character that SQS rejects, begins with a byte order mark,
/// or is nested deeper than consumers' parsers go.
pub fn build_message(meta: MessageMeta<'_>, payload: Option<&[u8]>) -> QueueMessage {
    let inline = payload
        .filter(|bytes| fits_inline(bytes.len()))
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        // SQS rejects these two characters, which JSON allows.
        .filter(|text| !text.contains(['\u{fffe}', '\u{ffff}']) && is_embeddable(text))
        .and_then(|text| embed_payload(meta, text));
    QueueMessage {
        body: inline.unwrap_or_else(|| cloud_event_json(meta, true)),
        provider: meta.key.provider(),
        // A message attribute does not accept every character that a type may have.
        event_type: percent_encode(meta.event_type),
    }
}

/// Builds the body of an event's message without its payload, of this size: for those who may see what was sent, but not the payload.
/// It has the reference to the payload if the message has it because of the size.
pub fn message_without_payload(meta: MessageMeta<'_>, payload_bytes: usize) -> String {
    cloud_event_json(meta, !fits_inline(payload_bytes))
}

/// The reference to the payload of the event with this id.
pub(crate) fn dataref(event_id: &str) -> String {
    format!("{DATAREF_SCHEME}{event_id}")
}

/// Parses a `dataref` to the key of its event; the inverse of the `dataref` in a message; `None` for any other text.
pub fn parse_dataref(dataref: &str) -> Option<EventKey> {
    EventKey::from_event_id(dataref.strip_prefix(DATAREF_SCHEME)?)
}

/// The reason why a message cannot be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum MessageError {
    /// Not a CloudEvents event in structured JSON.
    NotAnEvent,
    /// A version of CloudEvents other than 1.0.
    UnknownVersion,
    /// Its id or source is not one of ours.
    UnknownId,
}

impl MessageError {
    /// The name used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Parses a message to the key of its event. The embedded payload is ignored: only the event's record counts.
pub fn parse_event_key(body: &str) -> Result<EventKey, MessageError> {
    #[derive(Deserialize)]
    struct CloudEventAttributes<'a> {
        #[serde(borrow)]
        specversion: Cow<'a, str>,
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        source: Cow<'a, str>,
    }
    // Serde would also fill the fields from an array, by their order.
    let is_object = body.trim_start().starts_with('{');
    let envelope: CloudEventAttributes<'_> =
        serde_json::from_str(body).ok().filter(|_| is_object).ok_or(MessageError::NotAnEvent)?;
    if envelope.specversion != "1.0" {
        return Err(MessageError::UnknownVersion);
    }
    let key = EventKey::from_event_id(&envelope.id).ok_or(MessageError::UnknownId)?;
    if envelope.source == ProviderSpec::of(key.provider()).source_uri {
        Ok(key)
    } else {
        Err(MessageError::UnknownId)
    }
}

fn embed_payload(meta: MessageMeta<'_>, payload: &str) -> Option<String> {
    // Joined as text, because a JSON library might rewrite the payload's numbers and blanks.
    let mut json = cloud_event_json(meta, false);
    if json.len() + DATA_KEY.len() + payload.len() > MESSAGE_MAX_BYTES {
        return None;
    }
    json.pop();
    json.push_str(DATA_KEY);
    json.push_str(payload);
    json.push('}');
    Some(json)
}

fn cloud_event_json(meta: MessageMeta<'_>, by_reference: bool) -> String {
    let (id, spec) = (meta.key.event_id(), ProviderSpec::of(meta.key.provider()));
    let envelope = CloudEvent {
        specversion: "1.0",
        id: &id,
        source: spec.source_uri,
        event_type: format!("{}{}", spec.type_prefix, meta.event_type),
        time: meta.received_at.rfc3339(),
        datacontenttype: "application/json",
        origin: meta.origin.as_str(),
        replay: (meta.replay > 0).then_some(meta.replay),
        dataref: by_reference.then(|| dataref(&id)),
    };
    // Cannot fail: strings and numbers only.
    let json = serde_json::to_string(&envelope).unwrap_or_default();
    // JSON allows these two characters unescaped in a type; SQS rejects them.
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use proptest::prelude::*;

    fn alert() -> EventKey {
        EventKey::alert(Id::new("d0b12bb3").unwrap(), Id::new("7b6ff2ac").unwrap()).unwrap()
    }

    fn meta(key: &EventKey) -> MessageMeta<'_> {
        MessageMeta {
            key,
            event_type: "BALANCE_THRESHOLD_ALERT",
            origin: Origin::Webhook,
            received_at: UnixMillis(1_795_356_000_123),
            replay: 0,
        }
    }

    const ENVELOPE: &str = r#"{"specversion":"1.0","id":"rightfoot/batch/d0b12bb3/alert/7b6ff2ac","source":"/rightfoot/webhook","type":"com.rightfoot.BALANCE_THRESHOLD_ALERT","time":"2026-11-22T14:00:00.123Z","datacontenttype":"application/json","origin":"webhook""#;

    #[test]
    fn p4_a_payload_travels_byte_for_byte() {
        let payload = "{ \"balance\": 150.00,\n \"n\": 1E+2 }\n";
        let message = build_message(meta(&alert()), Some(payload.as_bytes()));
        assert_eq!(message.body, format!("{ENVELOPE},\"data\":{payload}}}"));
        assert!(serde_json::from_str::<serde_json::Value>(&message.body).is_ok());
        assert_eq!(
            (message.provider, message.event_type.as_str()),
            (Provider::Rightfoot, "BALANCE_THRESHOLD_ALERT")
        );
    }

    #[test]
    fn a_replayed_event_keeps_its_id_and_counts() {
        let key = alert();
        let message =
            build_message(MessageMeta { replay: 2, origin: Origin::Replay, ..meta(&key) }, Some(b"{}"));
        let expected = ENVELOPE.replace(r#""origin":"webhook""#, r#""origin":"replay","replay":2"#);
        assert_eq!(message.body, format!("{expected},\"data\":{{}}}}"));
    }

    #[test]
    fn payloads_too_large_or_invalid_for_sqs_travel_by_reference() {
        let key = alert();
        let by_reference =
            format!(r#"{ENVELOPE},"dataref":"inbox:///rightfoot/batch/d0b12bb3/alert/7b6ff2ac"}}"#);
        let body = |payload: &[u8]| build_message(meta(&key), Some(payload)).body;
        assert_eq!(build_message(meta(&key), None).body, by_reference);
        assert_eq!(body("\"\u{ffff}\"".as_bytes()), by_reference);
        assert_eq!(body("\"\u{fffe}\"".as_bytes()), by_reference);
        assert_eq!(body(b"\"\xff\""), by_reference);

        assert_eq!(body("\u{feff}{}".as_bytes()), by_reference, "no part of JSON");
        let nested = |levels: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(body(nested(899).as_bytes()), format!("{ENVELOPE},\"data\":{}}}", nested(899)));
        for levels in [900, 1_200] {
            assert_eq!(body(nested(levels).as_bytes()), by_reference, "{levels}");
        }

        let room = MESSAGE_MAX_BYTES - ENVELOPE.len() - DATA_KEY.len() - "\"\"}".len();
        let quoted = |n: usize| format!("\"{}\"", "x".repeat(n));
        assert_eq!(body(quoted(room).as_bytes()).len(), 200 * 1024);
        assert_eq!(body(quoted(room + 1).as_bytes()), by_reference);
    }

    #[test]
    fn a_reference_leads_back_to_its_event() {
        assert_eq!(parse_dataref("inbox:///rightfoot/batch/d0b12bb3/alert/7b6ff2ac"), Some(alert()));
        for wrong in ["rightfoot/batch/b/completed", "inbox:///", "inbox:///x", "s3://bucket/key"] {
            assert_eq!(parse_dataref(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_message_parses_to_the_key_of_its_event() {
        let key = alert();
        for payload in [Some(b"{\"a\":[1.50]}".as_slice()), None] {
            assert_eq!(parse_event_key(&build_message(meta(&key), payload).body), Ok(key.clone()));
        }
        let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
        let message = build_message(meta(&key), Some(b"{}")).body.replace("{}", &deep);
        assert_eq!(parse_event_key(&message), Ok(key), "an earlier version has sent such");
    }

    #[test]
    fn invalid_messages_give_a_reason() {
        let ours = format!("{ENVELOPE},\"data\":{{}}}}");
        assert_eq!(parse_event_key(&ours), Ok(alert()));
        for not_an_event in
            ["", "not json", "[]", "null", r#"["1.0","fynapse/event/e","/fynapse/webhook"]"#, "{}"]
        {
            assert_eq!(parse_event_key(not_an_event), Err(MessageError::NotAnEvent), "{not_an_event}");
        }
        assert_eq!(parse_event_key(&ours.replace("\"1.0\"", "\"2.0\"")), Err(MessageError::UnknownVersion));
        assert_eq!(
            parse_event_key(&ours.replace("rightfoot/batch", "rightfoot/run")),
            Err(MessageError::UnknownId)
        );
        assert_eq!(
            parse_event_key(&ours.replace("/rightfoot/webhook", "/fynapse/webhook")),
            Err(MessageError::UnknownId)
        );
    }

    proptest! {
        #[test]
        fn parsing_a_message_never_panics(text in "\\PC*") {
            let _ = parse_event_key(&text);
        }
    }

    #[test]
    fn unusual_event_types_are_percent_encoded_in_the_attribute() {
        let key = EventKey::Signed {
            provider: crate::delivery::Provider::Fynapse,
            event_id: Id::new("e").unwrap(),
        };
        let message = build_message(MessageMeta { event_type: "a\u{1} ü", ..meta(&key) }, Some(b"{}"));
        assert_eq!(message.event_type, "a%01%20%C3%BC");
        assert!(message.body.contains("\"type\":\"com.fynapse.a\\u0001 ü\""));
    }

    #[test]
    fn a_type_that_sqs_would_refuse_is_escaped_and_reads_the_same() {
        let key = EventKey::Signed {
            provider: crate::delivery::Provider::Fynapse,
            event_id: Id::new("\u{ffff}").unwrap(),
        };
        let event_type = "\u{fffe}\\\u{ffff}";
        let message = build_message(MessageMeta { event_type, ..meta(&key) }, Some(b"{}"));
        assert!(message.body.contains(r#""type":"com.fynapse.\ufffe\\\uffff""#), "{}", message.body);
        let read: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(read["type"], format!("com.fynapse.{event_type}"));
        assert_eq!(message.event_type, "%EF%BF%BE%5C%EF%BF%BF");
    }
}
