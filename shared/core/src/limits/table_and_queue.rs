//! Limits of stored items and messages: their sizes, their retention, the shards of the index.

/// Largest payload stored inside the record itself.
pub const INLINE_PAYLOAD_MAX_BYTES: usize = 4 * 1024;
/// Largest part of a payload that does not fit inline (an item may hold 400 KB).
pub const PART_MAX_BYTES: usize = 350 * 1024;
/// Largest message that carries its payload; a larger one carries a reference instead.
pub const MESSAGE_MAX_BYTES: usize = 200 * 1024;
/// SQS's own limit for a message and for a batch.
pub const SQS_MAX_BYTES: usize = 1024 * 1024;
/// Earlier processing cycles of an event that its record keeps: the first, and the latest ones.
pub const PAST_CYCLES_MAX: usize = 10;
/// Partitions of an index over which the items of one kind are spread.
pub const INDEX_SHARDS: u8 = 16;
/// Items per query of the index, and per read (`BatchGetItem` takes a hundred).
pub const DUE_PAGE_ITEMS: usize = 50;
/// Calls to one service that a scan keeps in flight at the same time; as many connections are warmed up.
pub const CONCURRENT_CALLS: usize = 10;
/// Shortest retention of a finished record.
pub const RETENTION_MIN_DAYS: u64 = 30;
/// Retention of a quarantined delivery.
pub const QUARANTINE_RETENTION_DAYS: u64 = 90;
/// Retention of a balance, unless it is configured: a year to compare with, and a month to do it.
pub const BALANCES_RETENTION_DAYS: u64 = 400;
/// Retention of an audit entry: longer than a year.
pub const AUDIT_RETENTION_DAYS: u64 = 400;
/// Additional retention of payload parts, beyond everything that may refer to them.
pub const PARTS_MARGIN_DAYS: u64 = 30;
/// Time after which a payload part that no item names is not being stored any more: an item that names it is written seconds later.
pub const ORPHAN_AGE_MIN_SECS: u64 = 3_600;
/// Retention of a message on the queues.
pub const QUEUE_RETENTION_DAYS: u64 = 14;
/// Time that a received message is hidden from other receivers.
pub const VISIBILITY_SECS: u64 = 540;

/// Most index entries that a page of a list reads if it is filtered.
pub const LIST_EXAMINED_MAX: usize = 500;
/// Most batches whose events a list reads, if it is filtered by a schedule or an authorizer: the newest ones.
pub const SELECTED_BATCHES_MAX: usize = 100;
/// Most pages of tracked batches in which the runs of a schedule are looked for, each of [`LIST_EXAMINED_MAX`] entries at most.
pub const SCHEDULE_PAGES_MAX: usize = 5;
/// Index entries, the newest ones, among which an id is found by its beginning.
pub const ID_PREFIX_ENTRIES: usize = 10_000;
/// Most events in one bulk replay.
pub const BULK_REPLAY_MAX: usize = 10_000;
