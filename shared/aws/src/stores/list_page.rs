//! Pages of a list, newest first.

use std::collections::HashMap;

use inbox_core::limits::{INDEX_SHARDS, LIST_EXAMINED_MAX};
use inbox_core::time::UnixMillis;

use super::list_cursor::ListCursor;
use super::sharded_index::{IndexEntry, ShardedIndex, Span, TimeOrder};
use crate::AwsError;
use crate::table::key::Key;
use crate::table::value::Item;
use crate::table::{BATCH_GET_KEYS_MAX, Table};

/// Where a page of a list begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PageStart {
    /// With the newest item.
    #[default]
    Newest,
    /// So that it ends with the oldest item.
    Oldest,
    /// With the next older item.
    OlderThan(ListCursor),
    /// So that it ends with the next newer item.
    NewerThan(ListCursor),
}

/// A page of a list, the newest item first.
#[derive(Clone, Debug)]
pub struct ListPage<T> {
    /// The items that matched.
    pub items: Vec<T>,
    /// Cursor of the next older page; `None` on the last one.
    pub older: Option<ListCursor>,
    /// Cursor of the next newer page; `None` on the first one.
    pub newer: Option<ListCursor>,
    /// Number of entries that were compared with the filter: at most [`LIST_EXAMINED_MAX`]. If it was not enough for a full page,
    /// `older` or `newer` is set all the same.
    pub examined: usize,
    /// Time of the last entry that was compared; `None` if there was none.
    pub examined_to: Option<UnixMillis>,
}

/// A request for a page.
pub(crate) struct PageRequest<'a> {
    pub(crate) index: ShardedIndex,
    pub(crate) shards: Vec<String>,
    pub(crate) since: Option<UnixMillis>,
    pub(crate) until: Option<UnixMillis>,
    pub(crate) start: &'a PageStart,
    /// Most items of the page.
    pub(crate) limit: usize,
    pub(crate) filter: FilterKind,
}

/// What a filter needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterKind {
    /// Nothing: every entry matches.
    None,
    /// What the index holds.
    Entries,
    /// The items themselves, which are read for it.
    Items,
}

impl PageRequest<'_> {
    fn span(&self) -> Span {
        let (order, after) = match self.start {
            PageStart::Newest => (TimeOrder::NewestFirst, None),
            PageStart::Oldest => (TimeOrder::OldestFirst, None),
            PageStart::OlderThan(cursor) => (TimeOrder::NewestFirst, Some(cursor.clone())),
            PageStart::NewerThan(cursor) => (TimeOrder::OldestFirst, Some(cursor.clone())),
        };
        Span { order, since: self.since, until: self.until, after }
    }

    /// Entries that are read of each shard: what the page needs, or, if it is filtered, its part of what may be examined.
    fn entries_per_shard(&self) -> usize {
        match self.filter {
            FilterKind::None => self.limit,
            FilterKind::Entries | FilterKind::Items => LIST_EXAMINED_MAX / usize::from(INDEX_SHARDS) - 2,
        }
    }
}

impl Table {
    /// Reads a page of a list: the entries from the index, and the matching items themselves with strong consistency.
    pub(crate) async fn list_page<T>(
        &self,
        request: PageRequest<'_>,
        matches_entry: impl Fn(&IndexEntry) -> bool,
        from_item: impl Fn(&Item) -> Option<T>,
    ) -> Result<ListPage<T>, AwsError> {
        let span = request.span();
        let shards = request.shards.iter().cloned();
        let window = request.index.window(self, shards, &span, request.entries_per_shard()).await?;
        let (mut items, mut examined) = (Vec::new(), 0);
        while examined < window.entries.len() && items.len() < request.limit {
            let rest = window.entries.get(examined..).unwrap_or_default();
            let wanted = match request.filter {
                // Any number of them may not match.
                FilterKind::Items => BATCH_GET_KEYS_MAX,
                FilterKind::None | FilterKind::Entries => {
                    (request.limit - items.len()).min(BATCH_GET_KEYS_MAX)
                }
            };
            let mut matching: Vec<_> =
                rest.iter().enumerate().filter(|(_, entry)| matches_entry(entry)).take(wanted + 1).collect();
            // All entries before the first one that is left for later were compared.
            let end = if matching.len() > wanted { matching.pop().map(|(at, _)| at) } else { None };
            let found = self.items_at(matching.iter().map(|(_, entry)| entry.place.key()).collect()).await?;
            let mut compared = end.unwrap_or(rest.len());
            for (at, entry) in matching {
                // An item that is not found any more has expired: the index lags.
                items.extend(found.get(&entry.place.key()).and_then(&from_item));
                if items.len() == request.limit {
                    compared = at + 1;
                    break;
                }
            }
            examined += compared;
        }
        Ok(page(request.start, &window.entries, examined, window.has_more, items))
    }

    async fn items_at(&self, keys: Vec<Key>) -> Result<HashMap<Key, Item>, AwsError> {
        let items = self.get_all(keys).await?;
        Ok(items.into_iter().filter_map(|item| Some((Key::of_item(&item)?, item))).collect())
    }
}

/// Puts a page together from what was examined of the entries, in the order in which they were read.
fn page<T>(
    start: &PageStart,
    entries: &[IndexEntry],
    examined: usize,
    has_more: bool,
    mut items: Vec<T>,
) -> ListPage<T> {
    let place = |entry: Option<&IndexEntry>| entry.map(|entry| entry.place.clone());
    let examined_entries = entries.get(..examined).unwrap_or_default();
    let (first, last) = (place(examined_entries.first()), place(examined_entries.last()));
    let examined_to = last.as_ref().map(|last| last.at);
    let further = if has_more || examined < entries.len() { last } else { None };
    let (older, newer) = match start {
        PageStart::Newest => (further, None),
        PageStart::Oldest => {
            items.reverse();
            (None, further)
        }
        PageStart::OlderThan(cursor) => (further, first.or_else(|| Some(cursor.clone()))),
        PageStart::NewerThan(cursor) => {
            items.reverse();
            (first.or_else(|| Some(cursor.clone())), further)
        }
    };
    ListPage { items, older, newer, examined, examined_to }
}
