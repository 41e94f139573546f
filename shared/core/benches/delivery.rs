//! The cost of verifying and parsing a delivery, each beside a bare form: the least work on the same bytes.
//!
//! ```text
//! cargo bench -p inbox-core --bench delivery                # times, by divan
//! cargo bench -p inbox-core --bench delivery -- --ratios    # ours ÷ bare, measured alternately
//! ```
//!
//! Deliveries are made before, and dropped after, the timed section.
//!
//! Bare verification is one HMAC-SHA256 of the signed bytes, including its key setup, and one comparison in constant
//! time. Ours sets keys up when they are loaded; `keyed` is the bare form with the same advantage.
//!
//! Bare parsing is one typed `serde_json::from_slice` into the fields that the event must own (ids, and Fynapse's type)
//! or inspect (Rightfoot's type, and the range of its alerts). It skips the rest, and does not check that all is UTF-8,
//! nor ids, types or lengths.

#![expect(clippy::unwrap_used, reason = "a benchmark without its inputs must fail")]

use std::hint::black_box;

use divan::{Bencher, counter::BytesCount};
use hmac::{Hmac, KeyInit, Mac};
use inbox_core::delivery::{Delivery, Verification, Verified};
use inbox_core::providers::{self, fynapse::signature};
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::{UnixMillis, UnixSecs};
use inbox_core::{limits, url_token};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use subtle::ConstantTimeEq;

const SECRET: &str = "fys_7Qk2vX9mB4nT1cR8";
const SIGNED_AT: UnixSecs = UnixSecs(1_767_323_045);
const SIZES: [usize; 4] = [150, 1 << 10, 20 << 10, 700 << 10];

fn main() {
    if std::env::args().any(|arg| arg == "--ratios") {
        ratios::print();
    } else {
        divan::main();
    }
}

#[divan::bench(args = SIZES)]
fn verifying(bencher: Bencher<'_, '_>, size: usize) {
    let (delivery, keys) = (signed(fynapse_event(size)), keys());
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| delivery.clone())
        .bench_values(|it| verify(it, &keys));
}

#[divan::bench(args = SIZES)]
fn verifying_bare(bencher: Bencher<'_, '_>, size: usize) {
    let body = fynapse_event(size);
    let tag = tag_of(&body);
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| body.clone())
        .bench_refs(|it| hmac(keyed_hmac(), it, &tag));
}

#[divan::bench(args = SIZES)]
fn verifying_keyed(bencher: Bencher<'_, '_>, size: usize) {
    let (body, key) = (fynapse_event(size), keyed_hmac());
    let tag = tag_of(&body);
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| body.clone())
        .bench_refs(|it| hmac(key.clone(), it, &tag));
}

#[divan::bench(args = SIZES)]
fn parsing_rightfoot(bencher: Bencher<'_, '_>, size: usize) {
    let body = rightfoot_alert(size);
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| verified_by_token(body.clone()))
        .bench_values(providers::parse);
}

#[divan::bench(args = SIZES)]
fn parsing_rightfoot_bare(bencher: Bencher<'_, '_>, size: usize) {
    let body = rightfoot_alert(size);
    bencher.counter(BytesCount::new(size)).with_inputs(|| body.clone()).bench_refs(|it| bare_alert(it));
}

#[divan::bench(args = SIZES)]
fn parsing_fynapse(bencher: Bencher<'_, '_>, size: usize) {
    let body = fynapse_event(size);
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| verified_by_signature(body.clone()))
        .bench_values(providers::parse);
}

#[divan::bench(args = SIZES)]
fn parsing_fynapse_bare(bencher: Bencher<'_, '_>, size: usize) {
    let body = fynapse_event(size);
    bencher.counter(BytesCount::new(size)).with_inputs(|| body.clone()).bench_refs(|it| bare_event(it));
}

fn verify(delivery: Delivery, keys: &Keys) -> Verification {
    signature::verify(delivery, keys, limits::SIGNATURE_TOLERANCE_SECS)
}

fn keyed_hmac() -> Hmac<Sha256> {
    Hmac::new_from_slice(black_box(SECRET.as_bytes())).unwrap()
}

fn hmac(mut mac: Hmac<Sha256>, body: &[u8], tag: &[u8; 32]) -> bool {
    mac.update(black_box("1767323045").as_bytes());
    mac.update(b".");
    mac.update(body);
    let ours: [u8; 32] = mac.finalize().into_bytes().into();
    ours.ct_eq(tag).into()
}

#[derive(Deserialize)]
struct BareAlert<'a> {
    event_uuid: String,
    #[serde(borrow, rename = "type")]
    event_type: &'a str,
    batch_id: String,
    #[serde(borrow)]
    alerts: &'a RawValue,
}

fn bare_alert(body: &[u8]) -> (String, String) {
    let alert: BareAlert<'_> = serde_json::from_slice(body).unwrap();
    black_box((alert.event_type, alert.alerts));
    (alert.event_uuid, alert.batch_id)
}

#[derive(Deserialize)]
struct BareEvent {
    event_id: String,
    event_type: String,
}

fn bare_event(body: &[u8]) -> (String, String) {
    let event: BareEvent = serde_json::from_slice(body).unwrap();
    (event.event_id, event.event_type)
}

fn keys() -> Keys {
    Keys::parse(SECRET, KeyCodec::Utf8).unwrap()
}

