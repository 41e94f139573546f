//! Lists of events, batches, schedules, submissions, quarantined items and missed deliveries, by time, the newest first.
//!
//! A list reads its entries from the index `listed`, with one query for each shard, and then the items of the page
//! themselves: the index holds no state. A filter by what only the items hold reads those, too, so a filtered page
//! compares a limited number of entries (`inbox_core::limits::LIST_EXAMINED_MAX`). Events of given batches are read from the
//! item collections of these (`batch_events`).

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::audit::OperatorAction;
use inbox_core::delivery::Provider;
use inbox_core::due_queue::DueQueue;
use inbox_core::event::EventKey;
use inbox_core::fynapse_api::finding::MissedReason;
use inbox_core::id::Id;
use inbox_core::lifecycle::EventState;
use inbox_core::limits::{ID_PREFIX_ENTRIES, INDEX_SHARDS};
use inbox_core::list_kind::ListKind;
use inbox_core::origin::Origin;
use inbox_core::quarantine::{QuarantineId, QuarantineReason};
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::{BatchStatus, SubmissionState};

use super::OperatorStore;
use crate::AwsError;
use crate::items::{
    AuditItem, BatchItem, EventRecord, MissedDeliveryItem, QuarantinedItem, ScheduleItem, SubmissionItem,
};
use crate::stores::due_index;
use crate::stores::list_cursor::ListCursor;
use crate::stores::list_page::{FilterKind, ListPage, PageRequest, PageStart};
use crate::stores::selected_batches::SelectedBatches;
use crate::stores::sharded_index::{IndexEntry, LISTED, Span, TimeOrder};
use crate::table::BATCH_GET_KEYS_MAX;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::{FromAttribute, Item, read};

/// The attributes that the index `listed` holds besides the keys: what lists are filtered by. None of them changes with the state
/// of an item. A deployed index cannot get others.
pub const LISTED_ATTRIBUTES: [&str; 10] = [
    "type",
    "origin",
    "subject",
    "schedule_id",
    "idempotency_key",
    "kind",
    "reason",
    "audit_subject",
    "action",
    "operator",
];

/// Times between which listed items are.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeRange {
    /// Only items of this time or later.
    pub since: Option<UnixMillis>,
    /// Only items before this time.
    pub until: Option<UnixMillis>,
}

/// A filter of events; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Times of receipt.
    pub received: TimeRange,
    /// Only events of this provider.
    pub provider: Option<Provider>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Only events that came this way.
    pub origin: Option<Origin>,
    /// Only events of this subject.
    pub subject: Option<Subject>,
    /// Only events with this `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Only events in one of these states; empty for any.
    pub states: BTreeSet<EventState>,
    /// Only events of these batches ([`OperatorStore::select_batches`]).
    pub batches: Option<SelectedBatches>,
}

/// A filter of tracked batches; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct BatchFilter {
    /// Times at which tracking began.
    pub tracked: TimeRange,
    /// Only runs of this schedule.
    pub schedule_id: Option<Id>,
    /// Only batches of this subject.
    pub subject: Option<Subject>,
    /// Only batches with this status.
    pub status: Option<BatchStatus>,
}

/// A filter of tracked schedules; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct ScheduleFilter {
    /// Times at which tracking began.
    pub tracked: TimeRange,
    /// Only schedules of this subject.
    pub subject: Option<Subject>,
    /// Only schedules that are still polled (`true`), or no longer (`false`).
    pub is_polled: Option<bool>,
}

/// A filter of submissions; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct SubmissionFilter {
    /// Times at which they were written.
    pub written: TimeRange,
    /// Only submissions of a batch, or of a schedule.
    pub kind: Option<SubmissionKind>,
    /// Only submissions in this state.
    pub state: Option<SubmissionState>,
}

/// A filter of quarantined items; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Times at which their bytes were first received.
    pub received: TimeRange,
    /// Only items of this provider.
    pub provider: Option<Provider>,
    /// Only items quarantined for this reason.
    pub reason: Option<QuarantineReason>,
    /// Only items of this subject.
    pub subject: Option<Subject>,
    /// Only open items (`true`), or closed ones (`false`).
    pub is_open: Option<bool>,
}

/// A filter of missed deliveries; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct MissedFilter {
    /// Times at which they were found.
    pub found: TimeRange,
    /// Only deliveries that were missed for this reason.
    pub reason: Option<MissedReason>,
    /// Only open ones (`true`), or resolved ones (`false`).
    pub is_open: Option<bool>,
}

/// A filter of audit entries; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Times of the actions.
    pub acted: TimeRange,
    /// Only entries of this action.
    pub action: Option<OperatorAction>,
    /// Only entries of this operator, by the name that was given.
    pub operator: Option<String>,
}

