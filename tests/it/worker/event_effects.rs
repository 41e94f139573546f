//! Events that the worker processes and publishes.

use local::rightfoot_simulator::{IncompleteBatchResponse, WebhookLoss};
use serde_json::json;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{
    DAY, MINUTE, World, completion_body, completion_event_id, extract_body, number, random_hex, text,
};

use super::describe_row;

fn balances(of: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    of.iter().map(|(authorizer, balance)| ((*authorizer).to_owned(), (*balance).to_owned())).collect()
}

#[tokio::test]
async fn p10_a_completed_batch_is_stored_row_by_row_and_published_once() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.balances = balances(&[("a", "1523.40"), ("b", "null"), ("c", "-83.68"), ("d", "odd")]);
    })
    .await;
    let submitted = it.submit_batch("payroll", &["a", "b", "c", "d"]).await;
    let batch = submitted["batch_id"].as_str().unwrap();
    it.advance(MINUTE * 6).await;
    let outcome = it.world.run_worker().await;
    assert_eq!((outcome.received, outcome.deleted), (1, 1));

    let stored = it.world.stored_balances().await;
    assert_eq!(
        stored.iter().map(describe_row).collect::<Vec<_>>(),
        [
            "a 1523.4 0 success",
            "b null 3300 institution_not_supported",
            "c -83.68 0 success",
            "d null 9000 other_error"
        ]
    );
    for row in &stored {
        assert_eq!(text(row, "batch_id"), batch);
        let (at, of) = text(row, "sk").split_once('#').unwrap();
        assert_eq!((at.len(), of), (15, batch), "a time of fixed width, and the batch");
        assert!(!row.contains_key("schedule_id") && !row.contains_key("expires_at"));
    }
    let published = it.world.drain_bus().await;
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].detail_type, "BalanceBatchCompleted");
    let received_at = published[0].detail["received_at"].clone();
    assert_eq!(
        published[0].detail,
        json!({
            "id": completion_event_id(batch), "event_id": completion_event_id(batch), "origin": "webhook", "received_at": received_at,
            "batch_id": batch, "subject": "payroll", "expected": 4, "found": 4,
            "by_status_code": {"0": 2, "3300": 1, "9000": 1},
        })
    );

    // A copy of the message, as the relay would send it: the event is done already.
    let record = it.world.item(&format!("rightfoot#batch#{batch}"), "completed").await.unwrap();
    assert_eq!(number(&record, "done_at"), Some(it.world.now().0));
    assert!(number(&record, "expires_at").is_some() && !record.contains_key("claim_by"));
    it.rightfoot.clear_requests();
    it.world.resend_event(&completion_event_id(batch)).await;
    let again = it.world.run_worker().await;
    assert_eq!((again.received, again.deleted), (1, 1));
    assert_eq!((it.world.drain_bus().await.len(), it.rightfoot.requests().len()), (0, 0));
}

#[tokio::test]
async fn the_latest_balance_is_the_first_of_a_descending_query_in_whatever_order_batches_are_published() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.balances = balances(&[("a", "1")]);
        rightfoot.webhook_loss = WebhookLoss::First(1);
    })
    .await;
    it.submit_batch("first", &["a"]).await;
    it.advance(MINUTE * 7).await;
    it.rightfoot.configure(|rightfoot| rightfoot.balances = balances(&[("a", "2")]));
    it.submit_batch("second", &["a"]).await;
    it.advance(MINUTE * 8).await;
    it.world.run_worker().await;
    // The first batch's webhook was lost: the poller finds it after the second one.
    it.run_poller().await.unwrap();
    it.world.run_worker().await;
    let query = it.world.stack.inspector.dynamodb.query().table_name("balances");
    let query = query.key_condition_expression("pk = :a").scan_index_forward(false);
    let query =
        query.expression_attribute_values(":a", aws_sdk_dynamodb::types::AttributeValue::S("a".to_owned()));
    let latest = query.send().await.unwrap().items.unwrap();
    assert_eq!(latest.iter().map(describe_row).collect::<Vec<_>>(), ["a 2 0 success", "a 1 0 success"]);
}

