//! Two workers, copies of a message, a relay and a crash, in every interleaving of their steps (P10).
//!
//! A step is one AWS call that writes; the worker's reads come after its claim. It has three steps at a Fynapse event
//! (claim, publish, done), four at a batch (claim, store, publish, done), five at an alert (claim, claim the alert,
//! publish, mark the alert, done). The relay has four (read, claim, send, mark); the handler's mark is one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use local::connector::{AwsCall, Fault};
use serde_json::json;
use tests::interleave::{Interleaving, SteppedProcess, explore_interleavings, run_in_order};
use tests::rightfoot_world::RightfootWorld;
use tests::{World, alert_event_id, completion_body, completion_event_id, extract_body, number};

const EVENT: &str = "fynapse/event/e-1";
/// The worker's steps at a Fynapse event, if nothing else runs.
const EXTRACT_STEPS: [&str; 3] = ["UpdateItem", "PutEvents", "UpdateItem"];
const BATCH_STEPS: [&str; 4] = ["UpdateItem", "BatchWriteItem", "PutEvents", "UpdateItem"];
const ALERT_STEPS: [&str; 5] = ["UpdateItem", "UpdateItem", "PutEvents", "UpdateItem", "UpdateItem"];
const RELAY_STEPS: usize = 4;

fn is_step(call: &AwsCall) -> bool {
    matches!(
        call.operation.as_str(),
        "UpdateItem" | "PutEvents" | "BatchWriteItem" | "BatchGetItem" | "SendMessageBatch" | "SendMessage"
    )
}

/// Messages that a worker has not acknowledged, and that become visible again.
#[derive(Clone, Default)]
struct UnacknowledgedMessages(Arc<Mutex<Vec<String>>>);

impl UnacknowledgedMessages {
    /// A worker with one message, which stays hidden until it is acknowledged.
    fn worker(&self, world: &World, event_id: &str) -> SteppedProcess {
        let (hidden, id) = (self.clone(), event_id.to_owned());
        hidden.0.lock().unwrap().push(id.clone());
        SteppedProcess::spawn(world, is_step, async move |world| {
            let mut message = SqsMessage::default();
            message.message_id = Some("m".to_owned());
            message.body = Some(tests::worker_effects::event_message(&id));
            let mut event = SqsEvent::default();
            event.records = vec![message];
            if world.stack.worker.handle(event).await.batch_item_failures.is_empty() {
                let mut hidden = hidden.0.lock().unwrap();
                let at = hidden.iter().position(|it| *it == id).unwrap();
                hidden.remove(at);
            }
        })
    }

    /// Advances the clock until every claim has expired, makes hidden messages visible again, and runs relay and
    /// worker to the end.
    async fn expire_claims_and_finish(&self, world: &World) {
        world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
        let hidden = std::mem::take(&mut *self.0.lock().unwrap());
        for id in hidden {
            world.resend_event(&id).await;
        }
        for _ in 0..4 {
            world.run_worker().await;
            world.advance(Duration::from_secs(200));
            world.run_relay().await.unwrap().unwrap();
        }
        world.run_worker().await;
    }
}

fn relay(world: &World) -> SteppedProcess {
    SteppedProcess::spawn(world, is_step, async |world| drop(world.run_relay().await))
}

/// Checks that the events are done, that nothing is due, and that repeats on the bus are within `allowed` (P10).
async fn assert_effects(
    world: &World,
    event_ids: &[&str],
    expected: &[&str],
    allowed: usize,
    interleaving: &Interleaving,
) {
    let Interleaving { order, steps, .. } = interleaving;
    for event_id in event_ids {
        let record = world.event_record(event_id).await;
        assert!(number(&record, "done_at").is_some(), "{order:?} {steps:?}: {event_id} is not done");
        assert!(!record.contains_key("due") && !record.contains_key("claim_by"), "{order:?} {steps:?}");
    }
    let mut ids = world.drain_bus_ids().await;
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids, expected, "{order:?} {steps:?}");
    assert!(count <= expected.len() + allowed, "P10 in {order:?} {steps:?}: published {count} times");
}

