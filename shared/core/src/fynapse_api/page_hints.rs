//! What an answer says about the pages of its list.

use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use super::json_tree::{Fields, fields, plain_name, text, whole_number};
use crate::limits::DELIVERY_PAGE_ROWS;

/// What an answer says about other pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageHints {
    /// The number of this page.
    pub number: Option<u64>,
    /// The number of pages.
    pub total_pages: Option<u64>,
    /// The number of deliveries in the whole list.
    pub total: Option<u64>,
    /// True if it is the last page, false if there are more.
    pub is_last: Option<bool>,
    /// The parameters of the next page.
    pub next: Option<Vec<(String, String)>>,
}

impl PageHints {
    /// Reads the fields beside the list, and in the objects beside it that describe the page.
    pub(super) fn from_fields(object: &Fields<'_>) -> Self {
        /// Names of an object that holds the list and what describes it.
        const WRAPPING: [&str; 4] = ["data", "result", "results", "response"];
        let mut hints = Self::default();
        hints.read_with_descriptions(object);
        for wrapped in WRAPPING.iter().filter_map(|name| fields(object.get(*name)?)) {
            hints.read_with_descriptions(&wrapped);
        }
        hints
    }

    fn read_with_descriptions(&mut self, object: &Fields<'_>) {
        const DESCRIBING: [&str; 6] = ["page", "pagination", "paging", "meta", "links", "_links"];
        self.read(object);
        for described in DESCRIBING.iter().filter_map(|name| fields(object.get(*name)?)) {
            self.read(&described);
        }
    }

    /// Returns `true` if they say whether there are further pages.
    pub fn tell_the_end(&self) -> bool {
        self.total_pages.is_some() || self.is_last.is_some() || self.next.is_some()
    }

    /// These hints of a page with deliveries. A total of 0 is not filled in: Fynapse's documents show such an envelope.
    #[must_use]
    pub(super) fn without_zero_totals(self) -> Self {
        let filled = |total: Option<u64>| total.filter(|total| *total > 0);
        Self { total: filled(self.total), total_pages: filled(self.total_pages), ..self }
    }

    /// Returns `true` if they say that the whole list has no delivery.
    pub fn give_no_delivery(&self) -> bool {
        self.total == Some(0) || self.total_pages == Some(0)
    }

    fn read(&mut self, object: &Fields<'_>) {
        for (name, value) in object {
            let number = || whole_number(value);
            let flag = || serde_json::from_str::<bool>(value.get()).ok();
            let plain = plain_name(name);
            match plain.as_str() {
                "page" | "number" | "pagenumber" | "currentpage" => self.number = self.number.or_else(number),
                "totalpages" | "pagecount" => self.total_pages = self.total_pages.or_else(number),
                "totalsize" | "totalelements" | "totalcount" | "total" => {
                    self.total = self.total.or_else(number);
                }
                "last" | "islast" => self.is_last = self.is_last.or_else(flag),
                "hasmore" | "hasnext" => self.is_last = self.is_last.or_else(|| flag().map(|more| !more)),
                "next" => self.next = self.next.take().or_else(|| link(value)),
                "nextcursor" | "nextpagetoken" | "nexttoken" => {
                    let cursor = || cursor(name, value);
                    self.next = self.next.take().or_else(cursor);
                }
                _ => {}
            }
        }
    }
}

/// The parameters of a link. Its address is not followed: the token goes to the configured address only.
fn link(value: &RawValue) -> Option<Vec<(String, String)>> {
    let url = match fields(value) {
        Some(object) => text(object.get("href")?)?.into_owned(),
        None => text(value)?.into_owned(),
    };
    let (_, query) = url.split_once('?')?;
    let decoded =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(String::from);
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(name)?, decoded(value)?))
    };
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .filter(|it| !it.is_empty())
        .map(pair)
        .collect::<Option<Vec<_>>>()
        .filter(|it| !it.is_empty())
}

/// The parameters of a cursor: the name of the field without `next`.
fn cursor(name: &str, value: &RawValue) -> Option<Vec<(String, String)>> {
    let cursor = text(value).filter(|text| !text.is_empty())?.into_owned();
    let rest = name.get(4..)?.trim_start_matches(['_', '-']);
    let mut letters = rest.chars();
    let param = letters.next()?.to_ascii_lowercase().to_string() + letters.as_str();
    Some(vec![(param, cursor), ("limit".to_owned(), DELIVERY_PAGE_ROWS.to_string())])
}
