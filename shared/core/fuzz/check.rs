//! What holds for every delivery, whatever it is made of. The fuzz target and `tests/it/proving.rs` share
//! this file.
//!
//! An input is text as far as it goes:
//!
//! ```text
//! the header Webhook-Signature
//! the URL token
//! the sender's address, a blank, the allow-list
//! the body, to the end
//! ```
//!
//! Expectations are made without the code under test: the MAC is RFC 2104 over a plain SHA-256, a payload is
//! looked at as a `serde_json::Value`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::{Delivery, Proof, Proven, Provider, Refusal, Subject, Verdict};
use inbox_core::event::{Event, EventKey, Origin, payload_hash};
use inbox_core::inbox::Reason;
use inbox_core::keys::{KeyCodec, Keys};
use inbox_core::limits::{
    DATA_DEPTH_MAX, ID_MAX_BYTES, MESSAGE_MAX_BYTES, SIGNATURE_ELEMENTS_MAX, SIGNATURE_HEADER_MAX_BYTES,
    SQS_MAX_BYTES, SUBJECT_MAX_BYTES, TOLERANCE_SECS,
};
use inbox_core::message::{Head, Message, compose, referenced};
use inbox_core::providers::{Reading, Unreadable, read};
use inbox_core::reply::{Outcome, reply};
use inbox_core::time::{UnixMillis, UnixSecs};
use inbox_core::{signature, url_token};
use serde_json::Value;
use serde_json::value::RawValue;

const NOW: UnixSecs = UnixSecs(1_767_323_045);
const FYNAPSE_SECRETS: [&str; 2] = ["fys_7Qk2vX9mB4nT1cR8", "fys_oldL3zW6pH0yD5sJ"];
const RIGHTFOOT_KEYS: [&str; 2] = ["local-rightfoot-url-key", "older-rightfoot-url-key"];
const REVOKED: &str = "revoked";

/// Sends one input the whole way and asserts all that must hold on it.
pub(crate) fn delivery(input: &[u8]) {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (header, token, addresses) = (line(), line(), line());
    let body = lines.next().unwrap_or_default();

    signature_proves_what_was_signed(&header, body);
    token_proves_its_subject(&token, body);
    allow_list_permits_what_it_names(&addresses);
    for proven in rightly_sent(body) {
        reading_keeps_what_was_proven(proven, body);
    }
}

fn signature_proves_what_was_signed(header: &str, body: &[u8]) {
    for secrets in [&FYNAPSE_SECRETS[..1], &FYNAPSE_SECRETS, &[]] {
        let delivery = Delivery {
            headers: [(signature::HEADER.to_owned(), header.to_owned())].into(),
            ..unsigned(body)
        };
        match signature::prove(delivery, &keys(secrets), TOLERANCE_SECS) {
            Verdict::Proven(proven) => {
                assert_signed(&proven, header, body, secrets);
                assert!(age_secs(&proven) <= i128::from(TOLERANCE_SECS));
            }
            Verdict::Stale(stale) => {
                assert_signed(stale.as_kept(), header, body, secrets);
                assert!(age_secs(stale.as_kept()) > i128::from(TOLERANCE_SECS));
            }
            Verdict::NotProven(delivery, refusal) => {
                assert_eq!(delivery.body, body);
                assert!(matches!(refusal, Refusal::Malformed | Refusal::Mismatch));
                let is_bounded = header.len() <= SIGNATURE_HEADER_MAX_BYTES
                    && header.split(',').count() <= SIGNATURE_ELEMENTS_MAX;
                assert!(!is_bounded || !is_signed(header, body, secrets), "refused: {header}");
            }
        }
    }
}

fn assert_signed(proven: &Proven, header: &str, body: &[u8], secrets: &[&str]) {
    assert!(is_signed(header, body, secrets), "forged: {header}");
    assert_eq!((proven.provider(), proven.body()), (Provider::Fynapse, body));
}

/// Whether there is one `t`, a time, and one of the secrets made one of the `v1` of it and of this body. What else
/// stands there does not matter.
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

fn age_secs(proven: &Proven) -> i128 {
    match proven.proof() {
        Proof::Signature { signed_at } => (i128::from(NOW.0) - i128::from(signed_at.0)).abs(),
        Proof::UrlToken { .. } | Proof::ApiAnswer => unreachable!("a signature was asked for"),
    }
}

