//! Reads of an index whose items are spread over shards: one list in order of time, however many shards there are.

use std::cmp::Ordering;

use futures::stream::{self, StreamExt, TryStreamExt};

use inbox_core::limits::CONCURRENT_CALLS;
use inbox_core::time::UnixMillis;

use super::list_cursor::ListCursor;
use crate::AwsError;
use crate::table::attribute::Attribute;
use crate::table::expression::Condition;
use crate::table::key::Key;
use crate::table::value::{Item, read};
use crate::table::{QUERY, Table};

/// An index of the table: its name, its partition key, and the time that is its sort key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardedIndex {
    pub(crate) name: &'static str,
    pub(crate) partition: Attribute,
    pub(crate) time: Attribute,
}

/// The index `listed`.
pub(crate) const LISTED: ShardedIndex =
    ShardedIndex { name: "listed", partition: Attribute::Listed, time: Attribute::ListedAt };

/// Entries of a query beyond those that are wanted: the item of the cursor, and one that shows where the last complete time ends.
const UNWANTED: usize = 2;

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeOrder {
    OldestFirst,
    NewestFirst,
}

/// The part of an index that is read, and from which end.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) order: TimeOrder,
    /// Only items of this time or later.
    pub(crate) since: Option<UnixMillis>,
    /// Only items before this time.
    pub(crate) until: Option<UnixMillis>,
    /// Only items beyond this one, in the order of the span.
    pub(crate) after: Option<ListCursor>,
}

/// An entry of the index: its place in the list, and its attributes.
pub(crate) struct IndexEntry {
    pub(crate) place: ListCursor,
    pub(crate) attributes: Item,
}

/// The first entries of a span, in its order and without a gap.
pub(crate) struct IndexWindow {
    pub(crate) entries: Vec<IndexEntry>,
    /// True if the span has more entries.
    pub(crate) has_more: bool,
}

/// The first entries of one shard.
struct ShardEntries {
    entries: Vec<IndexEntry>,
    /// The time up to which entries may be missing; `None` if the shard was read to its end.
    horizon: Option<UnixMillis>,
}

impl TimeOrder {
    /// Compares two values in this order.
    fn compare<T: Ord>(self, one: &T, other: &T) -> Ordering {
        match self {
            Self::OldestFirst => one.cmp(other),
            Self::NewestFirst => other.cmp(one),
        }
    }
}

impl Span {
    /// The times that are read, both included.
    fn bounds(&self) -> (UnixMillis, UnixMillis) {
        let since = self.since.unwrap_or(UnixMillis(0));
        let until = self.until.map_or(UnixMillis(i64::MAX), |until| UnixMillis(until.0.saturating_sub(1)));
        match (self.order, &self.after) {
            (_, None) => (since, until),
            // Several entries may have the time of the cursor: those up to it are dropped after the read.
            (TimeOrder::OldestFirst, Some(after)) => (since.max(after.at), until),
            (TimeOrder::NewestFirst, Some(after)) => (since, until.min(after.at)),
        }
    }

    fn is_beyond_cursor(&self, place: &ListCursor) -> bool {
        self.after.as_ref().is_none_or(|after| self.order.compare(place, after) == Ordering::Greater)
    }
}

impl ShardedIndex {
    /// Reads the first entries of a span over all these shards: at least `wanted`, unless there are fewer. One query for each
    /// shard, unless several entries of a shard have the same millisecond.
    pub(crate) async fn window(
        self,
        table: &Table,
        shards: impl Iterator<Item = String>,
        span: &Span,
        wanted: usize,
    ) -> Result<IndexWindow, AwsError> {
        let (since, until) = span.bounds();
        if since > until {
            return Ok(IndexWindow { entries: Vec::new(), has_more: false });
        }
        let shards: Vec<_> = stream::iter(shards)
            .map(async |shard| self.shard_entries(table, &shard, span, wanted).await)
            .buffered(CONCURRENT_CALLS)
            .try_collect()
            .await?;
        // Beyond the horizon that comes first, an entry may be missing.
        let horizon = shards.iter().filter_map(|it| it.horizon).min_by(|a, b| span.order.compare(a, b));
        let mut entries: Vec<_> = shards.into_iter().flat_map(|it| it.entries).collect();
        entries.retain(|entry| {
            horizon.is_none_or(|horizon| span.order.compare(&entry.place.at, &horizon) == Ordering::Less)
        });
        entries.sort_by(|one, other| span.order.compare(&one.place, &other.place));
        Ok(IndexWindow { entries, has_more: horizon.is_some() })
    }

    async fn shard_entries(
        self,
        table: &Table,
        shard: &str,
        span: &Span,
        wanted: usize,
    ) -> Result<ShardEntries, AwsError> {
        let (since, until) = span.bounds();
        let in_range = self.partition.equals(shard).and(self.time.is_between(&since, &until));
        let (mut entries, mut start) = (Vec::<IndexEntry>::new(), None);
        loop {
            let page = self.query_page(table, &in_range, span.order, start, wanted).await?;
            let page_entries = page.0.into_iter().filter_map(|item| self.entry(item));
            entries.extend(page_entries.filter(|entry| span.is_beyond_cursor(&entry.place)));
            start = page.1;
            if start.is_none() {
                return Ok(ShardEntries { entries, horizon: None });
            }
            // The next page may go on with the time of the last entry, so what is complete ends before it.
            let horizon = entries.last().map(|last| last.place.at);
            let complete = entries.iter().take_while(|entry| Some(entry.place.at) != horizon).count();
            if complete >= wanted {
                return Ok(ShardEntries { entries, horizon });
            }
        }
    }

    async fn query_page(
        self,
        table: &Table,
        in_range: &Condition,
        order: TimeOrder,
        start: Option<Item>,
        wanted: usize,
    ) -> Result<(Vec<Item>, Option<Item>), AwsError> {
        let query = table
            .query(in_range, &[])
            .index_name(self.name)
            .limit(i32::try_from(wanted.saturating_add(UNWANTED)).unwrap_or(i32::MAX))
            .scan_index_forward(order == TimeOrder::OldestFirst)
            .set_exclusive_start_key(start);
        let page = query.send().await.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }

    fn entry(self, attributes: Item) -> Option<IndexEntry> {
        let Key { pk, sk } = Key::of_item(&attributes)?;
        let place = ListCursor { at: read(&attributes, self.time)?, pk, sk };
        Some(IndexEntry { place, attributes })
    }
}
