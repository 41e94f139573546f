//! The properties that hold for every delivery. The fuzz target and `tests/it/signature_verification.rs` share this file.
//!
//! An input consists of four lines, each of which may be missing:
//!
//! ```text
//! the header Webhook-Signature
//! the URL token
//! the sender's address, a blank, the allow-list
//! the body, to the end
//! ```
//!
//! Expected values are computed without the code under test: the MAC is RFC 2104 over a plain SHA-256, and a payload is
//! parsed as a `serde_json::Value`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::{Delivery, Provider, RejectReason, Verification, Verified, VerifiedBy};
use inbox_core::event::{Event, EventKey, payload_hash};
use inbox_core::limits::{
    DATA_DEPTH_MAX, ID_MAX_BYTES, MESSAGE_MAX_BYTES, SIGNATURE_ELEMENTS_MAX, SIGNATURE_HEADER_MAX_BYTES,
    SIGNATURE_TOLERANCE_SECS, SQS_MAX_BYTES, SUBJECT_MAX_BYTES,
};
use inbox_core::message::{MessageMeta, QueueMessage, build_message, parse_dataref};
use inbox_core::origin::Origin;
use inbox_core::providers::fynapse::signature;
use inbox_core::providers::{ParseError, ParseOutcome, parse};
use inbox_core::quarantine::QuarantineReason;
use inbox_core::reply::{DeliveryOutcome, reply_for};
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::subject::Subject;
use inbox_core::time::{UnixMillis, UnixSecs};
use inbox_core::url_token;
use serde_json::Value;
use serde_json::value::RawValue;

const NOW: UnixSecs = UnixSecs(1_767_323_045);
const FYNAPSE_SECRETS: [&str; 2] = ["fys_7Qk2vX9mB4nT1cR8", "fys_oldL3zW6pH0yD5sJ"];
const RIGHTFOOT_KEYS: [&str; 2] = ["local-rightfoot-url-key", "older-rightfoot-url-key"];
const REVOKED: &str = "revoked";

/// Passes one input through verification, parsing and message building, and asserts every property.
pub(crate) fn delivery(input: &[u8]) {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (header, token, addresses) = (line(), line(), line());
    let body = lines.next().unwrap_or_default();

    check_signature(&header, body);
    check_url_token(&token, body);
    check_allow_list(&addresses);
    for verified in verified_both_ways(body) {
        check_parsing(verified, body);
    }
}

fn check_signature(header: &str, body: &[u8]) {
    for secrets in [&FYNAPSE_SECRETS[..1], &FYNAPSE_SECRETS, &[]] {
        let delivery = Delivery {
            headers: [(signature::HEADER.to_owned(), header.to_owned())].into(),
            ..unsigned(body)
        };
        match signature::verify(delivery, &keys(secrets), SIGNATURE_TOLERANCE_SECS) {
            Verification::Verified(verified) => {
                assert_signed(&verified, header, body, secrets);
                assert!(age_secs(&verified) <= i128::from(SIGNATURE_TOLERANCE_SECS));
            }
            Verification::Stale(stale) => {
                assert_signed(stale.for_quarantine(), header, body, secrets);
                assert!(age_secs(stale.for_quarantine()) > i128::from(SIGNATURE_TOLERANCE_SECS));
            }
            Verification::Rejected(delivery, reason) => {
                assert_eq!(delivery.body, body);
                assert!(matches!(reason, RejectReason::Malformed | RejectReason::Mismatch));
                let is_bounded = header.len() <= SIGNATURE_HEADER_MAX_BYTES
                    && header.split(',').count() <= SIGNATURE_ELEMENTS_MAX;
                assert!(!is_bounded || !is_signed(header, body, secrets), "rejected: {header}");
            }
        }
    }
}

fn assert_signed(verified: &Verified, header: &str, body: &[u8], secrets: &[&str]) {
    assert!(is_signed(header, body, secrets), "forged: {header}");
    assert_eq!((verified.provider(), verified.body()), (Provider::Fynapse, body));
}

/// Returns `true` if there is exactly one `t`, a valid time, and one of the secrets made one of the `v1` from
/// it and this body. Other elements do not matter.
fn is_signed(header: &str, body: &[u8], secrets: &[&str]) -> bool {
    let values = |name: &'static str| {
        header
            .split(',')
            .filter_map(move |it| it.trim().split_once('=').filter(|it| it.0 == name))
            .map(|it| it.1)
    };
    let signed_at: Vec<_> = values("t").collect();
    let [t] = signed_at.as_slice() else { return false };
    if !t.bytes().all(|byte| byte.is_ascii_digit()) || t.parse::<i64>().is_err() {
        return false;
    }
    let tag_of =
        |secret: &&str| hex::encode(hmac_sha256(secret.as_bytes(), &[t.as_bytes(), b".", body].concat()));
    let tags: BTreeSet<_> = secrets.iter().map(tag_of).collect();
    values("v1").any(|tag| tags.contains(&tag.to_ascii_lowercase()))
}

