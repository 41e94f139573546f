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
    /// True if the list lacks items that no page of it has, because a limit was met before they were read.
    pub is_truncated: bool,
}

/// The part of a list that a page was made of, in the order in which it was read.
pub(crate) struct ExaminedPart {
    pub(crate) first: Option<ListCursor>,
    pub(crate) last: Option<ListCursor>,
    pub(crate) count: usize,
    /// True if the list goes on behind `last`.
    pub(crate) has_more: bool,
}

impl PageStart {
    /// Returns `true` if the page is read from its older end to its newer one.
    pub(crate) const fn is_read_backwards(&self) -> bool {
        matches!(self, Self::Oldest | Self::NewerThan(_))
    }

    /// The place that the page begins behind, in the order in which it is read.
    pub(crate) const fn cursor(&self) -> Option<&ListCursor> {
        match self {
            Self::Newest | Self::Oldest => None,
            Self::OlderThan(cursor) | Self::NewerThan(cursor) => Some(cursor),
        }
    }
}

impl<T> ListPage<T> {
    /// Puts a page together from its items and what was examined for them, in the order in which they were read.
    pub(crate) fn new(start: &PageStart, mut items: Vec<T>, examined: ExaminedPart) -> Self {
        if start.is_read_backwards() {
            items.reverse();
        }
        let ExaminedPart { first, last, count, has_more } = examined;
        let examined_to = last.as_ref().map(|last| last.at);
        let further = last.filter(|_| has_more);
        let (older, newer) = match start {
            PageStart::Newest => (further, None),
            PageStart::Oldest => (None, further),
            PageStart::OlderThan(cursor) => (further, first.or_else(|| Some(cursor.clone()))),
            PageStart::NewerThan(cursor) => (first.or_else(|| Some(cursor.clone())), further),
        };
        Self { items, older, newer, examined: count, examined_to, is_truncated: false }
    }
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
        let is_read_backwards = self.start.is_read_backwards();
        let order = if is_read_backwards { TimeOrder::OldestFirst } else { TimeOrder::NewestFirst };
        Span { order, since: self.since, until: self.until, after: self.start.cursor().cloned() }
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
        let place = |entry: Option<&IndexEntry>| entry.map(|entry| entry.place.clone());
        let compared = window.entries.get(..examined).unwrap_or_default();
        let examined = ExaminedPart {
            first: place(compared.first()),
            last: place(compared.last()),
            count: examined,
            has_more: window.has_more || examined < window.entries.len(),
        };
        Ok(ListPage::new(request.start, items, examined))
    }

    async fn items_at(&self, keys: Vec<Key>) -> Result<HashMap<Key, Item>, AwsError> {
        let items = self.get_all(keys).await?;
        Ok(items.into_iter().filter_map(|item| Some((Key::of_item(&item)?, item))).collect())
    }
}