impl OperatorStore {
    /// Lists audit entries by the time of the action.
    pub async fn list_audit(
        &self,
        filter: &AuditFilter,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<AuditItem>, AwsError> {
        let filter_kind = filter_kind(false, filter.action.is_some() || filter.operator.is_some());
        let request = request(ListKind::Audit, filter.acted, start, limit, filter_kind);
        let action = filter.action.map(|action| action.as_str().to_owned());
        let matches = |entry: &IndexEntry| {
            has_value(entry, Attribute::Action, action.as_ref())
                && has_value(entry, Attribute::Operator, filter.operator.as_ref())
        };
        self.table.list_page(request, matches, AuditItem::from_item).await
    }

    /// Lists recorded events by the time of their receipt.
    pub async fn list_events(
        &self,
        filter: &EventFilter,
        start: &PageStart,
        limit: usize,
        now: UnixMillis,
    ) -> Result<ListPage<EventRecord>, AwsError> {
        if let Some(batches) = &filter.batches {
            let matches = |event: &EventRecord| filter.matches(event, now);
            return Box::pin(self.list_events_of_batches(batches, matches, start, limit)).await;
        }
        let entries_only = filter.provider.is_some()
            || filter.event_type.is_some()
            || filter.origin.is_some()
            || filter.subject.is_some()
            || filter.idempotency_key.is_some();
        let filter_kind = filter_kind(!filter.states.is_empty(), entries_only);
        let request = request(ListKind::Event, filter.received, start, limit, filter_kind);
        let matches = |entry: &IndexEntry| {
            is_of_provider(entry, filter.provider)
                && has_value(entry, Attribute::Type, filter.event_type.as_ref())
                && has_value(entry, Attribute::Origin, filter.origin.as_ref())
                && has_value(entry, Attribute::Subject, filter.subject.as_ref())
                && has_value(entry, Attribute::IdempotencyKey, filter.idempotency_key.as_ref())
        };
        // The state is derived from times and never stored, so DynamoDB cannot filter by it.
        let read = |item: &Item| EventRecord::from_item(item).filter(|event| filter.is_in_state(event, now));
        self.table.list_page(request, matches, read).await
    }

    /// Lists batches that are or were tracked, by the time at which tracking began.
    pub async fn list_batches(
        &self,
        filter: &BatchFilter,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<BatchItem>, AwsError> {
        let entries_only = filter.schedule_id.is_some() || filter.subject.is_some();
        let filter_kind = filter_kind(filter.status.is_some(), entries_only);
        let request = request(ListKind::Batch, filter.tracked, start, limit, filter_kind);
        let matches = |entry: &IndexEntry| {
            has_value(entry, Attribute::ScheduleId, filter.schedule_id.as_ref())
                && has_value(entry, Attribute::Subject, filter.subject.as_ref())
        };
        let has_status = |batch: &BatchItem| {
            filter.status.is_none_or(|status| status == BatchStatus::of(batch.done_at, batch.overdue_at))
        };
        let read = |item: &Item| BatchItem::from_item(item).filter(has_status);
        self.table.list_page(request, matches, read).await
    }

    /// Reads the completions of these batches, as far as they are recorded. Strongly consistent, up to a hundred in a call.
    pub async fn completions_of(
        &self,
        batches: impl IntoIterator<Item = &Id>,
    ) -> Result<BTreeMap<Id, EventRecord>, AwsError> {
        let key = |batch_id: &Id| Key::event(&EventKey::RightfootCompletion { batch_id: batch_id.clone() });
        let keys: Vec<_> = batches.into_iter().map(key).collect();
        let mut completions = BTreeMap::new();
        for keys in keys.chunks(BATCH_GET_KEYS_MAX) {
            let items = self.table.get_all(keys.to_vec()).await?;
            let records = items.iter().filter_map(EventRecord::from_item);
            completions.extend(records.filter_map(|record| Some((record.key.batch_id()?.clone(), record))));
        }
        Ok(completions)
    }

    /// Lists schedules that are or were tracked, by the time at which tracking began.
    pub async fn list_schedules(
        &self,
        filter: &ScheduleFilter,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<ScheduleItem>, AwsError> {
        let filter_kind = filter_kind(filter.is_polled.is_some(), filter.subject.is_some());
        let request = request(ListKind::Schedule, filter.tracked, start, limit, filter_kind);
        let matches = |entry: &IndexEntry| has_value(entry, Attribute::Subject, filter.subject.as_ref());
        let is_polled = |schedule: &ScheduleItem| {
            filter.is_polled.is_none_or(|is_polled| is_polled == schedule.tracking.due_at.is_some())
        };
        let read = |item: &Item| ScheduleItem::from_item(item).filter(is_polled);
        self.table.list_page(request, matches, read).await
    }

    /// Lists submissions by the time at which they were written.
    pub async fn list_submissions(
        &self,
        filter: &SubmissionFilter,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<SubmissionItem>, AwsError> {
        let filter_kind = filter_kind(filter.state.is_some(), filter.kind.is_some());
        let request = request(ListKind::Submission, filter.written, start, limit, filter_kind);
        let matches = |entry: &IndexEntry| has_value(entry, Attribute::Kind, filter.kind.as_ref());
        let in_state = |it: &SubmissionItem| filter.state.is_none_or(|state| state == it.status().into());
        let read = |item: &Item| SubmissionItem::from_item(item).filter(in_state);
        self.table.list_page(request, matches, read).await
    }

    /// Lists quarantined items by the time at which their bytes were first received. Open items are found however many closed
    /// ones there are.
    pub async fn list_quarantined_items(
        &self,
        filter: &QuarantineFilter,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<QuarantinedItem>, AwsError> {
        let entries_only = filter.provider.is_some() || filter.subject.is_some() || filter.reason.is_some();
        let filter_kind = filter_kind(filter.is_open.is_some() || filter.reason.is_some(), entries_only);
        let mut request = request(ListKind::Quarantine, filter.received, start, limit, filter_kind);
        if filter.is_open == Some(true) {
            // The index `due` holds exactly the open ones, by the same time.
            request.index = due_index::INDEX;
            request.shards = DueQueue::Quarantine.shards().collect();
        }
        let matches = |entry: &IndexEntry| {
            let id = QuarantineId::from_pk(&entry.place.pk);
            filter.provider.is_none_or(|provider| id.is_some_and(|id| id.provider == provider))
        };
        let is_selected = |it: &QuarantinedItem| {
            filter.reason.is_none_or(|reason| reason == it.reason)
                && filter.subject.as_ref().is_none_or(|subject| it.subject.as_ref() == Some(subject))
                && filter.is_open.is_none_or(|is_open| is_open == it.resolution.is_none())
        };
        let read = |item: &Item| QuarantinedItem::from_item(item).filter(is_selected);
        self.table.list_page(request, matches, read).await
    }

    /// Lists missed deliveries of Fynapse's by the time at which they were found.
    pub async fn list_missed_deliveries(
        &self,
        filter: &MissedFilter,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<MissedDeliveryItem>, AwsError> {
        let filter_kind = filter_kind(filter.is_open.is_some(), filter.reason.is_some());
        let request = request(ListKind::MissedDelivery, filter.found, start, limit, filter_kind);
        let matches = |entry: &IndexEntry| has_value(entry, Attribute::Reason, filter.reason.as_ref());
        let is_selected = |it: &MissedDeliveryItem| {
            filter.is_open.is_none_or(|is_open| is_open == it.resolved_at.is_none())
        };
        let read = |item: &Item| MissedDeliveryItem::from_item(item).filter(is_selected);
        self.table.list_page(request, matches, read).await
    }
}

impl OperatorStore {
    /// The places of the newest items of a kind, about [`ID_PREFIX_ENTRIES`] of them: among these, an id is found by its
    /// beginning. One query for each shard.
    pub async fn newest_places(&self, kind: ListKind) -> Result<Vec<ListCursor>, AwsError> {
        let span = Span { order: TimeOrder::NewestFirst, since: None, until: None, after: None };
        let per_shard = ID_PREFIX_ENTRIES / usize::from(INDEX_SHARDS);
        let window = LISTED.window(&self.table, kind.shards(), &span, per_shard).await?;
        Ok(window.entries.into_iter().map(|entry| entry.place).collect())
    }
}

fn request(
    kind: ListKind,
    times: TimeRange,
    start: &PageStart,
    limit: usize,
    filter: FilterKind,
) -> PageRequest<'_> {
    let shards = kind.shards().collect();
    PageRequest { index: LISTED, shards, since: times.since, until: times.until, start, limit, filter }
}

fn filter_kind(needs_items: bool, needs_entries: bool) -> FilterKind {
    match (needs_items, needs_entries) {
        (true, _) => FilterKind::Items,
        (false, true) => FilterKind::Entries,
        (false, false) => FilterKind::None,
    }
}

/// Returns `true` if no value is wanted, or the entry has it.
fn has_value<T: FromAttribute + PartialEq>(
    entry: &IndexEntry,
    attribute: Attribute,
    wanted: Option<&T>,
) -> bool {
    wanted.is_none_or(|wanted| read::<T>(&entry.attributes, attribute).as_ref() == Some(wanted))
}

fn is_of_provider(entry: &IndexEntry, provider: Option<Provider>) -> bool {
    provider.is_none_or(|provider| entry.place.pk.starts_with(&format!("{}#", provider.as_str())))
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn the_index_holds_attributes_that_items_have() {
        for name in LISTED_ATTRIBUTES {
            assert!(Attribute::iter().any(|attribute| attribute.name() == name), "{name}");
        }
    }
}
