//! Untracked batches: a URL is minted and given to Rightfoot, and nothing is tracked. Results that the API shows are
//! published, with the threshold that the webhook names. Where more than the webhook is known, that decides.

use std::time::Duration;

use inbox_core::effect::alert::UntrackedAlertPolicy;
use inbox_rightfoot::{ApiKey, ClientConfig, RightfootClient};
use local::connector::Fault;
use local::rightfoot_simulator::{CannedResponse, IncompleteBatchResponse, ScriptedResponse};
use serde_json::json;
use tests::rightfoot_world::{
    API_KEY, RightfootWorld, authorizer_json, daily_schedule_request, submit_batch_request,
};
use tests::worker_effects::ReceivedBusEvent;
use tests::{
    DAY, HOUR, Item, MINUTE, SUBJECT, World, alert_body, alert_event_id, completion_event_id, number,
    random_hex, text,
};

use super::forged_webhooks::{alert_with, quarantine_reasons, run_worker_until_settled};
use crate::metrics_recorder::Counters;

/// Id of a published alert.
fn alert_effect_id(batch: &str, authorizer: &str) -> String {
    format!("rightfoot/batch/{batch}/threshold-met/{authorizer}")
}

/// Threshold, its source, and the subject of a published alert.
fn threshold_and_subject(event: &ReceivedBusEvent) -> [&str; 3] {
    ["threshold", "threshold_source", "subject"].map(|name| event.detail[name].as_str().unwrap_or_default())
}

/// Token of a URL under which nothing is submitted or tracked.
fn token_of_another_subject(world: &World) -> String {
    world.stack.mint_url_token(&"another".parse().unwrap()).unwrap()
}

/// Advances the clock by a minute, and runs the worker on what is due.
async fn run_next_minute(it: &RightfootWorld) {
    // Past `SNAPSHOTS_APART_MIN_SECS`, so that a second equal snapshot counts.
    it.world.advance(Duration::from_secs(61));
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
}

async fn bound_subject_item(world: &World, subject: &str) -> Option<Item> {
    world.item(&format!("rightfoot#subject#{subject}"), "bound").await
}

/// Checks that an alert of an untracked batch is requeued without a request to Rightfoot.
async fn assert_requeued(it: &RightfootWorld, event_uuid: &str) {
    let record = it.world.event_record(&alert_event_id("b-1", event_uuid)).await;
    assert!(record.contains_key("due") && number(&record, "requeues").unwrap() > 0, "{record:?}");
    assert_eq!((it.world.drain_bus_ids().await, it.rightfoot.requests().len()), (vec![], 0));
}

#[tokio::test]
async fn p10_a_schedule_with_only_a_minted_url_is_published_within_minutes() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        let balances = [("a", "150.00"), ("b", "99.99"), ("c", "null"), ("d", "100")];
        rightfoot.balances = balances.map(|(of, is)| (of.to_owned(), is.to_owned())).into();
    })
    .await;
    let minted = it.request(json!({"action": "webhook_url", "subject": "nightly"})).await;
    let client = RightfootClient::new(ClientConfig::new(&it.api_url, None).unwrap()).unwrap();
    let schedule = json!({
        "name": "Nightly", "interval_days": 1, "threshold_amount": 100, "webhook": minted["webhook_url"],
        "authorizers": (["a", "b", "c", "d"].map(authorizer_json)),
    });
    client.create_schedule(&ApiKey::new(API_KEY).unwrap(), schedule.to_string()).await.unwrap();
    while it.rightfoot.webhooks().iter().filter(|webhook| webhook.is_delivered).count() < 2 {
        it.run_for(MINUTE).await;
    }
    for _ in 0..4 {
        it.world.run_worker().await;
        it.run_for(MINUTE).await;
    }
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    let published = it.world.drain_bus().await;
    let ids: Vec<_> = published.iter().map(ReceivedBusEvent::id).collect();
    assert_eq!(ids, [completion_event_id(&run), alert_effect_id(&run, "a"), alert_effect_id(&run, "d")]);
    assert_eq!(
        (&published[0].detail["subject"], &published[0].detail["found"]),
        (&json!("nightly"), &json!(4))
    );
    assert_eq!(
        [threshold_and_subject(&published[1]), threshold_and_subject(&published[2])],
        [["100", "webhook", "nightly"]; 2]
    );
    assert_eq!(
        (&published[1].detail["balance"], &published[1].detail["confirmed"]),
        (&json!("150.00"), &json!(true))
    );
    assert_eq!(published[1].detail["schedule_id"], it.rightfoot.schedules()[0].schedule_id.as_str());
    let balances = it.world.stored_balances().await;
    assert_eq!(balances.iter().map(|row| text(row, "pk")).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!((it.world.quarantined().await, it.world.due_items().await), (vec![], vec![]));
    assert_eq!(bound_subject_item(&it.world, "nightly").await, None);
}

