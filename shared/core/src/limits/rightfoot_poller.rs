//! Limits of rightfoot-poller: its budget, its delays and deadlines, what it reads of one list.

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
/// Most bytes of their payloads that the poller loads. A payload larger than [`super::RIGHTFOOT_BODY_MAX_BYTES`] is
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
