//! The poller beside a webhook and beside another poller, in every interleaving of their steps; and a poller that
//! dies after each step.
//!
//! A step is one AWS call. A webhook has four (read the batch's owner, put, send, mark; a duplicate has three: read,
//! put, count), the poller six at a batch (read two items, defer, put, send, mark, settle), nine at a run's alerts, five
//! at a schedule. Its queries of the index are no steps: a lagging index is why it reads the item consistently. Nor is
//! the request to Rightfoot, which reads nothing that another process writes: a step between the deferral and the put
//! happens during that request.

use inbox_core::id::Id;
use inbox_core::limits::INDEX_SHARDS;
use local::connector::AwsCall;
use local::rightfoot_simulator::WebhookLoss;
use tests::interleave::{SteppedProcess, explore_interleavings, run_in_order};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{
    HOUR, Item, MINUTE, SUBJECT, World, alert_body, alert_event_id, completion_body, completion_event_id,
    number, polled_alerts_event_id, text,
};

/// The authorizer in [`alert_body`].
const USER: &str = "user-123";
/// The poller's steps at an unannounced batch, if nothing else runs.
const BATCH_STEPS: [&str; 6] =
    ["BatchGetItem", "UpdateItem", "PutItem", "SendMessage", "UpdateItem", "UpdateItem"];
/// The poller's steps at a run whose alerts are unannounced.
const ALERT_STEPS: [&str; 9] = [
    "BatchGetItem",
    "GetItem",
    "UpdateItem",
    "Query",
    "Query",
    "PutItem",
    "SendMessage",
    "UpdateItem",
    "UpdateItem",
];
/// The poller's steps at a schedule with an undiscovered run.
const SCHEDULE_STEPS: [&str; 4] = ["GetItem", "UpdateItem", "BatchGetItem", "TransactWriteItems"];
/// The step after which a crash leaves a message on the queue that is not marked as sent.
const SEND: &str = "SendMessage";

/// Calls at which the poller stops. The first queries of a run are those of the index.
fn is_step(call: &AwsCall) -> bool {
    match call.operation.as_str() {
        "GetSecretValue" => false,
        "Query" => call.index >= usize::from(INDEX_SHARDS),
        _ => true,
    }
}

fn poller(world: &World) -> SteppedProcess {
    SteppedProcess::spawn(world, is_step, async |world| drop(world.run_poller().await))
}

/// Delivers a webhook, which must be accepted in every interleaving.
fn webhook(world: &World, body: String) -> SteppedProcess {
    SteppedProcess::spawn(world, is_step, async move |world| {
        assert_eq!(world.deliver_rightfoot(body).await.status, 200)
    })
}

/// A complete, due batch without a webhook.
async fn unannounced_batch() -> (RightfootWorld, String) {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let batch = it.submit_batch(SUBJECT, &["a", "b"]).await["batch_id"].as_str().unwrap().to_owned();
    it.advance(MINUTE * 10).await;
    it.rightfoot.clear_requests();
    (it, batch)
}

/// A schedule whose first run has not been found yet.
async fn undiscovered_run() -> (RightfootWorld, String) {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR;
        rightfoot.balances.insert(USER.to_owned(), "150.00".to_owned());
    })
    .await;
    it.request(daily_schedule_request(SUBJECT, &[USER])).await;
    it.advance(MINUTE * 70).await;
    it.rightfoot.clear_requests();
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    (it, run)
}

/// A run whose completion is recorded, whose grace period is over, and whose alert has no webhook.
async fn unannounced_alert() -> (RightfootWorld, String) {
    let (it, run) = undiscovered_run().await;
    assert_eq!(it.world.deliver_rightfoot(completion_body(&run, "u-0")).await.status, 200);
    assert_eq!(it.run_poller().await.unwrap()["runs_found"], 1);
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)]);
    it.advance(MINUTE * 20).await;
    it.rightfoot.clear_requests();
    (it, run)
}

