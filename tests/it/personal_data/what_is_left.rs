//! What is still at work is left until it has ended, and what names nobody stays.

use std::time::Duration;

use inbox_aws::stores::{PersonalDataKind, ScheduleChange, Stores, WhyLeft};
use inbox_core::audit::{AuditSubject, Operator, OperatorAction};
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use local::connector::Fault;
use serde_json::json;
use tests::operator::test_operator;
use tests::rightfoot_world::RightfootWorld;
use tests::{DAY, HOUR, MINUTE, World, alert_event_id, text};

use super::{PERSON, SIBLING, assert_nowhere, erase, extract_naming, find, found_kinds, settle};
use crate::worker::forged_webhooks::alert_with;

const EVENT_AT_WORK: (PersonalDataKind, WhyLeft) = (PersonalDataKind::EventPayload, WhyLeft::InProgress);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_an_event_that_is_not_done_is_left_and_published() {
    let world = World::new().await;
    world.deliver_fynapse(extract_naming("e-1", &[PERSON], false)).await;
    assert_eq!(erase(&world).await, [EVENT_AT_WORK], "on the queue");
    world.inject_fault("SendMessage", Fault::AccessDenied);
    world.deliver_fynapse(extract_naming("e-2", &[PERSON], true)).await;
    world.stack.connector.clear_fault_plan();
    assert_eq!(erase(&world).await, [EVENT_AT_WORK; 2], "due");
    settle(&world).await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1", "fynapse/event/e-2"]);
    assert_eq!(erase(&world).await, []);
    assert_nowhere(&world, PERSON).await;
}

/// Without a worker, no event is ever done.
#[tokio::test]
async fn an_event_whose_message_is_gone_is_over_after_14_days() {
    let world = World::new().await;
    world.deliver_fynapse(extract_naming("e-1", &[PERSON], false)).await;
    world.advance(DAY * 14 - Duration::from_secs(1));
    assert_eq!(erase(&world).await, [EVENT_AT_WORK]);
    world.advance(Duration::from_secs(1));
    assert_eq!(erase(&world).await, []);
    assert_nowhere(&world, PERSON).await;
}

/// The poller would find the alert anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_alerts_of_a_batch_that_is_still_polled_are_left() {
    let it = RightfootWorld::with_run("b-1", &[(PERSON, "150.00"), ("a", "5")]).await;
    let world = &it.world;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[(PERSON, "150.00", "100")])).await;
    world.run_worker().await;
    let left = [
        (PersonalDataKind::AlertEffect, WhyLeft::BatchTracked),
        (PersonalDataKind::EventPayload, WhyLeft::BatchTracked),
    ];
    assert_eq!(erase(world).await, left);
    it.run_for(HOUR).await;
    settle(world).await;
    it.run_for(HOUR).await;
    assert_eq!(erase(world).await, []);
    assert_nowhere(world, PERSON).await;
    it.run_for(HOUR).await;
    settle(world).await;
    let alerts: Vec<_> =
        world.drain_bus_ids().await.into_iter().filter(|id| id.contains("threshold")).collect();
    assert_eq!(alerts, [format!("rightfoot/batch/b-1/threshold-met/{PERSON}")]);
    assert_nowhere(world, PERSON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_is_left_while_an_event_that_names_it_is_at_work() {
    let it = RightfootWorld::with_batch("b-1", &[(PERSON, "150.00")]).await;
    let world = &it.world;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[(PERSON, "150.00", "100")])).await;
    settle(world).await;
    world.deliver_rightfoot(alert_with("b-1", "u-2", &[(PERSON, "150.00", "100")])).await;
    let found = find(world, PERSON).await;
    let lefts: Vec<_> = found.items.iter().map(|item| (item.kind, item.left)).collect();
    assert!(lefts.contains(&(PersonalDataKind::AlertEffect, Some(WhyLeft::InProgress))), "{lefts:?}");
    // The record that is done goes at once.
    assert!(lefts.contains(&(PersonalDataKind::EventPayload, None)), "{lefts:?}");
    settle(world).await;
    assert_eq!(erase(world).await, []);
    assert_nowhere(world, PERSON).await;
}

