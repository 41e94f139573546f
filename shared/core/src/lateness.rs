//! When an item that waits for a function is late: what an operator should look at.

use std::time::Duration;

use crate::limits::{SUBMISSION_DUE_SECS, VISIBILITY_SECS};
use crate::time::UnixMillis;

/// Lateness of a due item that an operator should look at. The relay and the poller run every minute.
const LATE_AFTER_SECS: u64 = 5 * 60;
/// Age of a sent event that an operator should look at.
const SLOW_AFTER_SECS: u64 = 30 * 60;

/// Age of a message on the queue that an operator should look at: the alarm `oldest-message-age` has the same limit.
pub const MESSAGE_LATE_SECS: u64 = 15 * 60;

// A message that a crashed worker left is received again before its event counts as slow.
const _: () = assert!(2 * VISIBILITY_SECS < SLOW_AFTER_SECS);

/// Returns `true` if an item of a due queue is late.
pub fn is_late(due_at: UnixMillis, now: UnixMillis) -> bool {
    now.since(due_at) > Duration::from_secs(LATE_AFTER_SECS)
}

/// Returns `true` if the oldest message on the queue is so old that the worker should have received it.
pub fn is_message_late(age_secs: u64) -> bool {
    age_secs > MESSAGE_LATE_SECS
}

/// Returns `true` if an event was sent to the queue so long ago that the worker should have finished it.
pub fn is_processing_slow(sent_at: UnixMillis, now: UnixMillis) -> bool {
    now.since(sent_at) > Duration::from_secs(SLOW_AFTER_SECS)
}

/// The time before which an event must have been sent for [`is_processing_slow`].
pub fn slow_before(now: UnixMillis) -> UnixMillis {
    now.minus(Duration::from_secs(SLOW_AFTER_SECS))
}

/// Returns `true` if a submission was written so long ago that its outcome should be known. A younger one may still be in
/// progress.
pub fn is_outcome_late(written_at: UnixMillis, now: UnixMillis) -> bool {
    now.since(written_at) > Duration::from_secs(SUBMISSION_DUE_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_late_only_after_its_limit() {
        let verdicts = |minutes: i64, extra_ms: i64| {
            let now = UnixMillis(minutes * 60_000 + extra_ms);
            [is_late, is_outcome_late, is_processing_slow].map(|verdict| verdict(UnixMillis(0), now))
        };
        assert_eq!(verdicts(5, 0), [false, false, false]);
        assert_eq!(verdicts(5, 1), [true, false, false]);
        assert_eq!(verdicts(15, 0), [true, false, false]);
        assert_eq!(verdicts(15, 1), [true, true, false]);
        assert_eq!(verdicts(30, 0), [true, true, false]);
        assert_eq!(verdicts(30, 1), [true, true, true]);
        assert!(!is_late(UnixMillis(9), UnixMillis(5)), "due in the future");
    }
}
