//! Reading a list page by page. Where it ends is decided in the core.

use std::collections::BTreeSet;

use inbox_core::limits::{PAGE_ROWS, PAGES_MAX};
use inbox_core::poll::paging::{PageToken, Paging, Turn};
use reqwest::Url;

use crate::answers::Page;
use crate::transport::{Request, Transport};
use crate::{ApiError, ApiKey};

/// Most rows of one list that are kept, should the pages be larger than was asked for.
const ROWS_MAX: usize = PAGES_MAX * PAGE_ROWS;

/// What was read of a list.
pub(crate) struct List<T> {
    /// Its rows, each once.
    pub(crate) rows: Vec<T>,
    /// Why it was not read on.
    pub(crate) end: End,
}

/// Why a list was not read on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    LastPage,
    /// A row was met that the caller does not want, nor those behind it.
    Enough,
    /// It repeats itself, cannot be asked for or is too long.
    Stopped,
}

/// Reads the list at `url`, without the rows that are `beyond` what is wanted.
pub(crate) async fn read<T, K: Ord + Clone>(
    transport: &Transport,
    key: &ApiKey,
    url: &Url,
    read: impl Fn(&[u8]) -> Result<Page<T>, ApiError>,
    key_of: impl Fn(&T) -> K,
    beyond: impl Fn(&T) -> bool,
) -> Result<List<T>, ApiError> {
    let mut paging = Paging::new();
    let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
    let mut asked = None;
    loop {
        let answer = transport.send(key, &Request::Get(page_url(url, asked.as_ref()))).await?;
        let page = read(&answer)?;
        let keys: Vec<K> = page.rows.iter().map(&key_of).collect();
        let turn = paging.turn(keys.iter().cloned(), page.has_more, page.next);
        let mut enough = false;
        for (row, key) in page.rows.into_iter().zip(keys) {
            if beyond(&row) {
                enough = true;
            } else if seen.insert(key) {
                rows.push(row);
            }
        }
        if enough {
            return Ok(List { rows, end: End::Enough });
        }
        match turn {
            Turn::Ask(token) if rows.len() < ROWS_MAX => asked = Some(token),
            Turn::LastPage => return Ok(List { rows, end: End::LastPage }),
            Turn::Ask(_) | Turn::Stopped => return Ok(List { rows, end: End::Stopped }),
        }
    }
}

fn page_url(list: &Url, page: Option<&PageToken>) -> Url {
    let mut url = list.clone();
    if let Some(page) = page {
        url.query_pairs_mut().append_pair(page.param.as_str(), &page.token);
    }
    url
}
