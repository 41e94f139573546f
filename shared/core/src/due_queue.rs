//! The index `due`: its partitions, and when the relay takes a record from it.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::limits::{RELAY_AGE_MS, RELAY_BACKOFF_MAX_MS};
use crate::shards;
use crate::time::UnixMillis;

/// A family of partitions of the index `due`, named after the function or people that process its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DueQueue {
    /// Recorded events that are not enqueued, for the relay.
    Outbox,
    /// Batches, schedules and submissions with something still unknown, for the poller.
    Poll,
    /// Quarantined deliveries and events, for the operators.
    Quarantine,
}

impl DueQueue {
    /// Every family.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name used in the index.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The partition of the index `due` for items with this partition key.
    pub fn shard(self, pk: &str) -> String {
        shards::shard(self.as_str(), pk)
    }

    /// Every partition of the family; all of them must be read.
    pub fn shards(self) -> impl Iterator<Item = String> {
        shards::shards(self.as_str())
    }
}

/// The time from which the relay takes over a new record.
pub fn first_due_at(received_at: UnixMillis) -> UnixMillis {
    received_at.plus(Duration::from_millis(RELAY_AGE_MS))
}

/// The end of the relay's claim on a record that it has claimed `attempts` times before: after 30 s, doubling
/// up to 15 min. Then it tries again.
pub fn next_due_at(now: UnixMillis, attempts: u64) -> UnixMillis {
    // The cap keeps the shift from overflowing; the longest delay is reached far below it.
    let doublings = u32::try_from(attempts.min(20)).unwrap_or(20);
    let pause_ms = RELAY_AGE_MS.saturating_mul(1 << doublings).min(RELAY_BACKOFF_MAX_MS);
    now.plus(Duration::from_millis(pause_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_items_spread_over_every_shard_of_their_queue() {
        for (queue, first, last) in [
            (DueQueue::Outbox, "outbox#00", "outbox#15"),
            (DueQueue::Poll, "poll#00", "poll#15"),
            (DueQueue::Quarantine, "quarantine#00", "quarantine#15"),
        ] {
            let used: std::collections::BTreeSet<_> =
                (0..500).map(|n| queue.shard(&format!("fynapse#event#{n}"))).collect();
            assert_eq!(used, queue.shards().collect());
            assert_eq!(queue.shards().next().as_deref(), Some(first));
            assert_eq!(queue.shards().last().as_deref(), Some(last));
        }
    }

    #[test]
    fn p2_relay_retries_back_off_up_to_fifteen_minutes() {
        let pause = |attempts| next_due_at(UnixMillis(0), attempts).0 / 1_000;
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(pause), [30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(pause(u64::MAX), 900);
        assert_eq!(first_due_at(UnixMillis(5)), UnixMillis(30_005));
    }
}
