//! Reading all pages of the list, whatever its style of paging, with a guaranteed end.
//!
//! The page after an answer is, in this order: the one that the answer links to or has a cursor for; none, if the answer says that it is
//! the last; else the next number. A list that repeats itself has ended: it ignores the parameters.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::delivery_page::DeliveryPage;
use super::listed_delivery::ListedDelivery;
use super::page_hints::PageHints;
use crate::limits::DELIVERY_PAGE_ROWS;
use crate::table_keys::short_hash;
use crate::time::UnixMillis;

/// Pages in a row without a new delivery after which a list has ended. The second one allows for a list that counts from one, and takes
/// page 0 for page 1.
const REPEATED_PAGES_MAX: u32 = 2;

/// A request for a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageRequest {
    /// By its number.
    Number {
        /// The number of the page.
        page: u64,
        /// The number of the first page: 0 or 1.
        first: u64,
    },
    /// Without parameters: a list that accepts none.
    Bare,
    /// By the parameters that the page before has named.
    Query(Vec<(String, String)>),
}

impl PageRequest {
    /// The first request for a list. Another list of Fynapse's counts from 0 (shared/providers/fynapse.md, "Deliveries").
    pub const FIRST: Self = Self::Number { page: 0, first: 0 };

    /// The parameters in the query.
    pub fn query(&self) -> Vec<(String, String)> {
        let limit = || ("limit".to_owned(), DELIVERY_PAGE_ROWS.to_string());
        match self {
            Self::Number { page, .. } => vec![("page".to_owned(), page.to_string()), limit()],
            Self::Bare => Vec::new(),
            Self::Query(pairs) => pairs.clone(),
        }
    }

    /// Another request for the beginning of the list, if the API declines this one as invalid; `None` if there is none.
    pub fn after_declined(&self) -> Option<Self> {
        match self {
            Self::Number { page: 0, .. } => Some(Self::Number { page: 1, first: 1 }),
            Self::Number { page: 1, first: 1 } => Some(Self::Bare),
            Self::Number { .. } | Self::Query(_) | Self::Bare => None,
        }
    }

    /// Returns `true` if the list begins with this page.
    pub fn is_first(&self) -> bool {
        match self {
            Self::Number { page, first } => page == first,
            Self::Bare => true,
            Self::Query(_) => false,
        }
    }
}

/// The step after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagingStep {
    /// Fetch this page.
    Fetch(PageRequest),
    /// The list was read as far as it is wanted.
    End,
    /// The answers say that there is more, and not how to ask for it.
    Incomplete,
}

/// The state of reading the list.
#[derive(Clone, Debug, Default)]
pub struct DeliveryPager {
    seen: BTreeSet<String>,
    sent: Vec<PageRequest>,
    repeated_pages: u32,
    last_created_at: Option<UnixMillis>,
    order: ListOrder,
    /// The smallest number of deliveries that an answer gave for the whole list: it grows while the list is read.
    total: Option<u64>,
    /// The number of deliveries that were read before, and of those without an id.
    other_rows: u64,
    /// True if the last answer does not say whether there are further pages.
    is_end_unknown: bool,
}

/// The order of a list by time of creation, as far as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ListOrder {
    /// No two times differ.
    #[default]
    Unknown,
    NewestFirst,
    /// Oldest first, unordered, or without times.
    Other,
}

impl DeliveryPager {
    /// Goes on with a list of which so many deliveries were read.
    pub fn after(rows: u64) -> Self {
        Self { other_rows: rows, ..Self::default() }
    }

