//! The relay: recorded events that are not on the queue reach it, and no event delays the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use event_relay::relay::OutboxRelay;
use event_relay::relay_summary::RelaySummary;
use inbox_aws::queue::EventsQueue;
use inbox_aws::stores::{EventClaim, Table};
use inbox_core::event::EventKey;
use inbox_core::limits::RETENTION_MIN_DAYS;
use local::connector::Fault;
use local::stack::INBOX_TABLE;
use tests::{World, extract_body, number, random_hex, text};

const BUDGET: Duration = Duration::from_secs(50);

/// Records events whose send fails, and advances the clock until they are due.
async fn unsent_events(events: usize) -> World {
    let world = World::new().await;
    world.inject_fault("SendMessage", Fault::AccessDenied);
    for n in 0..events {
        assert_eq!(world.deliver_fynapse(extract_body(&format!("e-{n:04}"))).await.status, 200);
    }
    world.stack.connector.clear_fault_plan();
    world.stack.connector.clear_call_log();
    // One second past `RELAY_AGE_MS`, from which the relay takes over.
    world.advance(Duration::from_secs(31));
    world
}

async fn run_relay(world: &World, budget: Duration) -> RelaySummary {
    let clients = world.stack.unrestricted_clients();
    let table = Table::new(clients.dynamodb, INBOX_TABLE, RETENTION_MIN_DAYS);
    let queue = EventsQueue::new(clients.sqs, &world.stack.events_queue_url);
    OutboxRelay::new(table, queue, world.stack.clock.clone()).run(budget).await
}

fn counts(run: &RelaySummary) -> (usize, usize, usize, usize) {
    (run.due, run.sent, run.failed, run.remaining)
}

fn calls(world: &World, operation: &str) -> usize {
    world.stack.connector.call_log().iter().filter(|(call, _)| call.operation == operation).count()
}

#[tokio::test]
async fn p2_every_run_reports_what_it_found_sent_failed_and_left() {
    let world = unsent_events(25).await;
    let first = run_relay(&world, BUDGET).await;
    assert_eq!(counts(&first), (25, 25, 0, 0));
    assert_eq!(first.oldest_due_age_secs, 31);
    assert_eq!(calls(&world, "SendMessageBatch"), 3, "ten, ten, five");
    let second = run_relay(&world, BUDGET).await;
    assert_eq!((counts(&second), second.oldest_due_age_secs), ((0, 0, 0, 0), 0));
    assert_eq!(world.drain_event_ids().await.len(), 25);
    let report = world.run_relay().await.unwrap().unwrap();
    assert_eq!(report["remaining"], 0);
}

#[tokio::test]
async fn what_is_not_due_yet_is_left_to_its_handler() {
    let world = World::new().await;
    world.inject_fault("SendMessage", Fault::AccessDenied);
    world.deliver_fynapse(extract_body("e-1")).await;
    world.stack.connector.clear_fault_plan();
    // One second before `RELAY_AGE_MS`.
    world.advance(Duration::from_secs(29));
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (0, 0, 0, 0));
}

#[tokio::test]
async fn p2_a_failed_entry_of_a_batch_is_not_taken_for_sent() {
    let world = unsent_events(3).await;
    world.inject_fault("SendMessageBatch", Fault::FirstEntryFailed);
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (3, 2, 1, 0));
    assert_eq!(world.due_items().await.len(), 1);
    world.stack.connector.clear_fault_plan();
    world.drain_outbox().await;
    assert_eq!(
        world.drain_event_ids().await,
        ["fynapse/event/e-0000", "fynapse/event/e-0001", "fynapse/event/e-0002"]
    );
}

#[tokio::test]
async fn p2_unprocessed_reads_are_asked_for_again_and_otherwise_stay_due() {
    let world = unsent_events(3).await;
    let first_read = |world: &World| world.stack.connector.call_log().len();
    let seen = first_read(&world);
    world.stack.connector.set_fault_plan(move |call| {
        // The sixteen queries of the index come first, so only the first read fails.
        (call.operation == "BatchGetItem" && call.index < seen + 17).then_some(Fault::Unprocessed)
    });
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (3, 3, 0, 0), "asked for once more");

    let world = unsent_events(3).await;
    world.inject_fault("BatchGetItem", Fault::Unprocessed);
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (0, 0, 0, 3));
    assert_eq!(world.due_items().await.len(), 3);
    world.stack.connector.clear_fault_plan();
    world.drain_outbox().await;
    assert_eq!(world.drain_event_ids().await.len(), 3);
}

