//! One authorizer in one batch has one alert effect (P5), whichever event announces it.

use std::time::Duration;

use inbox_aws::stores::ReplayOutcome;
use inbox_core::audit::{AuditEntry, OperatorAction};
use inbox_core::event::EventKey;
use tests::{World, alert_event_id, completion_event_id, extract_body, number, text};

use tests::rightfoot_world::RightfootWorld;
use tests::worker_effects::balance_pairs;

use super::forged_webhooks::alert_with;

#[tokio::test]
async fn p5_two_events_that_tell_of_the_same_authorizer_have_one_effect() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("b", "200"), ("c", "5")]).await;
    let world = &it.world;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100"), ("b", "200", "100")])).await;
    world.deliver_rightfoot(alert_with("b-1", "u-2", &[("b", "200", "100"), ("a", "150.00", "100")])).await;
    world.run_worker().await;
    // Of two workers at the same alert, one requeues its event.
    world.advance(Duration::from_secs(61));
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    let met = |authorizer: &str| format!("rightfoot/batch/b-1/threshold-met/{authorizer}");
    assert_eq!(world.drain_bus_ids().await, [met("a"), met("b")]);
    for event in ["u-1", "u-2"] {
        assert!(
            number(&world.event_record(&alert_event_id("b-1", event)).await, "done_at").is_some(),
            "{event}"
        );
    }
}

#[tokio::test]
async fn what_is_confirmed_does_not_wait_for_what_is_not() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("b", "5")]).await;
    let world = &it.world;
    let webhook_body = alert_with("b-1", "u-1", &[("a", "150.00", "100"), ("b", "200", "100")]);
    world.deliver_rightfoot(webhook_body).await;
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["rightfoot/batch/b-1/threshold-met/a"]);
    let reasons: Vec<_> = world.quarantined().await.into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["unconfirmed"]);
    let record = world.event_record(&alert_event_id("b-1", "u-1")).await;
    assert!(number(&record, "quarantined_at").is_some() && number(&record, "done_at").is_none());
}

#[tokio::test]
async fn p7_an_unconfirmed_alert_is_checked_again_when_an_operator_replays_it() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("b", "5")]).await;
    let world = &it.world;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100"), ("b", "200", "100")])).await;
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["rightfoot/batch/b-1/threshold-met/a"]);

    // Meanwhile Rightfoot has corrected the balance.
    it.rightfoot.replace_completed_batch("b-1", &balance_pairs(&[("a", "150.00"), ("b", "200")]));
    let key = EventKey::from_event_id(&alert_event_id("b-1", "u-1")).unwrap();
    world
        .stack
        .stores
        .operator
        .replay_quarantined(&key, &audit_entry(world, OperatorAction::Requeue))
        .await
        .unwrap();
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    assert_eq!(
        world.drain_bus_ids().await,
        ["rightfoot/batch/b-1/threshold-met/b"],
        "and a is not alerted again"
    );
    assert!(number(&world.event_record(&alert_event_id("b-1", "u-1")).await, "done_at").is_some());
}

#[tokio::test]
async fn p10_a_replayed_event_has_its_effects_again_and_they_carry_the_number() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let world = &it.world;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.deliver_rightfoot(tests::completion_body("b-1", "u-0")).await;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100")])).await;
    world.run_worker().await;
    let first = world.drain_bus().await;
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|event| event.detail.get("replay").is_none()));

    for id in ["fynapse/event/e-1".to_owned(), completion_event_id("b-1"), alert_event_id("b-1", "u-1")] {
        let key = EventKey::from_event_id(&id).unwrap();
        world
            .stack
            .stores
            .operator
            .replay_done(&key, &audit_entry(world, OperatorAction::Replay))
            .await
            .unwrap();
    }
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    let again = world.drain_bus().await;
    let ids = |events: &[tests::worker_effects::ReceivedBusEvent]| {
        events.iter().map(|it| it.id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&again), ids(&first));
    assert!(again.iter().all(|event| event.detail["replay"] == 1));
    let effect = world.item("rightfoot#batch#b-1", "effect#alert#a").await.unwrap();
    assert_eq!((number(&effect, "replay"), text(&effect, "claim_by")), (Some(1), ""));
    assert_eq!(world.run_worker().await.received, 0);
}

