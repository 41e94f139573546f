//! Checks of Fynapse's deliveries: how far the list was read, which events are here, and what was missed.
//!
//! ```text
//!  auditor   put "a run began", if rev=seen ── read the list ── put each missed delivery, if it is not there ── put the state, if rev=seen
//! ```
//!
//! A run that crashes has written no metrics, and the next one repeats its pages. The first write tells it since when, so it reports what
//! was found since then. So a missed delivery is reported at least once, and twice only if a run crashes or its last write fails after its
//! report, or if two runs overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::fynapse_api::finding::{Comparable, EventsHere};
use inbox_core::id::Id;
use inbox_core::limits::{
    DELIVERY_KEYS_MAX, DELIVERY_SEARCH_MARGIN_SECS, INDEX_SHARDS, QUARANTINED_COMPARED_MAX,
};
use inbox_core::list_kind::ListKind;
use inbox_core::origin::Origin;
use inbox_core::quarantine::QuarantineId;
use inbox_core::time::UnixMillis;

use super::sharded_index::{IndexEntry, LISTED, Span, TimeOrder};
use crate::AwsError;
use crate::items::payload::is_payload_gone;
use crate::items::{DeliveryCheckItem, MissedDeliveryItem, QuarantinedItem};
use crate::resources::{Actions, Resource};
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::read;
use crate::table::{BATCH_GET_KEYS_MAX, Table, WriteOutcome, Written};

/// Reads and writes what the auditor knows.
#[derive(Clone, Debug)]
pub struct DeliveryChecks {
    table: Table,
}

/// The field of a payload that identifies its event.
#[derive(Deserialize)]
struct PayloadId {
    event_id: String,
}

