//! Every kind of item, and what still holds afterwards.

use inbox_aws::stores::ReplayOutcome;
use inbox_core::audit::OperatorAction;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use serde_json::{Value, json};
use tests::operator::test_operator;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::worker_effects::balance_pairs;
use tests::{MINUTE, World, alert_event_id, completion_body, number, text};

use super::{
    PERSON, SIBLING, assert_nowhere, audit_items, erase, extract_naming, find, found_kinds, mentions, settle,
};
use crate::worker::forged_webhooks::alert_with;

const MET: [&str; 2] =
    ["rightfoot/batch/b-1/threshold-met/user-1", "rightfoot/batch/b-1/threshold-met/user-10"];

/// Both people are in everything that can hold an id, and all of it has ended.
async fn with_everything() -> RightfootWorld {
    let it = RightfootWorld::with_batch("b-1", &[(PERSON, "150.00"), (SIBLING, "200")]).await;
    it.rightfoot.add_completed_batch("b-2", &balance_pairs(&[("user-3", "1")]));
    let world = &it.world;
    let both = [(PERSON, "150.00", "100"), (SIBLING, "200", "100")];
    world.deliver_rightfoot(completion_body("b-1", "u-0")).await;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &both)).await;
    world.deliver_fynapse(extract_naming("e-1", &[PERSON], false)).await;
    world.deliver_fynapse(extract_naming("e-2", &[PERSON, SIBLING], true)).await;
    world.deliver_fynapse(extract_naming("e-3", &[SIBLING], true)).await;
    world.deliver_rightfoot(format!(r#"{{"type":"A_THIRD_TYPE","who":"{PERSON}"}}"#)).await;
    world.deliver_rightfoot(format!(r#"{{"type":"A_THIRD_TYPE","who":"{SIBLING}"}}"#)).await;
    it.request(daily_schedule_request("payroll", &[PERSON, SIBLING, "user-2"])).await;
    it.request(json!({
        "action": "track_schedule", "schedule_id": "s-9", "probe_authorizers": [PERSON, SIBLING], "interval_days": 1,
        "thresholds": {"default": 100, "authorizers": {PERSON: 250.50, SIBLING: 300}}, "expires_at": "2026-12-31",
    }))
    .await;
    it.request(json!({
        "action": "track_batch", "batch_id": "b-2", "expected": 3, "failed_authorizer_ids": [PERSON, SIBLING],
    }))
    .await;
    it.run_for(MINUTE * 25).await;
    settle(world).await;
    it.run_for(MINUTE * 20).await;
    it
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_stored_of_a_person_is_found_and_erased_and_another_ones_stays() {
    let it = with_everything().await;
    let world = &it.world;
    let kinds = [
        ("balance", 1),
        ("alert_effect", 1),
        ("event_payload", 3),
        ("quarantined_bytes", 1),
        ("excluded_authorizers", 1),
        ("schedule", 2),
        ("submission_answer", 1),
    ];
    assert_eq!(found_kinds(world, PERSON).await, kinds);
    let of_sibling = found_kinds(world, SIBLING).await;
    assert_eq!(of_sibling, kinds, "as many of the other one");
    assert_eq!(erase(world).await, []);
    assert_nowhere(world, PERSON).await;
    assert_eq!(found_kinds(world, PERSON).await, []);
    // Two payloads named both.
    let stays = of_sibling.into_iter().map(|(kind, count)| match kind {
        "event_payload" => (kind, count - 2),
        _ => (kind, count),
    });
    assert_eq!(found_kinds(world, SIBLING).await, stays.collect::<Vec<_>>());
    // And is what it was.
    let stores = &world.stack.stores;
    let schedule = stores.tracking.tracked_schedule(&Id::new("s-9").unwrap()).await.unwrap().unwrap();
    assert_eq!(schedule.schedule.probes, [Id::new(SIBLING).unwrap()]);
    let thresholds = stores.tracking.thresholds(&schedule).await.unwrap();
    let own: Vec<_> =
        thresholds.authorizers.iter().map(|(id, amount)| (id.as_str(), amount.to_string())).collect();
    assert_eq!(own, [(SIBLING, "300".to_owned())]);
    assert_eq!(thresholds.default.map(|amount| amount.to_string()).as_deref(), Some("100"));
    let batch = stores.tracking.tracked_batch(&Id::new("b-2").unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (batch.failed_authorizers.len(), batch.expected_results()),
        (2, 1),
        "as many results are expected"
    );
    let answer = it.request(daily_schedule_request("payroll", &[PERSON, SIBLING, "user-2"])).await;
    let probes: Vec<_> =
        answer["probe_authorizers"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert!(probes[0].starts_with("\"erased-") && probes[1] == format!("\"{SIBLING}\""), "{probes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_the_audit_entry_of_an_erasure_names_nobody_and_says_how_much() {
    let it = with_everything().await;
    erase(&it.world).await;
    let entries = audit_items(&it.world).await;
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(text(entry, "audit_subject"), "person (10 of 10 items)");
    assert_eq!(
        [text(entry, "action"), text(entry, "operator"), text(entry, "reason")],
        ["erase", "ada", "fixed in 1.4"]
    );
    assert!(!mentions(&format!("{entry:?}"), PERSON));
    // No other item says that it was erased by whom.
    let items = it.world.items().await;
    assert!(items.iter().all(|item| !item.contains_key("audit_entries")));
}

async fn world_with_alert() -> RightfootWorld {
    let it = RightfootWorld::with_batch("b-1", &[(PERSON, "150.00"), (SIBLING, "200")]).await;
    let both = [(PERSON, "150.00", "100"), (SIBLING, "200", "100")];
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &both)).await;
    it.world.deliver_fynapse(extract_naming("e-1", &[PERSON], false)).await;
    settle(&it.world).await;
    assert_eq!(it.world.drain_bus_ids().await, [&["fynapse/event/e-1"], &MET[..]].concat());
    assert_eq!(erase(&it.world).await, []);
    assert_nowhere(&it.world, PERSON).await;
    it
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_redelivery_of_an_erased_event_is_a_duplicate() {
    let it = world_with_alert().await;
    let world = &it.world;
    let both = [(PERSON, "150.00", "100"), (SIBLING, "200", "100")];
    let answers = [
        world.deliver_rightfoot(alert_with("b-1", "u-1", &both)).await,
        world.deliver_fynapse(extract_naming("e-1", &[PERSON], false)).await,
    ];
    assert!(answers.iter().all(|answer| answer.body == r#"{"status":"duplicate"}"#), "{answers:?}");
    world.resend_event(&alert_event_id("b-1", "u-1")).await;
    settle(world).await;
    assert_eq!(world.drain_bus_ids().await, Vec::<String>::new());
    assert_nowhere(world, PERSON).await;
}

/// What comes again is stored again, and can be erased again. It does not act again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_another_event_about_an_erased_persons_alert_publishes_nothing() {
    let it = world_with_alert().await;
    let world = &it.world;
    for event in ["u-2", "u-3"] {
        world.deliver_rightfoot(alert_with("b-1", event, &[(PERSON, "150.00", "100")])).await;
        settle(world).await;
        assert_eq!(world.drain_bus_ids().await, Vec::<String>::new(), "{event}");
        let record = world.event_record(&alert_event_id("b-1", event)).await;
        assert!(number(&record, "done_at").is_some(), "{event}");
    }
    assert_eq!(found_kinds(world, PERSON).await, [("alert_effect", 1), ("event_payload", 2)]);
    assert_eq!(erase(world).await, []);
    assert_nowhere(world, PERSON).await;
    world.deliver_rightfoot(alert_with("b-1", "u-4", &[(PERSON, "150.00", "100")])).await;
    settle(world).await;
    assert_eq!(world.drain_bus_ids().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_replay_of_an_erased_event_publishes_nothing_and_says_why() {
    let it = world_with_alert().await;
    let world = &it.world;
    for (nth, id) in [alert_event_id("b-1", "u-1"), "fynapse/event/e-1".to_owned()].into_iter().enumerate() {
        let key = EventKey::from_event_id(&id).unwrap();
        let entry = test_operator().audit_entry(OperatorAction::Replay, world.now());
        let replayed = world.stack.stores.operator.replay_done(&key, &entry).await.unwrap();
        assert_eq!(replayed, ReplayOutcome::Due { replay: 1 });
        settle(world).await;
        let reasons: Vec<_> = world.quarantined().await.into_iter().map(|(reason, _)| reason).collect();
        assert_eq!(reasons, vec!["payload_gone"; nth + 1]);
    }
    assert_eq!(world.drain_bus_ids().await, Vec::<String>::new());
    assert_nowhere(world, PERSON).await;
}

#[tokio::test]
async fn p7_erased_bytes_that_come_again_are_quarantined_again() {
    let world = World::new().await;
    let body = format!(r#"{{"type":"A_THIRD_TYPE","who":"{PERSON}"}}"#);
    world.deliver_rightfoot(&body).await;
    assert_eq!(erase(&world).await, []);
    let item = world.items().await.into_iter().find(|item| text(item, "pk").starts_with("quarantine#"));
    let item = item.unwrap();
    assert_eq!((text(&item, "resolution"), item.contains_key("due")), ("erased", false));
    assert_nowhere(&world, PERSON).await;
    world.deliver_rightfoot(&body).await;
    let found = find(&world, PERSON).await;
    assert_eq!(found.items.len(), 1);
    let stored = world.item(text(&item, "pk"), "delivery").await.unwrap();
    assert_eq!(stored["payload"].as_b().unwrap().as_ref(), body.as_bytes());
    assert!(stored.contains_key("due") && !stored.contains_key("payload_erased_at"));
}
