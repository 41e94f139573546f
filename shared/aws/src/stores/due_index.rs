//! The index `due`: the items that have work left, by queue and time.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures::stream::{self, StreamExt};

use inbox_core::due_queue::DueQueue;
use inbox_core::limits::{CONCURRENT_CALLS, DUE_PAGE_ITEMS};
use inbox_core::time::UnixMillis;

use super::list_cursor::ListCursor;
use super::sharded_index::{ShardedIndex, Span, TimeOrder};
use crate::AwsError;
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::expression::Condition;
use crate::table::key::Key;
use crate::table::value::{Item, read};
use crate::table::{QUERY, Table};

/// The index.
pub(super) const INDEX: ShardedIndex =
    ShardedIndex { name: "due", partition: Attribute::Due, time: Attribute::DueAt };

/// Reads the index `due`. It may lag behind the table, and it is not read strongly consistently, so callers read the items
/// themselves again.
#[derive(Clone, Debug)]
pub struct DueIndex {
    table: Table,
}

/// The key of an item in the index, and the time at which it is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueKey {
    /// The time from which on it has work to do.
    pub due_at: UnixMillis,
    /// The partition key in the table.
    pub pk: String,
    /// The sort key in the table.
    pub sk: String,
}

impl DueKey {
    fn from_item(item: &Item) -> Option<Self> {
        let Key { pk, sk } = Key::of_item(item)?;
        Some(Self { pk, sk, due_at: read(item, Attribute::DueAt)? })
    }
}

/// A scan of all shards of one due queue, page by page.
#[derive(Debug)]
pub struct DueScan {
    remaining: Vec<(String, Option<Item>)>,
    /// True if items that are due only later are read, too.
    includes_future: bool,
}

/// One page of every shard that had more.
#[derive(Debug, Default)]
pub struct DuePage {
    /// The due items, the one that is due for longest first.
    pub due: Vec<DueKey>,
    /// The items that are due later; empty unless the scan includes them.
    pub not_yet_due: Vec<DueKey>,
    /// Errors of single shards, which are left to the next run.
    pub errors: Vec<AwsError>,
}

impl DueScan {
    /// Creates a scan of the due items.
    pub fn new(queue: DueQueue) -> Self {
        Self { remaining: queue.shards().map(|shard| (shard, None)).collect(), includes_future: false }
    }

    /// Creates a scan of the due items and of those that are due later.
    pub fn including_future(queue: DueQueue) -> Self {
        Self { includes_future: true, ..Self::new(queue) }
    }

    /// Returns `true` if every shard was read to its end.
    pub fn is_exhausted(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Reads one page of every shard that has more.
    pub async fn next_page(&mut self, index: &DueIndex, now: UnixMillis) -> DuePage {
        let until = (!self.includes_future).then_some(now);
        let pages: Vec<_> = stream::iter(std::mem::take(&mut self.remaining))
            .map(async |(shard, start)| {
                let page = index.query_page(&shard, until, start).await;
                (shard, page)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut due_page = DuePage::default();
        for (shard, page) in pages {
            match page {
                Ok((items, next)) => {
                    let (due, later): (Vec<_>, Vec<_>) =
                        items.into_iter().partition(|item| item.due_at <= now);
                    // A page is sorted by time: if it holds an item that is not due, no later page holds a due
                    // one.
                    self.remaining.extend(next.filter(|_| later.is_empty()).map(|next| (shard, Some(next))));
                    due_page.due.extend(due);
                    due_page.not_yet_due.extend(later);
                }
                Err(error) => due_page.errors.push(error),
            }
        }
        due_page.due.sort_by_key(|item| item.due_at);
        due_page
    }
}

impl DueIndex {
    /// The actions of this store.
    pub const ACTIONS: Actions = &[(Resource::DueIndex, &["dynamodb:Query"])];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Lists the items of a due queue, due or not, the one that is due for longest first: at most `limit`,
    /// after `after`.
    ///
    /// The boolean is `true` if there are more.
    pub async fn list_due_keys(
        &self,
        queue: DueQueue,
        after: Option<&DueKey>,
        limit: usize,
    ) -> Result<(Vec<DueKey>, bool), AwsError> {
        let after = after.map(|it| ListCursor { at: it.due_at, pk: it.pk.clone(), sk: it.sk.clone() });
        let span = Span { order: TimeOrder::OldestFirst, since: None, until: None, after };
        let window = INDEX.window(&self.table, queue.shards(), &span, limit).await?;
        let has_more = window.has_more || window.entries.len() > limit;
        let places = window.entries.into_iter().take(limit).map(|entry| entry.place);
        let due_keys = places.map(|place| DueKey { due_at: place.at, pk: place.pk, sk: place.sk });
        Ok((due_keys.collect(), has_more))
    }

    /// Reads one page of a shard, the item that is due for longest first, and the start of the next page.
    async fn query_page(
        &self,
        shard: &str,
        until: Option<UnixMillis>,
        start: Option<Item>,
    ) -> Result<(Vec<DueKey>, Option<Item>), AwsError> {
        let in_shard = Attribute::Due.equals(shard);
        let in_range = match until {
            Some(until) => in_shard.and(Attribute::DueAt.is_at_most(&until)),
            None => in_shard,
        };
        let page = self.query(&in_range, start).send().await;
        let page = page.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
        let due_keys = page.items().iter().filter_map(DueKey::from_item).collect();
        Ok((due_keys, page.last_evaluated_key))
    }

    fn query(&self, key_condition: &Condition, start: Option<Item>) -> QueryFluentBuilder {
        self.table
            .query(key_condition, &[])
            .index_name(INDEX.name)
            .limit(i32::try_from(DUE_PAGE_ITEMS).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
    }
}
