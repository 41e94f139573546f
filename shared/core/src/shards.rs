//! Partitions of the table's indexes: a family of items is spread over a fixed number of shards.

use sha2::{Digest, Sha256};

use crate::limits::INDEX_SHARDS;

/// The partition of a family in which an item with this partition key is.
pub(crate) fn shard(family: &str, pk: &str) -> String {
    // Items hash evenly over the shards, so that no partition of an index gets all writes.
    let byte = Sha256::digest(pk.as_bytes()).first().copied().unwrap_or(0);
    partition(family, byte % INDEX_SHARDS)
}

/// Every partition of a family; all of them must be read.
pub(crate) fn shards(family: &'static str) -> impl Iterator<Item = String> {
    (0..INDEX_SHARDS).map(move |shard| partition(family, shard))
}

fn partition(family: &str, shard: u8) -> String {
    format!("{family}#{shard:02}")
}
