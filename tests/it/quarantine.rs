//! Quarantine and replay: verified deliveries that could not be processed are listed, and replayed by an operator.

mod dead_letter_redrive;
mod lost_messages;
mod missing_payloads;
mod repeated_deliveries;
mod replay_fault_matrix;

use std::time::Duration;

use inbox_aws::items::QuarantinedItem;
use inbox_aws::quarantine_replay::QuarantineReplayOutcome;
use inbox_aws::stores::ReplayOutcome;
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::quarantine::{QuarantineId, QuarantineReason, Resolution};
use local::connector::{AwsCall, Fault};
use tests::interleave::SteppedProcess;
use tests::operator::test_operator;
use tests::{DAY, HOUR, Item, World, completion_body, extract_body, number, text};

const UNREADABLE: &str = r#"{"type":"A_THIRD_TYPE"}"#;
const COMPLETED: &str = "rightfoot/batch/b-1/completed";

/// A completion that an older version quarantined a day ago.
async fn quarantined_by_older_version() -> (World, QuarantineId) {
    let world = World::new().await;
    assert_eq!(world.deliver_rightfoot(UNREADABLE).await.status, 200);
    let id = world.quarantine_as_older_version(UNREADABLE, &completion_body("b-1", "u-1")).await;
    world.advance(DAY);
    world.stack.connector.clear_call_log();
    (world, id)
}

/// The quarantined item that has waited longest, of this reason or of all.
async fn oldest_open(world: &World, reason: Option<QuarantineReason>) -> QuarantinedItem {
    let (mut open, _) = world.stores().operator.list_quarantine(reason, None, 10).await.unwrap();
    open.remove(0)
}

/// An event that the relay quarantined after SQS had rejected it repeatedly.
async fn undeliverable_event() -> (World, QuarantineId) {
    let world = World::new().await;
    world
        .stack
        .connector
        .set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::InvalidMessage));
    assert_eq!(world.deliver_rightfoot(completion_body("b-1", "u-1")).await.status, 200);
    // SQS must reject it ten times (`RELAY_SQS_ERRORS_MAX`); the pauses exceed the relay's longest backoff.
    for _ in 0..10 {
        world.advance(Duration::from_secs(901));
        world.run_relay().await.unwrap().unwrap();
    }
    world.stack.connector.clear_fault_plan();
    world.stack.connector.clear_call_log();
    assert_eq!(world.quarantined().await[0].0, "queue_refused");
    let items = quarantine_items(&world).await;
    (world, QuarantineId::from_pk(text(&items[0], "pk")).unwrap())
}

async fn quarantine_items(world: &World) -> Vec<Item> {
    let items = world.items().await;
    items.into_iter().filter(|item| text(item, "pk").starts_with("quarantine#")).collect()
}

async fn replay(world: &World, id: &QuarantineId) -> QuarantineReplayOutcome {
    world.replayer().replay(id, &test_operator()).await.unwrap()
}

fn resolved(how: Resolution) -> QuarantineReplayOutcome {
    let key = EventKey::from_event_id(COMPLETED).unwrap();
    QuarantineReplayOutcome::Closed { resolution: how, key, is_reopened: false, enqueue_error: None }
}

/// Audit entries of an item, as (who, action, reason).
async fn audit_trail(world: &World, event_id: &str) -> Vec<(String, OperatorAction, String)> {
    let key = EventKey::from_event_id(event_id).unwrap();
    let event = world.stores().operator.event(&key).await.unwrap().unwrap();
    event.audit_entries.into_iter().map(|it| (it.operator, it.action, it.reason)).collect()
}

fn audit_entry(did: OperatorAction) -> (String, OperatorAction, String) {
    ("ada".to_owned(), did, "fixed in 1.4".to_owned())
}