/// Sort keys of a batch's items, except for the tracked item, which must have ended.
async fn settled_sort_keys(world: &World, batch: &str, order: &[usize]) -> Vec<String> {
    let pk = format!("rightfoot#batch#{batch}");
    let mut items: Vec<Item> =
        world.items().await.into_iter().filter(|item| text(item, "pk") == pk).collect();
    items.sort_by_key(|item| text(item, "sk").to_owned());
    let tracked = items.pop().unwrap();
    assert_eq!(text(&tracked, "sk"), "tracked");
    assert!(tracked.contains_key("done_at") && tracked.contains_key("expires_at"), "{order:?}: {tracked:?}");
    let due: Vec<_> = items.iter().chain([&tracked]).filter(|item| item.contains_key("due")).collect();
    assert!(due.is_empty(), "{order:?}: still due: {due:?}");
    // The key of an alert that the poller found contains a hash of its authorizers.
    let place = |item: &Item| match text(item, "sk").split_once("poll-") {
        Some((before, _)) => format!("{before}poll-…"),
        None => text(item, "sk").to_owned(),
    };
    items.iter().map(place).collect()
}

/// Checks that there is one completion record and one message; returns the record's origin.
async fn assert_completed_once(it: &RightfootWorld, batch: &str, order: &[usize]) -> String {
    assert_eq!(settled_sort_keys(&it.world, batch, order).await, ["completed"], "P5: {order:?}");
    let record = it.world.item(&format!("rightfoot#batch#{batch}"), "completed").await.unwrap();
    let origin = text(&record, "origin").to_owned();
    assert_eq!(
        it.world.drain_ids_and_origins().await,
        [(completion_event_id(batch), origin.clone())],
        "P3: {order:?}"
    );
    origin
}

const WEBHOOK: usize = 0;
const POLLER: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_a_webhook_and_the_poller_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (it, batch) = unannounced_batch().await;
        let webhook = webhook(&it.world, completion_body(&batch, "u-1"));
        let interleaving = run_in_order(vec![webhook, poller(&it.world)], &order).await;
        let origin = assert_completed_once(&it, &batch, &interleaving.order).await;
        // The poller's first step reads the batch's items, its third is the put; the webhook's second is the put.
        let recorded_before = interleaving.is_before((WEBHOOK, 1), (POLLER, 0));
        let by_webhook = recorded_before || interleaving.is_before((WEBHOOK, 1), (POLLER, 2));
        assert_eq!(origin, if by_webhook { "webhook" } else { "poll" }, "{:?}", interleaving.order);
        assert_eq!(it.rightfoot.requests().len(), usize::from(!recorded_before), "{:?}", interleaving.order);
        interleaving
    })
    .await;
    // By when the webhook's record was written: before the poller's read 6, during its request 60, after its own put
    // 50. The poller reads an existing record once more.
    assert_eq!(all.len(), 116);
    assert!(all.iter().any(|interleaving| interleaving.steps[POLLER] == BATCH_STEPS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_two_overlapping_pollers_ask_once_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (it, batch) = unannounced_batch().await;
        let interleaving = run_in_order(vec![poller(&it.world), poller(&it.world)], &order).await;
        assert_eq!(assert_completed_once(&it, &batch, &interleaving.order).await, "poll");
        assert_eq!(it.rightfoot.requests().len(), 1, "{:?}", interleaving.order);
        let mut steps = interleaving.steps.clone();
        steps.sort_by_key(Vec::len);
        assert!(steps[0].len() <= 2 && steps[1] == BATCH_STEPS, "one asks: {steps:?}");
        interleaving
    })
    .await;
    // Both read before the deferral, or one reads after it, and either may be first: 2 × (10 + 5).
    assert_eq!(all.len(), 30);
}