fn age_secs(verified: &Verified) -> i128 {
    match verified.verified_by() {
        VerifiedBy::Signature { signed_at } => (i128::from(NOW.0) - i128::from(signed_at.0)).abs(),
        VerifiedBy::UrlToken { .. } | VerifiedBy::ApiResponse => unreachable!("a signature was asked for"),
    }
}

fn check_url_token(token: &str, body: &[u8]) {
    let revoked: BTreeSet<Subject> = REVOKED.parse().into_iter().collect();
    match url_token::verify(unsigned(body), token, &keys(&RIGHTFOOT_KEYS), &revoked) {
        Verification::Verified(verified) => {
            let subject = verified.subject().map_or("", Subject::as_str);
            assert!(RIGHTFOOT_KEYS.iter().any(|key| token_of(subject, key) == token), "forged: {token}");
            assert!((1..=SUBJECT_MAX_BYTES).contains(&subject.len()) && subject != REVOKED);
            assert!(
                subject
                    .bytes()
                    .all(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
            );
            assert_eq!((verified.provider(), verified.body()), (Provider::Rightfoot, body));
        }
        Verification::Rejected(delivery, reason) => {
            assert_eq!(delivery.body, body);
            assert_ne!(reason, RejectReason::AddressNotAllowed);
        }
        Verification::Stale(_) => unreachable!("a token has no time"),
    }
}

fn check_allow_list(addresses: &str) {
    let (source, list) = addresses.split_once(' ').unwrap_or((addresses, ""));
    if let Ok(allowed) = list.parse::<AllowList>() {
        let everyone = allowed == AllowList::default();
        assert_eq!(allowed.permits(None), everyone);
        assert!(source.parse::<IpAddr>().is_ok() || allowed.permits(Some(source)) == everyone);
    }
    if let Ok(ip) = source.parse::<IpAddr>() {
        let itself = ip.to_canonical().to_string().parse::<AllowList>();
        assert!(itself.is_ok_and(|itself| itself.permits(Some(source))));
    }
}

/// This body as a verified delivery of each provider.
fn verified_both_ways(body: &[u8]) -> [Verified; 2] {
    let [secret, _] = FYNAPSE_SECRETS;
    let tag = hmac_sha256(secret.as_bytes(), &[NOW.0.to_string().as_bytes(), b".", body].concat());
    let header = format!("t={},v1={}", NOW.0, hex::encode(tag));
    let signed = Delivery { headers: [(signature::HEADER.to_owned(), header)].into(), ..unsigned(body) };
    let [_, key] = RIGHTFOOT_KEYS;
    [
        signature::verify(signed, &keys(&FYNAPSE_SECRETS), SIGNATURE_TOLERANCE_SECS),
        url_token::verify(unsigned(body), &token_of("demo", key), &keys(&RIGHTFOOT_KEYS), &BTreeSet::new()),
    ]
    .map(|verification| match verification {
        Verification::Verified(verified) => verified,
        Verification::Stale(_) | Verification::Rejected(..) => unreachable!("a valid delivery is rejected"),
    })
}

fn check_parsing(verified: Verified, body: &[u8]) {
    let provider = verified.provider();
    let assert_unchanged = |verified: &Verified| assert_eq!(verified.body(), body);
    let outcome = match parse(verified) {
        ParseOutcome::Event(event) => {
            assert_unchanged(event.verified());
            check_event_key(&event, provider, body);
            check_message(&event, body);
            DeliveryOutcome::Recorded
        }
        ParseOutcome::UnknownType(verified) => {
            assert_unchanged(&verified);
            DeliveryOutcome::Quarantined(QuarantineReason::UnknownType)
        }
        ParseOutcome::UnusableId(verified) => {
            assert_unchanged(&verified);
            DeliveryOutcome::Quarantined(QuarantineReason::UnusableId)
        }
        ParseOutcome::Unreadable(verified, error) => {
            assert_unchanged(&verified);
            assert_ne!(error, ParseError::MissingFields(vec![]));
            DeliveryOutcome::Unreadable(error)
        }
    };
    let status = reply_for(provider, &outcome).status;
    let stops_retries = matches!(status, 400 | 401 | 402 | 405 | 406 | 410 | 413);
    assert!(provider == Provider::Rightfoot || !stops_retries, "{status}");
}

fn check_event_key(event: &Event, provider: Provider, body: &[u8]) {
    let key = event.key();
    assert_eq!(key.provider(), provider);
    assert_eq!(EventKey::from_event_id(&key.event_id()).as_ref(), Some(key));
    assert_eq!(EventKey::from_table_key(&key.pk(), &key.sk()).as_ref(), Some(key));
    let fits = |text: &str| (1..=ID_MAX_BYTES).contains(&text.len());
    assert!(fits(event.event_type()));
    match key {
        EventKey::RightfootCompletion { batch_id } => assert!(fits(batch_id.as_str())),
        EventKey::RightfootAlert { batch_id, event_uuid } => {
            assert!(fits(batch_id.as_str()) && fits(event_uuid.as_str()));
            let uuid = event_uuid.as_str();
            assert!(!uuid.starts_with("poll-"), "that is the poller's own record");
        }
        EventKey::RightfootPolledAlert { .. } => unreachable!("no delivery is the poller's own event"),
        EventKey::Signed { event_id, .. } => assert!(fits(event_id.as_str())),
    }
    check_payload(key, event.event_type(), body);
}

fn check_payload(key: &EventKey, event_type: &str, body: &[u8]) {
    // A `Value` cannot hold all of JSON: no deep nesting, no half surrogate, no 1e400.
    let Ok(payload) = serde_json::from_slice::<Value>(body) else { return };
    assert!(payload.is_object());
    let field = |name: &str| payload.get(name).and_then(Value::as_str).unwrap_or_default();
    match key {
        EventKey::RightfootCompletion { batch_id } => {
            assert_eq!([field("type"), field("batch_id")], [event_type, batch_id.as_str()]);
            assert_ne!(field("event_uuid"), "");
        }
        EventKey::RightfootAlert { batch_id, event_uuid } => {
            assert_eq!([field("type"), field("batch_id")], [event_type, batch_id.as_str()]);
            assert_eq!(field("event_uuid"), event_uuid.as_str());
            assert!(payload.get("alerts").is_some_and(Value::is_array));
        }
        EventKey::RightfootPolledAlert { .. } => unreachable!("no delivery is the poller's own event"),
        EventKey::Signed { event_id, .. } => {
            assert_eq!([field("event_type"), field("event_id")], [event_type, event_id.as_str()]);
        }
    }
}

fn check_message(event: &Event, body: &[u8]) {
    let meta = MessageMeta::of(event);
    let is_inline = body.len() < MESSAGE_MAX_BYTES / 2
        && !body.starts_with(b"\xef\xbb\xbf")
        && depth(body) <= DATA_DEPTH_MAX
        && std::str::from_utf8(body).is_ok_and(|text| text.chars().all(is_sqs_char));
    let message = build_message(meta, Some(body));
    assert_message_of(&message, event, is_inline.then(|| body.trim_ascii()));
    assert_message_of(
        &build_message(MessageMeta { origin: Origin::Replay, replay: 3, ..meta }, None),
        event,
        None,
    );
}

fn assert_message_of(message: &QueueMessage, event: &Event, data: Option<&[u8]>) {
    assert!(message.body.len() <= MESSAGE_MAX_BYTES && message.size_bytes() <= SQS_MAX_BYTES);
    assert!(message.body.chars().all(is_sqs_char));
    assert!(!message.event_type.is_empty() && message.event_type.bytes().all(|byte| byte.is_ascii_graphic()));

    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&message.body).unwrap_or_default();
    let text = |name: &str| fields.get(name).and_then(|it| serde_json::from_str::<String>(it.get()).ok());
    assert_eq!(text("id"), Some(event.key().event_id()));
    let event_type = text("type").unwrap_or_default();
    let provider = event.key().provider().as_str();
    assert_eq!(event_type.strip_prefix(&format!("com.{provider}.")), Some(event.event_type()));

    let reference = text("dataref").as_deref().and_then(parse_dataref);
    let is_inline = fields.get("data").map(|data| data.get().as_bytes());
    assert_ne!(is_inline.is_some(), reference.is_some(), "either the payload or where it is");
    assert!(is_inline.is_none_or(|data| depth(data) <= DATA_DEPTH_MAX), "too deep for a consumer");
    assert!(reference.is_none_or(|key| key == *event.key()));
    assert!(data.is_none() || is_inline == data);
}

