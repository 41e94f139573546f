//! Verification from outside: recorded signatures, the fuzz target's seeds, and every way to tamper with a delivery.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inbox_core::delivery::{Delivery, RejectReason, Verification, Verified};
use inbox_core::event::EventKey;
use inbox_core::limits::{MESSAGE_MAX_BYTES, SIGNATURE_TOLERANCE_SECS};
use inbox_core::providers::fynapse::signature;
use inbox_core::providers::{ParseOutcome, parse};
use inbox_core::time::UnixMillis;
use inbox_core::url_token;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

#[path = "../../shared/core/fuzz/properties.rs"]
mod properties;

use properties::{hmac_sha256, keys, token_of};

const SIGNED_AT_SECS: i64 = 1_767_323_045;

#[test]
fn p4_every_recorded_signature_gets_its_verdict() {
    let vectors: Value = serde_json::from_slice(&fixture("fynapse/signature-vectors.json")).unwrap();
    let tolerance_secs = vectors["tolerance_s"].as_u64().unwrap();
    let mut verdicts = Vec::new();
    for case in vectors["cases"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let secrets = case["accepted_secrets"].as_array().unwrap();
        let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_str().unwrap()).collect();
        let received_at = UnixMillis(case["now_unix_s"].as_i64().unwrap() * 1_000);
        let body = STANDARD.decode(text("body_base64")).unwrap();
        let delivery = Delivery { received_at, ..delivery(Some(text("webhook_signature")), &body) };

        let verdict = match signature::verify(delivery, &keys(&secrets), tolerance_secs) {
            Verification::Verified(accepted) => (accepted.body() == body).then_some("accept"),
            Verification::Stale(stale) => (stale.for_quarantine().body() == body).then_some("stale"),
            Verification::Rejected(_, RejectReason::Mismatch) => Some("mismatch"),
            Verification::Rejected(_, RejectReason::Malformed) => Some("malformed"),
            Verification::Rejected(_, RejectReason::AddressNotAllowed | RejectReason::Revoked) => None,
        };
        assert_eq!(verdict, case["expect"].as_str(), "{}: {}", text("name"), text("why"));
        verdicts.extend(verdict);
    }
    let count = |verdict| verdicts.iter().filter(|it| **it == verdict).count();
    assert_eq!(["accept", "stale", "mismatch", "malformed"].map(count), [17, 2, 8, 9], "cases were lost");
}

#[test]
fn the_fuzzers_seeds_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/core/fuzz/corpus/delivery");
    let seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(seeds.len() >= 100, "seeds were lost: {} are left", seeds.len());
    for seed in seeds {
        println!("{}", seed.display());
        properties::delivery(&fs::read(seed).unwrap());
    }
}

#[test]
fn a_payload_of_any_size_travels_in_its_message_or_by_reference() {
    for size in (MESSAGE_MAX_BYTES - 300..MESSAGE_MAX_BYTES + 20).step_by(7) {
        let head = r#"{"event_id":"e","event_type":"t","data":""#;
        let data = "x".repeat(size - head.len() - "\"}".len());
        properties::delivery(format!("\n\n\n{head}{data}\"}}").as_bytes());
    }
}