fn delivery(body: Vec<u8>) -> Delivery {
    Delivery { body, headers: [].into(), received_at: UnixMillis(SIGNED_AT.0 * 1_000) }
}

fn signed(body: Vec<u8>) -> Delivery {
    let header = signature::sign(SIGNED_AT, &body, &keys());
    Delivery { headers: [(signature::HEADER.to_owned(), header)].into(), ..delivery(body) }
}

fn tag_of(body: &[u8]) -> [u8; 32] {
    let header = signature::sign(SIGNED_AT, body, &keys());
    let mut tag = [0; 32];
    hex::decode_to_slice(header.split_once("v1=").unwrap().1, &mut tag).unwrap();
    tag
}

fn verified_by_signature(body: Vec<u8>) -> Verified {
    verified(verify(signed(body), &keys()))
}

fn verified_by_token(body: Vec<u8>) -> Verified {
    let token = url_token::mint(&"bench".parse().unwrap(), &keys()).unwrap();
    verified(url_token::verify(delivery(body), &token, &keys(), &[].into()))
}

fn verified(verification: Verification) -> Verified {
    let verified = if let Verification::Verified(verified) = verification { Some(verified) } else { None };
    verified.unwrap()
}

fn rightfoot_alert(size: usize) -> Vec<u8> {
    let head = r#"{"event_uuid":"7b6ff2ac-4779-4893-b5a8-d2c726d366bd","type":"BALANCE_THRESHOLD_ALERT","batch_id":"d0b12bb3-ea9e-49fb-bd13-21be687cfc04","alerts":["#;
    let alert = r#"{"authorizer_unique_id":"user-123","institution_name":"First National Bank","balance":150.00,"threshold_amount":100.00}"#;
    fill_payload(head, alert, size)
}

fn fynapse_event(size: usize) -> Vec<u8> {
    let head =
        r#"{"event_id":"a3efc743-ac6c-463b-aa19-4dd9c45b5b96","event_type":"balance.extracted","data":["#;
    let row = r#"{"account":"1000","currency":"USD","amount":150.00,"booked_at":"2026-01-02T03:04:05Z"}"#;
    fill_payload(head, row, size)
}

/// A payload of exactly `size` bytes: as many rows as fit, padded with blanks.
fn fill_payload(head: &str, row: &str, size: usize) -> Vec<u8> {
    let rows = (size - head.len() - "]}".len()) / (row.len() + ",".len());
    let mut json = format!("{head}{}]}}", vec![row; rows].join(",")).into_bytes();
    json.resize(size, b' ');
    json
}

mod ratios {
    #![expect(clippy::print_stdout, reason = "prints the table of ratios")]
    #![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

    use std::time::{Duration, Instant};

    use super::*;

    const PAIRS: usize = 301;

    pub(crate) fn print() {
        println!("{:<20}{:>10}{:>12}{:>12}{:>8}", "", "bytes", "ours", "bare", "ratio");
        for size in SIZES {
            let body = fynapse_event(size);
            let (keys, key, tag) = (keys(), keyed_hmac(), tag_of(&body));
            let ours = |it| verify(it, &keys);
            compare("verify", size, &body, signed, ours, |it| hmac(keyed_hmac(), it, &tag));
            compare("verify, keyed", size, &body, signed, ours, |it| hmac(key.clone(), it, &tag));
        }
        for size in SIZES {
            let (alert, event) = (rightfoot_alert(size), fynapse_event(size));
            compare("parse, Rightfoot", size, &alert, verified_by_token, providers::parse, bare_alert);
            compare("parse, Fynapse", size, &event, verified_by_signature, providers::parse, bare_event);
        }
    }

    /// Times both alternately, so that a disturbance of the machine affects both, and prints the median times
    /// per call and the median of the ratios.
    fn compare<I, O, B>(
        name: &str,
        size: usize,
        body: &[u8],
        prepare: impl Fn(Vec<u8>) -> I,
        ours: impl Fn(I) -> O,
        bare: impl Fn(&[u8]) -> B,
    ) {
        let calls = (256 * 1024 / size).clamp(1, 500);
        let bodies = vec![body.to_vec(); calls];
        let pairs = || {
            let inputs = bodies.iter().cloned().map(&prepare).collect();
            let ours = time(inputs, &ours);
            let bare = time(bodies.iter().collect(), |body: &Vec<u8>| bare(body));
            (ours, bare)
        };
        let pairs: Vec<_> = std::iter::repeat_with(pairs).take(PAIRS).collect();
        let per_call = |span: Duration| span.as_secs_f64() * 1e9 / calls as f64;
        let ours = median(pairs.iter().map(|(ours, _)| per_call(*ours)));
        let bare = median(pairs.iter().map(|(_, bare)| per_call(*bare)));
        let ratio = median(pairs.iter().map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64()));
        println!("{name:<20}{size:>10}{ours:>9.0} ns{bare:>9.0} ns{ratio:>8.3}");
    }

    fn time<I, O>(inputs: Vec<I>, call: impl Fn(I) -> O) -> Duration {
        let mut outputs = Vec::with_capacity(inputs.len());
        let started = Instant::now();
        for input in inputs {
            outputs.push(black_box(call(black_box(input))));
        }
        started.elapsed()
    }

    fn median(values: impl Iterator<Item = f64>) -> f64 {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
