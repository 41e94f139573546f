//! Forged webhooks: whoever knows a URL can write to it, but what the API does not confirm never reaches the bus.

use serde_json::json;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{DAY, HOUR, MINUTE, alert_body, alert_event_id, completion_body, number};

/// An alert of a batch, with (authorizer, balance, threshold) of each.
pub(crate) fn alert_with(batch_id: &str, event_uuid: &str, alerts: &[(&str, &str, &str)]) -> String {
    let alerts = alerts.iter().map(|(authorizer, balance, threshold)| {
        format!(
            r#"{{"authorizer_unique_id":"{authorizer}","balance":{balance},"threshold_amount":{threshold}}}"#
        )
    });
    let alerts = alerts.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"event_uuid":"{event_uuid}","type":"BALANCE_THRESHOLD_ALERT","batch_id":"{batch_id}","alerts":[{alerts}]}}"#
    )
}

/// Runs the worker until nothing changes any more.
pub(crate) async fn run_worker_until_settled(it: &RightfootWorld) {
    for _ in 0..3 {
        it.world.run_worker().await;
        it.world.advance(MINUTE * 16);
        it.world.run_relay().await.unwrap().unwrap();
    }
    it.world.run_worker().await;
}

/// The reasons of all quarantined deliveries.
pub(crate) async fn quarantine_reasons(it: &RightfootWorld) -> Vec<String> {
    it.world.quarantined().await.into_iter().map(|(reason, _)| reason).collect()
}

#[tokio::test]
async fn p4_an_alert_about_nobody_in_the_batch_or_above_the_balance_never_reaches_the_bus() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("failed", "null")]).await;
    for (event, alert) in [("u-1", ("stranger", "500.00", "100")), ("u-3", ("failed", "500.00", "100"))] {
        assert_eq!(it.world.deliver_rightfoot(alert_with("b-1", event, &[alert])).await.status, 200);
    }
    run_worker_until_settled(&it).await;
    assert_eq!(it.world.drain_bus_ids().await, [""; 0]);
    assert_eq!(quarantine_reasons(&it).await, ["unconfirmed"; 2]);
    assert!(it.world.due_items().await.iter().all(|item| item["due"].as_s().unwrap().starts_with("poll#")));
}

/// A forged alert could name any threshold, so where something is tracked under its URL, nothing is published before
/// the batch's schedule is known.
#[tokio::test]
async fn p4_an_alert_waits_until_it_is_known_which_run_its_batch_is() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00"), ("b", "50")]).await;
    it.track_schedule("s-1", "a").await;
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "0"), ("b", "50", "0")])).await;
    it.world.run_worker().await;
    it.world.advance(MINUTE * 16);
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert_eq!(
        (it.world.drain_bus_ids().await, it.rightfoot.requests().len()),
        (vec![], 0),
        "and nobody is asked"
    );
    it.world.track_run("b-1", 2).await;
    run_worker_until_settled(&it).await;
    let published = it.world.drain_bus().await;
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].id(), "rightfoot/batch/b-1/threshold-met/a");
    let threshold =
        (published[0].detail["threshold"].as_str(), published[0].detail["threshold_source"].as_str());
    assert_eq!(threshold, (Some("100"), Some("schedule")), "by what was asked for");
}

/// Otherwise a forged alert could have another subject's schedule polled again and again.
#[tokio::test]
async fn p4_an_alert_hurries_only_the_schedule_whose_url_it_came_by() {
    let it = RightfootWorld::new().await;
    it.track_schedule("s-1", "a").await;
    it.world.advance(MINUTE);
    it.run_poller().await.unwrap();
    let before = it.world.due_polls().await;
    let other = it.world.stack.mint_url_token(&"another".parse().unwrap()).unwrap();
    assert_eq!(it.world.deliver_rightfoot_to(&other, alert_body("b-1", "u-1")).await.status, 200);
    it.world.run_worker().await;
    assert_eq!(it.world.due_polls().await, before);

    assert_eq!(it.world.deliver_rightfoot(alert_body("b-2", "u-2")).await.status, 200);
    it.world.run_worker().await;
    let now = it.world.now();
    assert_eq!(it.world.due_polls().await, [("rightfoot#schedule#s-1".to_owned(), now)]);
}

#[tokio::test]
async fn p4_an_alert_that_came_by_another_url_than_its_runs_is_kept() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00")]).await;
    let other = it.world.stack.mint_url_token(&"another".parse().unwrap()).unwrap();
    it.world.deliver_rightfoot_to(&other, alert_with("b-1", "u-1", &[("a", "150.00", "0")])).await;
    it.world.track_run("b-1", 1).await;
    run_worker_until_settled(&it).await;
    assert_eq!(
        (it.world.drain_bus_ids().await, quarantine_reasons(&it).await),
        (vec![], vec!["subject_mismatch".to_owned()])
    );
}

