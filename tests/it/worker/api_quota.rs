//! Rightfoot's quota: the share that the holder of one URL can use up, and what is stopped by a pause that Rightfoot
//! asks for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use event_worker::EventWorker;
use inbox_core::audit::{AuditEntry, OperatorAction};
use inbox_core::event::EventKey;
use inbox_rightfoot::AccountConfig;
use local::connector::{AwsCall, Fault};
use local::rightfoot_simulator::{CannedResponse, ScriptedResponse};
use local::stack::{self, BALANCES_TABLE, EVENT_BUS, RIGHTFOOT_API_KEY_SECRET};
use serde_json::json;
use tests::rightfoot_world::{RightfootWorld, submit_batch_request};
use tests::{
    DAY, HOUR, Item, MINUTE, SUBJECT, World, alert_event_id, completion_body, completion_event_id, number,
    text,
};

use super::forged_webhooks::alert_with;

const SECOND: Duration = Duration::from_secs(1);
fn made_up_batch_id(n: usize) -> String {
    format!("made-up-{n}")
}

fn token(world: &World, subject: &str) -> String {
    world.stack.mint_url_token(&subject.parse().unwrap()).unwrap()
}

/// Delivers completions of unknown batches to the URL of the subject `leaked`.
async fn deliver_made_up(it: &RightfootWorld, numbers: std::ops::Range<usize>) {
    let leaked = token(&it.world, "leaked");
    for n in numbers {
        let response = it
            .world
            .deliver_rightfoot_to(&leaked, completion_body(&made_up_batch_id(n), &format!("u-{n}")))
            .await;
        assert_eq!(response.body, r#"{"status":"received"}"#);
    }
}

/// Advances the clock by a minute, and processes everything that is due.
async fn run_minute(it: &RightfootWorld) {
    it.advance(MINUTE).await;
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
}

/// Number of requests to Rightfoot about made-up batches.
fn made_up_request_count(it: &RightfootWorld) -> usize {
    it.rightfoot.requests().iter().filter(|request| request.query.contains("made-up-")).count()
}

/// Number of deliveries quarantined for this reason.
async fn quarantined_count(world: &World, reason: &str) -> usize {
    world.quarantined().await.iter().filter(|(its, _)| its == reason).count()
}

/// Number of open events counted for the subject `leaked`.
async fn open_count(world: &World) -> usize {
    open_count_of(world, "leaked").await
}

async fn open_item(world: &World, subject: &str) -> Option<Item> {
    world.item(&format!("rightfoot#subject#{subject}"), "open#2026-01-02").await
}

/// Number of open events counted for a subject on the day of [`tests::START`].
async fn open_count_of(world: &World, subject: &str) -> usize {
    let item = open_item(world, subject).await;
    item.and_then(|item| item.get("open_events")?.as_ss().ok().map(Vec::len)).unwrap_or(0)
}

fn is_done(record: &Item) -> bool {
    record.contains_key("done_at") && !record.contains_key("due")
}

fn limit_rate(it: &RightfootWorld, path_contains: &str, answer: CannedResponse) {
    let scripted =
        ScriptedResponse { path_contains: path_contains.to_owned(), response: answer, remaining_uses: None };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
}

#[tokio::test]
async fn made_up_completions_of_one_url_cost_a_bounded_number_of_questions_and_delay_nobody() {
    let it = RightfootWorld::new().await;
    deliver_made_up(&it, 0..500).await;
    let submitted = it.submit_batch("payroll", &["a", "b"]).await;
    let genuine = completion_event_id(submitted["batch_id"].as_str().unwrap());
    it.world.run_worker().await;
    assert_eq!(
        // `UNTRACKED_OPEN_MAX` is 200.
        (quarantined_count(&it.world, "untracked_limit").await, open_count(&it.world).await),
        (300, 200)
    );
    for _ in 0..10 {
        run_minute(&it).await;
    }
    // At once, and in the minutes 1, 3 and 7.
    assert_eq!(made_up_request_count(&it), 200 * 4);
    let record = it.world.event_record(&genuine).await;
    assert_eq!(number(&record, "done_at"), number(&record, "received_at"), "in the minute in which it came");
    for _ in 10..119 {
        run_minute(&it).await;
    }
    // And in minute 15 and every 15 minutes from then on.
    assert_eq!((made_up_request_count(&it), quarantined_count(&it.world, "incomplete").await), (200 * 11, 0));
    run_minute(&it).await;
    assert_eq!(
        (made_up_request_count(&it), quarantined_count(&it.world, "incomplete").await),
        (200 * 12, 200),
        "two hours are over"
    );
    assert_eq!((open_count(&it.world).await, it.world.drain_bus_ids().await), (0, vec![genuine]));
    for _ in 0..30 {
        run_minute(&it).await;
    }
    assert_eq!(made_up_request_count(&it), 200 * 12, "nobody is asked any more");
}

#[tokio::test]
async fn p7_what_came_beyond_the_limit_is_worked_on_when_an_operator_says_so_and_there_is_room() {
    let it = RightfootWorld::new().await;
    deliver_made_up(&it, 0..201).await;
    it.world.run_worker().await;
    let items = it.world.items().await;
    let mut beyond = items.iter().filter(|item| item.contains_key("quarantined_at"));
    let batch = text(beyond.next().unwrap(), "pk").strip_prefix("rightfoot#batch#").unwrap();
    assert_eq!(beyond.count(), 0, "one alone");
    let id = completion_event_id(batch);
    it.rightfoot.add_completed_batch(batch, &[("a".to_owned(), "1".to_owned())]);
    let by = AuditEntry {
        at: it.world.now(),
        operator: "ada".to_owned(),
        action: OperatorAction::Requeue,
        reason: "ours".to_owned(),
    };
    let key = EventKey::from_event_id(&id).unwrap();
    it.world.stack.stores.operator.replay_quarantined(&key, &by).await.unwrap();
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert!(it.world.event_record(&id).await.contains_key("quarantined_at"), "there is no room yet");

    // The other events end.
    it.world.advance(MINUTE * 120);
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert_eq!((quarantined_count(&it.world, "incomplete").await, open_count(&it.world).await), (200, 0));
    let by = AuditEntry { at: it.world.now(), ..by };
    it.world.stack.stores.operator.replay_quarantined(&key, &by).await.unwrap();
    for _ in 0..2 {
        it.world.run_relay().await.unwrap().unwrap();
        it.world.run_worker().await;
        it.advance(MINUTE).await;
    }
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert!(is_done(&it.world.event_record(&id).await));
    assert_eq!((it.world.drain_bus_ids().await, open_count(&it.world).await), (vec![id], 0));
}

#[tokio::test]
async fn an_event_counts_once_until_it_ends_whoever_died_and_whatever_its_batch_has_become() {
    let it = RightfootWorld::new().await;
    it.rightfoot.add_completed_batch(&made_up_batch_id(0), &[("a".to_owned(), "1".to_owned())]);
    deliver_made_up(&it, 0..1).await;
    let id = completion_event_id(&made_up_batch_id(0));
    let dying = it.world.another_process();
    dying.stack.connector.set_fault_plan(|call| is_count(call).then_some(Fault::CrashAfter));
    assert_eq!((dying.run_worker_once().await.deleted, open_count(&it.world).await), (0, 1));
    it.world.advance(MINUTE * 2);
    it.world.resend_event(&id).await;
    it.world.run_worker().await;
    assert_eq!((open_count(&it.world).await, made_up_request_count(&it)), (1, 1), "the same once more");
    let expires_at = number(&open_item(&it.world, "leaked").await.unwrap(), "expires_at").unwrap();
    assert_eq!(expires_at, it.world.now().secs().0 + 2 * 86_400);

    it.request(
        json!({"action": "track_batch", "batch_id": made_up_batch_id(0), "expected": 1, "subject": "leaked"}),
    )
    .await;
    run_minute(&it).await;
    assert!(is_done(&it.world.event_record(&id).await));
    assert_eq!((open_count(&it.world).await, it.world.drain_bus_ids().await), (0, vec![id]));
}

/// Counts are kept by day, so what a dead worker has left in one expires with its day.
#[tokio::test]
async fn what_comes_on_another_day_is_counted_by_itself() {
    let it = RightfootWorld::new().await;
    deliver_made_up(&it, 0..200).await;
    it.world.run_worker().await;
    // From three in the morning until a second before midnight.
    it.world.advance(HOUR * 20 + MINUTE * 55 + SECOND * 54);
    deliver_made_up(&it, 200..201).await;
    it.world.run_worker().await;
    assert_eq!((made_up_request_count(&it), quarantined_count(&it.world, "untracked_limit").await), (200, 1));
    it.world.advance(SECOND);
    deliver_made_up(&it, 201..202).await;
    it.world.run_worker().await;
    assert_eq!((made_up_request_count(&it), quarantined_count(&it.world, "untracked_limit").await), (201, 1));
}

/// Returns `true` for a worker's call that updates the count.
fn is_count(call: &AwsCall) -> bool {
    call.operation == "UpdateItem" && call.event_ids.is_empty()
}

#[tokio::test]
async fn p2_while_it_cannot_be_counted_nobody_is_asked_and_the_event_is_due_again() {
    let it = RightfootWorld::new().await;
    it.rightfoot.add_completed_batch(&made_up_batch_id(0), &[("a".to_owned(), "1".to_owned())]);
    deliver_made_up(&it, 0..1).await;
    it.world.stack.connector.set_fault_plan(|call| is_count(call).then_some(Fault::AccessDenied));
    let outcome = it.world.run_worker().await;
    assert_eq!((outcome.deleted, made_up_request_count(&it)), (1, 0));
    assert_eq!(
        number(&it.world.event_record(&completion_event_id(&made_up_batch_id(0))).await, "requeues"),
        Some(1)
    );
    it.world.stack.connector.clear_fault_plan();
    run_minute(&it).await;
    assert_eq!((open_count(&it.world).await, made_up_request_count(&it)), (1, 1));
    // An event that cannot be subtracted stays in its day's count; it is done nevertheless.
    it.advance(MINUTE).await;
    let counts = AtomicUsize::new(0);
    it.world.stack.connector.set_fault_plan(move |call| {
        let again = is_count(call) && counts.fetch_add(1, Ordering::SeqCst) > 0;
        again.then_some(Fault::AccessDenied)
    });
    run_minute(&it).await;
    assert_eq!(it.world.drain_bus_ids().await, [completion_event_id(&made_up_batch_id(0))]);
    assert!(is_done(&it.world.event_record(&completion_event_id(&made_up_batch_id(0))).await));
    assert_eq!(open_count(&it.world).await, 1);
}

/// Alerts wait until their batch is tracked, and Rightfoot knows none of these.
#[tokio::test]
async fn made_up_alerts_of_a_bound_subject_wait_for_two_hours() {
    let it = RightfootWorld::new().await;
    it.track_schedule("s-1", "a").await;
    for n in 0..200 {
        it.world
            .deliver_rightfoot(alert_with(&format!("made-up-{n}"), "u-1", &[("a", "150.00", "100")]))
            .await;
    }
    it.world.run_worker().await;
    assert_eq!(open_count_of(&it.world, SUBJECT).await, 200);
    for _ in 0..9 {
        it.world.advance(MINUTE * 15);
        it.world.run_relay().await.unwrap().unwrap();
        it.world.run_worker().await;
    }
    assert_eq!(
        (open_count_of(&it.world, SUBJECT).await, quarantined_count(&it.world, "unconfirmed").await),
        (0, 200)
    );
}

#[tokio::test]
async fn what_is_tracked_is_not_counted() {
    let it = RightfootWorld::with_run("b-1", &[("user-123", "150.00")]).await;
    it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    it.world.deliver_rightfoot(tests::alert_body("b-1", "u-2")).await;
    it.world.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await.len(), 2);
    let subjects = it.world.items().await.into_iter().filter(|it| text(it, "sk").starts_with("open#"));
    assert_eq!(subjects.count(), 0);
}

