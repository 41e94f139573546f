//! A slow handler and relays at one record, in every interleaving of their steps; and each of them dying.
//!
//! A step is one AWS call. The handler has three (put, send, mark), the relay four (read, claim, send, mark). Its
//! query of the index is no step: a lagging index is why it reads the record consistently.

use std::time::Duration;

use local::connector::AwsCall;
use tests::interleave::{SteppedProcess, explore_interleavings, run_in_order};
use tests::{World, extract_body};

const EVENT: &str = "fynapse/event/e-1";
const HANDLER_STEPS: usize = 3;
const RELAY_STEPS: [&str; 4] = ["BatchGetItem", "UpdateItem", "SendMessageBatch", "UpdateItem"];

fn is_step(call: &AwsCall) -> bool {
    call.operation != "Query" && call.operation != "GetSecretValue"
}

fn relay(world: &World) -> SteppedProcess {
    SteppedProcess::spawn(world, is_step, async |world| drop(world.run_relay().await))
}

/// A handler that has taken so many steps, at least its put, and is so slow that its record is due for the relay.
async fn slow_handler(steps: usize) -> (World, SteppedProcess) {
    let world = World::new().await;
    let mut handler = SteppedProcess::spawn(&world, is_step, async |world| {
        drop(world.deliver_fynapse(extract_body("e-1")).await)
    });
    for _ in 0..steps {
        assert!(handler.step().await);
    }
    // Past `RELAY_AGE_MS`: the record is due for the relay.
    world.advance(Duration::from_secs(31));
    (world, handler)
}

/// A record whose handler died before its send.
async fn unsent_event() -> World {
    let (world, handler) = slow_handler(1).await;
    handler.kill().await;
    world
}

/// Lets the relay send what is left, and checks the number of messages (P3).
async fn assert_at_most(world: &World, most: usize, order: &[usize]) {
    world.drain_outbox().await;
    let messages = world.drain_event_ids().await;
    assert!(!messages.is_empty(), "P2: lost in {order:?}");
    assert!(messages.iter().all(|id| id == EVENT), "P4 in {order:?}: {messages:?}");
    assert!(messages.len() <= most, "P3: {} messages in {order:?}", messages.len());
}

/// The handler is so slow that the relay considers its record abandoned. The relay's claim makes the handler's mark
/// late: at most one repeat, and the late mark neither hides the record nor undoes the claim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_a_slow_handler_and_the_relay_in_every_order() {
    const HANDLER: usize = 0;
    const RELAY: usize = 1;
    let all = explore_interleavings(|order| async move {
        let (world, handler) = slow_handler(1).await;
        let interleaving = run_in_order(vec![handler, relay(&world)], &order).await;
        // The handler's second step here is its mark, the relay's its claim, if it finds the record unmarked.
        let mark = interleaving.position_of(HANDLER, 1).unwrap();
        let claimed_before_mark = interleaving.position_of(RELAY, 1).is_some_and(|claim| claim < mark);
        assert_at_most(&world, if claimed_before_mark { 2 } else { 1 }, &interleaving.order).await;
        interleaving
    })
    .await;
    assert_eq!(all.len(), 15);
    assert!(all.iter().any(|interleaving| interleaving.steps[RELAY] == RELAY_STEPS));
}

/// The handler dies after each of its calls, while the relay is running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_a_dying_handler_and_the_relay_in_every_order() {
    let mut counts = Vec::new();
    for lived in 1..=HANDLER_STEPS {
        let all = explore_interleavings(move |order| async move {
            let (world, handler) = slow_handler(1).await;
            let processes = vec![handler.crash_after(lived), relay(&world)];
            let interleaving = run_in_order(processes, &order).await;
            assert_at_most(&world, if lived == 1 { 1 } else { 2 }, &interleaving.order).await;
            interleaving
        })
        .await;
        counts.push(all.len());
    }
    assert_eq!(counts, [1, 5, 15]);
}

/// Two overlapping runs of the relay: one of them claims, and nothing is sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_two_overlapping_relays_send_once_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let world = unsent_event().await;
        let interleaving = run_in_order(vec![relay(&world), relay(&world)], &order).await;
        assert_at_most(&world, 1, &interleaving.order).await;
        interleaving
    })
    .await;
    assert_eq!(all.len(), 18);
}

/// A handler's late mark and two relays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_a_late_mark_and_two_relays_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (world, handler) = slow_handler(2).await;
        let interleaving = run_in_order(vec![handler, relay(&world), relay(&world)], &order).await;
        assert_at_most(&world, 2, &interleaving.order).await;
        interleaving
    })
    .await;
    assert_eq!(all.len(), 82);
}

/// A relay dies after each of its calls; another run follows.
#[tokio::test]
async fn p2_p3_a_dying_relay_loses_nothing_and_repeats_only_what_it_may_have_sent() {
    for lived in 0..=RELAY_STEPS.len() {
        let world = unsent_event().await;
        let mut relay = relay(&world);
        for _ in 0..lived {
            assert!(relay.step().await);
        }
        relay.kill().await;
        // Between send and mark is the only point at which the next run cannot know that the event was sent.
        assert_at_most(&world, if lived == 3 { 2 } else { 1 }, &[lived]).await;
    }
}