#[tokio::test]
async fn p7_what_was_recorded_as_an_alert_and_cannot_be_read_as_one_is_kept() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let twice = alert_with("b-1", "u-1", &[("a", "150.00", "100")]).replacen(
        '{',
        r#"{"schedule_id":"s-1","schedule_id":"s-2","#,
        1,
    );
    assert_eq!(it.world.deliver_rightfoot(twice).await.body, r#"{"status":"received"}"#);
    let many: Vec<_> = (0..10_001).map(|n| format!("user-{n}")).collect();
    let many: Vec<_> = many.iter().map(|id| (id.as_str(), "1", "1")).collect();
    assert_eq!(it.world.deliver_rightfoot(alert_with("b-1", "u-2", &many)).await.status, 200);
    it.world.run_worker().await;
    assert_eq!(
        (it.world.drain_bus_ids().await, quarantine_reasons(&it).await),
        (vec![], vec!["unconfirmed".to_owned(); 2])
    );
}

#[tokio::test]
async fn p4_an_event_about_a_batch_that_is_not_there_ends_in_quarantine_after_two_hours() {
    let it = RightfootWorld::new().await;
    it.world.deliver_rightfoot(completion_body("nowhere", "u-1")).await;
    it.world.deliver_rightfoot(alert_with("nowhere", "u-2", &[("a", "500.00", "100")])).await;
    for _ in 0..(2 * 4) {
        it.world.run_worker().await;
        it.world.advance(MINUTE * 15);
        it.world.run_relay().await.unwrap().unwrap();
    }
    assert_eq!(quarantine_reasons(&it).await, [""; 0], "not before two hours are over");
    it.world.run_worker().await;
    let mut quarantine_reasons = quarantine_reasons(&it).await;
    quarantine_reasons.sort();
    assert_eq!(quarantine_reasons, ["incomplete", "unconfirmed"], "the API has shown nothing of it");
    assert_eq!(it.world.drain_bus_ids().await, [""; 0]);
    assert_eq!(it.world.due_items().await, []);
}

#[tokio::test]
async fn p4_a_url_that_was_minted_for_a_batch_brings_no_alerts() {
    let it = RightfootWorld::new().await;
    let submitted = it.submit_batch("payroll", &["a"]).await;
    let batch = submitted["batch_id"].as_str().unwrap();
    it.advance(MINUTE * 6).await;
    let token = it.world.stack.mint_url_token(&"payroll".parse().unwrap()).unwrap();
    let forged = alert_with(batch, "u-1", &[("a", "500.00", "-99999")]);
    assert_eq!(it.world.deliver_rightfoot_to(&token, forged).await.body, r#"{"status":"received"}"#);
    run_worker_until_settled(&it).await;
    assert_eq!(it.world.drain_bus_ids().await, [format!("rightfoot/batch/{batch}/completed")]);
    assert_eq!(quarantine_reasons(&it).await, ["unconfirmed"]);
}

#[tokio::test]
async fn p5_a_forged_threshold_neither_makes_an_alert_of_a_run_nor_hides_one() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.balances =
            [("a", "150.00"), ("b", "50")].map(|(of, is)| (of.to_owned(), is.to_owned())).into();
        rightfoot.webhook_loss = local::rightfoot_simulator::WebhookLoss::All;
    })
    .await;
    it.request(daily_schedule_request("watch", &["a", "b"])).await;
    it.run_for(DAY + MINUTE).await;
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    let token = it.world.stack.mint_url_token(&"watch".parse().unwrap()).unwrap();
    // One threshold below the tracked one, which would alert b; one above it, which would count a as covered.
    let forged = alert_with(&run, "forged", &[("b", "50", "1"), ("a", "1", "100000")]);
    it.world.deliver_rightfoot_to(&token, forged).await;
    let mut published = Vec::new();
    for _ in 0..8 {
        it.world.run_worker().await;
        it.run_for(MINUTE * 10).await;
        published.extend(it.world.drain_bus_ids().await);
    }
    published.sort();
    assert_eq!(
        published,
        [format!("rightfoot/batch/{run}/completed"), format!("rightfoot/batch/{run}/threshold-met/a")]
    );
    assert_eq!(quarantine_reasons(&it).await, ["unconfirmed"]);
    assert!(
        number(&it.world.event_record(&alert_event_id(&run, "forged")).await, "quarantined_at").is_some()
    );
}

#[tokio::test]
async fn p4_a_forged_completion_stores_what_the_api_shows_and_publishes_only_when_it_is_complete() {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.processing_time = HOUR).await;
    let submitted = it.submit_batch("payroll", &["a", "b"]).await;
    let batch = submitted["batch_id"].as_str().unwrap();
    let token = it.world.stack.mint_url_token(&"payroll".parse().unwrap()).unwrap();
    it.world.deliver_rightfoot_to(&token, completion_body(batch, "forged")).await;
    it.world.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await, [""; 0]);
    let record = it.world.event_record(&format!("rightfoot/batch/{batch}/completed")).await;
    assert!(record.contains_key("due") && number(&record, "requeues") == Some(1));
    let mut published = Vec::new();
    for _ in 0..9 {
        it.advance(MINUTE * 10).await;
        it.world.run_relay().await.unwrap().unwrap();
        it.world.run_worker().await;
        published.extend(it.world.drain_bus().await);
    }
    assert_eq!(published.len(), 1);
    assert_eq!(
        published[0].detail["by_status_code"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(|it| it.as_u64())
            .sum::<u64>(),
        2
    );
    assert_eq!(published[0].detail["expected"], json!(2));
}
