//! All limits of the system in one place; the relations between them are asserted at compile time.
//!
//! `template.yaml` repeats some of them; a tidy test compares the two.

/// Largest accepted body: what a Lambda invocation can carry.
pub const BODY_MAX_BYTES: usize = 6 * 1024 * 1024;
/// Largest accepted body from Rightfoot. Its largest documented webhook, an alert for a thousand authorizers
/// at about 170 bytes each, is a sixth of that.
pub const RIGHTFOOT_BODY_MAX_BYTES: usize = 1024 * 1024;
/// Largest `Webhook-Signature` header that is parsed.
pub const SIGNATURE_HEADER_MAX_BYTES: usize = 4 * 1024;
/// Most comma-separated elements in a `Webhook-Signature` header.
pub const SIGNATURE_ELEMENTS_MAX: usize = 16;
/// Most values accepted at the same time in one secret.
pub const SECRETS_MAX: usize = 4;
/// Default of the largest difference between a signature's `t` and now, in either direction.
pub const SIGNATURE_TOLERANCE_SECS: u64 = 300;
/// Longest accepted id or event type.
pub const ID_MAX_BYTES: usize = 512;
/// Longest subject of a Rightfoot URL.
pub const SUBJECT_MAX_BYTES: usize = 64;

/// Deadline for handling one delivery.
pub const DELIVERY_DEADLINE_MS: u64 = 4_500;
/// The part of [`DELIVERY_DEADLINE_MS`] for writing payload parts and record.
pub const RECORD_BUDGET_MS: u64 = 3_000;
/// The part of [`DELIVERY_DEADLINE_MS`] for sending the message and marking the record as sent.
pub const SEND_BUDGET_MS: u64 = 1_000;
/// With less time than this left, the receiver leaves sending to the relay.
pub const SEND_MIN_MS: u64 = 300;
/// Timeout of a webhook function.
pub const WEBHOOK_TIMEOUT_SECS: u64 = 10;
/// Budget of all warm-up calls of a cold start together.
pub const WARM_UP_BUDGET_MS: u64 = 2_000;

/// Age at which the relay takes over a recorded event that is not on the queue.
pub const RELAY_AGE_MS: u64 = 30_000;
/// Least time left of a claim for its record to be sent: enough for the send and the mark.
pub const CLAIM_MARGIN_MS: u64 = 5_000;
/// Longest delay between two attempts of the relay at one record.
pub const RELAY_BACKOFF_MAX_MS: u64 = 15 * 60 * 1_000;
/// Most messages in one relay batch (SQS's own limit).
pub const RELAY_BATCH_MESSAGES: usize = 10;
/// Most bytes in one relay batch (SQS allows 1 MiB).
pub const RELAY_BATCH_BYTES: usize = 900 * 1024;
/// Rejections of one record by SQS itself after which it is quarantined.
pub const RELAY_SQS_ERRORS_MAX: u64 = 10;
/// Time budget of one relay run.
pub const RELAY_BUDGET_SECS: u64 = 50;
/// Timeout of the relay function.
pub const RELAY_TIMEOUT_SECS: u64 = 60;
/// Part of the invocation's time that a relay run does not use for new work: the last calls and the report.
pub const RELAY_RESERVE_MS: u64 = 8_000;
/// Time that calls in flight at the end of the budget may still take.
pub const RELAY_DRAIN_MS: u64 = 5_000;
/// Earlier processing cycles of an event that its record keeps: the first, and the latest ones.
pub const PAST_CYCLES_MAX: usize = 10;
/// Items per query of the index, and per read (`BatchGetItem` takes a hundred).
pub const DUE_PAGE_ITEMS: usize = 50;

/// Calls to one service that a scan keeps in flight at the same time; as many connections are warmed up.
pub const CONCURRENT_CALLS: usize = 10;

/// Partitions over which due items are spread.
pub const DUE_SHARDS: u8 = 16;
/// Largest payload stored inside the record itself.
pub const INLINE_PAYLOAD_MAX_BYTES: usize = 4 * 1024;
/// Largest part of a payload that does not fit inline (an item may hold 400 KB).
pub const PART_MAX_BYTES: usize = 350 * 1024;
/// Largest message that carries its payload; a larger one carries a reference instead.
pub const MESSAGE_MAX_BYTES: usize = 200 * 1024;
/// SQS's own limit for a message and for a batch.
pub const SQS_MAX_BYTES: usize = 1024 * 1024;