#[tokio::test]
async fn p7_a_record_that_sqs_refuses_ten_times_goes_to_quarantine_and_holds_up_nobody() {
    let world = unsent_events(4).await;
    world.stack.connector.set_fault_plan(|call| {
        let poison = call.event_ids.iter().any(|id| id.ends_with("e-0002"));
        (call.operation == "SendMessageBatch" && poison).then_some(Fault::InvalidMessage)
    });
    let first = run_relay(&world, BUDGET).await;
    assert_eq!(counts(&first), (4, 3, 1, 0), "the batch is refused as a whole, its other entries are not");
    for nth in 2..=10 {
        // Past `RELAY_BACKOFF_MAX_MS`, so that every attempt is due.
        world.advance(Duration::from_secs(901));
        let next = run_relay(&world, BUDGET).await;
        assert_eq!((next.due, next.sent, next.quarantined), (1, 0, usize::from(nth == 10)), "refusal {nth}");
        assert_eq!(
            next.oldest_due_age_secs,
            31 + 901 * (nth - 1),
            "from the delivery, not from the last attempt"
        );
    }
    world.advance(Duration::from_secs(901));
    assert_eq!(run_relay(&world, BUDGET).await.due, 0);
    assert_eq!(world.quarantined().await[0].0, "queue_refused");
    let items = world.items().await;
    let quarantined = items.iter().find(|item| text(item, "reason") == "queue_refused").unwrap();
    assert_eq!(quarantined["payload"].as_b().unwrap().as_ref(), extract_body("e-0002").as_bytes());
    assert_eq!(text(quarantined, "event_id"), "fynapse/event/e-0002");
    assert_eq!(
        world.drain_event_ids().await,
        ["fynapse/event/e-0000", "fynapse/event/e-0001", "fynapse/event/e-0003"]
    );
}

/// SQS accepted it once, although it rejects it now, and a worker has claimed it: if the relay quarantined it as
/// well, an operator's requeue would repeat the effect.
#[tokio::test]
async fn p10_a_record_that_a_worker_has_claimed_is_not_quarantined() {
    let world = unsent_events(1).await;
    let mut record = world.item("fynapse#event#e-0000", "event").await.unwrap();
    // The next rejection reaches `RELAY_SQS_ERRORS_MAX`.
    record.insert("undeliverable_count".to_owned(), AttributeValue::N("9".to_owned()));
    world.put_item(record).await;
    world.inject_fault("SendMessageBatch", Fault::InvalidMessage);
    let key = EventKey::from_event_id("fynapse/event/e-0000").unwrap();
    let claim = world.stack.stores.processing.claim_event(&key, world.now()).await.unwrap();
    assert!(matches!(claim, EventClaim::Acquired(_)));
    let while_claimed = run_relay(&world, BUDGET).await;
    assert_eq!((while_claimed.failed, while_claimed.quarantined), (1, 0));
    let record = world.item("fynapse#event#e-0000", "event").await.unwrap();
    assert!(record.contains_key("due") && !record.contains_key("quarantined_at"));

    world.advance(Duration::from_secs(901));
    assert_eq!(run_relay(&world, BUDGET).await.quarantined, 1, "the worker is gone");
}

#[tokio::test]
async fn p7_a_quarantined_record_is_counted_although_the_response_was_lost() {
    let world = unsent_events(1).await;
    let mut record = world.item("fynapse#event#e-0000", "event").await.unwrap();
    // The next rejection reaches `RELAY_SQS_ERRORS_MAX`.
    record.insert("undeliverable_count".to_owned(), AttributeValue::N("9".to_owned()));
    world.put_item(record).await;
    world.stack.connector.clear_call_log();
    let updates = AtomicUsize::new(0);
    world.stack.connector.set_fault_plan(move |call| match call.operation.as_str() {
        "SendMessageBatch" => Some(Fault::InvalidMessage),
        // The relay's updates: claim, count the rejection, store the item, quarantine.
        "UpdateItem" if updates.fetch_add(1, Ordering::SeqCst) == 3 => Some(Fault::TimeoutAfter),
        _ => None,
    });
    let last = run_relay(&world, BUDGET).await;
    assert_eq!((last.failed, last.quarantined), (0, 1));
}