#[tokio::test]
async fn p10_an_untracked_alert_is_published_at_the_first_read_and_its_effect_keeps_the_threshold_source() {
    let it = RightfootWorld::with_batch("b-1", &[("user-123", "150.00")]).await;
    it.world.deliver_rightfoot(alert_body("b-1", "u-1")).await;
    it.world.run_worker().await;
    let published = it.world.drain_bus().await;
    assert_eq!(
        published.iter().map(ReceivedBusEvent::id).collect::<Vec<_>>(),
        [alert_effect_id("b-1", "user-123")]
    );
    assert_eq!(threshold_and_subject(&published[0]), ["100.00", "webhook", SUBJECT]);
    assert!(number(&it.world.event_record(&alert_event_id("b-1", "u-1")).await, "done_at").is_some());
    let effect = it.world.item("rightfoot#batch#b-1", "effect#alert#user-123").await.unwrap();
    assert_eq!([text(&effect, "threshold"), text(&effect, "threshold_source")], ["100.00", "webhook"]);
    assert_eq!(it.world.due_items().await, []);
}

#[tokio::test]
async fn p5_of_two_alerts_by_minted_urls_one_is_published_and_a_different_threshold_is_counted() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00")]).await;
    for (event_uuid, threshold) in [("u-1", "100"), ("u-2", "100.00")] {
        it.world.deliver_rightfoot(alert_with("b-1", event_uuid, &[("a", "150.00", threshold)])).await;
        it.world.run_worker().await;
    }
    assert_eq!(
        (it.world.drain_bus_ids().await, counters.count("threshold_differs", "")),
        (vec![alert_effect_id("b-1", "a")], 0)
    );
    it.world
        .deliver_rightfoot_to(
            &token_of_another_subject(&it.world),
            alert_with("b-1", "u-3", &[("a", "150.00", "0.01")]),
        )
        .await;
    it.world.run_worker().await;
    assert_eq!((it.world.drain_bus_ids().await, counters.count("threshold_differs", "")), (vec![], 1));
}

#[tokio::test]
async fn p4_an_alert_that_the_api_does_not_show_is_quarantined_once_two_reads_15_minutes_apart_match() {
    let it =
        RightfootWorld::with_batch("b-1", &[("a", "150.00"), ("low", "99.99"), ("failed", "null")]).await;
    let made_up = [("stranger", "500", "100"), ("low", "500", "100"), ("failed", "500", "100")];
    for (event_uuid, alert) in ["u-1", "u-2", "u-3"].into_iter().zip(made_up) {
        it.world.deliver_rightfoot(alert_with("b-1", event_uuid, &[alert])).await;
    }
    let half = alert_with("b-1", "u-4", &[("a", "150.00", "100"), ("stranger", "500", "100")]);
    it.world.deliver_rightfoot(half).await;
    it.world.run_worker().await;
    assert_eq!(
        it.world.drain_bus_ids().await,
        [alert_effect_id("b-1", "a")],
        "what is shown does not wait for what is not"
    );
    // Fourteen minutes: less than `ALERT_SNAPSHOTS_APART_MIN_SECS`.
    for _ in 0..14 {
        run_next_minute(&it).await;
    }
    assert_eq!(it.world.quarantined().await, []);
    for _ in 0..20 {
        run_next_minute(&it).await;
    }
    assert_eq!(
        (it.world.drain_bus_ids().await, quarantine_reasons(&it).await),
        (vec![], vec!["unconfirmed".to_owned(); 4])
    );
    assert_eq!(it.world.due_items().await, []);
}

