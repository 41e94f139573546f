//! The webhooks W1 and W2: bodies, attempts and losses.

use std::collections::BTreeSet;

use super::*;
use crate::rightfoot_simulator::WebhookLoss;
use crate::senders::retry_policy::RetrySpacing;
use crate::senders::stub_receiver::StubReceiver;

async fn receiver(status: u16) -> StubReceiver {
    StubReceiver::responding(move |_| (status, None)).await
}

fn bodies(stub: &StubReceiver) -> Vec<Value> {
    stub.seen().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

/// A rig with the schedule `alerting`, which runs every ten minutes. Thresholds: 100.00 for the authorizer `own`, 200 for
/// the others.
async fn alerting(stub: &StubReceiver, change: impl FnOnce(&mut Behaviour)) -> TestRig {
    let rig = TestRig::with_behaviour(|behaviour| {
        behaviour.schedule_day = MINUTE * 10;
        let balances =
            [("own", "150.00"), ("at", "200.0"), ("below", "199.99"), ("over", "1e4"), ("failed", "null")];
        behaviour.balances = balances.map(|(id, text)| (id.to_owned(), text.to_owned())).into();
        change(behaviour);
    })
    .await;
    let mut request = daily("alerting", &["own", "at", "below", "over", "failed"]);
    request = with(request, "threshold_amount", json!(200));
    request = with(request, "webhook", json!(format!("{}/hook", stub.url)));
    let text = request.to_string().replace(
        r#""authorizer_unique_id":"own""#,
        r#""authorizer_unique_id":"own","threshold_amount":100.00"#,
    );
    assert_eq!(rig.post("/v1/monitoring/scheduled_balance_request", text).await.0, 201);
    rig
}

#[tokio::test]
async fn a_completion_is_sent_once_the_batch_is_complete_and_only_to_a_given_url() {
    let (rig, stub) = (TestRig::new().await, receiver(200).await);
    let batch_id = rig.submit(with(batch_of(1), "webhook_url", json!(format!("{}/hook/t", stub.url)))).await;
    rig.submit(batch_of(1)).await;
    rig.advance(MINUTE * 5 - Duration::from_millis(1));
    assert_eq!((rig.sim.tick().await, rig.sim.webhooks().len()), (0, 0));
    rig.advance(Duration::from_millis(1));
    assert_eq!((rig.sim.tick().await, rig.sim.tick().await), (1, 0));
    let webhooks = rig.sim.webhooks();
    let [webhook] = &webhooks[..] else { panic!("{}", webhooks.len()) };
    assert!(webhook.is_delivered && !webhook.is_lost);
    assert_eq!(
        (webhook.batch_id.as_str(), webhook.event_type.as_str()),
        (batch_id.as_str(), "BALANCE_BATCH_COMPLETED")
    );
    let expected = format!(
        r#"{{"event_uuid":"{}","type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch_id}"}}"#,
        webhook.event_uuids[0]
    );
    let received = stub.seen();
    assert_eq!((received.len(), received[0].path.as_str()), (1, "/hook/t"));
    assert_eq!(received[0].header("content-type"), "application/json");
    assert_eq!((&received[0].body[..], webhook.body.as_bytes()), (expected.as_bytes(), expected.as_bytes()));
}

/// Minutes of the attempts if every one gets this response; the simulator ticks every half minute.
async fn minutes(retry_spacing: RetrySpacing, status: u16) -> Vec<u64> {
    let stub = receiver(status).await;
    let rig = TestRig::with_behaviour(|behaviour| behaviour.retry_spacing = retry_spacing).await;
    rig.submit(with(batch_of(1), "webhook_url", json!(stub.url))).await;
    rig.advance(MINUTE * 5);
    for _ in 0..100 {
        rig.sim.tick().await;
        rig.advance(MINUTE / 2);
    }
    let webhook = &rig.sim.webhooks()[0];
    assert_eq!((webhook.event_uuids.len(), webhook.attempts.len()), (1, stub.seen().len()));
    assert!(webhook.attempts.iter().all(|attempt| attempt.status == Some(status)));
    let first = webhook.attempts[0].at;
    webhook.attempts.iter().map(|attempt| attempt.at.since(first).as_secs() / 60).collect()
}

#[tokio::test]
async fn any_answer_but_2xx_is_tried_again_for_half_an_hour() {
    for status in [301, 400, 401, 403, 410, 503] {
        assert_eq!(minutes(RetrySpacing::FromPreviousAttempt, status).await, [0, 1, 3, 7, 15], "{status}");
    }
    assert_eq!(minutes(RetrySpacing::FromStart, 500).await, [0, 1, 2, 4, 8, 16]);
    assert_eq!(minutes(RetrySpacing::FromStart, 204).await, [0]);
}

#[tokio::test]
async fn no_answer_is_tried_again_and_nothing_after_half_an_hour() {
    let rig = TestRig::new().await;
    let closed_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.submit(with(batch_of(1), "webhook_url", json!(format!("http://{closed_port}/")))).await;
    rig.advance(MINUTE * 5);
    assert_eq!(rig.sim.tick().await, 1);
    assert_eq!(rig.sim.webhooks()[0].attempts[0].status, None);
    rig.advance(MINUTE * 31);
    assert_eq!(rig.sim.tick().await, 0);
    let webhook = &rig.sim.webhooks()[0];
    assert_eq!((webhook.attempts.len(), webhook.is_delivered), (1, false));
}

#[tokio::test]
async fn alerts_are_sent_at_or_above_the_threshold_and_an_own_threshold_overrides_the_default() {
    let stub = receiver(200).await;
    let rig = alerting(&stub, |_| {}).await;
    rig.advance(MINUTE * 15);
    assert_eq!(rig.sim.tick().await, 2);
    let webhooks = rig.sim.webhooks();
    let types: Vec<_> = webhooks.iter().map(|webhook| webhook.event_type.as_str()).collect();
    assert_eq!(types, ["BALANCE_BATCH_COMPLETED", "BALANCE_THRESHOLD_ALERT"]);
    let alert: Value = serde_json::from_str(&webhooks[1].body).unwrap();
    let schedule = &rig.sim.schedules()[0];
    assert_eq!(
        (&alert["schedule_id"], &alert["batch_id"]),
        (&json!(schedule.schedule_id), &json!(schedule.runs[0].batch_id))
    );
    assert_eq!(
        (&alert["timestamp"], &alert["event_uuid"]),
        (&json!("2026-01-02T03:19:05Z"), &json!(webhooks[1].event_uuids[0]))
    );
    assert_eq!(each(&alert["alerts"], "authorizer_unique_id"), ["own", "at", "over"]);
    assert!(each(&alert["alerts"], "institution_name").iter().all(|name| !name.is_empty()));
    for exact in [
        r#""balance":150.00,"threshold_amount":100.00}"#,
        r#""balance":200.0,"threshold_amount":200}"#,
        r#""balance":1e4,"threshold_amount":200}"#,
    ] {
        assert!(webhooks[1].body.contains(exact), "{exact}");
    }
    let batch_id = schedule.runs[0].batch_id.clone();
    let expected: BTreeSet<_> = ["own", "at", "over"].map(|id| (batch_id.clone(), id.to_owned())).into();
    assert_eq!(rig.sim.expected_alerts(), expected);
}

#[tokio::test]
async fn no_alert_without_a_threshold_or_below_it() {
    let stub = receiver(200).await;
    let rig = TestRig::with_behaviour(|behaviour| {
        behaviour.schedule_day = MINUTE * 10;
        behaviour.balances = [("a0".to_owned(), "5".to_owned())].into();
    })
    .await;
    let hook = json!(stub.url);
    let no_threshold = with(daily("none", &["a0"]), "webhook", hook.clone());
    rig.schedule(no_threshold.clone()).await;
    rig.schedule(with(with(no_threshold, "name", json!("high")), "threshold_amount", json!(5.01))).await;
    rig.submit(with(with(batch_of(1), "webhook_url", hook), "threshold_amount", json!(1))).await;
    rig.advance(MINUTE * 15);
    assert_eq!(rig.sim.tick().await, 3);
    assert!(rig.sim.webhooks().iter().all(|webhook| webhook.event_type == "BALANCE_BATCH_COMPLETED"));
    assert!(rig.sim.expected_alerts().is_empty());
}

#[tokio::test]
async fn a_run_without_a_webhook_url_sends_nothing() {
    let rig = TestRig::with_behaviour(|behaviour| behaviour.schedule_day = MINUTE).await;
    rig.schedule(daily("quiet", &["a"])).await;
    rig.advance(MINUTE * 10);
    assert_eq!((rig.sim.tick().await, rig.sim.batches().len()), (0, 10));
}

#[tokio::test]
async fn alerts_can_come_split_and_without_a_name() {
    let stub = receiver(200).await;
    let rig = alerting(&stub, |behaviour| {
        behaviour.max_alerts_per_webhook = Some(2);
        behaviour.includes_institution_name = false;
    })
    .await;
    rig.advance(MINUTE * 15);
    assert_eq!(rig.sim.tick().await, 3);
    let alerts: Vec<Value> =
        rig.sim.webhooks()[1..].iter().map(|webhook| serde_json::from_str(&webhook.body).unwrap()).collect();
    assert_eq!(each(&alerts[0]["alerts"], "authorizer_unique_id"), ["own", "at"]);
    assert_eq!(each(&alerts[1]["alerts"], "authorizer_unique_id"), ["over"]);
    assert_eq!(alerts[0]["batch_id"], alerts[1]["batch_id"]);
    assert_ne!(alerts[0]["event_uuid"], alerts[1]["event_uuid"]);
    assert!(alerts[0]["alerts"][0].get("institution_name").is_none());
}

#[tokio::test]
async fn alerts_can_come_before_their_batch_is_complete() {
    let stub = receiver(200).await;
    let rig = alerting(&stub, |behaviour| behaviour.alerts_before_completion = true).await;
    rig.advance(MINUTE * 10 + MINUTE * 5 / 2);
    assert_eq!(rig.sim.tick().await, 1);
    assert_eq!(bodies(&stub)[0]["type"], "BALANCE_THRESHOLD_ALERT");
    let batch_id = rig.sim.batches()[0].batch_id.clone();
    assert_eq!(rig.get(&format!("/v1/balances?batchId={batch_id}")).await.1["total_processed"], 2);
    rig.advance(MINUTE * 5 / 2);
    assert_eq!(rig.sim.tick().await, 1);
    assert_eq!(bodies(&stub)[1]["type"], "BALANCE_BATCH_COMPLETED");
}

#[tokio::test]
async fn each_attempt_can_have_an_event_uuid_of_its_own() {
    let stub = StubReceiver::responding(|n| (if n < 2 { 500 } else { 200 }, None)).await;
    let rig = TestRig::with_behaviour(|behaviour| behaviour.new_event_uuid_per_attempt = true).await;
    rig.submit(with(batch_of(1), "webhook_url", json!(stub.url))).await;
    rig.advance(MINUTE * 5);
    for _ in 0..4 {
        rig.sim.tick().await;
        rig.advance(MINUTE * 2);
    }
    let webhook = &rig.sim.webhooks()[0];
    let event_uuids: Vec<_> =
        bodies(&stub).iter().map(|body| body["event_uuid"].as_str().unwrap().to_owned()).collect();
    assert_eq!((event_uuids.len(), &event_uuids), (3, &webhook.event_uuids));
    assert_eq!(event_uuids.iter().collect::<BTreeSet<_>>().len(), 3);
    assert!(webhook.is_delivered && webhook.body.contains(&event_uuids[2]));
}

/// Submits this many batches, lets them complete, and returns which webhooks are lost.
async fn lost(lose: WebhookLoss, batches: usize) -> Vec<bool> {
    let stub = receiver(200).await;
    let rig = TestRig::with_behaviour(|behaviour| behaviour.webhook_loss = lose).await;
    for authorizers in 1..=batches {
        rig.submit(with(batch_of(authorizers), "webhook_url", json!(stub.url))).await;
    }
    rig.advance(MINUTE * 5);
    let attempts = rig.sim.tick().await;
    rig.advance(MINUTE * 60);
    assert_eq!(rig.sim.tick().await, 0);
    let webhooks = rig.sim.webhooks();
    let sent = webhooks.iter().filter(|webhook| !webhook.is_lost).count();
    assert_eq!((attempts, stub.seen().len(), webhooks.len()), (sent, sent, batches));
    assert!(webhooks.iter().all(|webhook| webhook.is_delivered != webhook.is_lost));
    webhooks.iter().map(|webhook| webhook.is_lost).collect()
}

#[tokio::test]
async fn webhooks_are_lost_as_configured() {
    assert_eq!(lost(WebhookLoss::None, 3).await, [false; 3]);
    assert_eq!(lost(WebhookLoss::All, 3).await, [true; 3]);
    assert_eq!(lost(WebhookLoss::First(2), 3).await, [true, true, false]);
    assert_eq!(lost(WebhookLoss::Percent(0), 3).await, [false; 3]);
    assert_eq!(lost(WebhookLoss::Percent(100), 3).await, [true; 3]);
    let half = lost(WebhookLoss::Percent(50), 30).await;
    assert!((8..=22).contains(&half.iter().filter(|lost| **lost).count()));
    assert_eq!(half, lost(WebhookLoss::Percent(50), 30).await);
}

#[tokio::test]
async fn a_lost_webhook_stays_lost() {
    let stub = receiver(200).await;
    let rig = TestRig::with_behaviour(|behaviour| behaviour.webhook_loss = WebhookLoss::All).await;
    rig.submit(with(batch_of(1), "webhook_url", json!(stub.url))).await;
    rig.advance(MINUTE * 5);
    rig.sim.configure(|behaviour| behaviour.webhook_loss = WebhookLoss::None);
    assert_eq!((rig.sim.tick().await, rig.sim.webhooks()[0].is_lost), (0, true));
}

#[tokio::test]
async fn run_every_delivers_webhooks() {
    let stub = receiver(200).await;
    let rig = TestRig::with_behaviour(|behaviour| behaviour.processing_time = Duration::ZERO).await;
    let ticker = rig.sim.run_every(Duration::from_millis(5));
    rig.submit(with(batch_of(1), "webhook_url", json!(stub.url))).await;
    for _ in 0..1_000 {
        if rig.sim.webhooks().iter().any(|webhook| webhook.is_delivered) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ticker.abort();
    assert!(rig.sim.webhooks()[0].is_delivered);
}
