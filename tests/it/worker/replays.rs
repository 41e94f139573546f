//! Replays: each effect happens once, and once more per replay of each event that names it (P10).

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use inbox_core::audit::OperatorAction;
use inbox_core::effect::alert::{ThresholdCrossing, ThresholdSource};
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use local::connector::Fault;
use tests::operator::test_operator;
use tests::rightfoot_world::RightfootWorld;
use tests::{World, alert_event_id, number, text};

use super::forged_webhooks::alert_with;

const CLAIM_EXPIRED_AFTER: Duration = Duration::from_secs(PROCESSING_CLAIM_SECS + 1);

async fn replay(world: &World, event_id: &str) {
    let key = EventKey::from_event_id(event_id).unwrap();
    world
        .stack
        .stores
        .operator
        .replay_done(&key, &test_operator().audit_entry(OperatorAction::Replay, world.now()))
        .await
        .unwrap();
}

/// Runs relay and worker until neither has anything to do.
async fn run_until_idle(world: &World) {
    for _ in 0..12 {
        world.run_relay().await.unwrap().unwrap();
        world.run_worker().await;
        world.advance(CLAIM_EXPIRED_AFTER);
    }
    let waits = world.due_items().await;
    assert!(waits.iter().all(|item| text(item, "due").starts_with("poll#")), "{waits:?}");
}

/// Published alerts of an authorizer, as (authorizer, event, replay).
async fn published_alerts(world: &World) -> Vec<(String, String, u64)> {
    let mut all: Vec<_> = world
        .drain_bus()
        .await
        .into_iter()
        .map(|it| {
            let part = |name: &str| it.detail[name].as_str().unwrap().to_owned();
            (part("authorizer_unique_id"), part("event_id"), it.detail["replay"].as_u64().unwrap_or(0))
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn p10_two_replayed_events_publish_each_alert_once_for_each_replay() {
    let people: Vec<_> = (0..11).map(|n| format!("a-{n:02}")).collect();
    let balances: Vec<_> = people.iter().map(|id| (id.as_str(), "150.00")).collect();
    let alerts: Vec<_> = people.iter().map(|id| (id.as_str(), "150.00", "100")).collect();
    let it = RightfootWorld::with_run("b-1", &balances).await;
    let world = &it.world;
    for event in ["u-1", "u-2"] {
        world.deliver_rightfoot(alert_with("b-1", event, &alerts)).await;
        world.run_worker().await;
    }
    run_until_idle(world).await;
    assert_eq!(published_alerts(world).await.len(), 11, "once, by whichever event");

    for event in ["u-1", "u-2"] {
        replay(world, &alert_event_id("b-1", event)).await;
    }
    run_until_idle(world).await;
    let once_for_each =
        people.iter().flat_map(|id| ["u-1", "u-2"].map(|by| (id.clone(), alert_event_id("b-1", by), 1)));
    assert_eq!(published_alerts(world).await, once_for_each.collect::<Vec<_>>());
}

/// A replay claims an alert, cannot publish it, and leaves its claim behind. An event that was not replayed and names
/// the same authorizer finds the claim expired, and the alert published before.
#[tokio::test]
async fn p10_a_claim_that_ran_out_does_not_let_another_event_publish_what_is_published() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let world = &it.world;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100")])).await;
    world.run_worker().await;
    assert_eq!(published_alerts(world).await.len(), 1);

    replay(world, &alert_event_id("b-1", "u-1")).await;
    world.run_relay().await.unwrap().unwrap();
    world.inject_fault("PutEvents", Fault::AccessDenied);
    world.run_worker().await;
    world.stack.connector.clear_fault_plan();
    world.advance(CLAIM_EXPIRED_AFTER);
    world.deliver_rightfoot(alert_with("b-1", "u-2", &[("a", "150.00", "100")])).await;
    world.run_worker().await;
    assert_eq!(published_alerts(world).await, [], "u-2 has nothing to publish");
    assert!(number(&world.event_record(&alert_event_id("b-1", "u-2")).await, "done_at").is_some());

    run_until_idle(world).await;
    assert_eq!(
        published_alerts(world).await,
        [("a".to_owned(), alert_event_id("b-1", "u-1"), 1)],
        "the replay has"
    );
}

/// While a replay's claim lasts, an event that was not replayed need not wait for it.
#[tokio::test]
async fn p10_a_replays_claim_does_not_put_an_event_back_whose_alert_is_published() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let world = &it.world;
    world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100")])).await;
    world.run_worker().await;
    replay(world, &alert_event_id("b-1", "u-1")).await;
    world.run_relay().await.unwrap().unwrap();
    world.inject_fault("PutEvents", Fault::AccessDenied);
    world.run_worker().await;
    world.stack.connector.clear_fault_plan();
    world.deliver_rightfoot(alert_with("b-1", "u-2", &[("a", "150.00", "100")])).await;
    world.run_worker().await;
    assert!(number(&world.event_record(&alert_event_id("b-1", "u-2")).await, "done_at").is_some());
}

#[tokio::test]
async fn p10_an_alert_that_was_published_too_often_to_remember_goes_to_quarantine() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00"), ("b", "150.00")]).await;
    let world = &it.world;
    world
        .deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100"), ("b", "150.00", "100")]))
        .await;
    world.run_worker().await;
    assert_eq!(published_alerts(world).await.len(), 2);
    let mut effect = world.item("rightfoot#batch#b-1", "effect#alert#a").await.unwrap();
    let tags = (0..500).map(|n| format!("tag-{n}")).collect();
    effect.insert("published_by".to_owned(), AttributeValue::Ss(tags));
    world.put_item(effect).await;
    replay(world, &alert_event_id("b-1", "u-1")).await;
    world.run_relay().await.unwrap().unwrap();
    world.run_worker().await;
    assert_eq!(published_alerts(world).await, [("b".to_owned(), alert_event_id("b-1", "u-1"), 1)]);
    assert_eq!(
        world.quarantined().await.into_iter().map(|(reason, _)| reason).collect::<Vec<_>>(),
        ["replay_limit"]
    );
}