/// An alert does not say how complete its batch is. Here its rows appear one after the other.
#[tokio::test]
async fn p10_an_untracked_alert_before_its_row_is_published_once_the_row_is_there() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.balances = [("a".to_owned(), "5".to_owned()), ("b".to_owned(), "150.00".to_owned())].into();
        rightfoot.incomplete_batch_response = IncompleteBatchResponse::FewerRows;
        rightfoot.processing_time = MINUTE * 20;
    })
    .await;
    let client = RightfootClient::new(ClientConfig::new(&it.api_url, None).unwrap()).unwrap();
    let body = json!({"authorizers": (["a", "b"].map(authorizer_json))}).to_string();
    let batch = client.submit_batch(&ApiKey::new(API_KEY).unwrap(), body).await.unwrap().batch_id;
    let batch = batch.as_str();
    it.advance(MINUTE * 11).await;
    it.world.deliver_rightfoot(alert_with(batch, "u-1", &[("b", "150.00", "100")])).await;
    it.world.run_worker().await;
    for _ in 0..8 {
        run_next_minute(&it).await;
        assert_eq!((it.world.drain_bus_ids().await, it.world.quarantined().await), (vec![], vec![]));
    }
    for _ in 0..10 {
        run_next_minute(&it).await;
    }
    assert_eq!(
        (it.world.drain_bus_ids().await, it.world.quarantined().await),
        (vec![alert_effect_id(batch, "b")], vec![])
    );
}

#[tokio::test]
async fn p4_by_the_url_of_a_bound_subject_an_alert_that_leaves_out_its_schedule_waits_all_the_same() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00")]).await;
    it.track_schedule("s-1", "a").await;
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "0")])).await;
    it.world.run_worker().await;
    run_next_minute(&it).await;
    assert_requeued(&it, "u-1").await;
}

