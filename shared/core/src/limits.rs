//! Every bound of the system, with the relations between them checked at compile time.
//!
//! `template.yaml` repeats some of them; a tidy test compares the two.

/// Largest body that is taken in: what a Lambda invocation can carry.
pub const BODY_MAX_BYTES: usize = 6 * 1024 * 1024;
/// Largest body of Rightfoot's that is taken in. Its largest documented webhook, an alert of a thousand authorizers at some
/// 170 bytes each, is a sixth of that.
pub const RIGHTFOOT_BODY_MAX_BYTES: usize = 1024 * 1024;
/// Largest `Webhook-Signature` header that is parsed.
pub const SIGNATURE_HEADER_MAX_BYTES: usize = 4 * 1024;
/// Most comma-separated elements in a `Webhook-Signature` header.
pub const SIGNATURE_ELEMENTS_MAX: usize = 16;
/// Most values accepted at the same time in one secret.
pub const SECRETS_MAX: usize = 4;
/// How far a signature's `t` may lie from now, in either direction, unless configured otherwise.
pub const SIGNATURE_TOLERANCE_SECS: u64 = 300;
/// Longest id or event type that is taken as one.
pub const ID_MAX_BYTES: usize = 512;
/// Longest subject of a Rightfoot URL.
pub const SUBJECT_MAX_BYTES: usize = 64;

/// One deadline for a whole delivery.
pub const DELIVERY_DEADLINE_MS: u64 = 4_500;
/// Of which payload parts and record may take.
pub const RECORD_BUDGET_MS: u64 = 3_000;
/// Of which send and mark may take together.
pub const SEND_BUDGET_MS: u64 = 1_000;
/// With less than this left, sending is left to the relay.
pub const SEND_MIN_MS: u64 = 300;
/// Time-out of a webhook function.
pub const WEBHOOK_TIMEOUT_SECS: u64 = 10;
/// All warm-ups of a cold start together.
pub const WARM_UP_BUDGET_MS: u64 = 2_000;

/// Age at which a recorded event that is not on the queue becomes the relay's.
pub const RELAY_AGE_MS: u64 = 30_000;
/// What must be left of a claim before its record is sent: time for the send and the mark.
pub const CLAIM_MARGIN_MS: u64 = 5_000;
/// Longest pause between two attempts of the relay at one record.
pub const RELAY_BACKOFF_MAX_MS: u64 = 15 * 60 * 1_000;
/// Most messages in one relay batch (SQS's own limit).
pub const RELAY_BATCH_MESSAGES: usize = 10;
/// Most bytes in one relay batch (SQS allows 1 MiB).
pub const RELAY_BATCH_BYTES: usize = 900 * 1024;
/// Refusals of one record by SQS itself, after which it goes to quarantine.
pub const RELAY_SQS_ERRORS_MAX: u64 = 10;
/// Time budget of one relay run.
pub const RELAY_BUDGET_SECS: u64 = 50;
/// Time-out of the relay function.
pub const RELAY_TIMEOUT_SECS: u64 = 60;
/// What a relay run keeps back of its invocation's own time: the last calls end in it, and the report.
pub const RELAY_RESERVE_MS: u64 = 8_000;
/// How long the calls that are under way at the end of the budget may still take.
pub const RELAY_DRAIN_MS: u64 = 5_000;
/// Earlier cycles of an event that its record keeps: the first, and the latest ones.
pub const PAST_CYCLES_MAX: usize = 10;
/// Items that are asked of the index, or read, at a time (`BatchGetItem` takes a hundred).
pub const DUE_PAGE_ITEMS: usize = 50;

/// Calls to one service that a sweep has in flight at the same time: so many connections it warms up.
pub const CONCURRENT_CALLS: usize = 10;

/// Partitions over which due items are spread.
pub const DUE_SHARDS: u8 = 16;
/// Largest payload stored inside the record itself.
pub const INLINE_PAYLOAD_MAX_BYTES: usize = 4 * 1024;
/// Largest piece of a larger payload (an item may hold 400 KB).
pub const PART_MAX_BYTES: usize = 350 * 1024;
/// Largest message that carries its payload; a larger one carries a reference.
pub const MESSAGE_MAX_BYTES: usize = 200 * 1024;
/// SQS's own limit for a message and for a batch.
pub const SQS_MAX_BYTES: usize = 1024 * 1024;

