//! The index of what is due: who has to look after what, and since when.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures::stream::{self, StreamExt, TryStreamExt};

use inbox_core::inbox::DueQueue;
use inbox_core::limits::{CONCURRENT_CALLS, DUE_PAGE_ITEMS};
use inbox_core::time::UnixMillis;

use super::Inbox;
use crate::AwsError;
use crate::item::{self, Item, number, text};

const QUERY: &str = "dynamodb:Query";
/// The index of what is due.
const INDEX: &str = "due";

/// The key of an item that the index says waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueKey {
    /// From when on something is to be done with it.
    pub due_at: UnixMillis,
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl DueKey {
    fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            pk: item::string(item, "pk")?.to_owned(),
            sk: item::string(item, "sk")?.to_owned(),
            due_at: UnixMillis(item::parsed_number(item, "due_at")?),
        })
    }
}

/// Which of what waits comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DueOrder {
    OldestFirst,
    NewestFirst,
}

/// How far each partition of a desk has been read.
#[derive(Debug)]
pub struct DueScan {
    remaining: Vec<(String, Option<Item>)>,
    /// Whether what is not due yet is looked at as well.
    includes_future: bool,
}

/// One page of every partition that had more.
#[derive(Debug, Default)]
pub struct DuePage {
    /// What is due, that which is due for longest first.
    pub due: Vec<DueKey>,
    /// What is not due yet: only of a sweep that looks ahead.
    pub not_yet_due: Vec<DueKey>,
    /// The reads that failed. Their partitions are left to the next run.
    pub errors: Vec<AwsError>,
}

impl DueScan {
    /// Over what is due.
    pub fn new(desk: DueQueue) -> Self {
        Self { remaining: desk.shards().map(|shard| (shard, None)).collect(), includes_future: false }
    }

    /// Over what is due, with a look at what is not due yet.
    pub fn including_future(desk: DueQueue) -> Self {
        Self { includes_future: true, ..Self::new(desk) }
    }

    /// Whether everything was read.
    pub fn is_exhausted(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Reads one page of every partition that has more.
    pub async fn next_page(&mut self, inbox: &Inbox, now: UnixMillis) -> DuePage {
        let until = (!self.includes_future).then_some(now);
        let pages: Vec<_> = stream::iter(std::mem::take(&mut self.remaining))
            .map(async |(shard, start)| {
                let page = inbox.query_due_page(&shard, until, start).await;
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
                    // Sorted by time: behind the first that is not due there is none that is.
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

impl Inbox {
    /// What waits at a desk, due or not, that which is due for longest first: at most so much, after `after`.
    /// Also says whether there is more.
    pub async fn list_due_keys(
        &self,
        desk: DueQueue,
        after: Option<&DueKey>,
        limit: usize,
    ) -> Result<(Vec<DueKey>, bool), AwsError> {
        self.list_due_keys_by(DueOrder::OldestFirst, desk, after, limit).await
    }

    /// The same in either order.
    pub(super) async fn list_due_keys_by(
        &self,
        order: DueOrder,
        desk: DueQueue,
        after: Option<&DueKey>,
        limit: usize,
    ) -> Result<(Vec<DueKey>, bool), AwsError> {
        let shards: Vec<_> = stream::iter(desk.shards())
            .map(async |shard| {
                self.list_due_keys_in_shard(&shard, order, after, limit.saturating_add(1)).await
            })
            .buffered(CONCURRENT_CALLS)
            .try_collect()
            .await?;
        let mut all = shards.concat();
        all.sort();
        if order == DueOrder::NewestFirst {
            all.reverse();
        }
        let more = all.len() > limit;
        all.truncate(limit);
        Ok((all, more))
    }

    async fn list_due_keys_in_shard(
        &self,
        shard: &str,
        order: DueOrder,
        after: Option<&DueKey>,
        limit: usize,
    ) -> Result<Vec<DueKey>, AwsError> {
        let (from, range) = match order {
            DueOrder::OldestFirst => (0, "due_at >= :from"),
            DueOrder::NewestFirst => (i64::MAX, "due_at <= :from"),
        };
        let from = after.map_or(from, |after| after.due_at.0);
        let is_beyond = |due_key: &DueKey| match order {
            DueOrder::OldestFirst => after.is_none_or(|after| due_key > after),
            DueOrder::NewestFirst => after.is_none_or(|after| due_key < after),
        };
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let query = self.query_due_index(shard, start).scan_index_forward(order == DueOrder::OldestFirst);
            let query = query.key_condition_expression(format!("due = :shard AND {range}"));
            let page = query.expression_attribute_values(":from", number(from)).send().await;
            let page = page.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
            // Several may be due at the same time: those up to `after` were shown before.
            let due_keys = page.items().iter().filter_map(DueKey::from_item);
            found.extend(due_keys.filter(is_beyond));
            start = page.last_evaluated_key;
            if found.len() >= limit || start.is_none() {
                return Ok(found);
            }
        }
    }

    fn query_due_index(&self, shard: &str, start: Option<Item>) -> QueryFluentBuilder {
        self.db
            .query()
            .table_name(&self.table)
            .index_name(INDEX)
            .expression_attribute_values(":shard", text(shard))
            .limit(i32::try_from(DUE_PAGE_ITEMS).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
    }

    /// One page of a partition of the index, that which is due for longest first, and where the next one starts.
    async fn query_due_page(
        &self,
        shard: &str,
        until: Option<UnixMillis>,
        start: Option<Item>,
    ) -> Result<(Vec<DueKey>, Option<Item>), AwsError> {
        let mut query = self.query_due_index(shard, start).key_condition_expression("due = :shard");
        if let Some(until) = until {
            query = query
                .key_condition_expression("due = :shard AND due_at <= :until")
                .expression_attribute_values(":until", number(until.0));
        }
        let page = query.send().await.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
        let due_keys = page.items().iter().filter_map(DueKey::from_item).collect();
        Ok((due_keys, page.last_evaluated_key))
    }
}
