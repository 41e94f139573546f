//! The poller beside a webhook, and beside itself, step by step, in every order; and a poller that dies at every
//! step.
//!
//! A step is one AWS call. A webhook's delivery has four (whose batch it is, put, send, mark), the poller at a
//! batch six (read two items, put off, put, send, mark, settle), at a run's alerts nine, at a schedule five. Its
//! look-ups of the index are no steps: a lagging index is what the strong read is there for. Nor is the question to
//! Rightfoot, which reads nothing that another process writes: a step that comes after the putting off and before
//! the put comes while it is asked.

use inbox_core::event::Id;
use inbox_core::limits::DUE_SHARDS;
use local::rightfoot_simulator::WebhookLoss;
use local::connector::AwsCall;
use tests::orders::{Process, in_every_order, play};
use tests::rightfoot::{MINUTE, RightfootWorld, daily};
use tests::{Item, SUBJECT, World, alert, alerted, completed, completion, found_alerts, number, text};

/// The authorizer of [`alert`].
const USER: &str = "user-123";
/// The poller's steps at a batch that nobody has told, where it is alone.
const AT_BATCH: [&str; 6] =
    ["BatchGetItem", "UpdateItem", "PutItem", "SendMessage", "UpdateItem", "UpdateItem"];
/// At a run whose alerts nobody has told.
const AT_ALERTS: [&str; 9] = [
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
/// At a schedule whose run nobody knows.
const AT_SCHEDULE: [&str; 5] = ["GetItem", "UpdateItem", "BatchGetItem", "UpdateItem", "TransactWriteItems"];
/// Which of these, if the poller dies after it, leaves a message on the queue of which nobody knows.
const SEND: &str = "SendMessage";

/// The calls at which the poller stops: the first looks of a run go into the index.
fn waits(call: &AwsCall) -> bool {
    match call.operation.as_str() {
        "GetSecretValue" => false,
        "Query" => call.index >= usize::from(DUE_SHARDS),
        _ => true,
    }
}

fn poller(world: &World) -> Process {
    Process::of(world, waits, async |world| drop(world.poll().await))
}

/// A webhook is delivered; whatever comes meanwhile, it is accepted.
fn webhook(world: &World, body: String) -> Process {
    Process::of(world, waits, async move |world| assert_eq!(world.rightfoot(body).await.status, 200))
}

/// A batch that is complete and due, and that no webhook has told.
async fn untold_batch() -> (RightfootWorld, String) {
    let it = RightfootWorld::with(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let batch = it.submit(SUBJECT, &["a", "b"]).await["batch_id"].as_str().unwrap().to_owned();
    it.pass(MINUTE * 10).await;
    it.rightfoot.clear_requests();
    (it, batch)
}

/// A schedule that has run for the first time, and of which nobody knows that.
async fn unknown_run() -> (RightfootWorld, String) {
    let it = RightfootWorld::with(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = MINUTE * 60;
        rightfoot.balances.insert(USER.to_owned(), "150.00".to_owned());
    })
    .await;
    it.ask(daily(SUBJECT, &[USER])).await;
    it.pass(MINUTE * 70).await;
    it.rightfoot.clear_requests();
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    (it, run)
}

/// A run whose completion is known, whose grace is over, and whose alert no webhook has told.
async fn untold_alert() -> (RightfootWorld, String) {
    let (it, run) = unknown_run().await;
    assert_eq!(it.world.rightfoot(completion(&run, "u-0")).await.status, 200);
    assert_eq!(it.poll().await.unwrap()["runs_found"], 1);
    assert_eq!(it.world.drain_ids().await, [completed(&run)]);
    it.pass(MINUTE * 20).await;
    it.rightfoot.clear_requests();
    (it, run)
}

/// The places of all that is known about a batch but what is tracked; that must have come to its end.
async fn settled_story(world: &World, batch: &str, order: &[usize]) -> Vec<String> {
    let pk = format!("rightfoot#batch#{batch}");
    let mut story: Vec<Item> =
        world.items().await.into_iter().filter(|item| text(item, "pk") == pk).collect();
    story.sort_by_key(|item| text(item, "sk").to_owned());
    let tracked = story.pop().unwrap();
    assert_eq!(text(&tracked, "sk"), "tracked");
    assert!(tracked.contains_key("done_at") && tracked.contains_key("expires_at"), "{order:?}: {tracked:?}");
    let due: Vec<_> = story.iter().chain([&tracked]).filter(|item| item.contains_key("due")).collect();
    assert!(due.is_empty(), "{order:?}: still due: {due:?}");
    // What the poller finds is named after whom it is about.
    let place = |item: &Item| match text(item, "sk").split_once("poll-") {
        Some((before, _)) => format!("{before}poll-…"),
        None => text(item, "sk").to_owned(),
    };
    story.iter().map(place).collect()
}

/// One record of the completion, by whoever came first, and one message.
async fn told_once(it: &RightfootWorld, batch: &str, order: &[usize]) -> String {
    assert_eq!(settled_story(&it.world, batch, order).await, ["completed"], "P5: {order:?}");
    let record = it.world.item(&format!("rightfoot#batch#{batch}"), "completed").await.unwrap();
    let origin = text(&record, "origin").to_owned();
    assert_eq!(it.world.drain_origins().await, [(completed(batch), origin.clone())], "P3: {order:?}");
    origin
}

const WEBHOOK: usize = 0;
const POLLER: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_a_webhook_and_the_poller_in_every_order() {
    let all = in_every_order(|order| async move {
        let (it, batch) = untold_batch().await;
        let webhook = webhook(&it.world, completion(&batch, "u-1"));
        let played = play(vec![webhook, poller(&it.world)], &order).await;
        let origin = told_once(&it, &batch, &played.order).await;
        // The story is the poller's first step, its put the third; the webhook's put is its second.
        let told_before = played.is_before((WEBHOOK, 1), (POLLER, 0));
        let by_webhook = told_before || played.is_before((WEBHOOK, 1), (POLLER, 2));
        assert_eq!(origin, if by_webhook { "webhook" } else { "poll" }, "{:?}", played.order);
        assert_eq!(it.rightfoot.requests().len(), usize::from(!told_before), "{:?}", played.order);
        played
    })
    .await;
    // By who came first: the webhook before the poller looked 6, while it asked 60, after it had recorded 22. What stands
    // already is read by the poller once more.
    assert_eq!(all.len(), 88);
    assert!(all.iter().any(|played| played.steps[POLLER] == AT_BATCH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_two_overlapping_pollers_ask_once_in_every_order() {
    let all = in_every_order(|order| async move {
        let (it, batch) = untold_batch().await;
        let played = play(vec![poller(&it.world), poller(&it.world)], &order).await;
        assert_eq!(told_once(&it, &batch, &played.order).await, "poll");
        assert_eq!(it.rightfoot.requests().len(), 1, "{:?}", played.order);
        let mut steps = played.steps.clone();
        steps.sort_by_key(Vec::len);
        assert!(steps[0].len() <= 2 && steps[1] == AT_BATCH, "one asks: {steps:?}");
        played
    })
    .await;
    // Two that look before the putting off, or one that looks after it, and either may be the first: 2 × (10 + 5).
    assert_eq!(all.len(), 30);
}

/// A webhook that comes later than any documented try meets the question for the alerts. Who was told before the
/// poller read the alerts, after Rightfoot's answer, is not told again. After that both events
/// are on the queue, each once: one effect per authorizer is the worker's to keep (`effect#alert`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_an_alert_webhook_and_the_poller_at_the_runs_alerts_in_every_order() {
    let all = in_every_order(|order| async move {
        let (it, run) = untold_alert().await;
        let webhook = webhook(&it.world, alert(&run, "u-1"));
        let played = play(vec![webhook, poller(&it.world)], &order).await;
        let story = settled_story(&it.world, &run, &played.order).await;
        let messages = it.world.drain_ids().await;
        if played.is_before((WEBHOOK, 1), (POLLER, 4)) {
            assert_eq!(story, ["alert#u-1", "completed"], "{:?}", played.order);
            assert_eq!(messages, [alerted(&run, "u-1")], "{:?}", played.order);
        } else {
            assert_eq!(story, ["alert#poll-…", "alert#u-1", "completed"], "{:?}", played.order);
            assert_eq!(messages, [found_alerts(&run, &[USER]), alerted(&run, "u-1")], "{:?}", played.order);
        }
        played
    })
    .await;
    // Told before the poller read the alerts 185, after it 245.
    assert_eq!(all.len(), 430);
    assert!(all.iter().any(|played| played.steps[POLLER] == AT_ALERTS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p5_two_overlapping_pollers_at_the_runs_alerts_in_every_order() {
    let all = in_every_order(|order| async move {
        let (it, run) = untold_alert().await;
        let played = play(vec![poller(&it.world), poller(&it.world)], &order).await;
        let story = settled_story(&it.world, &run, &played.order).await;
        assert_eq!(story, ["alert#poll-…", "completed"], "{:?}", played.order);
        assert_eq!(it.world.drain_ids().await, [found_alerts(&run, &[USER])], "{:?}", played.order);
        assert_eq!(it.rightfoot.requests().len(), 1, "{:?}", played.order);
        played
    })
    .await;
    // 2 × (126 + 7).
    assert_eq!(all.len(), 266);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_two_overlapping_pollers_at_a_schedule_take_its_run_once_in_every_order() {
    let all = in_every_order(|order| async move {
        let (it, run) = unknown_run().await;
        let played = play(vec![poller(&it.world), poller(&it.world)], &order).await;
        let mut steps = played.steps.clone();
        steps.sort_by_key(Vec::len);
        assert!(steps[0].len() <= 2 && steps[1] == AT_SCHEDULE, "one asks: {steps:?}");
        assert_eq!(it.rightfoot.requests().len(), 2, "the schedule and its one probe: {:?}", played.order);
        it.live_by(MINUTE * 10, MINUTE * 40).await;
        assert_eq!(settled_story(&it.world, &run, &played.order).await, ["alert#poll-…", "completed"]);
        assert_eq!(it.world.drain_ids().await, [found_alerts(&run, &[USER]), completed(&run)]);
        played
    })
    .await;
    // 2 × (8 + 4).
    assert_eq!(all.len(), 24);
}

/// An alert of a batch that nobody knows hurries its schedule. Once the schedule is put off that is a wish for another look:
/// it voids nothing that the poller writes, and is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_schedule_that_is_hurried_beside_the_poller_has_its_run_and_another_look_in_every_order() {
    let all = in_every_order(|order| async move {
        let (it, run) = unknown_run().await;
        let schedule = it.rightfoot.schedules()[0].schedule_id.clone();
        let schedule_id = Id::new(schedule.clone()).unwrap();
        let hint = Process::of(&it.world, waits, async move |world| {
            world.inbox().expedite_schedule(&schedule_id, MINUTE * 5, world.now()).await.unwrap();
        });
        let played = play(vec![hint, poller(&it.world)], &order).await;
        let item = it.world.item(&format!("rightfoot#batch#{run}"), "tracked").await;
        assert!(item.is_some(), "{:?}", played.order);
        let item = it.world.item(&format!("rightfoot#schedule#{schedule}"), "tracked").await.unwrap();
        let is_due = number(&item, "due_at").unwrap() <= it.world.now().0;
        assert_eq!(is_due, played.is_before((POLLER, 1), (0, 0)), "{:?}", played.order);
        assert_eq!(it.rightfoot.requests().len(), 2, "{:?}", played.order);
        played
    })
    .await;
    assert_eq!(all.len(), 6);
}

/// What comes after a poller has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Run,
    WebhookAndRun,
    RunAndWebhook,
}

impl Then {
    async fn happen(self, it: &RightfootWorld, webhook: String) {
        if self == Self::WebhookAndRun {
            assert_eq!(it.world.rightfoot(&webhook).await.status, 200);
        }
        // What was put off is due again by then, and what was recorded and not sent is the relay's.
        it.live_by(MINUTE * 6, MINUTE * 12).await;
        if self == Self::RunAndWebhook {
            let late = it.world.rightfoot(&webhook).await;
            assert_eq!((late.status, late.body.as_str()), (200, r#"{"status":"duplicate"}"#));
        }
    }
}

/// Lets a poller live for so many steps.
async fn dies_after(it: &RightfootWorld, lived: usize, steps: &[&str]) {
    let mut poller = poller(&it.world);
    for _ in 0..lived {
        assert!(poller.step().await);
    }
    assert_eq!(poller.steps, steps[..lived]);
    poller.die().await;
}

#[tokio::test]
async fn p2_p3_p5_a_poller_that_dies_at_any_step_of_a_batch_leaves_it_to_the_next() {
    for lived in 0..=AT_BATCH.len() {
        for then in [Then::Run, Then::WebhookAndRun, Then::RunAndWebhook] {
            let (it, batch) = untold_batch().await;
            dies_after(&it, lived, &AT_BATCH).await;
            then.happen(&it, completion(&batch, "u-1")).await;
            let cell = format!("after {lived} steps, {then:?}");
            assert_eq!(settled_story(&it.world, &batch, &[lived]).await, ["completed"], "P5: {cell}");
            let by_webhook = then == Then::WebhookAndRun && lived < 3;
            let told = (completed(&batch), if by_webhook { "webhook" } else { "poll" }.to_owned());
            let expected = if repeats(lived, &AT_BATCH) { vec![told.clone(), told] } else { vec![told] };
            assert_eq!(it.world.drain_origins().await, expected, "P2, P3: {cell}");
        }
    }
}

#[tokio::test]
async fn p2_p3_p5_a_poller_that_dies_at_any_step_of_the_alerts_leaves_them_to_the_next() {
    for lived in 0..=AT_ALERTS.len() {
        let (it, run) = untold_alert().await;
        dies_after(&it, lived, &AT_ALERTS).await;
        Then::Run.happen(&it, String::new()).await;
        assert_eq!(settled_story(&it.world, &run, &[lived]).await, ["alert#poll-…", "completed"], "{lived}");
        let expected = vec![found_alerts(&run, &[USER]); if repeats(lived, &AT_ALERTS) { 2 } else { 1 }];
        assert_eq!(it.world.drain_ids().await, expected, "P2, P3: after {lived} steps");
    }
}

#[tokio::test]
async fn p5_a_poller_that_dies_at_any_step_of_a_schedule_leaves_its_run_to_the_next() {
    for lived in 0..=AT_SCHEDULE.len() {
        let (it, run) = unknown_run().await;
        dies_after(&it, lived, &AT_SCHEDULE).await;
        it.live_by(MINUTE * 10, MINUTE * 45).await;
        assert_eq!(settled_story(&it.world, &run, &[lived]).await, ["alert#poll-…", "completed"], "{lived}");
        assert_eq!(it.world.drain_ids().await, [found_alerts(&run, &[USER]), completed(&run)], "{lived}");
    }
}

/// Whether nobody knows that it was sent: it was, and that was not written down.
fn repeats(lived: usize, steps: &[&str]) -> bool {
    lived > 0 && steps[lived - 1] == SEND
}