/// A worker is slower than its claim, another event claims the alert meanwhile, and then the first one's mark
/// arrives: its publication is remembered, and the other claim stays.
#[tokio::test]
async fn p10_what_was_published_is_remembered_although_the_claim_was_lost() {
    use inbox_aws::stores::{AlertClaim, EventClaim};
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let (world, stores) = (&it.world, &it.world.stack.stores);
    let mut claims = Vec::new();
    for event in ["u-1", "u-2"] {
        world.deliver_rightfoot(alert_with("b-1", event, &[("a", "150.00", "100")])).await;
        let key = EventKey::from_event_id(&alert_event_id("b-1", event)).unwrap();
        let EventClaim::Acquired(work) = stores.processing.claim_event(&key, world.now()).await.unwrap()
        else {
            panic!("{event}")
        };
        claims.push(work);
    }
    let a = ThresholdCrossing {
        authorizer: Id::new("a").unwrap(),
        institution: None,
        balance: "150.00".parse().unwrap(),
        threshold: "100".parse().unwrap(),
        threshold_source: ThresholdSource::Schedule,
    };
    let AlertClaim::Acquired(slow) =
        stores.processing.claim_alert(&claims[0], &a, world.now()).await.unwrap()
    else {
        panic!("nobody else has it")
    };
    assert_eq!(
        stores.processing.claim_alert(&claims[1], &a, world.now()).await.unwrap(),
        AlertClaim::HeldByOther
    );
    world.advance(CLAIM_EXPIRED_AFTER);
    let AlertClaim::Acquired(fast) =
        stores.processing.claim_alert(&claims[1], &a, world.now()).await.unwrap()
    else {
        panic!("the first claim has run out")
    };
    stores.processing.mark_alert_published(&claims[0], &slow, world.now()).await.unwrap();
    let effect = world.item("rightfoot#batch#b-1", "effect#alert#a").await.unwrap();
    assert!(number(&effect, "published_at").is_some() && !text(&effect, "claim_by").is_empty());
    assert_eq!(
        stores.processing.claim_alert(&claims[1], &a, world.now()).await.unwrap(),
        AlertClaim::Published { threshold: None }
    );
    stores.processing.mark_alert_published(&claims[1], &fast, world.now()).await.unwrap();
    let effect = world.item("rightfoot#batch#b-1", "effect#alert#a").await.unwrap();
    assert_eq!((effect["published_by"].as_ss().unwrap().len(), text(&effect, "claim_by")), (2, ""));
}

/// Earlier cycles of the record: when each was done, and how often it was requeued.
fn past_cycles(record: &tests::Item) -> Vec<(i64, i64)> {
    let cycles = record["past_cycles"].as_l().unwrap().iter().map(|cycle| cycle.as_m().unwrap());
    cycles.map(|cycle| (number(cycle, "done_at").unwrap(), number(cycle, "requeues").unwrap())).collect()
}

#[tokio::test]
async fn a_replayed_event_keeps_when_it_was_sent_and_done_before_the_first_and_the_latest_times() {
    const EVENT: &str = "fynapse/event/e-1";
    let world = World::new().await;
    world.inject_fault("PutEvents", Fault::AccessDenied);
    world.deliver_fynapse(tests::extract_body("e-1")).await;
    world.run_worker().await;
    world.stack.connector.clear_fault_plan();
    run_until_idle(&world).await;
    let first = world.event_record(EVENT).await;
    assert_eq!((number(&first, "requeues"), text(&first, "retry_reason")), (Some(1), "bus_failed"));
    let mut done = vec![(number(&first, "done_at").unwrap(), 1)];
    for nth in 1..=12 {
        replay(&world, EVENT).await;
        let due = world.event_record(EVENT).await;
        assert!(!due.contains_key("done_at") && !due.contains_key("retry_reason"));
        let cycles = past_cycles(&due);
        let latest = done.iter().skip(1.max(done.len().saturating_sub(9))).copied();
        assert_eq!(cycles, done[..1].iter().copied().chain(latest).collect::<Vec<_>>(), "replay {nth}");
        let sent = due["past_cycles"].as_l().unwrap()[0].as_m().unwrap();
        assert_eq!(number(sent, "sent_at"), number(&first, "sent_at"));
        world.run_relay().await.unwrap().unwrap();
        world.run_worker().await;
        done.push((number(&world.event_record(EVENT).await, "done_at").unwrap(), 0));
        world.advance(CLAIM_EXPIRED_AFTER);
    }
}
