//! The state of the checks of a Fynapse subscription's deliveries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inbox_core::fynapse_api::finding::Comparable;
use inbox_core::fynapse_api::paging::PageRequest;
use inbox_core::id::Id;
use inbox_core::limits::{
    DELIVERY_ABSENT_MAX, DELIVERY_COMPARABLE_SECS, DELIVERY_OVERLAP_SECS, DELIVERY_REPORTED_MAX,
};
use inbox_core::poll::problem::PollProblem;
use inbox_core::time::UnixMillis;
use serde::{Deserialize, Serialize};

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
    /// How far it has come.
    pub progress: CheckProgress,
    /// The problem of the last runs, if any.
    pub problem: Option<PollProblem>,
    /// Number of runs.
    pub runs: u64,
    /// End of the last run.
    pub ran_at: Option<UnixMillis>,
    /// The time since which what was found may not have been reported: the start of a run that has not ended, or the time of a write
    /// whose outcome is not known.
    pub unreported_since: Option<UnixMillis>,
    /// Deliveries that were reported since then, or by this run.
    reported: BTreeSet<String>,
    /// Time at which an event id of the list was last one that is here.
    ids_matched_at: Option<UnixMillis>,
    /// Time at which an idempotency key of the list was last one that is here.
    keys_matched_at: Option<UnixMillis>,
    /// Time of the oldest delivery whose event was ever here.
    oldest_match: Option<UnixMillis>,
    /// Deliveries whose event was not found, by their reference.
    absent: BTreeMap<String, AbsentDelivery>,
}

/// How far a check has come: the page with which it goes on, and what counts of the pages before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckProgress {
    /// The request for the page.
    pub next_page: PageRequest,
    /// True if the list may have ended before it: no answer has announced it.
    pub may_be_missing: bool,
    /// Runs in a row that failed at it.
    pub failed_runs: u64,
    /// Deliveries that were read.
    pub rows: u64,
    /// True if one of them has a documented status.
    pub has_known_status: bool,
    /// True if one of them has another status.
    pub has_unknown_status: bool,
    /// True if the next check has to read as far back as this one: a write has failed, there were more absent events than can be
    /// remembered, or it was found that more of the list can be compared than before.
    pub must_read_again: bool,
}

impl Default for CheckProgress {
    fn default() -> Self {
        Self {
            next_page: PageRequest::FIRST,
            may_be_missing: false,
            failed_runs: 0,
            rows: 0,
            has_known_status: false,
            has_unknown_status: false,
            must_read_again: false,
        }
    }
}

/// A delivery whose event was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AbsentDelivery {
    /// The time of the first look, in milliseconds since 1970.
    since: i64,
    /// The time of the delivery itself.
    dated_at: i64,
}

impl DeliveryCheckItem {
    /// The state before the first run.
    pub fn new(subscription_id: &Id) -> Self {
        Self {
            key: Key::delivery_check(subscription_id),
            rev: 0,
            checked_at: None,
            started_at: None,
            progress: CheckProgress::default(),
            problem: None,
            runs: 0,
            ran_at: None,
            unreported_since: None,
            reported: BTreeSet::new(),
            ids_matched_at: None,
            keys_matched_at: None,
            oldest_match: None,
            absent: BTreeMap::new(),
        }
    }

    /// The time from which on a check reads deliveries; `None` for all of them. It reaches back to those that need another look.
    pub fn wanted_since(&self) -> Option<UnixMillis> {
        let overlap = self.checked_at?.minus(Duration::from_secs(DELIVERY_OVERLAP_SECS));
        let absent = self.absent.values().map(|it| UnixMillis(it.dated_at)).min();
        Some(absent.map_or(overlap, |absent| absent.min(overlap)))
    }

    /// Notes that the event of a delivery of this time is here, by its id, its idempotency key or both.
    pub fn note_match(&mut self, by_id: bool, by_key: bool, dated_at: Option<UnixMillis>, now: UnixMillis) {
        if by_id {
            self.ids_matched_at = Some(now);
        }
        if by_key {
            self.keys_matched_at = Some(now);
        }
        self.oldest_match = [self.oldest_match, dated_at].into_iter().flatten().min();
    }

    /// What of the list can be compared. A provider may change its ids, so an old match does not count.
    pub fn comparable(&self, now: UnixMillis) -> Comparable {
        let is_lately = |at: Option<UnixMillis>| {
            at.is_some_and(|at| now.since(at) < Duration::from_secs(DELIVERY_COMPARABLE_SECS))
        };
        Comparable {
            event_ids: is_lately(self.ids_matched_at),
            idempotency_keys: is_lately(self.keys_matched_at),
            since: self.oldest_match,
        }
    }

    /// Notes that a delivery is reported. Returns `false` if it was, since the time of [`unreported_since`](Self::unreported_since).
    pub fn note_reported(&mut self, reference: &Id) -> bool {
        self.reported.insert(reference.as_str().to_owned())
    }