#[tokio::test]
async fn p9_about_a_batch_that_nobody_knows_an_answer_after_two_hours_ends_it_and_no_silence() {
    let it = RightfootWorld::new().await;
    limit_rate(&it, "/v1/balances", CannedResponse::Status(500));
    deliver_made_up(&it, 0..1).await;
    for _ in 0..12 {
        it.world.run_worker().await;
        it.world.advance(MINUTE * 15);
        it.world.run_relay().await.unwrap().unwrap();
    }
    it.world.run_worker().await;
    assert_eq!(it.world.quarantined().await, [], "three hours");
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.world.advance(MINUTE * 15);
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert_eq!((quarantined_count(&it.world, "incomplete").await, it.world.due_items().await), (1, vec![]));
}

#[tokio::test]
async fn a_pause_that_rightfoot_asks_for_stops_every_question_of_the_process_until_it_is_over() {
    for (answer, attempts, secs) in
        [(CannedResponse::RetryAfter { status: 429, secs: 60 }, 1, 60), (CannedResponse::Status(429), 3, 30)]
    {
        let it = RightfootWorld::new().await;
        limit_rate(&it, "/v1/balances", answer);
        for n in 0..10 {
            it.world.deliver_rightfoot(completion_body(&made_up_batch_id(n), "u")).await;
        }
        it.world.run_worker_once().await;
        let asked = made_up_request_count(&it);
        assert!((1..=10 * attempts).contains(&asked), "{answer:?}: ten at once: {asked}");

        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.world.advance(SECOND * (secs - 1));
        for n in 10..30 {
            it.world.deliver_rightfoot(completion_body(&made_up_batch_id(n), "u")).await;
        }
        let outcome = it.world.run_worker().await;
        assert_eq!((outcome.deleted, made_up_request_count(&it)), (20, asked), "{answer:?}");
        let now = it.world.now().0;
        for n in 10..30 {
            let record = it.world.event_record(&completion_event_id(&made_up_batch_id(n))).await;
            assert_eq!(number(&record, "due_at"), Some(now + 60_000), "{answer:?}");
        }
        it.world.advance(SECOND);
        it.world.deliver_rightfoot(completion_body(&made_up_batch_id(30), "u")).await;
        it.world.run_worker().await;
        assert_eq!(made_up_request_count(&it), asked + 1, "{answer:?}: it is over");
    }
}

