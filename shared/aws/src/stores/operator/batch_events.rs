//! Events of some batches: of one, of the runs of a schedule, or of the batches that have checked an authorizer.
//!
//! An event's record does not name its schedule, for its webhook may come before the run is tracked, nor its authorizers. So
//! the batches are found first, and then each one's events are read from its item collection, whose order is not that of time.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};

use inbox_core::id::Id;
use inbox_core::limits::{CONCURRENT_CALLS, LIST_EXAMINED_MAX, SCHEDULE_PAGES_MAX, SELECTED_BATCHES_MAX};
use inbox_core::table_keys::batch_pk;
use inbox_core::time::UnixMillis;

use super::OperatorStore;
use super::lists::{BatchFilter, EventFilter};
use crate::AwsError;
use crate::items::{AlertEffectItem, EventRecord};
use crate::stores::list_cursor::ListCursor;
use crate::stores::list_page::{ExaminedPart, ListPage, PageStart};
use crate::stores::selected_batches::SelectedBatches;
use crate::stores::stored_balances::StoredBalances;
use crate::table::attribute::Attribute;
use crate::table::key::{ALERT_SK_PREFIX, COMPLETED_SK, Key};
use crate::table::value::Item;
use crate::table::{BATCH_GET_KEYS_MAX, QUERY};

/// What selects batches. Several conditions select the batches that meet all of them. Without `Debug`, because the authorizer is
/// personal data (P8).
#[derive(Clone, Default)]
pub struct BatchSelector<'a> {
    /// This batch.
    pub batch_id: Option<Id>,
    /// The tracked runs of this schedule.
    pub schedule_id: Option<Id>,
    /// The batches with a stored balance of this authorizer.
    pub authorizer: Option<(Id, &'a StoredBalances)>,
}

impl OperatorStore {
    /// Finds the batches that are selected, at most [`SELECTED_BATCHES_MAX`] for each condition, the newest ones; `None` if there is
    /// no condition.
    pub async fn select_batches(
        &self,
        selector: &BatchSelector<'_>,
    ) -> Result<Option<SelectedBatches>, AwsError> {
        let named = selector.batch_id.clone();
        let mut selected = named.map(|id| SelectedBatches { ids: vec![id], is_truncated: false });
        if let Some(schedule_id) = &selector.schedule_id {
            let runs = Box::pin(self.runs_of(schedule_id)).await?;
            selected = Some(both(selected, runs));
        }
        if let Some((authorizer, balances)) = &selector.authorizer {
            let checked = balances.batches_of(authorizer).await?;
            selected = Some(both(selected, checked));
        }
        Ok(selected)
    }

    /// Finds the newest tracked runs of a schedule, among the batches that were tracked last.
    async fn runs_of(&self, schedule_id: &Id) -> Result<SelectedBatches, AwsError> {
        let filter = BatchFilter { schedule_id: Some(schedule_id.clone()), ..BatchFilter::default() };
        let (mut ids, mut start) = (Vec::new(), PageStart::Newest);
        for _ in 0..SCHEDULE_PAGES_MAX {
            let page = self.list_batches(&filter, &start, SELECTED_BATCHES_MAX - ids.len()).await?;
            ids.extend(page.items.into_iter().map(|batch| batch.tracked.batch_id));
            match page.older {
                None => return Ok(SelectedBatches { ids, is_truncated: false }),
                Some(_) if ids.len() == SELECTED_BATCHES_MAX => break,
                Some(older) => start = PageStart::OlderThan(older),
            }
        }
        Ok(SelectedBatches { ids, is_truncated: true })
    }