/// Most pages of one list that are read: at a hundred rows each, more than the budget of a run allows.
pub const PAGES_MAX: usize = 400;
/// Rows requested per page (Rightfoot's own limit).
pub const PAGE_ROWS: usize = 100;

/// Delay from tracking a batch to its first poll.
pub const POLL_FIRST_DELAY_SECS: u64 = 10 * 60;
/// First delay between two polls of one batch; it grows.
pub const POLL_INTERVAL_SECS: u64 = 5 * 60;
/// Factor by which that delay grows at most.
pub const POLL_INTERVAL_MAX_FACTOR: u32 = 3;
/// Time after a run's completion during which an alert webhook may still arrive: Rightfoot's last documented
/// try is in the sixteenth minute.
pub const POLL_GRACE_SECS: u64 = 20 * 60;
/// Seconds after tracking starts when an incomplete batch becomes overdue.
pub const POLL_DEADLINE_SECS: u64 = 24 * 3_600;
/// Time budget of one poller run.
pub const POLL_BUDGET_SECS: u64 = 45;
/// Timeout of the poller function.
pub const POLL_TIMEOUT_SECS: u64 = 60;
/// Part of the invocation's time that a poller run does not use for new work: work in flight at the end of
/// the budget, and the report.
pub const POLL_RESERVE_MS: u64 = 14_000;
/// Time that work in flight at the end of the budget may still take.
pub const POLL_DRAIN_MS: u64 = 12_000;
/// Batches, schedules and submissions that a poller run processes at the same time.
pub const POLL_CONCURRENCY: usize = 8;
/// New runs of a schedule that are written in one transaction (DynamoDB takes a hundred items).
pub const RUNS_PER_POLL: usize = 20;
/// Most alert records of one batch that the poller reads. Alerts in the others are found again by polling,
/// and the worker publishes each only once.
pub const ALERT_RECORDS_MAX: usize = 1_000;
/// Most bytes of their payloads that the poller loads. A payload larger than [`RIGHTFOOT_BODY_MAX_BYTES`] is
/// not loaded at all.
pub const ALERT_PAYLOADS_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most deliveries of one webhook, by Rightfoot's documented retry times.
pub const ALERT_DELIVERY_TRIES_MAX: u64 = 6;
/// Most tries of the poller to write a schedule's new state while alerts change the item concurrently.
pub const SCHEDULE_UPDATE_TRIES_MAX: usize = 3;
/// Most authorizers whose history is read to find a schedule's runs.
pub const PROBES_MAX: usize = 10;

/// Pause of all requests to Rightfoot after a 429 without `Retry-After`: shorter than a minute, so that the
/// poller's next run continues.
pub const RATE_LIMIT_PAUSE_SECS: u64 = 30;

/// Most authorizers in one batch that is submitted as JSON (Rightfoot's own limit).
pub const AUTHORIZERS_MAX: usize = 1_000;
/// Most authorizers in any batch (Rightfoot's limit for CSV uploads).
pub const CSV_AUTHORIZERS_MAX: usize = 5_000;
/// Time after a submission when a still unknown outcome raises an alarm.
pub const SUBMISSION_DUE_SECS: u64 = 15 * 60;
/// Time within which repeating the same bytes is sure to give the same batch: Rightfoot remembers them for 24
/// h.
pub const SUBMISSION_REPEATABLE_SECS: u64 = 23 * 3_600;
/// Timeout of one submission to Rightfoot. It is not sent again after that.
pub const SUBMIT_TIMEOUT_SECS: u64 = 25;
/// Timeout of the requests function.
pub const REQUESTS_TIMEOUT_SECS: u64 = 60;