#[tokio::test]
async fn what_meets_a_long_pause_is_due_again_when_it_is_over() {
    let it = RightfootWorld::new().await;
    limit_rate(&it, "/v1/balances", CannedResponse::RetryAfter { status: 429, secs: 3_600 });
    it.world.deliver_rightfoot(completion_body("b-1", "u")).await;
    it.world.run_worker().await;
    it.world.advance(MINUTE * 10);
    it.world.deliver_rightfoot(completion_body("b-2", "u")).await;
    it.world.run_worker().await;
    assert_eq!(it.rightfoot.requests().len(), 1);
    let record = it.world.event_record(&completion_event_id("b-2")).await;
    assert_eq!(number(&record, "due_at"), Some(it.world.now().plus(MINUTE * 50).0));
}

#[tokio::test]
async fn a_submission_that_meets_a_pause_is_not_sent_and_is_done_when_it_is_repeated() {
    let it = RightfootWorld::new().await;
    limit_rate(&it, "/v1/balance_requests", CannedResponse::RetryAfter { status: 429, secs: 60 });
    for name in ["one", "two"] {
        let refused = it.world.request(submit_batch_request(name, &["a"])).await.unwrap().unwrap_err();
        assert_eq!(refused.name(), "RightfootUnavailable");
        assert_eq!(
            refused.to_string(),
            "not submitted: rate limited by Rightfoot; send the same request again later"
        );
        assert_eq!(it.rightfoot.requests().len(), 1, "{name}");
    }
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.world.advance(MINUTE);
    it.submit_batch("one", &["a"]).await;
    it.submit_batch("two", &["a"]).await;
    assert_eq!((it.rightfoot.requests().len(), it.rightfoot.batches().len()), (3, 2));
}

