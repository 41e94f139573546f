//! The state of the checks of a Fynapse subscription's deliveries.

use std::collections::BTreeMap;
use std::time::Duration;

use inbox_core::fynapse_api::paging::PageRequest;
use inbox_core::id::Id;
use inbox_core::limits::{DELIVERY_ABSENT_MAX, DELIVERY_OVERLAP_SECS};
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;

use super::tracking_state::INITIAL_REV;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::new_item::NewItem;
use crate::table::value::{Item, read, read_count};

/// The state of the checks of a subscription's deliveries: how far the list was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryCheckItem {
    key: Key,
    /// Grows with every write; 0 if nothing is stored yet.
    rev: u64,
    /// Start of the last check that was completed.
    pub checked_at: Option<UnixMillis>,
    /// Start of the check that goes on.
    pub started_at: Option<UnixMillis>,
    /// The page with which it goes on; `None` for the first one.
    pub next_page: Option<PageRequest>,
    /// The problem of the last runs, if any.
    pub problem: Option<PollProblem>,
    /// Number of runs.
    pub runs: u64,
    /// Time until which every missed delivery that was found was reported. A run that does not come to its end does not change it.
    pub reported_until: Option<UnixMillis>,
    /// Time at which an event id of the list was first that of a recorded event: they are the ids of the webhooks.
    pub ids_matched_at: Option<UnixMillis>,
    /// Deliveries whose event was not found, by their reference, and the time of the first look.
    absent: BTreeMap<String, i64>,
}

impl DeliveryCheckItem {
    /// The state before the first run.
    pub fn new(subscription_id: &Id) -> Self {
        Self {
            key: Key::delivery_check(subscription_id),
            rev: 0,
            checked_at: None,
            started_at: None,
            next_page: None,
            problem: None,
            runs: 0,
            reported_until: None,
            ids_matched_at: None,
            absent: BTreeMap::new(),
        }
    }

    /// The time from which on a check reads deliveries; `None` for all of them.
    pub fn wanted_since(&self) -> Option<UnixMillis> {
        self.checked_at.map(|at| at.minus(Duration::from_secs(DELIVERY_OVERLAP_SECS)))
    }

    /// The time of the first look at which the event of a delivery was not found.
    pub fn absent_since(&self, reference: &Id) -> Option<UnixMillis> {
        self.absent.get(reference.as_str()).copied().map(UnixMillis)
    }

    /// Remembers the first look at which the event of a delivery was not found.
    pub fn note_absent(&mut self, reference: &Id, now: UnixMillis) {
        if self.absent.len() < DELIVERY_ABSENT_MAX {
            self.absent.entry(reference.as_str().to_owned()).or_insert(now.0);
        }
    }

    /// Forgets a delivery whose event was found, or was reported.
    pub fn forget_absent(&mut self, reference: &Id) {
        self.absent.remove(reference.as_str());
    }

    /// Forgets deliveries that no later check looks at.
    pub fn forget_old_absent(&mut self, now: UnixMillis) {
        let oldest = now.minus(Duration::from_secs(DELIVERY_OVERLAP_SECS));
        self.absent.retain(|_, since| *since >= oldest.0);
    }

    /// The `rev` that was read; `None` if nothing is stored yet.
    pub(crate) fn stored_rev(&self) -> Option<u64> {
        (self.rev >= INITIAL_REV).then_some(self.rev)
    }

    /// The attributes of the next state.
    pub(crate) fn to_next_item(&self) -> Item {
        // Cannot fail: texts and numbers only.
        let next_page = self.next_page.as_ref().and_then(|page| serde_json::to_string(page).ok());
        let absent = Some(&self.absent).filter(|absent| !absent.is_empty());
        let absent = absent.and_then(|absent| serde_json::to_string(absent).ok());
        NewItem::at(&self.key)
            .set(Attribute::Rev, &(self.rev + 1))
            .set_some(Attribute::CheckedAt, self.checked_at.as_ref())
            .set_some(Attribute::CheckStartedAt, self.started_at.as_ref())
            .set_some(Attribute::NextPage, next_page.as_ref())
            .set_some(Attribute::PollProblem, self.problem.as_ref())
            .set(Attribute::Polls, &self.runs)
            .set_some(Attribute::ReportedUntil, self.reported_until.as_ref())
            .set_some(Attribute::IdsMatchedAt, self.ids_matched_at.as_ref())
            .set_some(Attribute::AbsentDeliveries, absent.as_ref())
            .build()
    }

    /// Reads the state; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let next_page: Option<String> = read(item, Attribute::NextPage);
        let absent: Option<String> = read(item, Attribute::AbsentDeliveries);
        Some(Self {
            key: Key::of_item(item)?,
            rev: read(item, Attribute::Rev)?,
            checked_at: read(item, Attribute::CheckedAt),
            started_at: read(item, Attribute::CheckStartedAt),
            // One of another version is dropped: the check begins again.
            next_page: next_page.and_then(|page| serde_json::from_str(&page).ok()),
            problem: read(item, Attribute::PollProblem),
            runs: read_count(item, Attribute::Polls),
            reported_until: read(item, Attribute::ReportedUntil),
            ids_matched_at: read(item, Attribute::IdsMatchedAt),
            absent: absent.and_then(|absent| serde_json::from_str(&absent).ok()).unwrap_or_default(),
        })
    }
}