/// Most messages per invocation of the worker. It processes them concurrently.
pub const WORKER_BATCH_MESSAGES: usize = 10;
/// Budget for processing one message.
pub const PROCESSING_BUDGET_SECS: u64 = 60;
/// Timeout of the worker function.
pub const WORKER_TIMEOUT_SECS: u64 = 90;
/// Duration of a worker's claim: longer than the function that made it can run.
pub const PROCESSING_CLAIM_SECS: u64 = WORKER_TIMEOUT_SECS + 5;
/// First delay until a requeued event is due; it doubles.
pub const REQUEUE_DELAY_SECS: u64 = 60;
/// Longest delay until a requeued event is due.
pub const REQUEUE_DELAY_MAX_SECS: u64 = 15 * 60;
/// Least time between two equal snapshots of an untracked batch that show it to be complete.
pub const SNAPSHOTS_APART_MIN_SECS: u64 = 60;
/// Time after an event's delivery from which an answer without any row of its untracked batch ends it: a real
/// completion webhook is not hours ahead of the API.
pub const UNKNOWN_BATCH_DEADLINE_SECS: u64 = 2 * 3_600;
/// Most open events about untracked batches, per subject and day.
pub const UNTRACKED_OPEN_MAX: usize = 200;
/// Days that the list of these events is kept after one of them was last processed.
pub const UNTRACKED_OPEN_DAYS: u64 = 2;
/// Least time between two equal snapshots of an untracked batch that show that a missing alert row will not
/// come. An alert, unlike a completion, does not say that its batch is complete: rows may still be on their
/// way.
pub const ALERT_SNAPSHOTS_APART_MIN_SECS: u64 = 15 * 60;
/// Most alerts in one event that are accepted: far more than a run has authorizers.
pub const ALERTS_MAX: usize = 10_000;
/// Most publications of one alert that are remembered. At 24 bytes each they stay far below an item's 400 KB:
/// a mark that did not fit would be lost, and the alert published again and again.
pub const ALERT_PUBLISHERS_MAX: usize = 500;
/// Most items in one `BatchWriteItem` (DynamoDB's own limit).
pub const BALANCES_PER_WRITE: usize = 25;
/// Most entries in one `PutEvents` (EventBridge's own limit).
pub const BUS_ENTRIES_MAX: usize = 10;
/// Most bytes in one `PutEvents`, all entries together (EventBridge allows 256 KB).
pub const BUS_MAX_BYTES: usize = 200 * 1024;
/// Deepest nesting of a payload inside a message or a bus event; a deeper one is sent by reference.
/// EventBridge parses 1,000 levels, as do many consumers' parsers, and the envelope adds some.
pub const DATA_DEPTH_MAX: usize = 900;
/// Longest institution name that is published: it comes from the webhook alone, unconfirmed.
pub const INSTITUTION_MAX_CHARS: usize = 200;

/// Shortest retention of a finished record.
pub const RETENTION_MIN_DAYS: u64 = 30;
/// Retention of a quarantined delivery.
pub const QUARANTINE_RETENTION_DAYS: u64 = 90;
/// Additional retention of payload parts, beyond everything that may refer to them.
pub const PARTS_MARGIN_DAYS: u64 = 30;
/// Retention of a message on the queues.
pub const QUEUE_RETENTION_DAYS: u64 = 14;
/// Time that a received message is hidden from other receivers.
pub const VISIBILITY_SECS: u64 = 540;

/// Longest use of a loaded secret while it can be fetched again.
pub const SECRET_TTL_SECS: u64 = 300;
/// Age from which a secret is fetched again; a pause between two fetches still fits before its expiry.
pub const SECRET_REFRESH_SECS: u64 = 240;
/// Shortest pause between two fetches that a caller's mismatch can cause.
pub const SECRET_REFETCH_SECS: u64 = 30;
/// Shortest pause between two fetches while the secret was never loaded.
pub const SECRET_FIRST_LOAD_RETRY_MS: u64 = 1_000;