#[test]
fn the_expectations_of_these_tests_rest_on_a_right_hmac() {
    // RFC 4231, test case 2.
    assert_eq!(
        hex::encode(hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn the_documented_payloads_become_events() {
    // The digest of the specification's own table (Fynapse 1.3), and the token that openssl computes for `demo`.
    let header = "t=1767323045,v1=ce0b5d80b7c522bc38e9b5bff428dbc9590de12016e9aa81593167f1405d4fb2";
    let by_signature = |body: &[u8]| {
        let keys = keys(&["bmV3LXNlY3JldC12YWx1ZS0wMDE="]);
        signature::verify(delivery(Some(header), body), &keys, SIGNATURE_TOLERANCE_SECS)
    };
    let by_token = |body: &[u8]| {
        let token = "demo.LBqwep969-60s9I9TeWGIuOL23BzLnsGhQzb4mm0rT0";
        url_token::verify(delivery(None, body), token, &keys(&["local-rightfoot-url-key"]), &BTreeSet::new())
    };
    let alert =
        "rightfoot/batch/d0b12bb3-ea9e-49fb-bd13-21be687cfc04/alert/7b6ff2ac-4779-4893-b5a8-d2c726d366bd";
    for (name, verify, id) in [
        (
            "fynapse/balance-extracted.json",
            &by_signature as &dyn Fn(&[u8]) -> Verification,
            "fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96",
        ),
        (
            "rightfoot/run-completed.json",
            &by_token,
            "rightfoot/batch/5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83/completed",
        ),
        ("rightfoot/threshold-alert.json", &by_token, alert),
        ("rightfoot/threshold-alert-old-version.json", &by_token, alert),
    ] {
        let Verification::Verified(delivery) = verify(&fixture(name)) else { panic!("{name} was rejected") };
        let ParseOutcome::Event(event) = parse(delivery) else { panic!("{name} is no event") };
        assert_eq!(event.key(), &EventKey::from_event_id(id).unwrap(), "{name}");
    }
}

/// A signed delivery, and the secrets that its receiver accepts.
#[derive(Clone, Debug)]
struct SignedDelivery {
    header: Option<String>,
    body: Vec<u8>,
    accepted_secrets: Vec<String>,
}

impl SignedDelivery {
    fn signed(secret: &str, t: i64, body: Vec<u8>) -> Self {
        let header = format!("t={t},v1={}", tag(secret, &t.to_string(), &body));
        Self { header: Some(header), body, accepted_secrets: vec![secret.to_owned()] }
    }

    fn verify(&self) -> Verification {
        let accepted: Vec<_> = self.accepted_secrets.iter().map(String::as_str).collect();
        signature::verify(
            delivery(self.header.as_deref(), &self.body),
            &keys(&accepted),
            SIGNATURE_TOLERANCE_SECS,
        )
    }
}

/// The nth way to tamper with what `secret` signed at `T`; `None` after the last one.
fn tamper(n: usize, sent: &SignedDelivery, secret: &str, at: Index) -> Option<SignedDelivery> {
    let t = SIGNED_AT_SECS.to_string();
    let body = sent.body.as_slice();
    let tag = tag(secret, &t, body);
    let header = |header: String| SignedDelivery { header: Some(header), ..sent.clone() };
    let signed_over = |key: &str, bytes: &[u8]| {
        header(format!("t={t},v1={}", hex::encode(hmac_sha256(key.as_bytes(), bytes))))
    };
    let signed = [t.as_bytes(), b".", body].concat();
    Some(match n {
        0 => SignedDelivery { body: with_a_bit_flipped(body, at), ..sent.clone() },
        1 => SignedDelivery { body: [body, b" "].concat(), ..sent.clone() },
        2 => SignedDelivery { body: body[1..].to_vec(), ..sent.clone() },
        3 => header(format!("t={t},v1={}", hex::encode(with_a_bit_flipped(&hex::decode(&tag).unwrap(), at)))),
        4 => header(format!("t={},v1={tag}", SIGNED_AT_SECS + 1)),
        5 => header(format!("t=0{t},v1={tag}")),
        6 => header(format!("t={t},t={t},v1={tag}")),
        7 => header(format!("t=,v1={tag}")),
        8 => header(format!("v1={tag}")),
        9 => header(format!("t={t}")),
        10 => header(format!("t={t},v0={tag}")),
        11 => header(format!("t={t},v1={}", &tag[..at.index(tag.len())])),
        12 => header(format!("t={t},v1={tag}00")),
        13 => header(format!("t={t},v1=,v1={}", &tag[..62])),
        14 => header(format!("t={t},v1={}", STANDARD.encode(hex::decode(&tag).unwrap()))),
        15 => header(format!("t={t}{},v1={tag}", ",x=y".repeat(15))),
        16 => header(format!("t={t},v1={tag},x={}", "y".repeat(4_096))),
        17 => header(String::new()),
        18 => SignedDelivery { header: None, ..sent.clone() },
        19 => signed_over(secret, body),
        20 => signed_over(secret, &[t.as_bytes(), body].concat()),
        21 => signed_over(secret, &[body, b".", t.as_bytes()].concat()),
        22 => signed_over("", &signed),
        23 => signed_over(&format!("{secret}x"), &signed),
        24 => SignedDelivery { accepted_secrets: vec![format!("{secret}x")], ..sent.clone() },
        25 => SignedDelivery { accepted_secrets: vec![], ..sent.clone() },
        _ => return None,
    })
}

proptest! {
    #[test]
    fn p4_a_right_signature_proves_and_a_spoilt_one_does_not(
        secret in secret(),
        body in proptest::collection::vec(any::<u8>(), 1..300),
        at: Index,
    ) {
        let sent = SignedDelivery::signed(&secret, SIGNED_AT_SECS, body);
        prop_assert_eq!(verified(sent.verify()).map(|it| it.body().to_vec()), Some(sent.body.clone()));
        for n in 0.. {
            let Some(spoilt) = tamper(n, &sent, &secret, at) else { break };
            let verification = spoilt.verify();
            prop_assert!(matches!(verification, Verification::Rejected(..)), "way {n}: {spoilt:?}");
        }
    }

    #[test]
    fn p4_one_matching_pair_of_secret_and_v1_is_needed_and_enough(
        accepted in proptest::collection::vec(0..6, 1..=4),
        signed_by in proptest::collection::vec(0..8, 1..=15),
        body: Vec<u8>,
    ) {
        let secret = |n: &i32| format!("secret number {n}");
        let tags: Vec<_> =
            signed_by.iter().map(|n| format!(",v1={}", tag(&secret(n), &SIGNED_AT_SECS.to_string(), &body))).collect();
        let header = Some(format!("t={SIGNED_AT_SECS}{}", tags.concat()));
        let sent = SignedDelivery { header, body, accepted_secrets: accepted.iter().map(secret).collect() };
        let matches = signed_by.iter().any(|n| accepted.contains(n));
        prop_assert_eq!(verified(sent.verify()).is_some(), matches);
    }

    #[test]
    fn p4_what_stands_beside_the_right_v1_does_not_matter(
        beside in proptest::collection::vec("v1=[0-9a-zA-Z_=+/ -]{0,70}", 0..=14),
        at: Index,
        body: Vec<u8>,
    ) {
        let mut elements = beside;
        elements.insert(at.index(elements.len() + 1), format!("v1={}", tag("secret", &SIGNED_AT_SECS.to_string(), &body)));
        elements.insert(at.index(elements.len() + 1), format!("t={SIGNED_AT_SECS}"));
        let mut sent = SignedDelivery { header: Some(elements.join(",")), body, accepted_secrets: vec!["secret".to_owned()] };
        prop_assert!(verified(sent.verify()).is_some());
        sent.accepted_secrets = vec!["another".to_owned()];
        prop_assert!(is_rejected(&sent.verify()));
    }

    #[test]
    fn p4_the_tolerance_is_kept_to_the_second(
        now_secs in 0..i64::MAX / 1_000,
        millis in 0..1_000i64,
        tolerance_secs in 0..1_000_000i64,
        off in -2..=2i64,
        side in select(vec![-1, 1]),
    ) {
        let t = (now_secs + side * (tolerance_secs + off)).max(0);
        let expected = (now_secs - t).abs() <= tolerance_secs;
        let fresh = is_fresh(t, UnixMillis(now_secs * 1_000 + millis), tolerance_secs.unsigned_abs());
        prop_assert_eq!(fresh, Some(expected));
    }

    #[test]
    fn p4_no_time_is_so_far_away_that_it_overflows(
        t in prop_oneof![0..=i64::MAX, select(vec![0, 1, i64::MAX - 1, i64::MAX])],
        now in prop_oneof![any::<i64>(), select(vec![i64::MIN, -1_001, -1, 0, i64::MAX])],
        tolerance_secs in prop_oneof![any::<u64>(), select(vec![0, 1, u64::MAX])],
    ) {
        let distance = (i128::from(now).div_euclid(1_000) - i128::from(t)).abs();
        let expected = distance <= i128::from(tolerance_secs);
        prop_assert_eq!(is_fresh(t, UnixMillis(now), tolerance_secs), Some(expected));
    }

    #[test]
    fn p4_a_token_proves_its_own_subject_and_a_spoilt_one_nothing(
        subject in "[A-Za-z0-9_-]{1,64}",
        key in secret(),
        at: Index,
        other in "[A-Za-z0-9_.-]",
    ) {
        let token = token_of(&subject, &key);
        let named = subject.parse().unwrap();
        let other_key = format!("{key}x");
        prop_assert_eq!(url_token::mint(&named, &keys(&[&key])), Some(token.clone()));
        let verdict = |token: &str, key: &str, revoked: &[_]| {
            url_token::verify(delivery(None, b"{}"), token, &keys(&[key]), &revoked.iter().cloned().collect())
        };
        let delivery = verified(verdict(&token, &key, &[])).unwrap();
        prop_assert_eq!(delivery.subject(), Some(&named));
        prop_assert!(is_rejected(&verdict(&token, &other_key, &[])));
        prop_assert!(is_rejected(&verdict(&token, &key, &[named])));
        let place = at.index(token.len());
        prop_assert!(is_rejected(&verdict(&token[..place], &key, &[])));
        let changed = format!("{}{other}{}", &token[..place], &token[place + 1..]);
        prop_assert!(changed == token || is_rejected(&verdict(&changed, &key, &[])), "{changed}");
    }

    #[test]
    fn p4_nothing_is_verified_and_nothing_panics_whatever_comes(
        header in header(),
        token in prop_oneof!["\\PC{0,60}", "demo\\.[A-Za-z0-9_-]{42,44}", "[a-z.]{0,9}"],
        addresses in prop_oneof!["\\PC{0,40}", "[0-9.:]{0,12} [0-9./:,]{0,30}"],
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            payload().prop_map(String::into_bytes),
        ],
    ) {
        let lines = format!("{header}\n{token}\n{addresses}\n");
        properties::delivery(&[lines.as_bytes(), &body].concat());
    }
}

/// Any valid secret. Empty and blank ones are rejected when they are loaded.
fn secret() -> impl Strategy<Value = String> {
    "[ -~]{0,59}[!-~]"
}

/// Signature headers whose elements are nearly valid, in any order and number.
fn header() -> impl Strategy<Value = String> {
    let element = prop_oneof![
        Just(format!("t={SIGNED_AT_SECS}")),
        "t=[0-9]{0,21}",
        "v1=[0-9a-fA-F]{64}",
        "v1=[0-9a-f]{60,68}",
        "[ \t]?(t|v0|v1)[ =]?\\PC{0,8}",
        "\\PC{0,12}",
    ];
    proptest::collection::vec(element, 0..20).prop_map(|elements| elements.join(","))
}

/// JSON objects that are nearly a valid payload.
fn payload() -> impl Strategy<Value = String> {
    let name = select(vec![
        "event_id",
        "event_type",
        "event_uuid",
        "type",
        "batch_id",
        "alerts",
        "data",
        r"t\u0079pe",
        r"\ud800",
        "",
    ]);
    let value = select(vec![
        r#""id""#,
        r#""BALANCE_BATCH_COMPLETED""#,
        r#""BALANCE_THRESHOLD_ALERT""#,
        r#""poll""#,
        r#""""#,
        r#""\ud800""#,
        r#""\u0000/%2F""#,
        "\"\u{ffff}\"",
        "[]",
        "{}",
        "[[]]",
        "null",
        "7",
        "1e400",
        "150.00",
        "01",
    ]);
    proptest::collection::vec((name, value), 0..8).prop_map(|fields| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
        format!("{{{}}}", fields.join(","))
    })
}

/// `None` if the delivery is not even verified.
fn is_fresh(t: i64, received_at: UnixMillis, tolerance_secs: u64) -> Option<bool> {
    let SignedDelivery { header, body, .. } = SignedDelivery::signed("secret", t, b"{}".to_vec());
    let delivery = Delivery { received_at, ..delivery(header.as_deref(), &body) };
    match signature::verify(delivery, &keys(&["secret"]), tolerance_secs) {
        Verification::Verified(_) => Some(true),
        Verification::Stale(_) => Some(false),
        Verification::Rejected(..) => None,
    }
}

fn verified(verification: Verification) -> Option<Verified> {
    match verification {
        Verification::Verified(delivery) => Some(delivery),
        Verification::Stale(_) | Verification::Rejected(..) => None,
    }
}

fn is_rejected(verification: &Verification) -> bool {
    matches!(verification, Verification::Rejected(..))
}

fn delivery(header: Option<&str>, body: &[u8]) -> Delivery {
    let headers = header.map(|header| (signature::HEADER.to_owned(), header.to_owned()));
    Delivery {
        body: body.to_vec(),
        headers: headers.into_iter().collect(),
        received_at: UnixMillis(SIGNED_AT_SECS * 1_000),
    }
}

fn tag(secret: &str, t: &str, body: &[u8]) -> String {
    hex::encode(hmac_sha256(secret.as_bytes(), &[t.as_bytes(), b".", body].concat()))
}

fn with_a_bit_flipped(bytes: &[u8], at: Index) -> Vec<u8> {
    let bit = at.index(bytes.len() * 8);
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}