fn token_proves_its_subject(token: &str, body: &[u8]) {
    let revoked: BTreeSet<Subject> = REVOKED.parse().into_iter().collect();
    match url_token::prove(unsigned(body), token, &keys(&RIGHTFOOT_KEYS), &revoked) {
        Verdict::Proven(proven) => {
            let subject = proven.subject().map_or("", Subject::as_str);
            assert!(RIGHTFOOT_KEYS.iter().any(|key| token_of(subject, key) == token), "forged: {token}");
            assert!((1..=SUBJECT_MAX_BYTES).contains(&subject.len()) && subject != REVOKED);
            assert!(
                subject
                    .bytes()
                    .all(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
            );
            assert_eq!((proven.provider(), proven.body()), (Provider::Rightfoot, body));
        }
        Verdict::NotProven(delivery, refusal) => {
            assert_eq!(delivery.body, body);
            assert_ne!(refusal, Refusal::Address);
        }
        Verdict::Stale(_) => unreachable!("a token has no time"),
    }
}

fn allow_list_permits_what_it_names(addresses: &str) {
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

/// This body, proven both ways.
fn rightly_sent(body: &[u8]) -> [Proven; 2] {
    let [secret, _] = FYNAPSE_SECRETS;
    let tag = hmac_sha256(secret.as_bytes(), &[NOW.0.to_string().as_bytes(), b".", body].concat());
    let header = format!("t={},v1={}", NOW.0, hex::encode(tag));
    let signed = Delivery { headers: [(signature::HEADER.to_owned(), header)].into(), ..unsigned(body) };
    let [_, key] = RIGHTFOOT_KEYS;
    [
        signature::prove(signed, &keys(&FYNAPSE_SECRETS), TOLERANCE_SECS),
        url_token::prove(unsigned(body), &token_of("demo", key), &keys(&RIGHTFOOT_KEYS), &BTreeSet::new()),
    ]
    .map(|verdict| match verdict {
        Verdict::Proven(proven) => proven,
        Verdict::Stale(_) | Verdict::NotProven(..) => unreachable!("rightly sent, and refused"),
    })
}

fn reading_keeps_what_was_proven(proven: Proven, body: &[u8]) {
    let provider = proven.provider();
    let kept = |proven: &Proven| assert_eq!(proven.body(), body);
    let outcome = match read(proven) {
        Reading::Event(event) => {
            kept(event.proven());
            event_fits_its_key(&event, provider, body);
            message_can_be_sent_and_read_back(&event, body);
            Outcome::Recorded
        }
        Reading::UnknownType(proven) => {
            kept(&proven);
            Outcome::Quarantined(Reason::UnknownType)
        }
        Reading::UnusableId(proven) => {
            kept(&proven);
            Outcome::Quarantined(Reason::UnusableId)
        }
        Reading::Unreadable(proven, why) => {
            kept(&proven);
            assert_ne!(why, Unreadable::MissingFields(vec![]));
            Outcome::Unreadable(why)
        }
    };
    let status = reply(provider, &outcome).status;
    let kills = matches!(status, 400 | 401 | 402 | 405 | 406 | 410 | 413);
    assert!(provider == Provider::Rightfoot || !kills, "{status}");
}

fn event_fits_its_key(event: &Event, provider: Provider, body: &[u8]) {
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
            assert!(uuid != "poll" && !uuid.starts_with("poll-"), "that is the poller's own record");
        }
        EventKey::RightfootPolledAlert { .. } => unreachable!("no delivery is the poller's own event"),
        EventKey::Fynapse { event_id } => assert!(fits(event_id.as_str())),
    }
    payload_says_it(key, event.event_type(), body);
}

fn payload_says_it(key: &EventKey, event_type: &str, body: &[u8]) {
    // A `Value` holds less than JSON can say: no deep nesting, no half surrogate, no 1e400.
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
        EventKey::Fynapse { event_id } => {
            assert_eq!([field("event_type"), field("event_id")], [event_type, event_id.as_str()]);
        }
    }
}

fn message_can_be_sent_and_read_back(event: &Event, body: &[u8]) {
    let head = Head::of(event);
    let carried = body.len() < MESSAGE_MAX_BYTES / 2
        && !body.starts_with(b"\xef\xbb\xbf")
        && depth(body) <= DATA_DEPTH_MAX
        && std::str::from_utf8(body).is_ok_and(|text| text.chars().all(queue_takes));
    let message = compose(head, Some(body));
    message_speaks_of(&message, event, carried.then(|| body.trim_ascii()));
    message_speaks_of(&compose(Head { origin: Origin::Replay, replay: 3, ..head }, None), event, None);
}

fn message_speaks_of(message: &Message, event: &Event, data: Option<&[u8]>) {
    assert!(message.body.len() <= MESSAGE_MAX_BYTES && message.bytes() <= SQS_MAX_BYTES);
    assert!(message.body.chars().all(queue_takes));
    assert!(!message.event_type.is_empty() && message.event_type.bytes().all(|byte| byte.is_ascii_graphic()));

    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&message.body).unwrap_or_default();
    let text = |name: &str| fields.get(name).and_then(|it| serde_json::from_str::<String>(it.get()).ok());
    assert_eq!(text("id"), Some(event.key().event_id()));
    let event_type = text("type").unwrap_or_default();
    let provider = event.key().provider().as_str();
    assert_eq!(event_type.strip_prefix(&format!("com.{provider}.")), Some(event.event_type()));

    let reference = text("dataref").as_deref().and_then(referenced);
    let carried = fields.get("data").map(|data| data.get().as_bytes());
    assert_ne!(carried.is_some(), reference.is_some(), "either the payload or where it is");
    assert!(carried.is_none_or(|data| depth(data) <= DATA_DEPTH_MAX), "too deep for a consumer");
    assert!(reference.is_none_or(|key| key == *event.key()));
    assert!(data.is_none() || carried == data);
}

/// How deep valid JSON is nested, once its strings are cut out.
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

/// SQS's own character set.
fn queue_takes(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn unsigned(body: &[u8]) -> Delivery {
    Delivery { body: body.to_vec(), headers: BTreeMap::new(), received_at: UnixMillis(NOW.0 * 1_000) }
}

/// The keys of these secrets; none accepts nothing.
pub(crate) fn keys(secrets: &[&str]) -> Keys {
    Keys::parse(&serde_json::json!(secrets).to_string(), KeyCodec::Utf8).unwrap_or_default()
}

pub(crate) fn token_of(subject: &str, key: &str) -> String {
    let tag = hmac_sha256(key.as_bytes(), format!("rightfoot-webhook-url/v1:{subject}").as_bytes());
    format!("{subject}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// RFC 2104, for keys of at most one block.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let sha256 = |bytes: Vec<u8>| hex::decode(payload_hash(&bytes)).unwrap_or_default();
    let padded = |pad: u8| (0..64).map(|n| key.get(n).unwrap_or(&0) ^ pad).collect::<Vec<_>>();
    let inner = sha256([padded(0x36), message.to_vec()].concat());
    sha256([padded(0x5c), inner].concat())
}
