//! What the items of batches, schedules and submissions have in common: `rev`, due time, and what the last polls have shown.

use inbox_core::due_queue::DueQueue;
use inbox_core::poll::batch::ResultsFound;
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;

use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::new_item::NewItem;
use crate::table::update::Update;
use crate::table::value::{Item, read, read_due_at};

/// The `rev` of a new item.
pub(crate) const INITIAL_REV: u64 = 1;

/// The `rev` and times of an item that the poller handles, as read: every write to the item names them.
#[derive(Clone, Debug)]
pub struct TrackingState {
    key: Key,
    rev: u64,
    /// Time of the next poll; `None` if tracking has ended.
    pub due_at: Option<UnixMillis>,
    /// Time at which an alert last expedited it.
    pub(crate) expedited_at: Option<UnixMillis>,
    /// The stored problem of its polls, if any.
    pub problem: Option<PollProblem>,
    /// The stored number of results of a batch, as its last answered poll showed them.
    pub results_found: Option<ResultsFound>,
}

impl TrackingState {
    /// The state of a new item.
    pub(super) const fn new(key: Key, due_at: UnixMillis) -> Self {
        Self {
            key,
            rev: INITIAL_REV,
            due_at: Some(due_at),
            expedited_at: None,
            problem: None,
            results_found: None,
        }
    }

    pub(super) fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            key: Key::of_item(item)?,
            rev: read(item, Attribute::Rev)?,
            due_at: read_due_at(item),
            expedited_at: read(item, Attribute::ExpeditedAt),
            problem: read(item, Attribute::PollProblem),
            results_found: read(item, Attribute::ResultsFound),
        })
    }

    /// Begins a new item with these attributes.
    pub(super) fn to_new_item(&self) -> NewItem {
        let shard = self.due_at.map(|_| DueQueue::Poll.shard(&self.key.pk));
        NewItem::at(&self.key)
            .set(Attribute::Rev, &self.rev)
            .set_some(Attribute::Due, shard.as_ref())
            .set_some(Attribute::DueAt, self.due_at.as_ref())
    }

    /// Returns `true` if the item was not written since, except by expediting it.
    pub const fn has_same_rev(&self, later: &Self) -> bool {
        self.rev == later.rev
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) const fn rev(&self) -> u64 {
        self.rev
    }

    /// For an item that replaces another one.
    pub(crate) const fn set_rev(&mut self, rev: u64) {
        self.rev = rev;
    }

    /// Follows an applied write of this process.
    pub(crate) const fn increment_rev(&mut self) {
        self.rev += 1;
    }

    /// An update of the item as it was read, if it is due.
    pub(crate) fn update(&self) -> Update {
        Update::of_due_item(self.key.clone(), self.rev)
    }

    /// Returns `true` if it is due: the index may lag behind the item.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.due_at.is_some_and(|due_at| due_at <= now)
    }
}
