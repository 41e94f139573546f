//! Limits of fynapse-auditor: what it reads of the list of deliveries, and which deliveries it compares.

/// Deliveries requested per page.
pub const DELIVERY_PAGE_ROWS: usize = 100;
/// Most pages that a run reads. The next run goes on from there.
pub const DELIVERY_PAGES_PER_RUN: usize = 100;
/// Time for which Fynapse retries a delivery (shared/providers/fynapse.md, "Retries").
pub const DELIVERY_RETRIED_SECS: u64 = 72 * 3_600;
/// Time before the last complete check whose deliveries are read again: their state may have changed. It is longer than Fynapse retries
/// by more than the 14 hours that a time without a time zone may be wrong.
pub const DELIVERY_OVERLAP_SECS: u64 = 90 * 3_600;
/// An event that was not found, and is still not found this time later, is lost: the index of events lags.
pub const DELIVERY_SETTLE_SECS: u64 = 5 * 60;
/// Most absent events that are remembered for the next look. If there are more, the next check reads the same part of the list again.
pub const DELIVERY_ABSENT_MAX: usize = 100;
/// Most deliveries of which is remembered, after a crash, that they were reported. If there are more, all may be reported twice.
pub const DELIVERY_REPORTED_MAX: usize = 1_000;
/// Time before the first delivery from which events are searched: clocks differ, and so do time zones that a time does not name.
pub const DELIVERY_SEARCH_MARGIN_SECS: u64 = 24 * 3_600;
/// Age up to which a delivery is compared with the records: later, the record of its event may have expired.
pub const DELIVERY_COMPARABLE_SECS: u64 = 29 * 24 * 3_600;
/// Most index entries among which idempotency keys are searched.
pub const DELIVERY_KEYS_MAX: usize = 10_000;
/// Most quarantined deliveries whose bytes are searched for an event's id.
pub const QUARANTINED_COMPARED_MAX: usize = 100;
/// Days for which an API client's secret is valid by default (shared/providers/fynapse.md, "Management API").
pub const CREDENTIALS_VALID_DAYS: u64 = 90;
/// Days before the end of that from which an alarm is raised.
pub const CREDENTIALS_WARNING_DAYS: u64 = 14;
/// Age of the last complete check from which an operator has to act. The alarm `delivery-check-age` waits as long.
pub const DELIVERY_CHECK_AGE_MAX_SECS: u64 = 6 * 3_600;
/// Time between two runs.
pub const AUDITOR_INTERVAL_SECS: u64 = 15 * 60;
/// Time budget of one run.
pub const AUDITOR_BUDGET_SECS: u64 = 45;
/// Timeout of the function.
pub const AUDITOR_TIMEOUT_SECS: u64 = 60;
/// Part of the invocation's time that a run does not use: the last write, and the report.
pub const AUDITOR_RESERVE_MS: u64 = 10_000;