impl DeliveryChecks {
    /// The actions of this store.
    pub const ACTIONS: Actions = &[
        (Resource::InboxTable, &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem"]),
        (Resource::ListedIndex, &["dynamodb:Query"]),
    ];

    /// Creates the store.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Reads the state of a subscription's checks. One strongly consistent read.
    pub async fn state(&self, subscription_id: &Id) -> Result<DeliveryCheckItem, AwsError> {
        let key = Key::delivery_check(subscription_id);
        let state = self.table.get_as(&key, DeliveryCheckItem::from_item).await?;
        Ok(state.unwrap_or_else(|| DeliveryCheckItem::new(subscription_id)))
    }

    /// Saves the state. Conflicts if another run has saved one since it was read or saved.
    pub async fn save_state(&self, state: &mut DeliveryCheckItem) -> Result<WriteOutcome, AwsError> {
        let condition = match state.stored_rev() {
            Some(rev) => Attribute::Rev.equals(&rev),
            None => Attribute::Pk.is_missing(),
        };
        let next = state.next();
        let written = self.table.put(next.to_item(), &condition).await?;
        let outcome =
            written.unless_own(|existing| DeliveryCheckItem::from_item(existing).as_ref() == Some(&next));
        if outcome == WriteOutcome::Applied {
            *state = next;
        }
        Ok(outcome)
    }

    /// Saves a missed delivery, unless it was found before. Returns the time of the earlier find then.
    pub async fn save_missed(&self, missed: &MissedDeliveryItem) -> Result<Option<UnixMillis>, AwsError> {
        let item = missed.to_item(self.table.retention_days);
        Ok(match self.table.put(item, &Attribute::Pk.is_missing()).await? {
            Written::Applied => None,
            // An endpoint that does not return the item is too old: what it has was not found now.
            Written::ConditionFailed(existing) => {
                let existing = existing.as_ref().and_then(MissedDeliveryItem::from_item);
                Some(existing.map_or(UnixMillis(0), |existing| existing.found_at))
            }
        })
    }

    /// Which of these Fynapse events are recorded, with the time of the record if the auditor made it. Strongly consistent, up to a
    /// hundred in a call.
    pub async fn recorded_events(
        &self,
        event_ids: &BTreeSet<Id>,
    ) -> Result<BTreeMap<Id, Option<UnixMillis>>, AwsError> {
        let key = |id: &Id| EventKey::signed(Provider::Fynapse, id.clone()).map(|key| Key::event(&key));
        let keys: Vec<_> = event_ids.iter().filter_map(key).collect();
        let mut recorded = BTreeMap::new();
        for keys in keys.chunks(BATCH_GET_KEYS_MAX) {
            for item in self.table.get_all(keys.to_vec()).await? {
                let event = Key::of_item(&item).and_then(|key| EventKey::from_table_key(&key.pk, &key.sk));
                let Some(event_id) = event.as_ref().and_then(signed_id) else { continue };
                let is_polled = read::<Origin>(&item, Attribute::Origin) == Some(Origin::Poll);
                let polled_at = read(&item, Attribute::ReceivedAt).filter(|_| is_polled);
                recorded.insert(event_id, polled_at);
            }
        }
        Ok(recorded)
    }

    /// Which of these deliveries are stored as missed, and since when. Strongly consistent, up to a hundred in a call.
    pub async fn known_missed(
        &self,
        references: impl IntoIterator<Item = &Id>,
    ) -> Result<BTreeMap<Id, UnixMillis>, AwsError> {
        let keys: BTreeSet<_> = references.into_iter().collect();
        let keys: Vec<_> = keys.into_iter().map(Key::missed_delivery).collect();
        let mut known = BTreeMap::new();
        for keys in keys.chunks(BATCH_GET_KEYS_MAX) {
            let items = self.table.get_all(keys.to_vec()).await?;
            let missed = items.iter().filter_map(MissedDeliveryItem::from_item);
            known.extend(missed.map(|missed| (missed.reference, missed.found_at)));
        }
        Ok(known)
    }

    /// Searches Fynapse's events of deliveries that were created since then: the idempotency keys of recorded and quarantined ones, and
    /// the ids of quarantined ones. The index may lag for some seconds.
    pub async fn events_since(&self, since: UnixMillis) -> Result<EventsHere, AwsError> {
        let searched_from = since.minus(Duration::from_secs(DELIVERY_SEARCH_MARGIN_SECS));
        let (events, has_all_events) = self.entries(ListKind::Event, searched_from).await?;
        let (quarantined, has_all_quarantined) = self.entries(ListKind::Quarantine, searched_from).await?;
        let is_quarantined = |entry: &&IndexEntry| {
            QuarantineId::from_pk(&entry.place.pk).is_some_and(|id| id.provider == Provider::Fynapse)
        };
        let places = quarantined.iter().filter(is_quarantined).map(|entry| entry.place.key());
        let places: Vec<_> = places.take(QUARANTINED_COMPARED_MAX + 1).collect();
        let has_all_quarantined = has_all_quarantined && places.len() <= QUARANTINED_COMPARED_MAX;
        let key_of = |entry: &IndexEntry| read(&entry.attributes, Attribute::IdempotencyKey);
        let is_polled =
            |entry: &&IndexEntry| read(&entry.attributes, Attribute::Origin) == Some(Origin::Poll);
        let (event_ids, unreadable_until) = self.quarantined_event_ids(&places).await?;
        Ok(EventsHere {
            event_ids,
            unreadable_until,
            has_all_quarantined,
            polled_keys: events.iter().filter(is_polled).filter_map(key_of).collect(),
            idempotency_keys: events.iter().chain(&quarantined).filter_map(key_of).collect(),
            since: Some(since),
            has_all_keys: has_all_events && has_all_quarantined,
            comparable: Comparable::default(),
        })
    }

    /// The entries of this kind since then, and whether these are all.
    async fn entries(&self, kind: ListKind, since: UnixMillis) -> Result<(Vec<IndexEntry>, bool), AwsError> {
        let span = Span { order: TimeOrder::NewestFirst, since: Some(since), until: None, after: None };
        let per_shard = DELIVERY_KEYS_MAX / usize::from(INDEX_SHARDS);
        let window = LISTED.window(&self.table, kind.shards(), &span, per_shard).await?;
        Ok((window.entries, !window.has_more))
    }

    /// The event ids of quarantined deliveries, and the last time at which one came whose id cannot be read.
    async fn quarantined_event_ids(
        &self,
        places: &[Key],
    ) -> Result<(BTreeSet<Id>, Option<UnixMillis>), AwsError> {
        let (mut ids, mut unreadable_until) = (BTreeSet::new(), None);
        for keys in places.chunks(BATCH_GET_KEYS_MAX) {
            for item in self.table.get_all(keys.to_vec()).await? {
                let Some(item) = QuarantinedItem::from_item(&item) else { continue };
                let id = match &item.event {
                    Some(event) => signed_id(event),
                    None => match self.table.load_payload(&item.payload).await {
                        Ok(body) => payload_id(&body),
                        // Its key may still be found.
                        Err(error) if is_payload_gone(&error) => None,
                        Err(error) => return Err(error),
                    },
                };
                match id {
                    Some(id) => _ = ids.insert(id),
                    None => unreadable_until = unreadable_until.max(Some(item.last_received_at)),
                }
            }
        }
        Ok((ids, unreadable_until))
    }
}

/// The `event_id` of a payload.
fn payload_id(body: &[u8]) -> Option<Id> {
    let payload: PayloadId = serde_json::from_slice(body).ok()?;
    Id::new(payload.event_id)
}

/// The id of an event of a provider that signs.
fn signed_id(key: &EventKey) -> Option<Id> {
    match key {
        EventKey::Signed { event_id, .. } => Some(event_id.clone()),
        EventKey::RightfootCompletion { .. }
        | EventKey::RightfootAlert { .. }
        | EventKey::RightfootPolledAlert { .. } => None,
    }
}