#[tokio::test]
async fn the_only_probe_of_a_schedule_stays_until_there_is_another_one() {
    let it = RightfootWorld::new().await;
    it.request(json!({
        "action": "track_schedule", "schedule_id": "s-1", "probe_authorizers": [PERSON], "interval_days": 1,
        "thresholds": {"authorizers": {PERSON: 250.50}}, "expires_at": "2026-12-31",
    }))
    .await;
    let left = [(PersonalDataKind::Schedule, WhyLeft::OnlyProbe)];
    assert_eq!(erase(&it.world).await, left);
    let schedule = it.world.item("rightfoot#schedule#s-1", "tracked").await.unwrap();
    assert_eq!(schedule["probes"].as_l().unwrap().len(), 1);
    let Stores { operator, tracking, .. } = &it.world.stack.stores;
    let id = Id::new("s-1").unwrap();
    let seen = tracking.tracked_schedule(&id).await.unwrap().unwrap();
    let probes = Some(vec![Id::new(SIBLING).unwrap()]);
    let change = ScheduleChange { probes, ..ScheduleChange::default() };
    let entry = test_operator().audit_entry(OperatorAction::Update, it.world.now());
    operator.update_schedule(&seen, &change, &entry).await.unwrap();
    assert_eq!(erase(&it.world).await, []);
    assert_nowhere(&it.world, PERSON).await;
    let seen = tracking.tracked_schedule(&id).await.unwrap().unwrap();
    assert_eq!(seen.schedule.probes[0].as_str(), SIBLING);
    assert!(seen.tracking.due_at.is_some(), "it is polled as before");
}

/// A duplicate with another payload leaves its parts behind, which no item names.
#[tokio::test]
async fn the_parts_of_a_duplicate_are_erased_once_nothing_can_name_them() {
    let world = World::new().await;
    world.deliver_fynapse(extract_naming("e-1", &[SIBLING], true)).await;
    world.deliver_fynapse(extract_naming("e-1", &[PERSON], true)).await;
    assert_eq!(erase(&world).await, [(PersonalDataKind::OrphanedPart, WhyLeft::TooYoung)]);
    world.advance(HOUR - Duration::from_secs(1));
    assert_eq!(erase(&world).await, [(PersonalDataKind::OrphanedPart, WhyLeft::TooYoung)]);
    world.advance(Duration::from_secs(1));
    assert_eq!(erase(&world).await, []);
    assert_nowhere(&world, PERSON).await;
    settle(&world).await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"], "the other one's event is whole");
}

/// A quarantined event and its quarantined bytes name the same parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_several_items_name_goes_with_the_last_of_them() {
    let it = RightfootWorld::with_batch("b-1", &[(PERSON, "5")]).await;
    let world = &it.world;
    let many: Vec<_> = (0..100).map(|n| format!("nobody-{n}")).collect();
    let mut alerts: Vec<_> = many.iter().map(|id| (id.as_str(), "150.00", "100")).collect();
    alerts.push((PERSON, "150.00", "100"));
    world.deliver_rightfoot(alert_with("b-1", "u-1", &alerts)).await;
    for _ in 0..8 {
        settle(world).await;
    }
    assert_eq!(found_kinds(world, PERSON).await, [("event_payload", 1), ("quarantined_bytes", 1)]);
    assert_eq!(erase(world).await, []);
    assert_nowhere(world, PERSON).await;
    let items = world.items().await;
    assert!(items.iter().all(|item| !text(item, "pk").starts_with("payload#")), "no part is left");
    assert!(items.iter().all(|item| !item.contains_key("parts_to_delete")));
    let record = world.event_record(&alert_event_id("b-1", "u-1")).await;
    assert!(record.contains_key("payload_hash") && record.contains_key("payload_erased_at"));
}

#[tokio::test]
async fn a_reason_in_the_audit_trail_and_a_name_are_shown_and_stay() {
    let world = World::new().await;
    let key = EventKey::from_event_id("fynapse/event/user-1").unwrap();
    world.deliver_fynapse(extract_naming(PERSON, &[SIBLING], false)).await;
    world.run_worker().await;
    let operator = Operator { name: "ada".to_owned(), reason: format!("asked by {PERSON}, by mail") };
    let entry = operator.audit_entry(OperatorAction::Replay, world.now());
    world.stack.stores.operator.replay_done(&key, &entry).await.unwrap();
    world.advance(MINUTE);
    settle(&world).await;
    let subject = AuditSubject::Event(key).to_string();
    let found = find(&world, PERSON).await;
    let kinds: Vec<_> = found.items.iter().map(|item| (item.kind, item.left)).collect();
    // The event's id is a value in its payload.
    assert_eq!(
        kinds,
        [
            (PersonalDataKind::EventPayload, None),
            (PersonalDataKind::AuditReason, Some(WhyLeft::AuditTrail)),
            (PersonalDataKind::AuditReason, Some(WhyLeft::AuditTrail)),
            (PersonalDataKind::ItemName, Some(WhyLeft::Name)),
        ]
    );
    let left = erase(&world).await;
    assert_eq!(left.len(), 3);
    let entries = super::audit_items(&world).await;
    assert!(entries.iter().any(|item| text(item, "audit_subject") == subject), "the trail is whole");
}
