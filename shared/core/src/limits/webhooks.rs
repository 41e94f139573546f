//! Limits of the webhook functions: what a delivery may contain, and how long its handling may take.

/// Largest accepted body: what a Lambda invocation can carry.
pub const BODY_MAX_BYTES: usize = 6 * 1024 * 1024;
/// Largest accepted body from Rightfoot. Its largest documented webhook, an alert for a thousand authorizers
/// at about 170 bytes each, is a sixth of that.
pub const RIGHTFOOT_BODY_MAX_BYTES: usize = 1024 * 1024;
/// Largest `Webhook-Signature` header that is parsed.
pub const SIGNATURE_HEADER_MAX_BYTES: usize = 4 * 1024;
/// Most comma-separated elements in a `Webhook-Signature` header.
pub const SIGNATURE_ELEMENTS_MAX: usize = 16;
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
/// The part of [`DELIVERY_DEADLINE_MS`] for counting a duplicate; with less time left, it is not counted.
pub const DUPLICATE_COUNT_BUDGET_MS: u64 = 1_000;
/// Timeout of a webhook function.
pub const WEBHOOK_TIMEOUT_SECS: u64 = 10;
/// Budget of all warm-up calls of a cold start together.
pub const WARM_UP_BUDGET_MS: u64 = 2_000;
