//! Reads a list page by page. The core decides where it ends.

use std::collections::BTreeSet;

use inbox_core::limits::{PAGE_ROWS, PAGES_MAX};
use inbox_core::poll::pagination::{PageToken, Paginator, PagingStep};
use reqwest::Url;

use crate::responses::{ResponsePage, SkippedRows};
use crate::transport::{ApiRequest, Transport};
use crate::{ApiError, ApiKey};

/// Most rows of one list that are read, even if its pages are larger than requested.
const ROWS_MAX: usize = PAGES_MAX * PAGE_ROWS;

/// The rows of a list.
pub(crate) struct PagedList<T> {
    /// The rows, each once.
    pub(crate) rows: Vec<T>,
    /// The rows that could not be parsed.
    pub(crate) skipped: SkippedRows,
    /// The reason why reading ended.
    pub(crate) end: ListEnd,
}

/// Reasons why reading a list ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListEnd {
    LastPage,
    /// The list says that there are more rows, but names no next page.
    MissingToken,
    /// A row was beyond those that the caller wants, as are all that follow.
    ReachedBound,
    /// The list repeats itself or is too long.
    Stopped,
}

/// Reads a list page by page. Of its rows it keeps only the keys that identify them.
pub(crate) struct Pager<K> {
    list_url: Url,
    paging: Paginator<K>,
    rows: usize,
    skipped: SkippedRows,
    state: PagerState,
}

enum PagerState {
    /// The page to read next: the first one, or the one with this token.
    Page(Option<PageToken>),
    Ended(ListEnd),
}

impl<K: Ord + Clone> Pager<K> {
    /// Starts to read the list at this URL.
    pub(crate) fn new(list_url: Url) -> Self {
        let (paging, skipped) = (Paginator::new(), SkippedRows::default());
        Self { list_url, paging, rows: 0, skipped, state: PagerState::Page(None) }
    }

    /// The URL of the next page; `None` if the list has ended.
    pub(crate) fn next_url(&self) -> Option<Url> {
        match &self.state {
            PagerState::Page(page) => Some(page_url(&self.list_url, page.as_ref())),
            PagerState::Ended(_) => None,
        }
    }

    /// The reason why reading ended; `None` while it goes on.
    pub(crate) const fn end(&self) -> Option<ListEnd> {
        match &self.state {
            PagerState::Page(_) => None,
            PagerState::Ended(end) => Some(*end),
        }
    }

    /// The rows that could not be parsed, of all pages so far.
    pub(crate) const fn skipped(&self) -> &SkippedRows {
        &self.skipped
    }

    /// Adds a page. Returns its new rows, without those that are `beyond` what is wanted.
    pub(crate) fn add_page<T>(
        &mut self,
        page: ResponsePage<T>,
        key_of: impl Fn(&T) -> K,
        beyond: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        page.skipped.emit_metrics();
        self.skipped.extend(&page.skipped);
        let keys: Vec<K> = page.rows.iter().map(&key_of).collect();
        let (mut new_rows, mut of_this_page, mut has_reached_bound) = (Vec::new(), BTreeSet::new(), false);
        for (row, key) in page.rows.into_iter().zip(&keys) {
            if beyond(&row) {
                has_reached_bound = true;
            // A list may name a row twice, on one page or on several.
            } else if !self.paging.has_seen(key) && of_this_page.insert(key) {
                new_rows.push(row);
            }
        }
        self.rows += new_rows.len();
        let next_page = self.paging.advance(keys, page.has_more, page.next_token);
        self.state = match next_page {
            _ if has_reached_bound => PagerState::Ended(ListEnd::ReachedBound),
            PagingStep::Fetch(token) if self.rows < ROWS_MAX => PagerState::Page(Some(token)),
            PagingStep::LastPage => PagerState::Ended(ListEnd::LastPage),
            PagingStep::MissingToken => PagerState::Ended(ListEnd::MissingToken),
            PagingStep::Fetch(_) | PagingStep::Stopped => PagerState::Ended(ListEnd::Stopped),
        };
        new_rows
    }
}

/// Reads the list at `url`, without the rows that are `beyond` what is wanted.
pub(crate) async fn read_list<T, K: Ord + Clone>(
    transport: &Transport,
    key: &ApiKey,
    url: Url,
    read: impl Fn(&[u8]) -> Result<ResponsePage<T>, ApiError>,
    key_of: impl Fn(&T) -> K,
    beyond: impl Fn(&T) -> bool,
) -> Result<PagedList<T>, ApiError> {
    let mut pages = Pager::new(url);
    let mut rows = Vec::new();
    while let Some(url) = pages.next_url() {
        let answer = transport.send(key, &ApiRequest::Get(url)).await?;
        rows.extend(pages.add_page(read(&answer)?, &key_of, &beyond));
    }
    Ok(PagedList { rows, end: pages.end().unwrap_or(ListEnd::Stopped), skipped: pages.skipped })
}

fn page_url(list: &Url, page: Option<&PageToken>) -> Url {
    let mut url = list.clone();
    if let Some(page) = page {
        url.query_pairs_mut().append_pair(page.param.as_str(), &page.token);
    }
    url
}
