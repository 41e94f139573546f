//! The index `listed`: the kinds of items that operators list by time, and their partitions.

use strum::{IntoStaticStr, VariantArray};

use crate::event::EventKey;
use crate::quarantine::QuarantineId;
use crate::shards;
use crate::table_keys::MISSED_DELIVERY_PK_PREFIX;

/// A kind of items in the index `listed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ListKind {
    /// Recorded events, by the time of their receipt.
    Event,
    /// Batches that are or were tracked, by the time at which tracking began.
    Batch,
    /// Schedules that are or were tracked, by the time at which tracking began.
    Schedule,
    /// Submissions, by the time at which they were written.
    Submission,
    /// Quarantined deliveries and events, by the time at which their bytes were first received.
    Quarantine,
    /// Deliveries that Fynapse did not make, or whose event is not here, by the time at which that was found.
    MissedDelivery,
    /// Audit entries, by the time of the operator's action.
    Audit,
}

impl ListKind {
    /// Every kind.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name used in the index.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The id of the item with this key, as operators name it; `None` if it is of another kind, or has no such id, as audit entries.
    pub fn item_id(self, pk: &str, sk: &str) -> Option<String> {
        let tracked = |prefix: &str| pk.strip_prefix(prefix).map(str::to_owned);
        match self {
            Self::Event => EventKey::from_table_key(pk, sk).map(|key| key.event_id()),
            Self::Batch => tracked("rightfoot#batch#"),
            Self::Schedule => tracked("rightfoot#schedule#"),
            Self::Submission => tracked("rightfoot#submission#"),
            Self::Quarantine => QuarantineId::from_pk(pk).map(|id| id.to_string()),
            Self::MissedDelivery => tracked(MISSED_DELIVERY_PK_PREFIX),
            Self::Audit => None,
        }
    }

    /// The partition of the index for items with this partition key.
    pub fn shard(self, pk: &str) -> String {
        shards::shard(self.as_str(), pk)
    }

    /// Every partition of the kind; all of them must be read.
    pub fn shards(self) -> impl Iterator<Item = String> {
        shards::shards(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_items_spread_over_every_shard_of_their_kind() {
        for kind in ListKind::ALL {
            let used: std::collections::BTreeSet<_> =
                (0..500).map(|n| kind.shard(&format!("fynapse#event#{n}"))).collect();
            assert_eq!(used, kind.shards().collect());
            assert_eq!(used.len(), 16);
        }
        assert_eq!(ListKind::Event.shards().next().as_deref(), Some("event#00"));
    }
}
