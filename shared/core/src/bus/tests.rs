use super::*;
use crate::effect::alert::ThresholdSource;
use crate::rightfoot::Balance;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn effect<'a>(key: &'a EventKey, event_type: &'a str) -> Effect<'a> {
    let received_at = UnixMillis(1_795_356_000_123);
    Effect { key, event_type, origin: Origin::Webhook, received_at, replay: 0, revision: 1 }
}

fn row(authorizer: &str, amount: Option<&str>) -> Balance {
    let status_code = if amount.is_some() { 0 } else { 3300 };
    let amount = amount.map(|text| text.parse().unwrap());
    Balance { authorizer: id(authorizer), amount, status_code, checked_at: None }
}

#[test]
fn a_batch_is_told_with_its_counts() {
    let key = EventKey::RightfootCompletion { batch_id: id("5d3c") };
    let (batch_id, schedule_id, subject) = (id("5d3c"), id("s-1"), "payroll-1".parse().unwrap());
    let mut look = Look::default();
    [row("a", Some("1")), row("b", None), row("c", Some("2"))].iter().for_each(|row| look.take(row, None));
    let run = Batch { batch_id: &batch_id, schedule_id: Some(&schedule_id), subject: Some(&subject) };
    let told = batch_completed(&effect(&key, "BALANCE_BATCH_COMPLETED"), &run, &look, Some(3));
    assert_eq!(
        (told.detail_type, told.id.as_str()),
        ("BalanceBatchCompleted", "rightfoot/batch/5d3c/completed")
    );
    assert_eq!(
        told.detail,
        r#"{"id":"rightfoot/batch/5d3c/completed","event_id":"rightfoot/batch/5d3c/completed","origin":"webhook","received_at":"2026-11-22T14:00:00.123Z","batch_id":"5d3c","schedule_id":"s-1","subject":"payroll-1","expected":3,"found":3,"by_status_code":{"0":2,"3300":1}}"#
    );
    let revised = Effect { revision: 2, ..effect(&key, "BALANCE_BATCH_COMPLETED") };
    let revised = batch_completed(&revised, &run, &look, Some(3));
    assert_eq!(revised.id, told.id);
    assert_eq!(revised.detail, told.detail.replace(r#""found""#, r#""revision":2,"found""#));
    let untracked = Batch { batch_id: &batch_id, schedule_id: None, subject: None };
    let again = Effect { replay: 2, origin: Origin::Replay, ..effect(&key, "BALANCE_BATCH_COMPLETED") };
    assert_eq!(
        batch_completed(&again, &untracked, &look, None).detail,
        r#"{"id":"rightfoot/batch/5d3c/completed","event_id":"rightfoot/batch/5d3c/completed","origin":"replay","received_at":"2026-11-22T14:00:00.123Z","replay":2,"batch_id":"5d3c","found":3,"by_status_code":{"0":2,"3300":1}}"#
    );
}

#[test]
fn p5_an_alert_has_the_id_of_its_batch_and_authorizer_by_whichever_event_it_comes() {
    let batch_id = id("d0/b1");
    let batch = Batch { batch_id: &batch_id, schedule_id: None, subject: None };
    let met = Met {
        authorizer: id("user 123"),
        institution: Some("First National Bank".to_owned()),
        balance: "150.00".parse().unwrap(),
        threshold: "1e2".parse().unwrap(),
        threshold_source: ThresholdSource::Schedule,
    };
    let told = EventKey::alert(batch_id.clone(), id("7b6f")).unwrap();
    let told = threshold_met(&effect(&told, "BALANCE_THRESHOLD_ALERT"), &batch, &met, true);
    let found = EventKey::RightfootPolledAlert { batch_id: batch_id.clone(), whom: None };
    let found = threshold_met(&effect(&found, "BALANCE_THRESHOLD_ALERT"), &batch, &met, true);
    assert_eq!(told.id, "rightfoot/batch/d0%2Fb1/threshold-met/user%20123");
    assert_eq!((told.detail_type, &told.id), ("BalanceThresholdMet", &found.id));
    assert_eq!(
        told.detail,
        r#"{"id":"rightfoot/batch/d0%2Fb1/threshold-met/user%20123","event_id":"rightfoot/batch/d0%2Fb1/alert/7b6f","origin":"webhook","received_at":"2026-11-22T14:00:00.123Z","batch_id":"d0/b1","authorizer_unique_id":"user 123","institution_name":"First National Bank","balance":"150.00","threshold":"100","threshold_source":"schedule","confirmed":true}"#
    );
    let silent = Met { institution: None, threshold_source: ThresholdSource::Webhook, ..met };
    let told = EventKey::alert(batch_id.clone(), id("7b6f")).unwrap();
    let unconfirmed = threshold_met(&effect(&told, "BALANCE_THRESHOLD_ALERT"), &batch, &silent, false).detail;
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
    let key = EventKey::Fynapse { event_id: id("a3ef") };
    let cause = effect(&key, "balance.extracted");
    let head = r#"{"id":"fynapse/event/a3ef","event_id":"fynapse/event/a3ef","origin":"webhook","received_at":"2026-11-22T14:00:00.123Z","event_type":"balance.extracted","dataref":"inbox:///fynapse/event/a3ef""#;
    let detail = |payload: &[u8]| extracted(&cause, payload, false).detail;
    assert_eq!(detail(br#" {"amount": 150.00 }"#), format!(r#"{head},"data":{{"amount": 150.00 }}}}"#));
    let by_reference = format!("{head}}}");
    for refused in [r#"{"n":9223372036854775808}"#.as_bytes(), b"[]", b"{\"s\":\"\xff\"}"] {
        assert_eq!(detail(refused), by_reference);
    }
    assert_eq!(extracted(&cause, b"{}", true).detail, by_reference);

    let nested = |levels: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(detail(nested(899).as_bytes()), format!("{head},\"data\":{}}}", nested(899)));
    assert_eq!(detail(nested(900).as_bytes()), by_reference, "from the same depth on as on the queue");
    assert_eq!(detail("\u{feff}{}".as_bytes()), by_reference, "no part of JSON");

    // EventBridge counts 14 bytes for the time, and source and type by their names.
    let room = BUS_MAX_BYTES
        - 14
        - "balance-inbox".len()
        - "BalanceExtracted".len()
        - head.len()
        - r#","data":}"#.len();
    let object = |bytes: usize| format!(r#"{{"s":"{}"}}"#, "x".repeat(bytes - r#"{"s":""}"#.len()));
    let largest = extracted(&cause, object(room).as_bytes(), false);
    assert_eq!(largest.bytes(), 200 * 1024);
    assert_eq!(detail(object(room + 1).as_bytes()), by_reference);
}

#[test]
fn p8_debug_shows_no_detail() {
    let key = EventKey::Fynapse { event_id: id("a3ef") };
    let told = extracted(&effect(&key, "balance.extracted"), b"{\"secret\":1}", false);
    assert_eq!(format!("{told:?}"), format!("Announcement(BalanceExtracted, {} bytes)", told.detail.len()));
}