const _: () = {
    assert!(RECORD_BUDGET_MS + SEND_BUDGET_MS <= DELIVERY_DEADLINE_MS);
    assert!(SEND_MIN_MS < SEND_BUDGET_MS);
    assert!(DELIVERY_DEADLINE_MS < WEBHOOK_TIMEOUT_SECS * 1_000);
    // The relay must not take over a record while its receiver may still be running.
    assert!(WEBHOOK_TIMEOUT_SECS * 1_000 < RELAY_AGE_MS);
    assert!(RELAY_AGE_MS <= RELAY_BACKOFF_MAX_MS && CLAIM_MARGIN_MS < RELAY_AGE_MS);
    assert!(RELAY_DRAIN_MS < RELAY_RESERVE_MS && DUE_PAGE_ITEMS <= 100);
    // Relay and poller are started every minute: a run should be over before the next one starts.
    assert!(
        RELAY_BUDGET_SECS < 55 && RELAY_BUDGET_SECS * 1_000 + RELAY_RESERVE_MS <= RELAY_TIMEOUT_SECS * 1_000
    );
    // A batch has room for a message of any size.
    assert!(INLINE_PAYLOAD_MAX_BYTES < MESSAGE_MAX_BYTES && MESSAGE_MAX_BYTES < RELAY_BATCH_BYTES);
    assert!(RELAY_BATCH_BYTES < SQS_MAX_BYTES);
    // DynamoDB's limit of an item.
    assert!(PART_MAX_BYTES < 400_000);
    assert!(
        AUTHORIZERS_MAX * 170 * 6 <= RIGHTFOOT_BODY_MAX_BYTES && RIGHTFOOT_BODY_MAX_BYTES < BODY_MAX_BYTES
    );
    // The poller reads all alerts of a genuine batch, even if each authorizer's alert comes alone.
    assert!(RIGHTFOOT_BODY_MAX_BYTES <= ALERT_PAYLOADS_MAX_BYTES && AUTHORIZERS_MAX <= ALERT_RECORDS_MAX);
    // A record outlives every message about its event.
    assert!(QUEUE_RETENTION_DAYS < RETENTION_MIN_DAYS);
    assert!(POLL_BUDGET_SECS < 55 && POLL_DRAIN_MS < POLL_RESERVE_MS);
    assert!(POLL_BUDGET_SECS * 1_000 + POLL_RESERVE_MS <= POLL_TIMEOUT_SECS * 1_000);
    // The first poll of a batch comes before its deadline.
    assert!(POLL_FIRST_DELAY_SECS < POLL_DEADLINE_SECS);
    // The last try of a webhook, and our answer to it, are within the grace period.
    assert!(16 * 60 < POLL_GRACE_SECS && POLL_GRACE_SECS < POLL_DEADLINE_SECS);
    // The alarm about an unknown outcome comes while the submission can still be repeated.
    assert!(SUBMISSION_DUE_SECS < SUBMISSION_REPEATABLE_SECS && SUBMISSION_REPEATABLE_SECS < 24 * 3_600);
    // Two attempts, and the reads and writes around them.
    assert!(2 * SUBMIT_TIMEOUT_SECS + 8 < REQUESTS_TIMEOUT_SECS);
    // A transaction takes a hundred items, and the largest batch must be readable to its end.
    assert!(RUNS_PER_POLL < 100 && PAGES_MAX * PAGE_ROWS > CSV_AUTHORIZERS_MAX);
    assert!(AUTHORIZERS_MAX <= CSV_AUTHORIZERS_MAX);
    // A claim outlasts its worker, and ends before a returned message becomes visible again.
    assert!(PROCESSING_BUDGET_SECS < WORKER_TIMEOUT_SECS && WORKER_TIMEOUT_SECS < PROCESSING_CLAIM_SECS);
    // AWS recommends a visibility timeout of six times the function's timeout.
    assert!(PROCESSING_CLAIM_SECS < VISIBILITY_SECS && 6 * WORKER_TIMEOUT_SECS <= VISIBILITY_SECS);
    // A requeued event is due late enough for its next snapshot to count.
    assert!(SNAPSHOTS_APART_MIN_SECS <= REQUEUE_DELAY_SECS && REQUEUE_DELAY_SECS <= REQUEUE_DELAY_MAX_SECS);
    // An event requeued because of a pause is due after the pause.
    assert!(RATE_LIMIT_PAUSE_SECS < REQUEUE_DELAY_SECS);
    // An event about an unknown batch is tried several times before its deadline.
    assert!(REQUEUE_DELAY_MAX_SECS < UNKNOWN_BATCH_DEADLINE_SECS);
    assert!(UNKNOWN_BATCH_DEADLINE_SECS <= POLL_DEADLINE_SECS);
    // Longer than the longest pause that Rightfoot can ask for, a day; 22 bytes each stay far below an item's 400 KB.
    assert!(UNTRACKED_OPEN_DAYS > 1 && UNTRACKED_OPEN_MAX <= 1_000);
    // At the longest delay, two attempts at an alert are far enough apart for their snapshots to count.
    assert!(
        SNAPSHOTS_APART_MIN_SECS <= ALERT_SNAPSHOTS_APART_MIN_SECS
            && ALERT_SNAPSHOTS_APART_MIN_SECS <= REQUEUE_DELAY_MAX_SECS
    );
    // EventBridge's limits of size and nesting.
    assert!(BUS_MAX_BYTES < 256_000 && DATA_DEPTH_MAX < 1_000 && ID_MAX_BYTES < BUS_MAX_BYTES);
    // After a failed fetch there is time for another one before the copy is too old.
    assert!(SECRET_REFRESH_SECS + SECRET_REFETCH_SECS <= SECRET_TTL_SECS);
    // The index partition is chosen from one byte of a hash.
    assert!(DUE_SHARDS.is_power_of_two());
};
