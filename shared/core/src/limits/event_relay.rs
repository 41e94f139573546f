//! Limits of event-relay: its batch size, its budget, its pauses.

/// Age at which the relay takes over a recorded event that is not on the queue.
pub const RELAY_AGE_MS: u64 = 30_000;
/// Longest delay between two attempts of the relay at one record.
pub const RELAY_BACKOFF_MAX_MS: u64 = 15 * 60 * 1_000;
/// Most messages in one relay batch (SQS's own limit).
pub const RELAY_BATCH_MESSAGES: usize = 10;
/// Most bytes in one relay batch (SQS allows 1 MiB).
pub const RELAY_BATCH_BYTES: usize = 900 * 1024;
/// Batches that a run relays at the same time.
pub const RELAY_CONCURRENCY: usize = 8;
/// Rejections of one record by SQS itself after which it is quarantined.
pub const RELAY_SQS_ERRORS_MAX: u64 = 10;
/// Time budget of one relay run.
pub const RELAY_BUDGET_SECS: u64 = 50;
/// Timeout of the relay function.
pub const RELAY_TIMEOUT_SECS: u64 = 60;
/// Memory of the relay function, in MB: its share of a processor grows with it, and a backlog needs that.
pub const RELAY_MEMORY_MB: u64 = 1_024;
/// Part of the invocation's time that a relay run does not use for new work: the last calls and the report.
pub const RELAY_RESERVE_MS: u64 = 8_000;
/// Time that calls in flight at the end of the budget may still take.
pub const RELAY_DRAIN_MS: u64 = 5_000;
/// Least time left of a claim for its record to be sent: enough for the send and the mark.
pub const CLAIM_MARGIN_MS: u64 = 5_000;