#[tokio::test]
async fn p5_a_batch_that_the_poll_found_first_has_one_effect() {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let submitted = it.submit_batch("payroll", &["a", "b"]).await;
    let batch = submitted["batch_id"].as_str().unwrap().to_owned();
    it.run_for(MINUTE * 12).await;
    it.world.run_worker().await;
    let published = it.world.drain_bus().await;
    assert_eq!(published.len(), 1);
    assert_eq!(
        (published[0].id(), published[0].detail["origin"].as_str()),
        (completion_event_id(&batch).as_str(), Some("poll"))
    );
    let token = it.world.stack.mint_url_token(&"payroll".parse().unwrap()).unwrap();
    let late = it.world.deliver_rightfoot_to(&token, completion_body(&batch, "late")).await;
    assert_eq!(late.body, r#"{"status":"duplicate"}"#);
    assert_eq!((it.world.run_worker().await.received, it.world.drain_bus_ids().await.len()), (0, 0));
}

#[tokio::test]
async fn p5_every_due_alert_of_a_run_is_published_once_digit_for_digit() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.balances = balances(&[("a", "150.00"), ("b", "99.99"), ("c", "null"), ("d", "100")]);
    })
    .await;
    it.request(daily_schedule_request("watch", &["a", "b", "c", "d"])).await;
    it.run_for(DAY).await;
    for _ in 0..3 {
        it.world.run_worker().await;
        it.run_for(MINUTE * 10).await;
    }
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    let schedule = it.rightfoot.schedules()[0].schedule_id.clone();
    let published: Vec<_> =
        it.world.drain_bus().await.into_iter().filter(|it| it.detail["batch_id"] == run.as_str()).collect();
    let ids: Vec<_> = published.iter().map(|it| it.id().to_owned()).collect();
    let met = |authorizer: &str| format!("rightfoot/batch/{run}/threshold-met/{authorizer}");
    assert_eq!(ids, [completion_event_id(&run), met("a"), met("d")]);
    let first = &published[1];
    assert_eq!(first.detail_type, "BalanceThresholdMet");
    assert_eq!(
        (first.detail["balance"].as_str(), first.detail["threshold"].as_str()),
        (Some("150.00"), Some("100"))
    );
    assert_eq!(first.detail["threshold_source"], "schedule");
    assert_eq!(first.detail["schedule_id"], schedule.as_str());
    assert_eq!(first.detail["authorizer_unique_id"], "a");
    assert!(first.detail["institution_name"].is_string() && first.detail["confirmed"] == true);
    assert_eq!(it.world.quarantined().await, []);
    let effect = it.world.item(&format!("rightfoot#batch#{run}"), "effect#alert#a").await.unwrap();
    assert_eq!(text(&effect, "event_id"), first.detail["event_id"].as_str().unwrap());
    assert!(number(&effect, "published_at").is_some() && number(&effect, "expires_at").is_some());
}

#[tokio::test]
async fn an_alert_that_comes_before_its_completion_waits_for_the_balances() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.balances = balances(&[("a", "150.00")]);
        rightfoot.alerts_before_completion = true;
        rightfoot.incomplete_batch_response = IncompleteBatchResponse::NotFound404;
        rightfoot.processing_time = MINUTE * 10;
    })
    .await;
    it.request(daily_schedule_request("watch", &["a"])).await;
    while it.rightfoot.webhooks().iter().all(|webhook| !webhook.is_delivered) {
        it.advance(MINUTE).await;
    }
    let outcome = it.world.run_worker().await;
    assert_eq!((outcome.deleted, outcome.failed), (1, 0), "requeued, and not left to SQS");
    assert_eq!(it.world.drain_bus_ids().await, [""; 0]);
    let mut published = Vec::new();
    for _ in 0..30 {
        it.run_for(MINUTE).await;
        it.world.run_worker().await;
        published.extend(it.world.drain_bus_ids().await);
    }
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    published.sort();
    assert_eq!(published, [completion_event_id(&run), format!("rightfoot/batch/{run}/threshold-met/a")]);
}

#[tokio::test]
async fn p4_a_fynapse_event_is_published_as_received_and_its_exact_bytes_stay_available() {
    let world = World::new().await;
    let (small, integer) =
        (extract_body("e-1"), extract_body("e-2").replace("150.00", "99999999999999999999"));
    let large = extract_body("e-3").replace("150.00", &format!("\"{}\"", random_hex(250_000, 1)));
    for body in [&small, &integer, &large] {
        assert_eq!(world.deliver_fynapse(body).await.status, 200);
    }
    world.run_worker().await;
    let published = world.drain_bus().await;
    assert_eq!(
        published.iter().map(|it| it.id()).collect::<Vec<_>>(),
        ["fynapse/event/e-1", "fynapse/event/e-2", "fynapse/event/e-3"]
    );
    assert!(published[0].json.ends_with(&format!(r#""data":{small}}}"#)), "{}", published[0].json);
    assert_eq!(published[0].detail["event_type"], "balance.extracted");
    for (event, body) in published.iter().zip([&small, &integer, &large]) {
        let dataref = event.detail["dataref"].as_str().unwrap();
        let bytes = world.stack.stores.events.resolve_dataref(dataref).await.unwrap();
        assert_eq!(bytes.as_deref(), Some(body.as_bytes()), "{dataref}");
    }
    assert!(published[1].detail.get("data").is_none() && published[2].detail.get("data").is_none());
}