/// A webhook later than any documented retry meets the poll for alerts. Authorizers covered before the poller read
/// the alerts (after Rightfoot's answer) are not alerted again. Otherwise both events are on the queue, each once;
/// the worker ensures one effect per authorizer (`effect#alert`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_an_alert_webhook_and_the_poller_at_the_runs_alerts_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (it, run) = unannounced_alert().await;
        let webhook = webhook(&it.world, alert_body(&run, "u-1"));
        let interleaving = run_in_order(vec![webhook, poller(&it.world)], &order).await;
        let items = settled_sort_keys(&it.world, &run, &interleaving.order).await;
        let messages = it.world.drain_event_ids().await;
        if interleaving.is_before((WEBHOOK, 1), (POLLER, 4)) {
            assert_eq!(items, ["alert#u-1", "completed"], "{:?}", interleaving.order);
            assert_eq!(messages, [alert_event_id(&run, "u-1")], "{:?}", interleaving.order);
        } else {
            assert_eq!(items, ["alert#poll-…", "alert#u-1", "completed"], "{:?}", interleaving.order);
            assert_eq!(
                messages,
                [polled_alerts_event_id(&run, &[USER]), alert_event_id(&run, "u-1")],
                "{:?}",
                interleaving.order
            );
        }
        interleaving
    })
    .await;
    // Recorded before the poller read the alerts 185, after it 245.
    assert_eq!(all.len(), 430);
    assert!(all.iter().any(|interleaving| interleaving.steps[POLLER] == ALERT_STEPS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_two_overlapping_pollers_at_the_runs_alerts_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (it, run) = unannounced_alert().await;
        let interleaving = run_in_order(vec![poller(&it.world), poller(&it.world)], &order).await;
        let items = settled_sort_keys(&it.world, &run, &interleaving.order).await;
        assert_eq!(items, ["alert#poll-…", "completed"], "{:?}", interleaving.order);
        assert_eq!(
            it.world.drain_event_ids().await,
            [polled_alerts_event_id(&run, &[USER])],
            "{:?}",
            interleaving.order
        );
        assert_eq!(it.rightfoot.requests().len(), 1, "{:?}", interleaving.order);
        interleaving
    })
    .await;
    // 2 × (126 + 7).
    assert_eq!(all.len(), 266);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_two_overlapping_pollers_at_a_schedule_take_its_run_once_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (it, run) = undiscovered_run().await;
        let interleaving = run_in_order(vec![poller(&it.world), poller(&it.world)], &order).await;
        let mut steps = interleaving.steps.clone();
        steps.sort_by_key(Vec::len);
        assert!(steps[0].len() <= 2 && steps[1] == SCHEDULE_STEPS, "one asks: {steps:?}");
        assert_eq!(
            it.rightfoot.requests().len(),
            2,
            "the schedule and its one probe: {:?}",
            interleaving.order
        );
        it.run_in_steps(MINUTE * 10, MINUTE * 40).await;
        assert_eq!(
            settled_sort_keys(&it.world, &run, &interleaving.order).await,
            ["alert#poll-…", "completed"]
        );
        assert_eq!(
            it.world.drain_event_ids().await,
            [polled_alerts_event_id(&run, &[USER]), completion_event_id(&run)]
        );
        interleaving
    })
    .await;
    // 2 × (6 + 3).
    assert_eq!(all.len(), 18);
}

/// An alert of an unknown batch expedites its schedule. After the schedule's deferral this only requests another
/// poll: it voids none of the poller's writes, and is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_schedule_expedited_beside_the_poller_has_its_run_and_another_poll_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let (it, run) = undiscovered_run().await;
        let schedule = it.rightfoot.schedules()[0].schedule_id.clone();
        let schedule_id = Id::new(schedule.clone()).unwrap();
        let hint = SteppedProcess::spawn(&it.world, is_step, async move |world| {
            world.stores().tracking.expedite_schedule(&schedule_id, MINUTE * 5, world.now()).await.unwrap();
        });
        let interleaving = run_in_order(vec![hint, poller(&it.world)], &order).await;
        let item = it.world.item(&format!("rightfoot#batch#{run}"), "tracked").await;
        assert!(item.is_some(), "{:?}", interleaving.order);
        let item = it.world.item(&format!("rightfoot#schedule#{schedule}"), "tracked").await.unwrap();
        let is_due = number(&item, "due_at").unwrap() <= it.world.now().0;
        assert_eq!(is_due, interleaving.is_before((POLLER, 1), (0, 0)), "{:?}", interleaving.order);
        assert_eq!(it.rightfoot.requests().len(), 2, "{:?}", interleaving.order);
        interleaving
    })
    .await;
    assert_eq!(all.len(), 5);
}