/// The nesting depth of valid JSON, counted outside of its strings.
fn depth(json: &[u8]) -> usize {
    let text = String::from_utf8_lossy(json).replace("\\\\", "").replace("\\\"", "");
    let outside: String = text.split('"').step_by(2).collect();
    let levels = outside.chars().scan(0_usize, |level, character| {
        *level = match character {
            '[' | '{' => *level + 1,
            ']' | '}' => level.saturating_sub(1),
            _ => *level,
        };
        Some(*level)
    });
    levels.max().unwrap_or(0)
}

/// Returns `true` for a character that SQS accepts.
fn is_sqs_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn unsigned(body: &[u8]) -> Delivery {
    Delivery { body: body.to_vec(), headers: BTreeMap::new(), received_at: UnixMillis(NOW.0 * 1_000) }
}

/// The keys of these secrets; no key for an empty list.
pub(crate) fn keys(secrets: &[&str]) -> Keys {
    Keys::parse(&serde_json::json!(secrets).to_string(), KeyCodec::Utf8).unwrap_or_default()
}

pub(crate) fn token_of(subject: &str, key: &str) -> String {
    let tag = hmac_sha256(key.as_bytes(), format!("rightfoot-webhook-url/v1:{subject}").as_bytes());
    format!("{subject}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// HMAC-SHA256 by RFC 2104, for keys of at most one block.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let sha256 = |bytes: Vec<u8>| hex::decode(payload_hash(&bytes)).unwrap_or_default();
    let padded = |pad: u8| (0..64).map(|n| key.get(n).unwrap_or(&0) ^ pad).collect::<Vec<_>>();
    let inner = sha256([padded(0x36), message.to_vec()].concat());
    sha256([padded(0x5c), inner].concat())
}
