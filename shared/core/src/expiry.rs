//! The earliest deletion of each kind of item (TTL).

use crate::limits::{
    AUDIT_RETENTION_DAYS, PARTS_MARGIN_DAYS, QUARANTINE_RETENTION_DAYS, RETENTION_MIN_DAYS,
    UNTRACKED_OPEN_DAYS,
};
use crate::time::{UnixMillis, UnixSecs};

/// The earliest deletion of a finished record.
pub fn record_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    // A record must outlive every message about its event.
    now.secs().plus_days(retention_days.max(RETENTION_MIN_DAYS))
}

/// The earliest deletion of the record of a quarantined event: later than the quarantined item that refers to
/// it.
pub fn quarantined_record_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(QUARANTINE_RETENTION_DAYS + 1))
}

/// The earliest deletion of a quarantined delivery.
pub fn quarantine_expiry(now: UnixMillis) -> UnixSecs {
    now.secs().plus_days(QUARANTINE_RETENTION_DAYS)
}

/// The earliest deletion of an audit entry: not before the record that it is about.
pub fn audit_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(AUDIT_RETENTION_DAYS))
}

/// The earliest deletion of a missed delivery that was found at `now`: as long as it is kept, it is not reported again.
pub fn missed_delivery_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    audit_expiry(now, retention_days)
}

/// The earliest deletion of payload parts that are referred to at `now`: later than everything that may refer
/// to them.
pub fn parts_expiry(now: UnixMillis, retention_days: u64) -> UnixSecs {
    now.secs().plus_days(retention_days.max(QUARANTINE_RETENTION_DAYS) + PARTS_MARGIN_DAYS)
}

/// The earliest deletion of an open-events item that is written at `now`.
pub fn open_events_expiry(now: UnixMillis) -> UnixSecs {
    now.secs().plus_days(UNTRACKED_OPEN_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expires_before_what_refers_to_it() {
        let now = UnixMillis(1_000);
        assert_eq!(record_expiry(now, 1), UnixSecs(1 + 30 * 86_400), "thirty days at the least");
        assert_eq!(record_expiry(now, 400), UnixSecs(1 + 400 * 86_400));
        assert_eq!(open_events_expiry(UnixMillis(1_000)), UnixSecs(1 + 2 * 86_400));
        for retention in [1, 30, 90, 400] {
            assert!(parts_expiry(now, retention) > record_expiry(now, retention));
            assert!(audit_expiry(now, retention) >= record_expiry(now, retention));
            assert!(parts_expiry(now, retention) > quarantine_expiry(now));
            assert!(parts_expiry(now, retention) > quarantined_record_expiry(now, retention));
            assert!(quarantined_record_expiry(now, retention) > quarantine_expiry(now));
        }
    }
}
