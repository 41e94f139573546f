//! Events that were sent and whose message is lost.

use std::time::Duration;

use inbox_aws::stores::{EventClaim, ReplayOutcome};
use inbox_core::audit::OperatorAction;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use inbox_core::time::UnixMillis;
use local::connector::AwsCall;
use tests::operator::test_operator;
use tests::{DAY, World, completion_body, extract_body, number};

use super::{COMPLETED, audit_entry, audit_trail, race_operators};

const EXTRACTED: &str = "fynapse/event/e-1";

/// An event that is marked as sent, and whose message is lost.
async fn event_without_message() -> World {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    assert_eq!(world.drain_event_ids().await, [EXTRACTED]);
    world
}

async fn declare_lost(world: &World, was_purged: bool) -> ReplayOutcome {
    let key = EventKey::from_event_id(EXTRACTED).unwrap();
    let by = test_operator().audit_entry(OperatorAction::DeclareLost, world.now());
    world.stores().operator.replay_lost(&key, was_purged, &by).await.unwrap()
}

#[tokio::test]
async fn p3_p10_an_event_whose_message_is_declared_lost_has_its_effect_once() {
    let world = event_without_message().await;
    // SQS keeps a message for 14 days (`QUEUE_RETENTION_DAYS`); until then it may still be there.
    world.advance(DAY * 14 - Duration::from_millis(1));
    let until = UnixMillis(world.now().0 + 1);
    assert_eq!(declare_lost(&world, false).await, ReplayOutcome::MayStillBeQueued { until });
    world.advance(Duration::from_millis(1));
    assert_eq!(declare_lost(&world, false).await, ReplayOutcome::Due { replay: 0 });
    let record = world.event_record(EXTRACTED).await;
    assert_eq!((number(&record, "due_at"), number(&record, "rev")), (Some(world.now().0), Some(2)));
    assert_eq!(number(&record, "restarted_at"), Some(world.now().0), "and not late");
    for gone in ["sent_at", "expires_at", "replay"] {
        assert!(!record.contains_key(gone), "{gone}");
    }
    assert_eq!(audit_trail(&world, EXTRACTED).await, [audit_entry(OperatorAction::DeclareLost)]);
    assert_eq!(
        declare_lost(&world, false).await,
        ReplayOutcome::Due { replay: 0 },
        "the same again is the same"
    );
    world.drain_outbox().await;
    world.run_worker().await;
    let published = world.drain_bus().await;
    assert_eq!((published.len(), &published[0].detail["replay"]), (1, &serde_json::Value::Null));
    world.advance(Duration::from_secs(1));
    assert_eq!(declare_lost(&world, true).await, ReplayOutcome::WrongState(EventState::Done));
}

#[tokio::test]
async fn p10_a_message_that_turns_up_after_all_has_no_second_effect() {
    // Before the relay has sent another message, and after the event is done.
    for is_early in [true, false] {
        let world = event_without_message().await;
        assert_eq!(
            declare_lost(&world, true).await,
            ReplayOutcome::Due { replay: 0 },
            "the queue was purged"
        );
        if is_early {
            world.resend_event(EXTRACTED).await;
            world.run_worker().await;
        }
        world.drain_outbox().await;
        world.run_worker().await;
        world.resend_event(EXTRACTED).await;
        world.run_worker().await;
        assert_eq!(world.drain_bus_ids().await, [EXTRACTED], "early: {is_early}");
        assert!(world.event_record(EXTRACTED).await.contains_key("done_at"));
    }
}

#[tokio::test]
async fn p3_what_a_worker_is_at_is_not_lost_until_its_claim_has_run_out() {
    let world = event_without_message().await;
    world.advance(DAY * 14);
    let key = EventKey::from_event_id(EXTRACTED).unwrap();
    let claim = world.stores().processing.claim_event(&key, world.now()).await.unwrap();
    assert!(matches!(claim, EventClaim::Acquired(_)), "{claim:?}");
    assert_eq!(declare_lost(&world, true).await, ReplayOutcome::WrongState(EventState::Claimed));
    world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
    assert_eq!(declare_lost(&world, false).await, ReplayOutcome::Due { replay: 0 }, "its worker has died");
    world.drain_outbox().await;
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, [EXTRACTED]);
}