/// An event on the queue whose handler died before its mark, so that the relay will send a copy.
async fn sent_but_unmarked() -> World {
    let world = World::new().await;
    world.inject_fault("UpdateItem", Fault::CrashBefore);
    world.deliver_fynapse(extract_body("e-1")).await;
    world.stack.connector.clear_fault_plan();
    assert_eq!(world.drain_event_ids().await, [EVENT], "in the hands of the workers");
    // Past `RELAY_AGE_MS`: the record is due for the relay.
    world.advance(Duration::from_secs(31));
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_two_workers_and_a_relays_copy_have_one_effect_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (world, hidden) = (sent_but_unmarked().await, UnacknowledgedMessages::default());
        let processes = vec![hidden.worker(&world, EVENT), hidden.worker(&world, EVENT), relay(&world)];
        let interleaving = run_in_order(processes, &order).await;
        hidden.expire_claims_and_finish(&world).await;
        assert_effects(&world, &[EVENT], &[EVENT], 0, &interleaving).await;
        interleaving
    })
    .await;
    assert!(all.iter().any(|interleaving| interleaving.steps[2].len() == RELAY_STEPS));
    assert!(all.iter().all(|interleaving| interleaving.steps[0].as_slice() == EXTRACT_STEPS
        || interleaving.steps[1].as_slice() == EXTRACT_STEPS));
    // The second claimer has one step. The relay has four, or fewer if the event is done before its claim.
    assert!(all.len() > 250, "{}", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_worker_that_dies_at_any_step_beside_another_and_a_relay_repeats_only_what_may_be_published() {
    for lives in 0..=EXTRACT_STEPS.len() {
        let all = explore_interleavings(move |order| async move {
            let (world, hidden) = (sent_but_unmarked().await, UnacknowledgedMessages::default());
            let dying = hidden.worker(&world, EVENT).crash_after(lives);
            let interleaving =
                run_in_order(vec![dying, hidden.worker(&world, EVENT), relay(&world)], &order).await;
            hidden.expire_claims_and_finish(&world).await;
            // Between publish and done is the only point at which the next worker cannot know.
            let unknown = interleaving.steps[0] == EXTRACT_STEPS[..2];
            assert_effects(&world, &[EVENT], &[EVENT], usize::from(unknown), &interleaving).await;
            interleaving
        })
        .await;
        assert!(!all.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_the_handlers_late_mark_and_two_workers_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (world, hidden) = (World::new().await, UnacknowledgedMessages::default());
        // Put and sent: only the handler's mark is left.
        let mut handler = SteppedProcess::spawn(&world, is_step, async |world| {
            drop(world.deliver_fynapse(extract_body("e-1")).await)
        });
        assert!(handler.step().await);
        assert_eq!(world.drain_event_ids().await, [EVENT]);
        let interleaving =
            run_in_order(vec![handler, hidden.worker(&world, EVENT), hidden.worker(&world, EVENT)], &order)
                .await;
        hidden.expire_claims_and_finish(&world).await;
        assert_effects(&world, &[EVENT], &[EVENT], 0, &interleaving).await;
        interleaving
    })
    .await;
    assert!(all.len() > 20, "{}", all.len());
}

/// The bus rejects everything: the worker requeues the event, whatever the handler's late mark does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_the_handlers_late_mark_does_not_hide_a_requeued_event() {
    let all = explore_interleavings(|order| async move {
        let (world, hidden) = (World::new().await, UnacknowledgedMessages::default());
        let mut handler = SteppedProcess::spawn(&world, is_step, async |world| {
            drop(world.deliver_fynapse(extract_body("e-1")).await)
        });
        assert!(handler.step().await);
        assert_eq!(world.drain_event_ids().await, [EVENT]);
        let id = EVENT.to_owned();
        let worker = SteppedProcess::spawn(&world, is_step, async move |world| {
            world.inject_fault("PutEvents", Fault::AccessDenied);
            world.resend_event(&id).await;
            assert_eq!(world.run_worker_once().await.deleted, 1);
        });
        let interleaving = run_in_order(vec![handler, worker], &order).await;
        let record = world.event_record(EVENT).await;
        assert!(record.contains_key("due") && !record.contains_key("expires_at"), "{order:?}: hidden");
        hidden.expire_claims_and_finish(&world).await;
        assert_effects(&world, &[EVENT], &[EVENT], 0, &interleaving).await;
        interleaving
    })
    .await;
    assert!(all.len() >= 4, "{}", all.len());
}