    /// The number of deliveries of the list that were read.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.seen.len()).unwrap_or(u64::MAX).saturating_add(self.other_rows)
    }

    /// Adds the answer to a request, and decides the next step. Deliveries that were created before `since` are not wanted.
    pub fn advance(
        &mut self,
        requested: PageRequest,
        page: &DeliveryPage,
        since: Option<UnixMillis>,
    ) -> PagingStep {
        let has_new = self.observe_ids(page);
        self.observe_order(&page.deliveries);
        self.repeated_pages = if has_new { 0 } else { self.repeated_pages + 1 };
        let is_empty = page.deliveries.is_empty() && page.unknown_statuses.is_empty();
        self.total = [self.total, page.hints.total].into_iter().flatten().min();
        let is_before_since = self.order == ListOrder::NewestFirst
            && self.last_created_at.zip(since).is_some_and(|(at, since)| at < since);
        if is_before_since {
            return PagingStep::End;
        }
        self.sent.push(requested.clone());
        // A list that counts from one, and took page 0 for page 1.
        let counts_from_one = requested == PageRequest::Number { page: 1, first: 0 } && !has_new && !is_empty;
        let requested = if counts_from_one { PageRequest::Number { page: 1, first: 1 } } else { requested };
        let next = next_request(&requested, &page.hints);
        // A page between two others may be empty, if the list says that there are others.
        let is_last =
            is_empty && page.hints.next.is_none() && (page.hints.total_pages.is_none() || next.is_none());
        let is_stuck = is_last || self.repeated_pages >= REPEATED_PAGES_MAX;
        let is_more_announced = self.is_more_announced(&requested, &page.hints, is_stuck, next.is_none());
        let is_empty_start = is_last
            && self.sent == [PageRequest::FIRST]
            && !page.hints.give_no_delivery()
            && page.hints.is_last != Some(true);
        self.is_end_unknown = is_empty_start || !page.hints.tell_the_end() && !self.lacks_rows();
        match next {
            // The list may count from one, and answer page 0 with nothing.
            _ if is_empty_start => PagingStep::Fetch(PageRequest::Number { page: 1, first: 1 }),
            Some(next) if !is_stuck && !self.sent.contains(&next) => PagingStep::Fetch(next),
            _ if is_more_announced => PagingStep::Incomplete,
            _ => PagingStep::End,
        }
    }

    /// Notes the ids of a page. Returns `true` if one of them is new.
    fn observe_ids(&mut self, page: &DeliveryPage) -> bool {
        let seen_before = self.seen.len();
        for delivery in &page.deliveries {
            match identity(delivery) {
                Some(identity) => _ = self.seen.insert(identity),
                None => self.other_rows = self.other_rows.saturating_add(1),
            }
        }
        self.seen.extend(page.unknown_statuses.iter().map(|id| short_hash(id.as_str())));
        // Whether deliveries without an id are new is not known: the list has an end if it says how many pages it has.
        let is_end_known = page.hints.total_pages.is_some();
        self.seen.len() > seen_before
            || is_end_known && page.deliveries.iter().any(|it| it.reference().is_none())
    }

    /// Returns `true` if the next page may be missing because the list has ended before it: no answer has announced it.
    pub fn may_have_ended(&self) -> bool {
        self.is_end_unknown
    }

    /// Returns `true` if the answers give the list more deliveries than were read.
    fn lacks_rows(&self) -> bool {
        self.total.is_some_and(|total| total > self.rows())
    }

    /// Returns `true` if the answer says that there is more than what can be asked for.
    fn is_more_announced(
        &self,
        requested: &PageRequest,
        hints: &PageHints,
        is_stuck: bool,
        has_no_next: bool,
    ) -> bool {
        let has_more_pages = match *requested {
            PageRequest::Number { page, first } => {
                let next = page.saturating_sub(first).saturating_add(1);
                is_stuck && hints.total_pages.is_some_and(|total| next < total)
            }
            PageRequest::Bare => hints.total_pages.is_some_and(|total| total > 1),
            PageRequest::Query(_) => false,
        };
        let cannot_go_on = is_stuck || has_no_next;
        cannot_go_on && (hints.is_last == Some(false) || self.lacks_rows()) || has_more_pages
    }

    fn observe_order(&mut self, deliveries: &[ListedDelivery]) {
        for delivery in deliveries {
            let at = delivery.created_at;
            self.order = match (self.order, self.last_created_at, at) {
                (ListOrder::Other, ..) | (_, _, None) => ListOrder::Other,
                (order, None, Some(_)) => order,
                (_, Some(last), Some(at)) if at < last => ListOrder::NewestFirst,
                (order, Some(last), Some(at)) if at == last => order,
                (_, Some(_), Some(_)) => ListOrder::Other,
            };
            self.last_created_at = at.or(self.last_created_at);
        }
    }
}

/// What distinguishes a delivery from others of the list; `None` if it has no id.
fn identity(delivery: &ListedDelivery) -> Option<String> {
    delivery.reference()?;
    let ids = [&delivery.delivery_id, &delivery.event_id, &delivery.idempotency_key];
    let ids = ids.map(|id| id.as_ref().map_or("", |id| id.as_str()));
    Some(short_hash(&ids.join("\n")))
}

fn next_request(requested: &PageRequest, hints: &PageHints) -> Option<PageRequest> {
    if hints.is_last == Some(true) {
        return None;
    }
    if let Some(next) = &hints.next {
        return Some(PageRequest::Query(next.clone()));
    }
    let PageRequest::Number { page, first } = *requested else { return None };
    // An answer to page 0 that calls itself page 1 counts from one.
    let first = if requested.is_first() {
        hints.number.map_or(first, |number| first.max(number.min(1)))
    } else {
        first
    };
    let next = hints.number.unwrap_or(page).max(page).saturating_add(1);
    let pages = hints.total_pages.map(|total| total.saturating_add(first));
    pages.is_none_or(|end| next < end).then_some(PageRequest::Number { page: next, first })
}

#[cfg(test)]
mod tests;