/// Recovery after a poller has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    PollerRun,
    WebhookThenPollerRun,
    PollerRunThenWebhook,
}

impl Recovery {
    async fn run(self, it: &RightfootWorld, webhook: String) {
        if self == Self::WebhookThenPollerRun {
            assert_eq!(it.world.deliver_rightfoot(&webhook).await.status, 200);
        }
        // By then a deferred item is due again, and the relay sends what was recorded and not sent.
        it.run_in_steps(MINUTE * 6, MINUTE * 12).await;
        if self == Self::PollerRunThenWebhook {
            let late = it.world.deliver_rightfoot(&webhook).await;
            assert_eq!((late.status, late.body.as_str()), (200, r#"{"status":"duplicate"}"#));
        }
    }
}

/// Crashes a poller after so many steps.
async fn kill_poller_after(it: &RightfootWorld, steps_taken: usize, steps: &[&str]) {
    let mut poller = poller(&it.world);
    for _ in 0..steps_taken {
        assert!(poller.step().await);
    }
    assert_eq!(poller.steps, steps[..steps_taken]);
    poller.kill().await;
}

#[tokio::test]
async fn p2_p3_p5_a_poller_that_dies_at_any_step_of_a_batch_leaves_it_to_the_next() {
    for lived in 0..=BATCH_STEPS.len() {
        for recovery in [Recovery::PollerRun, Recovery::WebhookThenPollerRun, Recovery::PollerRunThenWebhook]
        {
            let (it, batch) = unannounced_batch().await;
            kill_poller_after(&it, lived, &BATCH_STEPS).await;
            recovery.run(&it, completion_body(&batch, "u-1")).await;
            let cell = format!("after {lived} steps, {recovery:?}");
            assert_eq!(settled_sort_keys(&it.world, &batch, &[lived]).await, ["completed"], "P5: {cell}");
            let by_webhook = recovery == Recovery::WebhookThenPollerRun && lived < 3;
            let event = (completion_event_id(&batch), if by_webhook { "webhook" } else { "poll" }.to_owned());
            let expected =
                if is_repeated(lived, &BATCH_STEPS) { vec![event.clone(), event] } else { vec![event] };
            assert_eq!(it.world.drain_ids_and_origins().await, expected, "P2, P3: {cell}");
        }
    }
}

#[tokio::test]
async fn p2_p3_p5_a_poller_that_dies_at_any_step_of_the_alerts_leaves_them_to_the_next() {
    for lived in 0..=ALERT_STEPS.len() {
        let (it, run) = unannounced_alert().await;
        kill_poller_after(&it, lived, &ALERT_STEPS).await;
        Recovery::PollerRun.run(&it, String::new()).await;
        assert_eq!(
            settled_sort_keys(&it.world, &run, &[lived]).await,
            ["alert#poll-…", "completed"],
            "{lived}"
        );
        let expected =
            vec![polled_alerts_event_id(&run, &[USER]); if is_repeated(lived, &ALERT_STEPS) { 2 } else { 1 }];
        assert_eq!(it.world.drain_event_ids().await, expected, "P2, P3: after {lived} steps");
    }
}

#[tokio::test]
async fn p5_a_poller_that_dies_at_any_step_of_a_schedule_leaves_its_run_to_the_next() {
    for lived in 0..=SCHEDULE_STEPS.len() {
        let (it, run) = undiscovered_run().await;
        kill_poller_after(&it, lived, &SCHEDULE_STEPS).await;
        it.run_in_steps(MINUTE * 10, MINUTE * 45).await;
        assert_eq!(
            settled_sort_keys(&it.world, &run, &[lived]).await,
            ["alert#poll-…", "completed"],
            "{lived}"
        );
        assert_eq!(
            it.world.drain_event_ids().await,
            [polled_alerts_event_id(&run, &[USER]), completion_event_id(&run)],
            "{lived}"
        );
    }
}

/// Returns `true` if the crash came after the send and before its mark.
fn is_repeated(steps_taken: usize, steps: &[&str]) -> bool {
    steps_taken > 0 && steps[steps_taken - 1] == SEND
}