#[tokio::test]
async fn p4_an_alert_that_names_a_tracked_schedule_waits_by_whichever_url_it_comes() {
    let it = RightfootWorld::with_batch("b-1", &[("user-123", "150.00")]).await;
    it.track_schedule("s-1", "a").await;
    it.world.deliver_rightfoot_to(&token_of_another_subject(&it.world), alert_body("b-1", "u-1")).await;
    it.world.run_worker().await;
    run_next_minute(&it).await;
    assert_requeued(&it, "u-1").await;
    // Without a schedule's name, its batch is unknown.
    let unnamed = alert_body("b-1", "u-2").replace(r#""schedule_id":"s-1","#, "");
    it.world.deliver_rightfoot_to(&token_of_another_subject(&it.world), unnamed).await;
    it.world.run_worker().await;
    let published = it.world.drain_bus().await;
    assert_eq!(
        published.iter().map(threshold_and_subject).collect::<Vec<_>>(),
        [["100.00", "webhook", "another"]]
    );
}

#[tokio::test]
async fn p4_with_untracked_alerts_switched_off_none_is_published() {
    let it =
        RightfootWorld::with_options(|options| options.untracked_alerts = UntrackedAlertPolicy::Quarantine)
            .await;
    it.rightfoot.add_completed_batch("b-1", &tests::worker_effects::balance_pairs(&[("user-123", "150.00")]));
    it.world.deliver_rightfoot(alert_body("b-1", "u-1")).await;
    it.world.run_worker().await;
    run_next_minute(&it).await;
    assert_requeued(&it, "u-1").await;
    it.world.advance(DAY);
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert_eq!(
        (it.world.drain_bus_ids().await, quarantine_reasons(&it).await),
        (vec![], vec!["unconfirmed".to_owned()])
    );
}

/// Until now only the webhook was known. From now on the schedule decides.
#[tokio::test]
async fn p4_once_the_schedule_is_tracked_its_threshold_counts_and_an_effect_by_another_one_is_counted() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = RightfootWorld::with_batch("b-1", &[("a", "250.00"), ("b", "150.00")]).await;
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "250.00", "100")])).await;
    it.world.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await, [alert_effect_id("b-1", "a")]);

    it.request(json!({
        "action": "track_schedule", "schedule_id": "s-1", "probe_authorizers": ["a"], "interval_days": 1,
        "thresholds": {"default": 200}, "expires_at": "2026-12-31", "subject": SUBJECT,
    }))
    .await;
    it.world.track_run("b-1", 2).await;
    it.world
        .deliver_rightfoot(alert_with("b-1", "u-2", &[("a", "250.00", "100"), ("b", "150.00", "100")]))
        .await;
    it.world.run_worker().await;
    assert_eq!(
        (it.world.drain_bus_ids().await, quarantine_reasons(&it).await),
        (vec![], vec!["unconfirmed".to_owned()])
    );
    assert_eq!(counters.count("threshold_differs", ""), 1);
    let effect = it.world.item("rightfoot#batch#b-1", "effect#alert#a").await.unwrap();
    assert_eq!([text(&effect, "threshold"), text(&effect, "threshold_source")], ["100", "webhook"]);

    // The poller finds no further authorizer either; it counts those that were alerted by another threshold.
    it.world.deliver_rightfoot(tests::completion_body("b-1", "u-3")).await;
    it.run_for(MINUTE * 31).await;
    it.world.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await, [completion_event_id("b-1")]);
    assert_eq!(counters.count("threshold_differs", ""), 2);
}

#[tokio::test]
async fn p4_a_subject_is_bound_by_whatever_is_submitted_or_tracked_under_it_and_by_no_minted_url() {
    let it = RightfootWorld::new().await;
    let track = |id: &str, subject: &str| json!({"action": "track_batch", "batch_id": id, "expected": 1, "subject": subject});
    it.request(submit_batch_request("of-batch", &["a"])).await;
    it.request(daily_schedule_request("of-schedule", &["a"])).await;
    it.request(track("b-1", "of-track")).await;
    it.request(json!({"action": "webhook_url", "subject": "minted"})).await;
    it.track_schedule("s-1", "a").await;
    let before = it.world.now();
    it.world.advance(MINUTE);
    assert_eq!(it.request(track("b-1", "of-track")).await["status"], "already_tracked");
    // A contradicting request is rejected, and binds no subject.
    assert!(it.world.request(track("b-1", "refused")).await.unwrap().is_err());
    for subject in ["of-batch", "of-schedule", "of-track", SUBJECT] {
        let bound = bound_subject_item(&it.world, subject).await.unwrap_or_else(|| panic!("{subject}"));
        assert_eq!((number(&bound, "v"), number(&bound, "bound_at")), (Some(1), Some(before.0)), "{subject}");
        assert!(!bound.contains_key("expires_at"));
    }
    for subject in ["minted", "refused"] {
        assert_eq!(bound_subject_item(&it.world, subject).await, None, "{subject}");
    }
}

/// The submission itself binds its subject before anything is sent; if its outcome is never known, for ever.
#[tokio::test]
async fn p4_a_submission_of_unknown_outcome_binds_its_subject_before_and_after_it_is_given_up() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00")]).await;
    let dying = it.world.another_process();
    dying.inject_fault("PutItem", Fault::CrashAfter);
    assert!(dying.request(submit_batch_request(SUBJECT, &["a"])).await.is_none());
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100")])).await;
    it.world.run_worker().await;
    assert_requeued(&it, "u-1").await;
    it.run_in_steps(HOUR / 4, DAY).await;
    it.world.expire_items("rightfoot#submission#").await;
    assert!(it.world.stack.stores.tracking.is_subject_bound(&SUBJECT.parse().unwrap()).await.unwrap());
}

