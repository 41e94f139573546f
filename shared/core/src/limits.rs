//! The limits of the system, one file for each of its parts; the relations between them are asserted at compile time.
//!
//! `template.yaml` repeats some of them; a tidy test compares the two.

mod event_relay;
mod event_worker;
mod fynapse_auditor;
mod rightfoot_poller;
mod rightfoot_requests;
mod secrets;
mod table_and_queue;
mod webhooks;

pub use event_relay::*;
pub use event_worker::*;
pub use fynapse_auditor::*;
pub use rightfoot_poller::*;
pub use rightfoot_requests::*;
pub use secrets::*;
pub use table_and_queue::*;
pub use webhooks::*;

const _: () = {
    assert!(RECORD_BUDGET_MS + SEND_BUDGET_MS <= DELIVERY_DEADLINE_MS);
    assert!(SEND_MIN_MS < SEND_BUDGET_MS);
    assert!(RECORD_BUDGET_MS + DUPLICATE_COUNT_BUDGET_MS <= DELIVERY_DEADLINE_MS);
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
    assert!(AUDITOR_BUDGET_SECS * 1_000 + AUDITOR_RESERVE_MS <= AUDITOR_TIMEOUT_SECS * 1_000);
    assert!(AUDITOR_TIMEOUT_SECS < AUDITOR_INTERVAL_SECS);
    // A delivery that is still retried is within the overlap, and a compared one has not lost its record yet.
    assert!(
        DELIVERY_RETRIED_SECS < DELIVERY_OVERLAP_SECS
            && DELIVERY_COMPARABLE_SECS < RETENTION_MIN_DAYS * 86_400
    );
    assert!(
        DELIVERY_SETTLE_SECS < AUDITOR_INTERVAL_SECS && CREDENTIALS_WARNING_DAYS < CREDENTIALS_VALID_DAYS
    );
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
    assert!(INDEX_SHARDS.is_power_of_two());
};
