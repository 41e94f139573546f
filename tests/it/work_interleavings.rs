//! Two workers, copies of a message, a relay and a crash, step by step, in every order (P10).
//!
//! A step is one AWS call that writes: what the worker reads it reads after its claim. At a Fynapse event it has three
//! (claim, publish, done), at a batch four (claim, store, publish, done), at an alert five (claim, claim the alert, publish,
//! mark the alert, done); the relay has four (read, claim, send, mark), the handler's mark is one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use local::connector::{AwsCall, Fault};
use serde_json::json;
use tests::orders::{Played, Process, in_every_order, play};
use tests::rightfoot::RightfootWorld;
use tests::{World, alerted, completed, completion, extract, number};

const EVENT: &str = "fynapse/event/e-1";
/// The worker's steps at a Fynapse event where it is alone.
const AT_EXTRACT: [&str; 3] = ["UpdateItem", "PutEvents", "UpdateItem"];
const AT_BATCH: [&str; 4] = ["UpdateItem", "BatchWriteItem", "PutEvents", "UpdateItem"];
const AT_ALERT: [&str; 5] = ["UpdateItem", "UpdateItem", "PutEvents", "UpdateItem", "UpdateItem"];
const RELAY: usize = 4;

fn waits(call: &AwsCall) -> bool {
    matches!(
        call.operation.as_str(),
        "UpdateItem" | "PutEvents" | "BatchWriteItem" | "BatchGetItem" | "SendMessageBatch" | "SendMessage"
    )
}

/// Messages that come again, because a worker has not acknowledged them.
#[derive(Clone, Default)]
struct Hidden(Arc<Mutex<Vec<String>>>);

impl Hidden {
    /// A worker that is given one message. Until it has acknowledged it, the message is only hidden.
    fn worker(&self, world: &World, event_id: &str) -> Process {
        let (hidden, id) = (self.clone(), event_id.to_owned());
        hidden.0.lock().unwrap().push(id.clone());
        Process::of(world, waits, async move |world| {
            let mut message = SqsMessage::default();
            message.message_id = Some("m".to_owned());
            message.body = Some(tests::worker::message(&id));
            let mut event = SqsEvent::default();
            event.records = vec![message];
            if world.system.worker.handle(event).await.batch_item_failures.is_empty() {
                let mut hidden = hidden.0.lock().unwrap();
                let at = hidden.iter().position(|it| *it == id).unwrap();
                hidden.remove(at);
            }
        })
    }

    /// Time passes until every claim has run out; what was hidden is seen again; and all comes to its end.
    async fn settle(&self, world: &World) {
        world.pass(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
        let hidden = std::mem::take(&mut *self.0.lock().unwrap());
        for id in hidden {
            world.send_again(&id).await;
        }
        for _ in 0..4 {
            world.work().await;
            world.pass(Duration::from_secs(200));
            world.relay().await.unwrap().unwrap();
        }
        world.work().await;
    }
}

fn relay(world: &World) -> Process {
    Process::of(world, waits, async |world| drop(world.relay().await))
}

/// The event is done and nothing is due; it was told as often as this allows.
async fn judge(world: &World, event_ids: &[&str], told: &[&str], allowed: usize, played: &Played) {
    let Played { order, steps } = played;
    for event_id in event_ids {
        let record = world.record(event_id).await;
        assert!(number(&record, "done_at").is_some(), "{order:?} {steps:?}: {event_id} is not done");
        assert!(!record.contains_key("due") && !record.contains_key("claim_by"), "{order:?} {steps:?}");
    }
    let mut ids = world.told().await;
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids, told, "{order:?} {steps:?}");
    assert!(count <= told.len() + allowed, "P10 in {order:?} {steps:?}: {count} told");
}

