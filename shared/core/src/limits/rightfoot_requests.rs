//! Limits of rightfoot-requests: the size of a submission, and when its outcome must be known.

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