#[tokio::test]
async fn p2_a_refused_entry_counts_and_an_outage_does_not() {
    let world = unsent_events(1).await;
    world.inject_fault("SendMessageBatch", Fault::AccessDenied);
    for _ in 0..12 {
        run_relay(&world, BUDGET).await;
        world.advance(Duration::from_secs(901));
    }
    let record = world.item("fynapse#event#e-0000", "event").await.unwrap();
    assert_eq!((number(&record, "attempts"), number(&record, "undeliverable_count")), (Some(12), None));
    world.inject_fault("SendMessageBatch", Fault::FirstEntryInvalid);
    run_relay(&world, BUDGET).await;
    let record = world.item("fynapse#event#e-0000", "event").await.unwrap();
    assert_eq!(number(&record, "undeliverable_count"), Some(1));
}

#[tokio::test]
async fn p2_attempts_back_off_up_to_a_quarter_of_an_hour() {
    let world = unsent_events(1).await;
    world.inject_fault("SendMessageBatch", Fault::AccessDenied);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert_eq!(run_relay(&world, BUDGET).await.failed, 1);
        let due_at = number(&world.due_items().await[0], "due_at").unwrap();
        pauses.push((due_at - world.now().0) / 1000);
        world.advance(Duration::from_secs(901));
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900]);
}

#[tokio::test]
async fn the_age_of_the_oldest_record_is_reported_between_two_attempts_too() {
    let world = unsent_events(1).await;
    world.inject_fault("SendMessageBatch", Fault::AccessDenied);
    assert_eq!(run_relay(&world, BUDGET).await.oldest_due_age_secs, 31);
    world.advance(Duration::from_secs(10));
    let between = run_relay(&world, BUDGET).await;
    assert_eq!(
        (counts(&between), between.oldest_due_age_secs),
        ((0, 0, 0, 0), 41),
        "put off, and not forgotten"
    );
}

#[tokio::test]
async fn p2_an_unreadable_record_is_reported_and_not_skipped() {
    let world = unsent_events(1).await;
    let mut record = world.item("fynapse#event#e-0000", "event").await.unwrap();
    record.insert("origin".to_owned(), aws_sdk_dynamodb::types::AttributeValue::S("telepathy".to_owned()));
    world.put_item(record).await;
    let report = run_relay(&world, BUDGET).await;
    assert_eq!(counts(&report), (1, 0, 1, 0));
    assert_eq!(report.first_error.unwrap().to_string(), "dynamodb:BatchGetItem: unreadable item");
    assert_eq!(report.oldest_due_age_secs, 1, "counted from its due time: the relay is running");
    assert_eq!(world.due_items().await.len(), 1);
}

#[tokio::test]
async fn p3_a_claim_that_is_about_to_run_out_is_not_used() {
    let world = unsent_events(1).await;
    let slow = world.clone();
    world.stack.connector.set_fault_plan(move |call| {
        if call.operation == "UpdateItem" {
            // Leaves less than `CLAIM_MARGIN_MS` of the claim.
            slow.advance(Duration::from_secs(26));
        }
        None
    });
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (1, 0, 0, 1), "four of thirty seconds are left");
    world.stack.connector.clear_fault_plan();
    world.drain_outbox().await;
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-0000"]);
}

