//! Reading a list page by page. Where it ends is decided in the core.

use std::collections::BTreeSet;

use inbox_core::limits::{PAGE_ROWS, PAGES_MAX};
use inbox_core::poll::paging::{PageToken, Paging, Turn};
use reqwest::Url;

use crate::answers::{Page, Skipped};
use crate::transport::{Request, Transport};
use crate::{ApiError, ApiKey};

/// Most rows of one list that are read, should the pages be larger than was asked for.
const ROWS_MAX: usize = PAGES_MAX * PAGE_ROWS;

/// What was read of a list.
pub(crate) struct List<T> {
    /// Its rows, each once.
    pub(crate) rows: Vec<T>,
    /// The rows that cannot be read.
    pub(crate) skipped: Skipped,
    /// Why it was not read on.
    pub(crate) end: End,
}

/// Why a list was not read on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    LastPage,
    /// It says that there are more, and names no page to go on with.
    NoToken,
    /// A row was met that the caller does not want, nor those behind it.
    Enough,
    /// It repeats itself or is too long.
    Stopped,
}

/// How far a list has been read. Of its rows only what makes them these rows is kept.
pub(crate) struct Pages<K> {
    list: Url,
    paging: Paging<K>,
    rows: usize,
    skipped: Skipped,
    next: Next,
}

enum Next {
    /// The first page, or the one with this token.
    Page(Option<PageToken>),
    None(End),
}

impl<K: Ord + Clone> Pages<K> {
    /// Nothing has been read of the list at this URL.
    pub(crate) fn of(list: Url) -> Self {
        let (paging, skipped) = (Paging::new(), Skipped::default());
        Self { list, paging, rows: 0, skipped, next: Next::Page(None) }
    }

    /// The URL of the next page, if there is one to ask for.
    pub(crate) fn next_url(&self) -> Option<Url> {
        match &self.next {
            Next::Page(page) => Some(page_url(&self.list, page.as_ref())),
            Next::None(_) => None,
        }
    }

    /// Why the list is not read on; `None` while it is.
    pub(crate) const fn end(&self) -> Option<End> {
        match &self.next {
            Next::Page(_) => None,
            Next::None(end) => Some(*end),
        }
    }

    /// The rows that could not be read, of all pages until now.
    pub(crate) const fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Takes in a page. What comes back are its rows that were not there before, less those `beyond` what is wanted.
    pub(crate) fn take<T>(
        &mut self,
        page: Page<T>,
        key_of: impl Fn(&T) -> K,
        beyond: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        page.skipped.count();
        self.skipped.extend(&page.skipped);
        let keys: Vec<K> = page.rows.iter().map(&key_of).collect();
        let (mut fresh, mut of_this_page, mut enough) = (Vec::new(), BTreeSet::new(), false);
        for (row, key) in page.rows.into_iter().zip(&keys) {
            if beyond(&row) {
                enough = true;
            } else if !self.paging.has_seen(key) && of_this_page.insert(key) {
                fresh.push(row);
            }
        }
        self.rows += fresh.len();
        let turn = self.paging.turn(keys, page.has_more, page.next);
        self.next = match turn {
            _ if enough => Next::None(End::Enough),
            Turn::Ask(token) if self.rows < ROWS_MAX => Next::Page(Some(token)),
            Turn::LastPage => Next::None(End::LastPage),
            Turn::NoToken => Next::None(End::NoToken),
            Turn::Ask(_) | Turn::Stopped => Next::None(End::Stopped),
        };
        fresh
    }
}

/// Reads the list at `url`, without the rows that are `beyond` what is wanted.
pub(crate) async fn read<T, K: Ord + Clone>(
    transport: &Transport,
    key: &ApiKey,
    url: Url,
    read: impl Fn(&[u8]) -> Result<Page<T>, ApiError>,
    key_of: impl Fn(&T) -> K,
    beyond: impl Fn(&T) -> bool,
) -> Result<List<T>, ApiError> {
    let mut pages = Pages::of(url);
    let mut rows = Vec::new();
    while let Some(url) = pages.next_url() {
        let answer = transport.send(key, &Request::Get(url)).await?;
        rows.extend(pages.take(read(&answer)?, &key_of, &beyond));
    }
    Ok(List { rows, end: pages.end().unwrap_or(End::Stopped), skipped: pages.skipped })
}

fn page_url(list: &Url, page: Option<&PageToken>) -> Url {
    let mut url = list.clone();
    if let Some(page) = page {
        url.query_pairs_mut().append_pair(page.param.as_str(), &page.token);
    }
    url
}
