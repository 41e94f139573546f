use super::*;
use crate::effect::alert::ThresholdSource;
use crate::rightfoot_api::Balance;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn event_meta<'a>(key: &'a EventKey, event_type: &'a str) -> EventMeta<'a> {
    let received_at = UnixMillis(1_795_356_000_123);
    EventMeta { key, event_type, origin: Origin::Webhook, received_at, replay: 0, revision: 1 }
}

fn row(authorizer: &str, amount: Option<&str>) -> Balance {
    let status_code = if amount.is_some() { 0 } else { 3300 };
    let amount = amount.map(|text| text.parse().unwrap());
    Balance { authorizer: id(authorizer), amount, status_code, checked_at: None }
}

#[test]
fn a_completed_batch_is_published_with_its_counts() {
    let key = EventKey::RightfootCompletion { batch_id: id("5d3c") };
    let (batch_id, schedule_id, subject) = (id("5d3c"), id("s-1"), "payroll-1".parse().unwrap());
    let mut snapshot = BatchSnapshot::default();
    [row("a", Some("1")), row("b", None), row("c", Some("2"))].iter().for_each(|row| snapshot.add(row, None));
    let run = BatchRef { batch_id: &batch_id, schedule_id: Some(&schedule_id), subject: Some(&subject) };
    let completed = batch_completed(&event_meta(&key, "BALANCE_BATCH_COMPLETED"), &run, &snapshot, Some(3));
    assert_eq!(
        (completed.detail_type, completed.id.as_str()),
        ("BalanceBatchCompleted", "rightfoot/batch/5d3c/completed")
    );
    assert_eq!(
        completed.detail,
        r#"{"id":"rightfoot/batch/5d3c/completed","event_id":"rightfoot/batch/5d3c/completed","origin":"webhook","received_at":"2026-11-22T14:00:00.123Z","batch_id":"5d3c","schedule_id":"s-1","subject":"payroll-1","expected":3,"found":3,"by_status_code":{"0":2,"3300":1}}"#
    );
    let revised = EventMeta { revision: 2, ..event_meta(&key, "BALANCE_BATCH_COMPLETED") };
    let revised = batch_completed(&revised, &run, &snapshot, Some(3));
    assert_eq!(revised.id, completed.id);
    assert_eq!(revised.detail, completed.detail.replace(r#""found""#, r#""revision":2,"found""#));
    let untracked = BatchRef { batch_id: &batch_id, schedule_id: None, subject: None };
    let again =
        EventMeta { replay: 2, origin: Origin::Replay, ..event_meta(&key, "BALANCE_BATCH_COMPLETED") };
    assert_eq!(
        batch_completed(&again, &untracked, &snapshot, None).detail,
        r#"{"id":"rightfoot/batch/5d3c/completed","event_id":"rightfoot/batch/5d3c/completed","origin":"replay","received_at":"2026-11-22T14:00:00.123Z","replay":2,"batch_id":"5d3c","found":3,"by_status_code":{"0":2,"3300":1}}"#
    );
}

#[test]
fn p5_an_alerts_id_depends_only_on_batch_and_authorizer() {
    let batch_id = id("d0/b1");
    let batch = BatchRef { batch_id: &batch_id, schedule_id: None, subject: None };
    let crossing = ThresholdCrossing {
        authorizer: id("user 123"),
        institution: Some("First National Bank".to_owned()),
        balance: "150.00".parse().unwrap(),
        threshold: "1e2".parse().unwrap(),
        threshold_source: ThresholdSource::Schedule,
    };
    let webhook_key = EventKey::alert(batch_id.clone(), id("7b6f")).unwrap();
    let from_webhook =
        threshold_met(&event_meta(&webhook_key, "BALANCE_THRESHOLD_ALERT"), &batch, &crossing, true);
    let polled_key = EventKey::RightfootPolledAlert {
        batch_id: batch_id.clone(),
        authorizers: crate::event::AuthorizersDigest::of([]),
    };
    let from_poll =
        threshold_met(&event_meta(&polled_key, "BALANCE_THRESHOLD_ALERT"), &batch, &crossing, true);
    assert_eq!(from_webhook.id, "rightfoot/batch/d0%2Fb1/threshold-met/user%20123");
    assert_eq!((from_webhook.detail_type, &from_webhook.id), ("BalanceThresholdMet", &from_poll.id));
    assert_eq!(
        from_webhook.detail,
        r#"{"id":"rightfoot/batch/d0%2Fb1/threshold-met/user%20123","event_id":"rightfoot/batch/d0%2Fb1/alert/7b6f","origin":"webhook","received_at":"2026-11-22T14:00:00.123Z","batch_id":"d0/b1","authorizer_unique_id":"user 123","institution_name":"First National Bank","balance":"150.00","threshold":"100","threshold_source":"schedule","confirmed":true}"#
    );
    let without_institution =
        ThresholdCrossing { institution: None, threshold_source: ThresholdSource::Webhook, ..crossing };
    let webhook_key = EventKey::alert(batch_id.clone(), id("7b6f")).unwrap();
    let unconfirmed = threshold_met(
        &event_meta(&webhook_key, "BALANCE_THRESHOLD_ALERT"),
        &batch,
        &without_institution,
        false,
    )
    .detail;
    assert!(
        unconfirmed.ends_with(
            r#""balance":"150.00","threshold":"100","threshold_source":"webhook","confirmed":false}"#
        ),
        "{unconfirmed}"
    );
    assert!(!unconfirmed.contains("institution_name"));
}

#[test]
fn p4_a_fynapse_payload_travels_digit_for_digit_or_by_reference() {
    let key = EventKey::Signed { provider: crate::delivery::Provider::Fynapse, event_id: id("a3ef") };
    let event = event_meta(&key, "balance.extracted");
    let prefix = r#"{"id":"fynapse/event/a3ef","event_id":"fynapse/event/a3ef","origin":"webhook","received_at":"2026-11-22T14:00:00.123Z","event_type":"balance.extracted","dataref":"inbox:///fynapse/event/a3ef""#;
    let detail = |payload: &[u8]| balance_extracted(&event, payload, false).detail;
    assert_eq!(detail(br#" {"amount": 150.00 }"#), format!(r#"{prefix},"data":{{"amount": 150.00 }}}}"#));
    let by_reference = format!("{prefix}}}");
    for rejected in [r#"{"n":9223372036854775808}"#.as_bytes(), b"[]", b"{\"s\":\"\xff\"}"] {
        assert_eq!(detail(rejected), by_reference);
    }
    assert_eq!(balance_extracted(&event, b"{}", true).detail, by_reference);

    let nested = |levels: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(detail(nested(899).as_bytes()), format!("{prefix},\"data\":{}}}", nested(899)));
    assert_eq!(detail(nested(900).as_bytes()), by_reference, "from the same depth on as on the queue");
    assert_eq!(detail("\u{feff}{}".as_bytes()), by_reference, "no part of JSON");

    // EventBridge counts 14 bytes for the time, and source and type by their names.
    let room = BUS_MAX_BYTES
        - 14
        - "balance-inbox".len()
        - "BalanceExtracted".len()
        - prefix.len()
        - r#","data":}"#.len();
    let object = |bytes: usize| format!(r#"{{"s":"{}"}}"#, "x".repeat(bytes - r#"{"s":""}"#.len()));
    let largest = balance_extracted(&event, object(room).as_bytes(), false);
    assert_eq!(largest.size_bytes(), 200 * 1024);
    assert_eq!(detail(object(room + 1).as_bytes()), by_reference);
}

#[test]
fn p8_debug_shows_no_detail() {
    let key = EventKey::Signed { provider: crate::delivery::Provider::Fynapse, event_id: id("a3ef") };
    let bus_event = balance_extracted(&event_meta(&key, "balance.extracted"), b"{\"secret\":1}", false);
    assert_eq!(
        format!("{bus_event:?}"),
        format!("BusEvent(BalanceExtracted, {} bytes)", bus_event.detail.len())
    );
}