#[tokio::test]
async fn p10_of_a_declaration_and_a_worker_that_claims_at_the_same_time_the_worker_wins() {
    // The worker has just claimed the event, or has done it.
    for is_done in [false, true] {
        let world = event_without_message().await;
        world.resend_event(EXTRACTED).await;
        let work = async move |world: World| {
            if is_done {
                world.run_worker().await;
            } else {
                let key = EventKey::from_event_id(EXTRACTED).unwrap();
                let claim = world.stores().processing.claim_event(&key, world.now()).await.unwrap();
                assert!(matches!(claim, EventClaim::Acquired(_)), "{claim:?}");
            }
        };
        let declare = async |world: World| declare_lost(&world, true).await;
        let is_update = |call: &AwsCall| call.operation == "TransactWriteItems";
        let ((), declared) = race_operators(&world, is_update, declare, work).await;
        assert_eq!(declared, ReplayOutcome::Conflict, "done: {is_done}");
        world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
        world.drain_outbox().await;
        world.run_worker().await;
        assert_eq!(world.drain_bus_ids().await, [EXTRACTED], "done: {is_done}");
    }
}

#[tokio::test]
async fn a_message_that_was_moved_back_lasts_from_then_on() {
    let world = event_without_message().await;
    world.advance(DAY * 13);
    let key = EventKey::from_event_id(EXTRACTED).unwrap();
    let moved_at = world.now();
    assert!(
        world
            .stores()
            .operator
            .append_audit_entry(&key, &test_operator().audit_entry(OperatorAction::Redrive, moved_at))
            .await
            .unwrap()
    );
    world.advance(DAY * 13);
    let found = world.stores().operator.list_lost_events(10, world.now()).await.unwrap().0;
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(
        declare_lost(&world, false).await,
        ReplayOutcome::MayStillBeQueued { until: moved_at.plus(DAY * 14) }
    );
    world.advance(DAY);
    let found = world.stores().operator.list_lost_events(10, world.now()).await.unwrap();
    assert_eq!(found.0.iter().map(|it| it.key.event_id()).collect::<Vec<_>>(), [EXTRACTED]);
    assert!(!found.1, "that was the whole table");
    assert_eq!(declare_lost(&world, false).await, ReplayOutcome::Due { replay: 0 });
    assert!(world.stores().operator.list_lost_events(10, world.now()).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn only_what_was_sent_and_never_done_is_lost() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.run_worker().await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world.inject_fault("SendMessage", local::connector::Fault::AccessDenied);
    world.deliver_fynapse(extract_body("e-2")).await;
    world.stack.connector.clear_fault_plan();
    world.advance(DAY * 15);
    let found = world.stores().operator.list_lost_events(10, world.now()).await.unwrap().0;
    assert_eq!(found.iter().map(|it| it.key.event_id()).collect::<Vec<_>>(), [COMPLETED]);
    let by = test_operator().audit_entry(OperatorAction::DeclareLost, world.now());
    let declare = async |id: &str| {
        let key = EventKey::from_event_id(id).unwrap();
        world.stores().operator.replay_lost(&key, true, &by).await.unwrap()
    };
    assert_eq!(
        declare("fynapse/event/e-2").await,
        ReplayOutcome::WrongState(EventState::Recorded),
        "the relay's"
    );
    assert_eq!(declare("fynapse/event/none").await, ReplayOutcome::NotFound);
}

#[tokio::test]
async fn what_an_operator_leaves_on_a_record_never_makes_it_expire_earlier() {
    let world = World::new().await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let key = EventKey::from_event_id(COMPLETED).unwrap();
    let mut record = world.event_record(COMPLETED).await;
    let days = |days: i64| {
        let at = world.now().secs().0 + days * 86_400;
        (at, aws_sdk_dynamodb::types::AttributeValue::N(at.to_string()))
    };
    // The inbox's retention is longer than the one that the operator's tool assumes.
    for (stands, expected) in [(400, 400), (29, 30)] {
        record.insert("expires_at".to_owned(), days(stands).1);
        world.put_item(record.clone()).await;
        let by = test_operator().audit_entry(OperatorAction::Redrive, world.now());
        assert!(world.stores().operator.append_audit_entry(&key, &by).await.unwrap());
        let left = world.event_record(COMPLETED).await;
        assert_eq!(number(&left, "expires_at"), Some(days(expected).0));
        assert_eq!(audit_trail(&world, COMPLETED).await, [audit_entry(OperatorAction::Redrive)]);
        // Another entry: the same one at the same time would be the same request.
        world.advance(Duration::from_secs(1));
    }
}