/// A worker that was slower than its claim, and another one that has claimed the event since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_worker_whose_claim_was_lost_undoes_nothing_of_the_other() {
    for before in 1..EXTRACT_STEPS.len() {
        let all = explore_interleavings(move |order| async move {
            let (world, hidden) = (sent_but_unmarked().await, UnacknowledgedMessages::default());
            let mut slow = hidden.worker(&world, EVENT);
            for _ in 0..before {
                assert!(slow.step().await);
            }
            world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
            let interleaving = run_in_order(vec![slow, hidden.worker(&world, EVENT)], &order).await;
            hidden.expire_claims_and_finish(&world).await;
            // Both may have published it, under the same id.
            assert_effects(&world, &[EVENT], &[EVENT], 1, &interleaving).await;
            interleaving
        })
        .await;
        assert!(!all.is_empty());
    }
}

/// A complete, tracked batch whose completion the workers have received.
async fn unpublished_batch() -> RightfootWorld {
    let it = RightfootWorld::new().await;
    it.rightfoot.add_completed_batch(
        "b-1",
        &[("a".to_owned(), "150.00".to_owned()), ("b".to_owned(), "5".to_owned())],
    );
    it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 2, "subject": "demo"})).await;
    it.world.deliver_rightfoot(completion_body("b-1", "u-0")).await;
    it.world.drain_queue().await;
    it
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_two_workers_at_a_batch_one_of_which_may_die_store_and_publish_it_once() {
    for lives in (0..=BATCH_STEPS.len()).chain([usize::MAX]) {
        let all = explore_interleavings(move |order| async move {
            let (it, hidden, id) =
                (unpublished_batch().await, UnacknowledgedMessages::default(), completion_event_id("b-1"));
            let one = hidden.worker(&it.world, &id).crash_after(lives);
            let interleaving = run_in_order(vec![one, hidden.worker(&it.world, &id)], &order).await;
            hidden.expire_claims_and_finish(&it.world).await;
            let unknown = lives != usize::MAX && interleaving.steps[0] == BATCH_STEPS[..3];
            assert_effects(&it.world, &[&id], &[&id], usize::from(unknown), &interleaving).await;
            assert_eq!(it.world.stored_balances().await.len(), 2);
            interleaving
        })
        .await;
        assert!(!all.is_empty());
    }
}

/// Two events that name the same authorizer in the same batch, with a worker for each, one of which may die.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_p10_two_events_of_the_same_alert_have_one_effect_in_every_order() {
    const MET: &str = "rightfoot/batch/b-1/threshold-met/user-123";
    for lives in (2..ALERT_STEPS.len()).chain([usize::MAX]) {
        let all = explore_interleavings(move |order| async move {
            let hidden = UnacknowledgedMessages::default();
            let it = RightfootWorld::with_run("b-1", &[("user-123", "150.00")]).await;
            let ids = ["u-1", "u-2"].map(|event| alert_event_id("b-1", event));
            for event in ["u-1", "u-2"] {
                it.world.deliver_rightfoot(tests::alert_body("b-1", event)).await;
            }
            it.world.drain_queue().await;
            let one = hidden.worker(&it.world, &ids[0]).crash_after(lives);
            let interleaving = run_in_order(vec![one, hidden.worker(&it.world, &ids[1])], &order).await;
            hidden.expire_claims_and_finish(&it.world).await;
            // The crash came between publishing and marking the alert.
            let unknown = lives != usize::MAX && interleaving.steps[0] == ALERT_STEPS[..3];
            assert_effects(&it.world, &[&ids[0], &ids[1]], &[MET], usize::from(unknown), &interleaving).await;
            interleaving
        })
        .await;
        assert!(!all.is_empty());
        if lives == usize::MAX {
            assert!(all.len() > 60, "{}", all.len());
        }
    }
}