#[tokio::test]
async fn a_queue_that_is_down_ends_the_run_before_it_puts_off_every_record() {
    let world = unsent_events(120).await;
    world.inject_fault("SendMessageBatch", Fault::AccessDenied);
    let down = run_relay(&world, BUDGET).await;
    // The run ended after it had read 50 items (`DUE_PAGE_ITEMS`) and claimed ten (`RELAY_BATCH_MESSAGES`).
    assert_eq!(counts(&down), (50, 0, 10, 110));
    assert_eq!(
        down.first_error.unwrap().to_string(),
        "sqs:SendMessage: AccessDeniedException",
        "names the permission"
    );
    world.stack.connector.clear_fault_plan();
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (110, 110, 0, 0), "the others were not put off");
    world.drain_outbox().await;
    assert_eq!(world.drain_event_ids().await.len(), 120);
}

#[tokio::test]
async fn a_queue_that_goes_down_in_a_run_puts_off_only_the_batches_that_are_on_their_way() {
    let world = unsent_events(120).await;
    let batches = AtomicUsize::new(0);
    world.stack.connector.set_fault_plan(move |call| {
        let is_first = || batches.fetch_add(1, Ordering::SeqCst) == 0;
        (call.operation == "SendMessageBatch" && !is_first()).then_some(Fault::AccessDenied)
    });
    let run = run_relay(&world, BUDGET).await;
    // The first batch goes alone, then eight at most side by side (`RELAY_CONCURRENCY`).
    assert_eq!((run.sent, run.failed + run.remaining), (10, 110));
    assert!((10..=80).contains(&run.failed), "{run:?}");
    world.stack.connector.clear_fault_plan();
    assert_eq!(run_relay(&world, BUDGET).await.sent, run.remaining, "these were not put off");
    world.drain_outbox().await;
    assert_eq!(world.drain_event_ids().await.len(), 120);
}

#[tokio::test]
async fn a_run_stays_in_its_time_budget_and_leaves_the_rest_due() {
    let world = unsent_events(120).await;
    assert_eq!(counts(&run_relay(&world, Duration::ZERO).await), (0, 0, 0, 120));
    assert_eq!(calls(&world, "UpdateItem"), 0, "nothing is claimed that cannot be sent");
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (120, 120, 0, 0));
    assert_eq!(world.drain_event_ids().await.len(), 120);
}

#[tokio::test]
async fn p2_batches_keep_both_of_sqs_limits() {
    let world = World::new().await;
    world.inject_fault("SendMessage", Fault::AccessDenied);
    for n in 0..12 {
        let body =
            extract_body(&format!("e-{n:04}")).replace("150.00", &format!("\"{}\"", random_hex(190_000, n)));
        assert_eq!(world.deliver_fynapse(&body).await.status, 200);
    }
    world.stack.connector.clear_fault_plan();
    world.stack.connector.clear_call_log();
    world.advance(Duration::from_secs(31));
    assert_eq!(counts(&run_relay(&world, BUDGET).await), (12, 12, 0, 0));
    let sizes: Vec<_> = world
        .stack
        .connector
        .call_log()
        .into_iter()
        .filter(|(call, _)| call.operation == "SendMessageBatch")
        .map(|(call, _)| call.event_ids.len())
        .collect();
    assert_eq!(
        sizes,
        [4, 4, 2, 2],
        "four of 190 kB fit into 900 KiB, five do not; ten are claimed at a time"
    );
}

#[tokio::test]
async fn p2_parts_outlive_a_record_that_could_not_be_sent_for_months() {
    let world = World::new().await;
    world
        .stack
        .connector
        .set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::AccessDenied));
    let body = extract_body("e-1").replace("150.00", &format!("\"{}\"", random_hex(10_000, 1)));
    world.deliver_fynapse(&body).await;
    for _ in 0..10 {
        world.advance(Duration::from_secs(40 * 86_400));
        run_relay(&world, BUDGET).await;
    }
    let record = world.item("fynapse#event#e-1", "event").await.unwrap();
    assert_eq!(number(&record, "expires_at"), None, "a due item never expires");
    world.stack.connector.clear_fault_plan();
    world.drain_outbox().await;
    let items = world.items().await;
    let expiry = |prefix: &str| {
        let item = items.iter().find(|item| text(item, "pk").starts_with(prefix)).unwrap();
        number(item, "expires_at").unwrap()
    };
    assert!(expiry("payload#") > expiry("fynapse#event#"));
    assert!(world.drain_queue().await[0].body.ends_with(&format!("\"data\":{body}}}")));
}
