//! Limits of event-worker: its batch size, its claims, its attempts, what it publishes.

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
/// Least time between two equal snapshots of an untracked batch that show that a missing alert row will not
/// come. An alert, unlike a completion, does not say that its batch is complete: rows may still be on their
/// way.
pub const ALERT_SNAPSHOTS_APART_MIN_SECS: u64 = 15 * 60;
/// Time after an event's delivery from which an answer without any row of its untracked batch ends it: a real
/// completion webhook is not hours ahead of the API.
pub const UNKNOWN_BATCH_DEADLINE_SECS: u64 = 2 * 3_600;
/// Most open events about untracked batches, per subject and day.
pub const UNTRACKED_OPEN_MAX: usize = 200;
/// Days that the list of these events is kept after one of them was last processed.
pub const UNTRACKED_OPEN_DAYS: u64 = 2;
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