/// The worker as deployed after these subjects were revoked.
fn worker_with_revoked(it: &RightfootWorld, subjects: &[&str]) -> World {
    worker_with_revoked_and(it, subjects, true)
}

fn worker_with_revoked_and(it: &RightfootWorld, subjects: &[&str], verify_alerts: bool) -> World {
    let mut world = it.world.another_process();
    let config = event_worker::Config {
        is_rightfoot_enabled: true,
        common: stack::common_config(&world.stack.events_queue_url),
        rightfoot: AccountConfig {
            client: stack::rightfoot_client(&it.api_url).unwrap(),
            secret_id: RIGHTFOOT_API_KEY_SECRET.to_owned(),
        },
        balances_table: BALANCES_TABLE.to_owned(),
        balances_retention_days: 0,
        event_bus: EVENT_BUS.to_owned(),
        verify_alerts,
        untracked_alerts: inbox_core::effect::alert::UntrackedAlertPolicy::default(),
        poll_deadline: DAY,
        revoked_subjects: subjects.iter().map(|subject| subject.parse().unwrap()).collect(),
    };
    let clients = world.stack.clients_for("event-worker");
    world.stack.worker = EventWorker::new(&config, &clients, world.stack.clock.clone());
    world
}

#[tokio::test]
async fn p7_what_came_by_the_url_of_a_subject_that_is_revoked_is_kept_and_nobody_is_asked() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let alert = alert_with("b-1", "u-1", &[("a", "150.00", "100")]);
    let other = token(&it.world, "another");
    it.world.deliver_rightfoot(alert).await;
    it.world.deliver_rightfoot(alert_with("b-2", "u-2", &[("a", "150.00", "100")])).await;
    it.world.deliver_rightfoot(completion_body("b-2", "u-3")).await;
    it.world.deliver_rightfoot_to(&other, completion_body("b-3", "u-4")).await;
    let revoking = worker_with_revoked(&it, &["demo", "and-more"]);
    revoking.run_worker().await;
    assert_eq!(quarantined_count(&it.world, "subject_revoked").await, 2);
    for id in [alert_event_id("b-2", "u-2"), completion_event_id("b-2")] {
        assert!(it.world.event_record(&id).await.contains_key("quarantined_at"), "{id}");
    }
    let mut asked: Vec<_> = it.rightfoot.requests().into_iter().map(|request| request.query).collect();
    asked.sort();
    assert_eq!(
        asked,
        ["batchId=b-1&limit=100", "batchId=b-3&limit=100"],
        "about ours, and the other subject's"
    );
}

