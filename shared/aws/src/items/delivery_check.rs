//! The state of the checks of a Fynapse subscription's deliveries.

use inbox_core::fynapse_api::paging::PageRequest;
use inbox_core::id::Id;
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
}

impl DeliveryCheckItem {
    /// The state before the first run.
    pub(crate) fn new(subscription_id: &Id) -> Self {
        Self {
            key: Key::delivery_check(subscription_id),
            rev: 0,
            checked_at: None,
            started_at: None,
            next_page: None,
            problem: None,
            runs: 0,
        }
    }

    /// The `rev` that was read; `None` if nothing is stored yet.
    pub(crate) fn stored_rev(&self) -> Option<u64> {
        (self.rev >= INITIAL_REV).then_some(self.rev)
    }

    /// The attributes of the next state.
    pub(crate) fn to_next_item(&self) -> Item {
        // Cannot fail: texts and numbers only.
        let next_page = self.next_page.as_ref().and_then(|page| serde_json::to_string(page).ok());
        NewItem::at(&self.key)
            .set(Attribute::Rev, &(self.rev + 1))
            .set_some(Attribute::CheckedAt, self.checked_at.as_ref())
            .set_some(Attribute::CheckStartedAt, self.started_at.as_ref())
            .set_some(Attribute::NextPage, next_page.as_ref())
            .set_some(Attribute::PollProblem, self.problem.as_ref())
            .set(Attribute::Polls, &self.runs)
            .build()
    }

    /// Reads the state; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let next_page: Option<String> = read(item, Attribute::NextPage);
        Some(Self {
            key: Key::of_item(item)?,
            rev: read(item, Attribute::Rev)?,
            checked_at: read(item, Attribute::CheckedAt),
            started_at: read(item, Attribute::CheckStartedAt),
            // One of another version is dropped: the check begins again.
            next_page: next_page.and_then(|page| serde_json::from_str(&page).ok()),
            problem: read(item, Attribute::PollProblem),
            runs: read_count(item, Attribute::Polls),
        })
    }
}