#[tokio::test]
async fn p7_after_a_fix_a_kept_delivery_is_recorded_sent_and_closed() {
    let (world, id) = quarantined_by_older_version().await;
    let kept_at = world.now().0 - 86_400_000;
    assert_eq!(replay(&world, &id).await, resolved(Resolution::Recorded));

    let record = world.event_record(COMPLETED).await;
    assert_eq!((text(&record, "origin"), text(&record, "subject")), ("replay", "demo"));
    assert_eq!(number(&record, "received_at"), Some(kept_at), "when its bytes came");
    assert_eq!(number(&record, "enqueue_after"), Some(world.now().0), "and not late on the queue");
    assert_eq!(number(&record, "restarted_at"), Some(world.now().0), "nor past the worker's deadline");
    assert_eq!(audit_trail(&world, COMPLETED).await, [audit_entry(OperatorAction::Replay)]);
    let messages = world.drain_queue().await;
    assert_eq!(messages.len(), 1);
    assert!(
        messages[0].body.contains(r#""origin":"replay","data":{"event_uuid":"u-1""#),
        "{}",
        messages[0].body
    );

    let quarantined = world.stores().operator.quarantined_item(&id).await.unwrap().unwrap();
    assert_eq!(quarantined.resolution, Some((world.now(), Resolution::Recorded)));
    assert_eq!(quarantined.audit_entries.len(), 1);
    let items = quarantine_items(&world).await;
    assert!(
        !items[0].contains_key("due") && !items[0].contains_key("due_at"),
        "nothing is to be done with it"
    );
    assert!(items[0].contains_key("expires_at"));
    assert_eq!(replay(&world, &id).await, QuarantineReplayOutcome::AlreadyClosed(Resolution::Recorded));
    assert_eq!(
        world.deliver_rightfoot(completion_body("b-1", "u-2")).await.body,
        r#"{"status":"duplicate"}"#
    );
    world.drain_outbox().await;
    assert!(world.drain_queue().await.is_empty());
}

#[tokio::test]
async fn p7_a_delivery_whose_event_came_meanwhile_is_a_duplicate_and_closed() {
    let (world, id) = quarantined_by_older_version().await;
    world.deliver_rightfoot(completion_body("b-1", "u-2")).await;
    assert_eq!(replay(&world, &id).await, resolved(Resolution::Duplicate));
    assert_eq!(text(&world.event_record(COMPLETED).await, "origin"), "webhook");
    assert_eq!(audit_trail(&world, COMPLETED).await, [], "nothing was done to it");
    assert_eq!(world.drain_event_ids().await, [COMPLETED]);
}

#[tokio::test]
async fn p7_what_still_cannot_be_read_stays() {
    let world = World::new().await;
    world.deliver_rightfoot(UNREADABLE).await;
    world.deliver_fynapse("{").await;
    let before = world.items().await;
    let (open, next) = world.stores().operator.list_quarantine(None, None, 10).await.unwrap();
    assert_eq!((open.len(), next), (2, None));
    for item in open {
        let expected = QuarantineReplayOutcome::StillUnusable(item.reason);
        assert_eq!(replay(&world, &item.id).await, expected);
    }
    assert_eq!(world.items().await.len(), before.len());
    let nowhere = QuarantineId::from_name(&format!("fynapse/{}", "0".repeat(64))).unwrap();
    assert_eq!(replay(&world, &nowhere).await, QuarantineReplayOutcome::NotFound);
}

#[tokio::test]
async fn p4_a_quarantined_item_that_does_not_say_how_it_was_verified_is_not_replayed() {
    let (world, id) = quarantined_by_older_version().await;
    let mut item = quarantine_items(&world).await.remove(0);
    item.remove("subject");
    world.put_item(item).await;
    assert_eq!(replay(&world, &id).await, QuarantineReplayOutcome::Unverified);
    assert!(world.drain_queue().await.is_empty());
}

#[tokio::test]
async fn p7_an_open_item_is_due_for_an_operator_and_the_same_bytes_open_it_again() {
    let world = World::new().await;
    let first_at = world.now().0;
    world.deliver_fynapse("{").await;
    world.advance(Duration::from_secs(60));
    world.deliver_fynapse("{").await;
    let item = quarantine_items(&world).await.remove(0);
    assert!(text(&item, "due").starts_with("quarantine#"));
    assert_eq!((number(&item, "due_at"), number(&item, "deliveries")), (Some(first_at), Some(2)));
    assert_eq!(world.due_items().await, [], "neither relay nor poller has to do with it");

    let id = QuarantineId::from_pk(text(&item, "pk")).unwrap();
    let seen = world.stores().operator.quarantined_item(&id).await.unwrap().unwrap();
    let by = test_operator().audit_entry(OperatorAction::Replay, world.now());
    let close =
        async || world.stores().operator.close_quarantined(&seen, Resolution::Duplicate, &by).await.unwrap();
    assert_eq!(close().await, inbox_aws::stores::WriteOutcome::Applied);
    assert!(!quarantine_items(&world).await[0].contains_key("due"));
    world.deliver_fynapse("{").await;
    let again = quarantine_items(&world).await.remove(0);
    assert!(text(&again, "due").starts_with("quarantine#") && !again.contains_key("closed_at"));
    assert_eq!(number(&again, "due_at"), Some(first_at));
    assert_eq!(close().await, inbox_aws::stores::WriteOutcome::Conflict, "a delivery came that was not seen");
}

#[tokio::test]
async fn p7_a_stale_delivery_counts_if_an_operator_says_so() {
    let world = World::new().await;
    let body = extract_body("e-1");
    let signature = world.sign(&body);
    // Past the signature's tolerance of 300 s.
    world.advance(Duration::from_secs(301));
    assert_eq!(world.deliver_fynapse_with(&body, &signature, Some("key-1")).await.status, 403);
    let quarantined = oldest_open(&world, Some(QuarantineReason::Stale)).await;
    assert_eq!(quarantined.headers["idempotency-key"], "key-1");
    let outcome = replay(&world, &quarantined.id).await;
    assert!(
        matches!(outcome, QuarantineReplayOutcome::Closed { resolution: Resolution::Recorded, .. }),
        "{outcome:?}"
    );
    assert_eq!(text(&world.event_record("fynapse/event/e-1").await, "idempotency_key"), "key-1");
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1"]);
}

#[tokio::test]
async fn p7_somebody_elses_batch_stays_until_it_is_ours() {
    let world = World::new().await;
    let tracked = |subject: &str| -> Item {
        let fields = [("pk", "rightfoot#batch#b-1"), ("sk", "tracked"), ("subject", subject)];
        let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
        fields.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
    };
    world.put_item(tracked("other")).await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let quarantined = oldest_open(&world, None).await;
    assert_eq!(quarantined.reason, QuarantineReason::SubjectMismatch);
    assert_eq!(
        replay(&world, &quarantined.id).await,
        QuarantineReplayOutcome::StillUnusable(QuarantineReason::SubjectMismatch)
    );
    world.put_item(tracked("demo")).await;
    assert_eq!(replay(&world, &quarantined.id).await, resolved(Resolution::Recorded));
}

#[tokio::test]
async fn p7_a_quarantined_event_is_requeued_and_not_counted_as_a_replay() {
    let (world, id) = undeliverable_event().await;
    let parked = world.event_record(COMPLETED).await;
    let item = quarantine_items(&world).await.remove(0);
    assert!(number(&parked, "expires_at") > number(&item, "expires_at"), "it outlives what leads to it");
    assert_eq!(replay(&world, &id).await, resolved(Resolution::Requeued));
    let record = world.event_record(COMPLETED).await;
    assert_eq!((number(&record, "due_at"), number(&record, "rev")), (Some(world.now().0), Some(12)));
    assert_eq!((number(&record, "attempts"), number(&record, "undeliverable_count")), (Some(0), Some(0)));
    for gone in ["quarantined_at", "expires_at", "replay"] {
        assert!(!record.contains_key(gone), "{gone}");
    }
    assert_eq!(audit_trail(&world, COMPLETED).await, [audit_entry(OperatorAction::Requeue)]);
    world.drain_outbox().await;
    let messages = world.drain_queue().await;
    assert_eq!(messages.len(), 1);
    assert!(!messages[0].body.contains("replay"));
    assert_eq!(replay(&world, &id).await, QuarantineReplayOutcome::AlreadyClosed(Resolution::Requeued));
}

#[tokio::test]
async fn p7_an_item_whose_events_record_has_expired_says_so() {
    let (world, id) = undeliverable_event().await;
    world.expire_items("rightfoot#batch#").await;
    assert_eq!(
        replay(&world, &id).await,
        QuarantineReplayOutcome::EventExpired(EventKey::from_event_id(COMPLETED).unwrap())
    );
}

#[tokio::test]
async fn p3_a_done_event_is_replayed_on_purpose_and_counts() {
    let world = World::new().await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let key = EventKey::from_event_id(COMPLETED).unwrap();
    let again = async || {
        world
            .stores()
            .operator
            .replay_done(&key, &test_operator().audit_entry(OperatorAction::Replay, world.now()))
            .await
            .unwrap()
    };
    assert_eq!(again().await, ReplayOutcome::WrongState(EventState::Sent), "it is not done yet");
    for nth in 1..=2 {
        world.mark_done(COMPLETED).await;
        world.drain_queue().await;
        world.advance(HOUR);
        assert_eq!(again().await, ReplayOutcome::Due { replay: nth });
        let record = world.event_record(COMPLETED).await;
        assert_eq!(
            (number(&record, "enqueue_after"), number(&record, "requeues")),
            (Some(world.now().0), Some(0))
        );
        assert!(!record.contains_key("done_at") && !record.contains_key("expires_at"));
        world.drain_outbox().await;
        let messages = world.drain_queue().await;
        assert_eq!(messages.len(), 1);
        assert!(messages[0].body.contains(&format!(r#""replay":{nth},"data""#)), "{}", messages[0].body);
    }
    assert_eq!(
        audit_trail(&world, COMPLETED).await,
        [audit_entry(OperatorAction::Replay), audit_entry(OperatorAction::Replay)]
    );
    let unknown = EventKey::from_event_id("fynapse/event/none").unwrap();
    let by = test_operator().audit_entry(OperatorAction::Replay, world.now());
    assert_eq!(world.stores().operator.replay_done(&unknown, &by).await.unwrap(), ReplayOutcome::NotFound);
}

/// Holds one operator at a write while another one acts; returns the results of both.
async fn race_operators<T: Send + 'static, Slow, Quick: Future>(
    world: &World,
    is_write: fn(&AwsCall) -> bool,
    slow: impl FnOnce(World) -> Slow,
    quick: impl FnOnce(World) -> Quick,
) -> (Quick::Output, T)
where
    Slow: Future<Output = T> + Send + 'static,
{
    let mut slow = SteppedProcess::spawn(world, is_write, slow);
    slow.wait_for_step().await;
    let quick = quick(world.another_process()).await;
    (quick, slow.finish().await)
}

#[tokio::test]
async fn p3_of_two_operators_who_replay_the_same_event_one_is_applied() {
    let world = World::new().await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world.mark_done(COMPLETED).await;
    let key = EventKey::from_event_id(COMPLETED).unwrap();
    let act = move |world: World, by: &str| {
        let operator = Operator { name: by.to_owned(), reason: "w".to_owned() };
        let key = key.clone();
        async move {
            world
                .stores()
                .operator
                .replay_done(&key, &operator.audit_entry(OperatorAction::Replay, world.now()))
                .await
                .unwrap()
        }
    };
    let both = race_operators(
        &world,
        |call| call.operation == "TransactWriteItems",
        |world| act(world, "slow"),
        |world| act(world, "quick"),
    );
    assert_eq!(both.await, (ReplayOutcome::Due { replay: 1 }, ReplayOutcome::Conflict));
    assert_eq!(number(&world.event_record(COMPLETED).await, "replay"), Some(1));
}

#[tokio::test]
async fn p3_p7_of_two_operators_who_replay_the_same_item_one_is_applied() {
    let act = |id: &QuarantineId, name: &str| {
        let (id, operator) = (id.clone(), Operator { name: name.to_owned(), ..test_operator() });
        async move |world: World| world.replayer().replay(&id, &operator).await.unwrap()
    };
    // Before the event is recorded, and before the item is closed.
    for (at, expected) in [("PutItem", Resolution::Duplicate), ("SendMessage", Resolution::Recorded)] {
        let (world, id) = quarantined_by_older_version().await;
        let writes: fn(&AwsCall) -> bool = if at == "PutItem" {
            |call| call.operation == "PutItem"
        } else {
            |call| call.operation == "SendMessage"
        };
        let (quick, slow) = race_operators(&world, writes, act(&id, "ada"), act(&id, "bob")).await;
        let other =
            if expected == Resolution::Recorded { Resolution::Duplicate } else { Resolution::Recorded };
        assert_eq!((quick, slow), (resolved(other), resolved(expected)), "at {at}");
        world.drain_outbox().await;
        assert_eq!(world.drain_event_ids().await, [COMPLETED], "at {at}");
    }
    let (world, id) = undeliverable_event().await;
    let is_update = |call: &AwsCall| call.operation == "TransactWriteItems";
    let both = race_operators(&world, is_update, act(&id, "ada"), act(&id, "bob"));
    assert_eq!(both.await, (resolved(Resolution::Requeued), QuarantineReplayOutcome::Conflict));
    world.drain_outbox().await;
    assert_eq!(world.drain_event_ids().await, [COMPLETED]);
}

#[tokio::test]
async fn the_open_items_are_listed_in_the_order_in_which_they_came_page_by_page() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for n in 0..7 {
        // Two deliveries share each time, so that a page ends between equal keys.
        world.advance(Duration::from_secs(n % 2));
        world.deliver_rightfoot(format!(r#"{{"type":"NEW","n":{n}}}"#)).await;
        expected.push(world.now().0);
    }
    world.deliver_fynapse("{").await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = world
            .stores()
            .operator
            .list_quarantine(Some(QuarantineReason::UnknownType), after, 3)
            .await
            .unwrap();
        seen.extend(page.iter().map(|item| (item.first_received_at.0, item.id.clone())));
        let Some(next) = next else { break };
        assert_eq!(page.len(), 3);
        after = Some(next);
    }
    assert_eq!(seen.iter().map(|it| it.0).collect::<Vec<_>>(), expected);
    seen.dedup();
    assert_eq!(seen.len(), 7);
}