/// Most pages of one list that are read: at a hundred rows each, more than the budget of a run allows.
pub const PAGES_MAX: usize = 400;
/// Rows asked for in one page (Rightfoot's own limit).
pub const PAGE_ROWS: usize = 100;

/// From tracking a batch to its first poll.
pub const POLL_FIRST_DELAY_SECS: u64 = 10 * 60;
/// Between two polls of one batch, at first.
pub const POLL_INTERVAL_SECS: u64 = 5 * 60;
/// How much longer the pause between two polls grows.
pub const POLL_INTERVAL_MAX_FACTOR: u32 = 3;
/// From a run's completion until no alert webhook is to be expected: Rightfoot's last documented try is in the
/// sixteenth minute.
pub const POLL_GRACE_SECS: u64 = 20 * 60;
/// From tracking a batch until it is overdue.
pub const POLL_DEADLINE_SECS: u64 = 24 * 3_600;
/// Time budget of one poller run.
pub const POLL_BUDGET_SECS: u64 = 45;
/// Time-out of the poller function.
pub const POLL_TIMEOUT_SECS: u64 = 60;
/// What a poller run keeps back of its invocation's own time: what is under way at the end of the budget ends
/// in it, and the report.
pub const POLL_RESERVE_MS: u64 = 14_000;
/// How long what is under way at the end of the budget may still take.
pub const POLL_DRAIN_MS: u64 = 12_000;
/// Stories that a poller run works on at the same time.
pub const POLL_CONCURRENCY: usize = 8;
/// New runs of a schedule that are written in one transaction (DynamoDB takes a hundred items).
pub const RUNS_PER_POLL: usize = 20;
/// Most alert records of one batch that the poller reads. Whom the others tell of it finds anew, and the worker acts once.
pub const ALERT_RECORDS_MAX: usize = 1_000;
/// Most bytes of their payloads that it loads. One larger than [`RIGHTFOOT_BODY_MAX_BYTES`] is not loaded at all.
pub const ALERT_PAYLOADS_MAX_BYTES: usize = 16 * 1024 * 1024;
/// How often Rightfoot tries to deliver one webhook, at most, by its documented times.
pub const ALERT_DELIVERY_TRIES_MAX: u64 = 6;
/// How often the poller tries to write down what it saw of a schedule, while alerts hurry that.
pub const SCHEDULE_UPDATE_TRIES_MAX: usize = 3;
/// Most authorizers whose history is asked in order to find a schedule's runs.
pub const PROBES_MAX: usize = 10;

/// How long nothing is asked of Rightfoot once it has asked for a pause without saying how long (429 without `Retry-After`):
/// shorter than a minute, so that the poller's next run goes on.
pub const RATE_LIMIT_PAUSE_SECS: u64 = 30;

/// Most authorizers in one batch that is submitted as JSON (Rightfoot's own limit).
pub const AUTHORIZERS_MAX: usize = 1_000;
/// Most authorizers in any batch: that of Rightfoot's CSV uploads.
pub const CSV_AUTHORIZERS_MAX: usize = 5_000;
/// From a submission until its unknown outcome alarms.
pub const SUBMISSION_DUE_SECS: u64 = 15 * 60;
/// How long the same bytes are sure to give the same batch: Rightfoot remembers them for 24 h.
pub const SUBMISSION_REPEATABLE_SECS: u64 = 23 * 3_600;
/// How long one submission to Rightfoot may take. None is sent again after that.
pub const SUBMIT_TIMEOUT_SECS: u64 = 25;
/// Time-out of the requests function.
pub const REQUESTS_TIMEOUT_SECS: u64 = 60;

