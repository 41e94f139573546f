//! The index of what is due: who has to look after what, and since when.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures::stream::{self, StreamExt, TryStreamExt};

use inbox_core::inbox::Desk;
use inbox_core::limits::{CONCURRENT_CALLS, DUE_PAGE};
use inbox_core::time::UnixMillis;

use super::Inbox;
use crate::Fault;
use crate::item::{self, Item, number, text};

const QUERY: &str = "dynamodb:Query";
/// The index of what is due.
const INDEX: &str = "due";

/// The key of an item that the index says waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// From when on something is to be done with it.
    pub due_at: UnixMillis,
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Waiting {
    fn read(item: &Item) -> Option<Self> {
        Some(Self {
            pk: item::string(item, "pk")?.to_owned(),
            sk: item::string(item, "sk")?.to_owned(),
            due_at: UnixMillis(item::parsed(item, "due_at")?),
        })
    }
}

/// Which of what waits comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// How far each partition of a desk has been read.
#[derive(Debug)]
pub struct Sweep {
    left: Vec<(String, Option<Item>)>,
    /// Whether what is not due yet is looked at as well.
    ahead: bool,
}

/// One page of every partition that had more.
#[derive(Debug, Default)]
pub struct Round {
    /// What is due, that which is due for longest first.
    pub due: Vec<Waiting>,
    /// What is not due yet: only of a sweep that looks ahead.
    pub later: Vec<Waiting>,
    /// The reads that failed. Their partitions are left to the next run.
    pub faults: Vec<Fault>,
}

impl Sweep {
    /// Over what is due.
    pub fn of(desk: Desk) -> Self {
        Self { left: desk.shards().map(|shard| (shard, None)).collect(), ahead: false }
    }

    /// Over what is due, with a look at what is not due yet.
    pub fn with_a_look_ahead(desk: Desk) -> Self {
        Self { ahead: true, ..Self::of(desk) }
    }

    /// Whether everything was read.
    pub fn is_exhausted(&self) -> bool {
        self.left.is_empty()
    }

    /// Reads one page of every partition that has more.
    pub async fn next_round(&mut self, inbox: &Inbox, now: UnixMillis) -> Round {
        let until = (!self.ahead).then_some(now);
        let pages: Vec<_> = stream::iter(std::mem::take(&mut self.left))
            .map(async |(shard, start)| {
                let page = inbox.page(&shard, until, start).await;
                (shard, page)
            })
            .buffered(CONCURRENT_CALLS)
            .collect()
            .await;
        let mut round = Round::default();
        for (shard, page) in pages {
            match page {
                Ok((items, next)) => {
                    let (due, later): (Vec<_>, Vec<_>) =
                        items.into_iter().partition(|item| item.due_at <= now);
                    // Sorted by time: behind the first that is not due there is none that is.
                    self.left.extend(next.filter(|_| later.is_empty()).map(|next| (shard, Some(next))));
                    round.due.extend(due);
                    round.later.extend(later);
                }
                Err(fault) => round.faults.push(fault),
            }
        }
        round.due.sort_by_key(|item| item.due_at);
        round
    }
}

impl Inbox {
    /// What waits at a desk, due or not, that which is due for longest first: at most so much, after `after`.
    /// Also says whether there is more.
    pub async fn waiting(
        &self,
        desk: Desk,
        after: Option<&Waiting>,
        limit: usize,
    ) -> Result<(Vec<Waiting>, bool), Fault> {
        self.waiting_by(Order::OldestFirst, desk, after, limit).await
    }

    /// The same in either order.
    pub(super) async fn waiting_by(
        &self,
        order: Order,
        desk: Desk,
        after: Option<&Waiting>,
        limit: usize,
    ) -> Result<(Vec<Waiting>, bool), Fault> {
        let shards: Vec<_> = stream::iter(desk.shards())
            .map(async |shard| self.waiting_in(&shard, order, after, limit.saturating_add(1)).await)
            .buffered(CONCURRENT_CALLS)
            .try_collect()
            .await?;
        let mut all = shards.concat();
        all.sort();
        if order == Order::NewestFirst {
            all.reverse();
        }
        let more = all.len() > limit;
        all.truncate(limit);
        Ok((all, more))
    }

    async fn waiting_in(
        &self,
        shard: &str,
        order: Order,
        after: Option<&Waiting>,
        limit: usize,
    ) -> Result<Vec<Waiting>, Fault> {
        let (from, range) = match order {
            Order::OldestFirst => (0, "due_at >= :from"),
            Order::NewestFirst => (i64::MAX, "due_at <= :from"),
        };
        let from = after.map_or(from, |after| after.due_at.0);
        let is_beyond = |waiting: &Waiting| match order {
            Order::OldestFirst => after.is_none_or(|after| waiting > after),
            Order::NewestFirst => after.is_none_or(|after| waiting < after),
        };
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let query = self.query_index(shard, start).scan_index_forward(order == Order::OldestFirst);
            let query = query.key_condition_expression(format!("due = :shard AND {range}"));
            let page = query.expression_attribute_values(":from", number(from)).send().await;
            let page = page.map_err(|error| Fault::of(QUERY, &error))?;
            // Several may be due at the same time: those up to `after` were shown before.
            let waiting = page.items().iter().filter_map(Waiting::read);
            found.extend(waiting.filter(is_beyond));
            start = page.last_evaluated_key;
            if found.len() >= limit || start.is_none() {
                return Ok(found);
            }
        }
    }

    fn query_index(&self, shard: &str, start: Option<Item>) -> QueryFluentBuilder {
        self.db
            .query()
            .table_name(&self.table)
            .index_name(INDEX)
            .expression_attribute_values(":shard", text(shard))
            .limit(i32::try_from(DUE_PAGE).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
    }

    /// One page of a partition of the index, that which is due for longest first, and where the next one starts.
    async fn page(
        &self,
        shard: &str,
        until: Option<UnixMillis>,
        start: Option<Item>,
    ) -> Result<(Vec<Waiting>, Option<Item>), Fault> {
        let mut query = self.query_index(shard, start).key_condition_expression("due = :shard");
        if let Some(until) = until {
            query = query
                .key_condition_expression("due = :shard AND due_at <= :until")
                .expression_attribute_values(":until", number(until.0));
        }
        let page = query.send().await.map_err(|error| Fault::of(QUERY, &error))?;
        let waiting = page.items().iter().filter_map(Waiting::read).collect();
        Ok((waiting, page.last_evaluated_key))
    }
}