    /// Lists the events of these batches that `matches` accepts, by the time of their receipt. One query for each batch: at most
    /// [`LIST_EXAMINED_MAX`] events are compared, those of the first batches.
    pub(super) async fn list_events_of_batches(
        &self,
        batches: &SelectedBatches,
        matches: impl Fn(&EventRecord) -> bool,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<EventRecord>, AwsError> {
        let (events, is_truncated) = self.events_of_batches(batches).await?;
        let examined = events.len();
        let mut events: Vec<_> =
            events.into_iter().filter(matches).map(|event| (place(&event), event)).collect();
        events.sort_by(|(one, _), (other, _)| other.cmp(one));
        if start.is_read_backwards() {
            events.reverse();
        }
        if let Some(cursor) = start.cursor() {
            let is_beyond = |place: &ListCursor| {
                if start.is_read_backwards() { place > cursor } else { place < cursor }
            };
            events.retain(|(place, _)| is_beyond(place));
        }
        let has_more = events.len() > limit;
        events.truncate(limit);
        let part = ExaminedPart {
            first: events.first().map(|(place, _)| place.clone()),
            last: events.last().map(|(place, _)| place.clone()),
            count: examined,
            has_more,
        };
        let items = events.into_iter().map(|(_, event)| event).collect();
        Ok(ListPage { is_truncated, ..ListPage::new(start, items, part) })
    }

    /// Reads the events of batches, in no order. The boolean is `true` if some are left out.
    async fn events_of_batches(
        &self,
        batches: &SelectedBatches,
    ) -> Result<(Vec<EventRecord>, bool), AwsError> {
        // A few batches are read at the same time, so more may be read than is compared.
        let reads = batches.ids.iter().cloned();
        let reads: Vec<_> =
            reads.map(|batch_id| async move { self.events_of_batch(&batch_id).await }).collect();
        let mut reads = stream::iter(reads).buffered(CONCURRENT_CALLS);
        let (mut events, mut is_truncated) = (Vec::new(), batches.is_truncated);
        while let Some(of_batch) = reads.next().await {
            events.extend(of_batch?);
            if events.len() > LIST_EXAMINED_MAX {
                events.truncate(LIST_EXAMINED_MAX);
                is_truncated = true;
                break;
            }
        }
        Ok((events, is_truncated))
    }

    /// Reads the events of a batch, one more than [`LIST_EXAMINED_MAX`] at most. Strongly consistent.
    async fn events_of_batch(&self, batch_id: &Id) -> Result<Vec<EventRecord>, AwsError> {
        // From the alerts up to the completion: what is tracked and the effects of alerts sort behind them.
        let of_events = Attribute::Sk.is_between(&ALERT_SK_PREFIX.to_owned(), &COMPLETED_SK.to_owned());
        let condition = Attribute::Pk.equals(&batch_pk(batch_id)).and(of_events);
        let query = self.table.query(&condition, &[]).consistent_read(true);
        let wanted = LIST_EXAMINED_MAX + 1;
        let mut items =
            query.limit(i32::try_from(wanted).unwrap_or(i32::MAX)).into_paginator().items().send();
        let mut events = Vec::new();
        while events.len() < wanted
            && let Some(item) = items.next().await
        {
            let item = item.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
            events.extend(EventRecord::from_item(&item));
        }
        Ok(events)
    }

    /// Reads the alerts of an authorizer in these batches, by batch: those that are published, or claimed.
    pub async fn alerts_of(
        &self,
        authorizer: &Id,
        batch_ids: &[Id],
    ) -> Result<BTreeMap<Id, AlertEffectItem>, AwsError> {
        let mut alerts = BTreeMap::new();
        for batch_ids in batch_ids.chunks(BATCH_GET_KEYS_MAX) {
            let keys = batch_ids.iter().map(|batch_id| Key::alert_effect(batch_id, authorizer)).collect();
            let items = self.table.get_all(keys).await?;
            let alert =
                |item: &Item| Some((Key::of_item(item)?.batch_id()?, AlertEffectItem::from_item(item)?));
            alerts.extend(items.iter().filter_map(alert));
        }
        Ok(alerts)
    }
}

/// The batches of the conditions so far that meet the next one, too.
fn both(selected: Option<SelectedBatches>, next: SelectedBatches) -> SelectedBatches {
    match selected {
        Some(selected) => selected.and(&next),
        None => next,
    }
}

fn place(event: &EventRecord) -> ListCursor {
    ListCursor { at: event.received_at, pk: event.key.pk(), sk: event.key.sk() }
}

impl EventFilter {
    /// Returns `true` if the event meets every condition but that of its batch.
    pub(super) fn matches(&self, event: &EventRecord, now: UnixMillis) -> bool {
        let is_wanted =
            |wanted: Option<&String>, value: Option<&String>| wanted.is_none_or(|it| Some(it) == value);
        self.received.since.is_none_or(|since| event.received_at >= since)
            && self.received.until.is_none_or(|until| event.received_at < until)
            && self.provider.is_none_or(|provider| event.key.provider() == provider)
            && is_wanted(self.event_type.as_ref(), Some(&event.event_type))
            && self.origin.is_none_or(|origin| event.origin == origin)
            && self.subject.as_ref().is_none_or(|subject| event.subject.as_ref() == Some(subject))
            && is_wanted(self.idempotency_key.as_ref(), event.idempotency_key.as_ref())
            && self.is_in_state(event, now)
    }

    /// Returns `true` if the event is in one of the states.
    pub(super) fn is_in_state(&self, event: &EventRecord, now: UnixMillis) -> bool {
        self.states.is_empty() || self.states.contains(&event.lifecycle.state(now))
    }
}