/// Most messages that the worker is given at a time. It works on them at the same time.
pub const WORKER_BATCH_MESSAGES: usize = 10;
/// How long the work on one message may take.
pub const PROCESSING_BUDGET_SECS: u64 = 60;
/// Time-out of the worker function.
pub const WORKER_TIMEOUT_SECS: u64 = 90;
/// How long a worker's claim lasts: it outlives the function that made it.
pub const PROCESSING_CLAIM_SECS: u64 = WORKER_TIMEOUT_SECS + 5;
/// From putting an event back until it is due again, at first; it doubles.
pub const REQUEUE_DELAY_SECS: u64 = 60;
/// The longest that it grows to.
pub const REQUEUE_DELAY_MAX_SECS: u64 = 15 * 60;
/// How far two equal looks at an untracked batch must lie apart to show that it is complete.
pub const SNAPSHOTS_APART_MIN_SECS: u64 = 60;
/// From an event's delivery until an answer ends it that shows nothing of its batch, if nobody tracks that batch: who
/// announces one that is complete is not hours ahead of the API.
pub const UNKNOWN_BATCH_DEADLINE_SECS: u64 = 2 * 3_600;
/// Most events of one subject and day, about batches that nobody tracks, that are open at a time.
pub const UNTRACKED_OPEN_MAX: usize = 200;
/// How long it is known which those are after one of them was last worked on.
pub const UNTRACKED_OPEN_DAYS: u64 = 2;
/// How far two equal looks at an untracked batch must lie apart to show that what they do not show of an alert will not come.
/// An alert, unlike a completion, does not say that its batch is complete: its rows may still be on their way.
pub const ALERT_SNAPSHOTS_APART_MIN_SECS: u64 = 15 * 60;
/// Most alerts in one event that are looked at: far more than a run has authorizers.
pub const ALERTS_MAX: usize = 10_000;
/// How many publications of one alert are remembered. At 24 bytes each they are far from the 400 KB that an item may have: a
/// mark that did not fit would be lost, and the alert published again and again.
pub const ALERT_PUBLISHERS_MAX: usize = 500;
/// Most items in one `BatchWriteItem` (DynamoDB's own limit).
pub const BALANCES_PER_WRITE: usize = 25;
/// Most entries in one `PutEvents` (EventBridge's own limit).
pub const BUS_ENTRIES_MAX: usize = 10;
/// Most bytes in one `PutEvents`, all entries together (EventBridge allows 256 KB).
pub const BUS_MAX_BYTES: usize = 200 * 1024;
/// Deepest nesting of a payload that travels inside a message or an event on the bus; a deeper one goes by reference.
/// EventBridge reads 1,000 levels, as do many parsers of consumers, and what it is part of adds some.
pub const DATA_DEPTH_MAX: usize = 900;
/// Longest name of an institution that goes on the bus: it is a webhook's word, which nothing confirms.
pub const INSTITUTION_MAX_CHARS: usize = 200;

/// How long a finished record is kept at least.
pub const RETENTION_MIN_DAYS: u64 = 30;
/// How long a quarantined delivery is kept.
pub const QUARANTINE_RETENTION_DAYS: u64 = 90;
/// How much longer than anything that may refer to them payload parts are kept.
pub const PARTS_MARGIN_DAYS: u64 = 30;
/// How long the queues keep a message.
pub const QUEUE_RETENTION_DAYS: u64 = 14;
/// How long a received message is hidden from other receivers.
pub const VISIBILITY_SECS: u64 = 540;

/// How long a loaded secret is used at most while it can be fetched.
pub const SECRET_TTL_SECS: u64 = 300;
/// From this age on it is asked for again: a pause between two fetches still fits in.
pub const SECRET_REFRESH_SECS: u64 = 240;
/// Shortest pause between two fetches of a secret that a caller's mismatch can cause.
pub const SECRET_REFETCH_SECS: u64 = 30;
/// Shortest pause between two fetches while none was ever loaded.
pub const SECRET_FIRST_LOAD_RETRY_MS: u64 = 1_000;