/// By the time its URL is revoked, the poller may have counted an alert's authorizers as covered.
#[tokio::test]
async fn p5_what_came_about_a_tracked_batch_has_its_effect_although_its_subject_is_revoked() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    it.world.deliver_rightfoot(alert_with("b-1", "u-2", &[("a", "150.00", "100")])).await;
    it.run_for(MINUTE * 31).await;
    let batch = it.world.item("rightfoot#batch#b-1", "tracked").await.unwrap();
    assert!(batch.contains_key("done_at"), "the poller is content with the webhooks");
    worker_with_revoked(&it, &["demo"]).run_worker().await;
    let mut published = it.world.drain_bus_ids().await;
    published.sort();
    assert_eq!(published, [completion_event_id("b-1"), "rightfoot/batch/b-1/threshold-met/a".to_owned()]);
}

#[tokio::test]
async fn p7_an_alert_that_nobody_verifies_is_kept_once_its_subject_is_revoked() {
    let it = RightfootWorld::with_run("b-1", &[("a", "1.00")]).await;
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100")])).await;
    worker_with_revoked_and(&it, &["demo"], false).run_worker().await;
    assert_eq!(
        (it.world.drain_bus_ids().await, quarantined_count(&it.world, "subject_revoked").await),
        (vec![], 1)
    );
}

#[tokio::test]
async fn p7_what_an_operator_has_worked_on_again_is_worked_on_although_its_subject_is_revoked() {
    let it = RightfootWorld::new().await;
    it.rightfoot.add_completed_batch("b-1", &[("a".to_owned(), "150.00".to_owned())]);
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &[("a", "150.00", "100")])).await;
    let revoking = worker_with_revoked(&it, &["demo"]);
    revoking.run_worker().await;
    assert_eq!(quarantined_count(&it.world, "subject_revoked").await, 1);
    let by = AuditEntry {
        at: it.world.now(),
        operator: "ada".to_owned(),
        action: OperatorAction::Requeue,
        reason: "ours".to_owned(),
    };
    let key = EventKey::from_event_id(&alert_event_id("b-1", "u-1")).unwrap();
    it.world.stack.stores.operator.replay_quarantined(&key, &by).await.unwrap();
    it.world.run_relay().await.unwrap().unwrap();
    revoking.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await, ["rightfoot/batch/b-1/threshold-met/a"]);
}