fn balances_response(answer: CannedResponse) -> ScriptedResponse {
    ScriptedResponse { path_contains: "/v1/balances".to_owned(), response: answer, remaining_uses: None }
}

#[tokio::test]
async fn p9_an_alert_of_an_untracked_batch_is_quarantined_only_after_an_answer() {
    let it = RightfootWorld::with_batch("b-1", &[("user-123", "150.00")]).await;
    it.track_schedule("s-1", "a").await;
    for (event_uuid, token) in [("bound", None), ("named", Some(token_of_another_subject(&it.world)))] {
        let body = if token.is_some() {
            alert_body("b-1", event_uuid)
        } else {
            alert_with("b-1", event_uuid, &[("a", "1", "1")])
        };
        match token {
            Some(token) => it.world.deliver_rightfoot_to(&token, body).await,
            None => it.world.deliver_rightfoot(body).await,
        };
    }
    it.world.run_worker().await;
    it.rightfoot.configure(|rightfoot| {
        rightfoot.scripted_responses = vec![balances_response(CannedResponse::Status(401))]
    });
    it.world.advance(DAY);
    for _ in 0..3 {
        it.world.run_relay().await.unwrap().unwrap();
        it.world.run_worker().await;
        it.world.advance(MINUTE * 16);
        assert_eq!((it.world.quarantined().await, it.world.drain_bus_ids().await), (vec![], vec![]));
    }
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert_eq!(
        (it.world.drain_bus_ids().await, quarantine_reasons(&it).await),
        (vec![], vec!["unconfirmed".to_owned(); 2])
    );
}

/// Otherwise nearly a megabyte of noise could be sent again and again to a leaked URL.
#[tokio::test]
async fn what_is_given_up_or_waits_by_its_batch_alone_is_not_read() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let large = |batch: &str| {
        let pad = random_hex(900_000, 1);
        alert_with(batch, "u-1", &[("a", "150.00", "100")]).replacen('{', &format!(r#"{{"pad":"{pad}","#), 1)
    };
    let reads = |world: &World| {
        let log = world.stack.connector.call_log();
        log.iter().filter(|(call, _)| call.operation == "GetItem").count()
    };
    it.world.deliver_rightfoot_to(&token_of_another_subject(&it.world), large("b-2")).await;
    it.world.track_run("b-2", 1).await;
    it.world.stack.connector.clear_call_log();
    it.world.run_worker().await;
    assert_eq!((quarantine_reasons(&it).await, reads(&it.world)), (vec!["subject_mismatch".to_owned()], 1));

    it.world.deliver_rightfoot(large("b-3")).await;
    it.world.run_worker().await;
    it.world.advance(MINUTE * 2);
    it.world.run_relay().await.unwrap().unwrap();
    it.world.stack.connector.clear_call_log();
    it.world.run_worker().await;
    assert_eq!(reads(&it.world), 2, "whether it is tracked, and whether its subject is bound");
    run_worker_until_settled(&it).await;
    assert_eq!(it.world.drain_bus_ids().await, [""; 0]);
}

#[tokio::test]
async fn a_setting_that_is_none_is_refused_by_name() {
    let set: [(&str, &str); 8] = [
        ("INBOX_TABLE", "t"),
        ("EVENTS_QUEUE_URL", "q"),
        ("RIGHTFOOT_API_URL", "https://api.rightfoot.com"),
        ("RIGHTFOOT_API_KEY_SECRET_ID", "k"),
        ("BALANCES_TABLE", "b"),
        ("EVENT_BUS_NAME", "e"),
        ("VERIFY_ALERTS", "true"),
        ("UNTRACKED_ALERTS", "publish"),
    ];
    let env = inbox_aws::config::Env(|name: &str| {
        set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    });
    let refused = event_worker::Config::read(&env).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "environment variable UNTRACKED_ALERTS is not valid: \"publish\": use confirmed or quarantine"
    );
}