    /// Notes since when what was found may not be reported; `None` if everything is.
    pub fn set_unreported_since(&mut self, since: Option<UnixMillis>) {
        self.unreported_since = since;
        if since.is_none() {
            self.reported.clear();
        }
    }

    /// The time of the first look at which the event of a delivery was not found.
    pub fn absent_since(&self, reference: &Id) -> Option<UnixMillis> {
        self.absent.get(reference.as_str()).map(|absent| UnixMillis(absent.since))
    }

    /// Remembers the first look at which the event of a delivery of this time was not found. Returns `false` if there is no place.
    pub fn note_absent(&mut self, reference: &Id, dated_at: UnixMillis, now: UnixMillis) -> bool {
        let has_place = self.absent.len() < DELIVERY_ABSENT_MAX || self.absent_since(reference).is_some();
        if has_place {
            let absent = AbsentDelivery { since: now.0, dated_at: dated_at.0 };
            self.absent.entry(reference.as_str().to_owned()).or_insert(absent);
        }
        has_place
    }

    /// Forgets a delivery whose event was found, or was reported.
    pub fn forget_absent(&mut self, reference: &Id) {
        self.absent.remove(reference.as_str());
    }

    /// Forgets deliveries that the list has no more, after a complete check.
    pub fn forget_old_absent(&mut self, now: UnixMillis) {
        let oldest = now.minus(Duration::from_secs(DELIVERY_OVERLAP_SECS));
        self.absent.retain(|_, absent| absent.since >= oldest.0);
    }

    /// The `rev` that was read; `None` if nothing is stored yet.
    pub(crate) fn stored_rev(&self) -> Option<u64> {
        (self.rev >= INITIAL_REV).then_some(self.rev)
    }

    /// The state that the next write stores.
    pub(crate) fn next(&self) -> Self {
        Self { rev: self.rev + 1, ..self.clone() }
    }

    /// The attributes.
    pub(crate) fn to_item(&self) -> Item {
        // Cannot fail: texts and numbers only.
        let progress = Some(&self.progress).filter(|progress| **progress != CheckProgress::default());
        let progress = progress.and_then(|progress| serde_json::to_string(progress).ok());
        let absent = Some(&self.absent).filter(|absent| !absent.is_empty());
        let absent = absent.and_then(|absent| serde_json::to_string(absent).ok());
        let reported = Some(&self.reported).filter(|it| (1..=DELIVERY_REPORTED_MAX).contains(&it.len()));
        let reported = reported.and_then(|reported| serde_json::to_string(reported).ok());
        NewItem::at(&self.key)
            .set(Attribute::Rev, &self.rev)
            .set_some(Attribute::CheckedAt, self.checked_at.as_ref())
            .set_some(Attribute::CheckStartedAt, self.started_at.as_ref())
            .set_some(Attribute::Progress, progress.as_ref())
            .set_some(Attribute::PollProblem, self.problem.as_ref())
            .set(Attribute::Polls, &self.runs)
            .set_some(Attribute::RanAt, self.ran_at.as_ref())
            .set_some(Attribute::UnreportedSince, self.unreported_since.as_ref())
            .set_some(Attribute::Reported, reported.as_ref())
            .set_some(Attribute::IdsMatchedAt, self.ids_matched_at.as_ref())
            .set_some(Attribute::KeysMatchedAt, self.keys_matched_at.as_ref())
            .set_some(Attribute::OldestMatch, self.oldest_match.as_ref())
            .set_some(Attribute::AbsentDeliveries, absent.as_ref())
            .build()
    }

    /// Reads the state; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let progress: Option<String> = read(item, Attribute::Progress);
        let absent: Option<String> = read(item, Attribute::AbsentDeliveries);
        let reported: Option<String> = read(item, Attribute::Reported);
        Some(Self {
            key: Key::of_item(item)?,
            rev: read(item, Attribute::Rev)?,
            checked_at: read(item, Attribute::CheckedAt),
            started_at: read(item, Attribute::CheckStartedAt),
            // One of another version is dropped: the check begins again.
            progress: progress.and_then(|it| serde_json::from_str(&it).ok()).unwrap_or_default(),
            problem: read(item, Attribute::PollProblem),
            runs: read_count(item, Attribute::Polls),
            ran_at: read(item, Attribute::RanAt),
            unreported_since: read(item, Attribute::UnreportedSince),
            reported: reported.and_then(|it| serde_json::from_str(&it).ok()).unwrap_or_default(),
            ids_matched_at: read(item, Attribute::IdsMatchedAt),
            keys_matched_at: read(item, Attribute::KeysMatchedAt),
            oldest_match: read(item, Attribute::OldestMatch),
            absent: absent.and_then(|absent| serde_json::from_str(&absent).ok()).unwrap_or_default(),
        })
    }
}
