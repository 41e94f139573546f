//! Limits of lateness: when `inboxctl doctor` reports what waits.

/// Lateness of a due item that is reported as a failure.
pub const LATE_AFTER_SECS: u64 = 5 * 60;
/// Age of a sent event that is reported as a warning: longer than a message is hidden and received again.
pub const SLOW_AFTER_SECS: u64 = 30 * 60;