#[tokio::test]
async fn p5_a_bulk_replay_publishes_each_authorizers_alert_once_whatever_number_of_events_names_it() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("b", "200.00")]).await;
    let world = &it.world;
    for (uuid, alerts) in [
        ("u-1", [("a", "150.00", "100")].as_slice()),
        ("u-2", &[("a", "150.00", "100"), ("b", "200.00", "100")]),
        ("u-3", &[("b", "200.00", "100")]),
    ] {
        world.deliver_rightfoot(alert_with("b-1", uuid, alerts)).await;
        world.run_worker().await;
    }
    let published = ["rightfoot/batch/b-1/threshold-met/a", "rightfoot/batch/b-1/threshold-met/b"];
    assert_eq!(world.drain_bus_ids().await, published);
    let operator = &world.stack.stores.operator;
    let keys: Vec<_> =
        ["u-1", "u-2", "u-3"].map(|it| EventKey::from_event_id(&alert_event_id("b-1", it)).unwrap()).into();
    let replay = async |bulk_id: &str| {
        let plan = operator.plan_bulk_replay_of(bulk_id, &keys, world.now()).await.unwrap();
        let mut outcomes = Vec::new();
        for key in &keys {
            let entry = audit_entry(world, OperatorAction::Replay);
            outcomes.push(operator.replay_in_bulk(key, &plan.bulk, &entry).await.unwrap());
            world.advance(Duration::from_secs(1));
        }
        // Of two workers at the same alert, one requeues its event.
        for _ in 0..3 {
            world.run_relay().await.unwrap().unwrap();
            world.run_worker().await;
            world.advance(Duration::from_secs(61));
        }
        outcomes
    };
    let due = |replay| vec![ReplayOutcome::Due { replay }; 3];
    assert_eq!(replay("bulk-1").await, due(1));
    assert_eq!(world.drain_bus_ids().await, published, "three events, two alerts");
    // Once more, as after an interruption: nothing is repeated.
    assert_eq!(replay("bulk-1").await, vec![ReplayOutcome::AlreadyReplayed; 3]);
    assert_eq!(world.drain_bus_ids().await, Vec::<String>::new());
    // Another bulk replay publishes again.
    assert_eq!(replay("bulk-2").await, due(2));
    assert_eq!(world.drain_bus_ids().await, published);
    // And so does a replay of each event alone.
    for key in &keys {
        operator.replay_done(key, &audit_entry(world, OperatorAction::Replay)).await.unwrap();
        world.run_relay().await.unwrap().unwrap();
        world.run_worker().await;
    }
    let alone = world.drain_bus_ids().await;
    assert_eq!(alone, [published[0], published[0], published[1], published[1]]);
}

#[tokio::test]
async fn without_verification_alerts_are_published_as_received_and_marked_unconfirmed() {
    let world = World::with_options(|options| options.verify_alerts = false).await;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100")])).await;
    world.run_worker().await;
    let published = world.drain_bus().await;
    assert_eq!((published.len(), published[0].detail["confirmed"].as_bool()), (1, Some(false)));
    assert_eq!(published[0].detail["balance"], "150.00");
    assert_eq!(
        (&published[0].detail["threshold_source"], &published[0].detail["subject"]),
        (&"webhook".into(), &"demo".into())
    );
    world.deliver_rightfoot(alert_with("b-1", "u-2", &[("b", "150.00", "null")])).await;
    world.run_worker().await;
    assert_eq!(world.quarantined().await.len(), 1, "it does not say all");
}

fn audit_entry(world: &World, did: OperatorAction) -> AuditEntry {
    AuditEntry { at: world.now(), operator: "maria".to_owned(), action: did, reason: "a test".to_owned() }
}