const _: () = {
    assert!(RECORD_BUDGET_MS + SEND_BUDGET_MS <= DELIVERY_DEADLINE_MS);
    assert!(SEND_MIN_MS < SEND_BUDGET_MS);
    assert!(DELIVERY_DEADLINE_MS < WEBHOOK_TIMEOUT_SECS * 1_000);
    // A handler that is still at work must never meet the relay.
    assert!(WEBHOOK_TIMEOUT_SECS * 1_000 < RELAY_AGE_MS);
    assert!(RELAY_AGE_MS <= RELAY_BACKOFF_MAX_MS && CLAIM_MARGIN_MS < RELAY_AGE_MS);
    assert!(RELAY_DRAIN_MS < RELAY_RESERVE_MS && DUE_PAGE_ITEMS <= 100);
    assert!(
        RELAY_BUDGET_SECS < 55 && RELAY_BUDGET_SECS * 1_000 + RELAY_RESERVE_MS <= RELAY_TIMEOUT_SECS * 1_000
    );
    assert!(INLINE_PAYLOAD_MAX_BYTES < MESSAGE_MAX_BYTES && MESSAGE_MAX_BYTES < RELAY_BATCH_BYTES);
    assert!(RELAY_BATCH_BYTES < SQS_MAX_BYTES);
    assert!(PART_MAX_BYTES < 400_000);
    assert!(
        AUTHORIZERS_MAX * 170 * 6 <= RIGHTFOOT_BODY_MAX_BYTES && RIGHTFOOT_BODY_MAX_BYTES < BODY_MAX_BYTES
    );
    assert!(RIGHTFOOT_BODY_MAX_BYTES <= ALERT_PAYLOADS_MAX_BYTES && AUTHORIZERS_MAX <= ALERT_RECORDS_MAX);
    assert!(QUEUE_RETENTION_DAYS < RETENTION_MIN_DAYS);
    assert!(POLL_BUDGET_SECS < 55 && POLL_DRAIN_MS < POLL_RESERVE_MS);
    assert!(POLL_BUDGET_SECS * 1_000 + POLL_RESERVE_MS <= POLL_TIMEOUT_SECS * 1_000);
    assert!(POLL_FIRST_DELAY_SECS < POLL_DEADLINE_SECS);
    // The last try of a webhook, and its answer, lie within the grace.
    assert!(16 * 60 < POLL_GRACE_SECS && POLL_GRACE_SECS < POLL_DEADLINE_SECS);
    assert!(SUBMISSION_DUE_SECS < SUBMISSION_REPEATABLE_SECS && SUBMISSION_REPEATABLE_SECS < 24 * 3_600);
    // Two attempts, and what is read and written around them.
    assert!(2 * SUBMIT_TIMEOUT_SECS + 8 < REQUESTS_TIMEOUT_SECS);
    assert!(RUNS_PER_POLL < 100 && PAGES_MAX * PAGE_ROWS > CSV_AUTHORIZERS_MAX);
    assert!(AUTHORIZERS_MAX <= CSV_AUTHORIZERS_MAX);
    // A claim lives longer than who made it, and is over when a returned message is seen again.
    assert!(PROCESSING_BUDGET_SECS < WORKER_TIMEOUT_SECS && WORKER_TIMEOUT_SECS < PROCESSING_CLAIM_SECS);
    assert!(PROCESSING_CLAIM_SECS < VISIBILITY_SECS && 6 * WORKER_TIMEOUT_SECS <= VISIBILITY_SECS);
    // What is put back is looked at again late enough to count as another look.
    assert!(SNAPSHOTS_APART_MIN_SECS <= REQUEUE_DELAY_SECS && REQUEUE_DELAY_SECS <= REQUEUE_DELAY_MAX_SECS);
    // What is put back on account of a pause is not due before its end.
    assert!(RATE_LIMIT_PAUSE_SECS < REQUEUE_DELAY_SECS);
    assert!(REQUEUE_DELAY_MAX_SECS < UNKNOWN_BATCH_DEADLINE_SECS);
    assert!(UNKNOWN_BATCH_DEADLINE_SECS <= POLL_DEADLINE_SECS);
    // It outlasts the longest pause that Rightfoot can ask for, a day; and 22 bytes each are far from an item's 400 KB.
    assert!(UNTRACKED_OPEN_DAYS > 1 && UNTRACKED_OPEN_MAX <= 1_000);
    assert!(
        SNAPSHOTS_APART_MIN_SECS <= ALERT_SNAPSHOTS_APART_MIN_SECS
            && ALERT_SNAPSHOTS_APART_MIN_SECS <= REQUEUE_DELAY_MAX_SECS
    );
    assert!(BUS_MAX_BYTES < 256_000 && DATA_DEPTH_MAX < 1_000 && ID_MAX_BYTES < BUS_MAX_BYTES);
    assert!(SECRET_REFRESH_SECS + SECRET_REFETCH_SECS <= SECRET_TTL_SECS);
    // The index partition is chosen from one byte of a hash.
    assert!(DUE_SHARDS.is_power_of_two());
};