/// An event that is on the queue, and whose handler died before its mark: the relay will send a copy.
async fn unmarked() -> World {
    let world = World::new().await;
    world.system.connector.set_fault_plan(|call| (call.operation == "UpdateItem").then_some(Fault::CrashBefore));
    world.fynapse(extract("e-1")).await;
    world.system.connector.clear_fault_plan();
    assert_eq!(world.drain_ids().await, [EVENT], "in the hands of the workers");
    world.pass(Duration::from_secs(31));
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_two_workers_and_a_relays_copy_have_one_effect_in_every_order() {
    let all = in_every_order(|order| async move {
        let (world, hidden) = (unmarked().await, Hidden::default());
        let processes = vec![hidden.worker(&world, EVENT), hidden.worker(&world, EVENT), relay(&world)];
        let played = play(processes, &order).await;
        hidden.settle(&world).await;
        judge(&world, &[EVENT], &[EVENT], 0, &played).await;
        played
    })
    .await;
    assert!(all.iter().any(|played| played.steps[2].len() == RELAY));
    assert!(
        all.iter().all(
            |played| played.steps[0].as_slice() == AT_EXTRACT || played.steps[1].as_slice() == AT_EXTRACT
        )
    );
    // Whoever claims second has one step. The relay has its four, or less where the event is done before it claims.
    assert!(all.len() > 250, "{}", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_worker_that_dies_at_any_step_beside_another_and_a_relay_repeats_only_what_may_have_been_told()
{
    for lives in 0..=AT_EXTRACT.len() {
        let all = in_every_order(move |order| async move {
            let (world, hidden) = (unmarked().await, Hidden::default());
            let dying = hidden.worker(&world, EVENT).that_dies_after(lives);
            let played = play(vec![dying, hidden.worker(&world, EVENT), relay(&world)], &order).await;
            hidden.settle(&world).await;
            // Dead between publishing and done: the one place where it cannot be known.
            let unknown = played.steps[0] == AT_EXTRACT[..2];
            judge(&world, &[EVENT], &[EVENT], usize::from(unknown), &played).await;
            played
        })
        .await;
        assert!(!all.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_the_handlers_late_mark_and_two_workers_in_every_order() {
    let all = in_every_order(|order| async move {
        let (world, hidden) = (World::new().await, Hidden::default());
        // Put, and sent: its mark is what is left of the handler.
        let mut handler = Process::of(&world, waits, async |world| drop(world.fynapse(extract("e-1")).await));
        assert!(handler.step().await);
        assert_eq!(world.drain_ids().await, [EVENT]);
        let played =
            play(vec![handler, hidden.worker(&world, EVENT), hidden.worker(&world, EVENT)], &order).await;
        hidden.settle(&world).await;
        judge(&world, &[EVENT], &[EVENT], 0, &played).await;
        played
    })
    .await;
    assert!(all.len() > 20, "{}", all.len());
}

/// The bus takes nothing: the worker puts the event back, whatever the handler's mark says afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_the_handlers_late_mark_does_not_hide_an_event_that_was_put_back() {
    let all = in_every_order(|order| async move {
        let (world, hidden) = (World::new().await, Hidden::default());
        let mut handler = Process::of(&world, waits, async |world| drop(world.fynapse(extract("e-1")).await));
        assert!(handler.step().await);
        assert_eq!(world.drain_ids().await, [EVENT]);
        let id = EVENT.to_owned();
        let worker = Process::of(&world, waits, async move |world| {
            world.system.connector.set_fault_plan(|call| (call.operation == "PutEvents").then_some(Fault::AccessDenied));
            world.send_again(&id).await;
            assert_eq!(world.work_once().await.deleted, 1);
        });
        let played = play(vec![handler, worker], &order).await;
        let record = world.record(EVENT).await;
        assert!(record.contains_key("due") && !record.contains_key("expires_at"), "{order:?}: hidden");
        hidden.settle(&world).await;
        judge(&world, &[EVENT], &[EVENT], 0, &played).await;
        played
    })
    .await;
    assert!(all.len() >= 4, "{}", all.len());
}

/// A worker that was slower than its claim, and another one that has claimed the event since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_worker_whose_claim_was_lost_undoes_nothing_of_the_other() {
    for before in 1..AT_EXTRACT.len() {
        let all = in_every_order(move |order| async move {
            let (world, hidden) = (unmarked().await, Hidden::default());
            let mut slow = hidden.worker(&world, EVENT);
            for _ in 0..before {
                assert!(slow.step().await);
            }
            world.pass(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
            let played = play(vec![slow, hidden.worker(&world, EVENT)], &order).await;
            hidden.settle(&world).await;
            // Both may have told it, under the same id.
            judge(&world, &[EVENT], &[EVENT], 1, &played).await;
            played
        })
        .await;
        assert!(!all.is_empty());
    }
}

/// A completed batch that is tracked, with its completion in the hands of the workers.
async fn untold_batch() -> RightfootWorld {
    let it = RightfootWorld::new().await;
    it.rightfoot.add_completed_batch("b-1", &[("a".to_owned(), "150.00".to_owned()), ("b".to_owned(), "5".to_owned())]);
    it.ask(json!({"action": "track_batch", "batch_id": "b-1", "expected": 2, "subject": "demo"})).await;
    it.world.rightfoot(completion("b-1", "u-0")).await;
    it.world.drain().await;
    it
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_two_workers_at_a_batch_one_of_which_may_die_store_and_tell_it_once() {
    for lives in (0..=AT_BATCH.len()).chain([usize::MAX]) {
        let all = in_every_order(move |order| async move {
            let (it, hidden, id) = (untold_batch().await, Hidden::default(), completed("b-1"));
            let one = hidden.worker(&it.world, &id).that_dies_after(lives);
            let played = play(vec![one, hidden.worker(&it.world, &id)], &order).await;
            hidden.settle(&it.world).await;
            let unknown = lives != usize::MAX && played.steps[0] == AT_BATCH[..3];
            judge(&it.world, &[&id], &[&id], usize::from(unknown), &played).await;
            assert_eq!(it.world.balances().await.len(), 2);
            played
        })
        .await;
        assert!(!all.is_empty());
    }
}

/// Two events that tell of the same authorizer in the same batch, with a worker for each, one of which may die.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_p10_two_events_of_the_same_alert_have_one_effect_in_every_order() {
    const MET: &str = "rightfoot/batch/b-1/threshold-met/user-123";
    for lives in (2..AT_ALERT.len()).chain([usize::MAX]) {
        let all = in_every_order(move |order| async move {
            let hidden = Hidden::default();
            let it = RightfootWorld::known_run("b-1", &[("user-123", "150.00")]).await;
            let ids = ["u-1", "u-2"].map(|event| alerted("b-1", event));
            for event in ["u-1", "u-2"] {
                it.world.rightfoot(tests::alert("b-1", event)).await;
            }
            it.world.drain().await;
            let one = hidden.worker(&it.world, &ids[0]).that_dies_after(lives);
            let played = play(vec![one, hidden.worker(&it.world, &ids[1])], &order).await;
            hidden.settle(&it.world).await;
            // Dead between publishing and marking the alert.
            let unknown = lives != usize::MAX && played.steps[0] == AT_ALERT[..3];
            judge(&it.world, &[&ids[0], &ids[1]], &[MET], usize::from(unknown), &played).await;
            played
        })
        .await;
        assert!(!all.is_empty());
        if lives == usize::MAX {
            assert!(all.len() > 60, "{}", all.len());
        }
    }
}
