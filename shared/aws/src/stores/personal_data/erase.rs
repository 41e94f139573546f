//! The writes of an erasure: one item after another, each as it was read.

use uuid::Uuid;

use inbox_core::expiry::parts_expiry;
use inbox_core::id::Id;
use inbox_core::person::replace_person;
use inbox_core::quarantine::Resolution;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::parts::StoredParts;
use super::search::why_left;
use super::{Erasure, FoundItem, FoundPersonalData, PersonalData, PersonalDataKind, WhyLeft};
use crate::AwsError;
use crate::items::{AlertEffectItem, BatchItem, EventRecord, QuarantinedItem, ScheduleItem, StoredPayload};
use crate::items::{SubmissionItem, TrackingState};
use crate::table::WriteOutcome;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::update::Update;
use crate::table::value::{FORMAT_VERSION, Item, read, read_due_at};

const UNREADABLE: Erasure = Erasure::Left(WhyLeft::Unreadable);

impl PersonalData {
    /// Erases the item at this position of what was found. The write is applied only if the item is as it is read now.
    pub async fn erase(
        &self,
        person: &Id,
        found: &mut FoundPersonalData,
        at: usize,
        now: UnixMillis,
    ) -> Result<Erasure, AwsError> {
        let Some(FoundItem { kind, key, left, .. }) = found.items.get(at) else {
            return Ok(Erasure::Erased);
        };
        let parts = &mut found.parts;
        match kind {
            PersonalDataKind::Balance => self.erase_balance(key).await,
            PersonalDataKind::AlertEffect => self.erase_alert(key, now).await,
            PersonalDataKind::EventPayload => self.erase_event(key, person, parts, now).await,
            PersonalDataKind::QuarantinedBytes => self.erase_quarantined(key, parts, now).await,
            PersonalDataKind::ExcludedAuthorizers
            | PersonalDataKind::Schedule
            | PersonalDataKind::SubmissionAnswer => {
                self.erase_in_document(*kind, key, person, parts, now).await
            }
            PersonalDataKind::OrphanedPart => match left {
                Some(left) => Ok(Erasure::Left(*left)),
                None => self.delete_part(key, parts).await,
            },
            PersonalDataKind::InterruptedErasure => match self.inbox.get(key).await? {
                Some(item) => self.delete_outdated_parts(key, &item, parts).await,
                None => Ok(Erasure::Erased),
            },
            PersonalDataKind::AuditReason => Ok(Erasure::Left(WhyLeft::AuditTrail)),
            PersonalDataKind::ItemName => Ok(Erasure::Left(WhyLeft::Name)),
        }
    }

    async fn erase_balance(&self, key: &Key) -> Result<Erasure, AwsError> {
        // Nothing that was read decides this: all balances of the person go.
        self.balances.delete_if(key, Attribute::Pk.exists()).await.map(erased_if_applied)
    }

    async fn erase_alert(&self, key: &Key, now: UnixMillis) -> Result<Erasure, AwsError> {
        let Some(item) = self.inbox.get(key).await? else { return Ok(Erasure::Erased) };
        let (Some(effect), Some(batch_id)) = (AlertEffectItem::from_item(&item), key.batch_id()) else {
            return Ok(UNREADABLE);
        };
        if self.is_batch_tracked(&batch_id).await? {
            return Ok(Erasure::Left(WhyLeft::BatchTracked));
        }
        let is_as_read = match effect.published_at {
            Some(at) => {
                // First: without it, the alert could be published again once the effect is gone (P5).
                let erased_alert = Update::without_rev(Key::erased_alert(&batch_id, &effect.authorizer))
                    .set(Attribute::V, &FORMAT_VERSION)
                    .set(Attribute::ExpiresAt, &parts_expiry(now, self.inbox.retention_days));
                self.inbox.update_if(erased_alert).await?;
                Attribute::PublishedAt.equals(&at)
            }
            None => Attribute::PublishedAt.is_missing(),
        };
        let is_unclaimed = Attribute::ClaimBy.is_missing().or(Attribute::ClaimUntil.is_below(&now));
        self.inbox.delete_if(key, is_unclaimed.and(is_as_read)).await.map(erased_if_applied)
    }

    async fn erase_event(
        &self,
        key: &Key,
        person: &Id,
        parts: &mut StoredParts,
        now: UnixMillis,
    ) -> Result<Erasure, AwsError> {
        let Some(item) = self.inbox.get(key).await? else { return Ok(Erasure::Erased) };
        if let Some(left) = why_left(PersonalDataKind::EventPayload, &item, person, now) {
            return Ok(Erasure::Left(left));
        }
        let Some(event) = EventRecord::from_item(&item) else { return Ok(UNREADABLE) };
        if let Some(batch_id) = event.key.batch_id()
            && self.is_batch_tracked(batch_id).await?
        {
            return Ok(Erasure::Left(WhyLeft::BatchTracked));
        }
        let is_unclaimed = Attribute::ClaimUntil.is_missing().or(Attribute::ClaimUntil.is_below(&now));
        let update = Update::at_rev(key.clone(), event.rev)
            .only_if(Attribute::Due.is_missing())
            .only_if(is_unclaimed)
            .increment(Attribute::Rev);
        self.erase_payload(update, &item, &event.payload, parts, now).await
    }

    async fn erase_quarantined(
        &self,
        key: &Key,
        parts: &mut StoredParts,
        now: UnixMillis,
    ) -> Result<Erasure, AwsError> {
        let Some(item) = self.inbox.get(key).await? else { return Ok(Erasure::Erased) };
        let Some(quarantined) = QuarantinedItem::from_item(&item) else { return Ok(UNREADABLE) };
        // The number of deliveries takes the place of a `rev` here.
        let update = Update::without_rev(key.clone())
            .only_if(Attribute::Deliveries.equals(&quarantined.deliveries))
            .end_due();
        let update = match quarantined.resolution {
            Some(_) => update,
            // Nobody can replay it any more.
            None => update
                .only_if(Attribute::ClosedAt.is_missing())
                .set(Attribute::ClosedAt, &now)
                .set(Attribute::Resolution, &Resolution::Erased),
        };
        self.erase_payload(update, &item, &quarantined.payload, parts, now).await
    }

    /// Takes the payload out of an item, and deletes its parts. The hash stays, by which a repeated delivery is recognised.
    async fn erase_payload(
        &self,
        update: Update,
        item: &Item,
        payload: &StoredPayload,
        parts: &mut StoredParts,
        now: UnixMillis,
    ) -> Result<Erasure, AwsError> {
        let key = update.key().clone();
        if payload.erased_at().is_some() {
            return self.delete_outdated_parts(&key, item, parts).await;
        }
        let outdated = payload.parts().map(|(names, _)| names.to_vec());
        let update = update
            .set(Attribute::PayloadErasedAt, &now)
            .set_some(Attribute::PartsToDelete, outdated.as_ref())
            .remove(&[Attribute::Payload, Attribute::Parts, Attribute::PartsExpireAt]);
        self.update_and_delete_parts(update, outdated.unwrap_or_default(), parts).await
    }

    /// Takes the person out of a document of ours: a list of authorizers, thresholds and probes, or an answer.
    async fn erase_in_document(
        &self,
        kind: PersonalDataKind,
        key: &Key,
        person: &Id,
        parts: &mut StoredParts,
        now: UnixMillis,
    ) -> Result<Erasure, AwsError> {
        let Some(item) = self.inbox.get(key).await? else { return Ok(Erasure::Erased) };
        if let Some(left) = why_left(kind, &item, person, now) {
            return Ok(Erasure::Left(left));
        }
        // The item has one list of parts to delete, so an interrupted erasure comes first.
        self.delete_outdated_parts(key, &item, parts).await?;
        let Some(payload) = StoredPayload::from_item(&item) else { return Ok(UNREADABLE) };
        let expire_at = payload.parts().map_or(parts_expiry(now, self.inbox.retention_days), |(_, at)| at);
        let changed = match kind {
            PersonalDataKind::Schedule => self.schedule_without(person, &item, expire_at).await?,
            PersonalDataKind::SubmissionAnswer => self.answer_without(person, &item, expire_at).await?,
            PersonalDataKind::ExcludedAuthorizers => self.batch_without(person, &item, expire_at).await?,
            PersonalDataKind::Balance
            | PersonalDataKind::AlertEffect
            | PersonalDataKind::EventPayload
            | PersonalDataKind::QuarantinedBytes
            | PersonalDataKind::OrphanedPart
            | PersonalDataKind::InterruptedErasure
            | PersonalDataKind::AuditReason
            | PersonalDataKind::ItemName => None,
        };
        let Some((update, document)) = changed else { return Ok(UNREADABLE) };
        let new_names = document.parts().map(|(names, _)| names.to_vec()).unwrap_or_default();
        let mut outdated = payload.parts().map(|(names, _)| names.to_vec()).unwrap_or_default();
        outdated.retain(|name| !new_names.contains(name));
        let attributes = document.attributes();
        let mut removed = vec![Attribute::Payload, Attribute::Parts, Attribute::PartsExpireAt];
        removed.retain(|old| attributes.iter().all(|(new, _)| new != old));
        let update = update
            .increment(Attribute::Rev)
            .remove(&removed)
            .set_all(attributes)
            .set_some(Attribute::PartsToDelete, Some(&outdated).filter(|names| !names.is_empty()));
        self.update_and_delete_parts(update, outdated, parts).await
    }

    /// The excluded authorizers, with another name in the place of the person's: their number decides when a batch is complete.
    async fn batch_without(
        &self,
        person: &Id,
        item: &Item,
        expire_at: UnixSecs,
    ) -> Result<Option<(Update, StoredPayload)>, AwsError> {
        let Some(batch) = BatchItem::from_item(item) else { return Ok(None) };
        let mut excluded = self.inbox.load_ids(batch.excluded.as_ref()).await?;
        if excluded.remove(person) {
            excluded.extend(Id::new(replacement()));
        }
        let document = self.inbox.store_ids(&excluded, expire_at).await?;
        Ok(Some((as_read(&batch.tracking), document)))
    }

    async fn schedule_without(
        &self,
        person: &Id,
        item: &Item,
        expire_at: UnixSecs,
    ) -> Result<Option<(Update, StoredPayload)>, AwsError> {
        let Some(mut schedule) = ScheduleItem::from_item(item) else { return Ok(None) };
        let mut thresholds = self.inbox.load_thresholds(&schedule.thresholds).await?;
        thresholds.authorizers.remove(person);
        schedule.schedule.probes.retain(|probe| probe != person);
        // As when they are changed: they must be readable until the last run has ended.
        let expire_at = expire_at.max(parts_expiry(schedule.schedule.ends_at(), self.inbox.retention_days));
        let document = self.inbox.store_thresholds(&thresholds, expire_at).await?;
        let update = as_read(&schedule.tracking).set(Attribute::Probes, &schedule.schedule.probes);
        Ok(Some((update, document)))
    }

    async fn answer_without(
        &self,
        person: &Id,
        item: &Item,
        expire_at: UnixSecs,
    ) -> Result<Option<(Update, StoredPayload)>, AwsError> {
        let Some(submission) = SubmissionItem::from_item(item) else { return Ok(None) };
        let Some(response) = &submission.response else { return Ok(None) };
        let mut answer = self.inbox.load_json(response).await?;
        replace_person(&mut answer, person, &replacement());
        let document = self.inbox.store_json(&answer, expire_at).await?;
        let is_same_call = Attribute::CallId.equals(&submission.call_id);
        Ok(Some((as_read(&submission.tracking).only_if(is_same_call), document)))
    }

    /// Writes an update that no longer names some parts, and deletes those of them that no other item names.
    async fn update_and_delete_parts(
        &self,
        update: Update,
        outdated: Vec<String>,
        parts: &mut StoredParts,
    ) -> Result<Erasure, AwsError> {
        let key = update.key().clone();
        if self.inbox.update_once(update).await? == WriteOutcome::Conflict {
            return Ok(Erasure::Left(WhyLeft::Changed));
        }
        outdated.iter().for_each(|name| parts.release(name));
        self.delete_parts(&key, &outdated, parts).await
    }

    /// Deletes the parts that an interrupted erasure has left of an item, if any.
    async fn delete_outdated_parts(
        &self,
        key: &Key,
        item: &Item,
        parts: &mut StoredParts,
    ) -> Result<Erasure, AwsError> {
        let outdated: Vec<String> = read(item, Attribute::PartsToDelete).unwrap_or_default();
        self.delete_parts(key, &outdated, parts).await
    }

    async fn delete_parts(
        &self,
        key: &Key,
        outdated: &[String],
        parts: &mut StoredParts,
    ) -> Result<Erasure, AwsError> {
        if outdated.is_empty() {
            return Ok(Erasure::Erased);
        }
        for name in outdated {
            // Another payload may begin with the same bytes, or be the same one.
            if parts.is_referenced(name) {
                continue;
            }
            if let left @ Erasure::Left(_) = self.delete_part(&Key::payload_part(name), parts).await? {
                return Ok(left);
            }
        }
        // An item that has expired meanwhile must not be created again.
        let done = Update::without_rev(key.clone())
            .only_if(Attribute::PartsToDelete.exists())
            .remove(&[Attribute::PartsToDelete]);
        self.inbox.update_if(done).await?;
        Ok(Erasure::Erased)
    }

    /// Deletes a part, unless its expiry has moved: then somebody has just stored the same bytes again.
    async fn delete_part(&self, key: &Key, parts: &StoredParts) -> Result<Erasure, AwsError> {
        let name = key.pk.split_once('#').map(|(_, name)| name).unwrap_or_default();
        let expires_at = match parts.expiry(name) {
            Some(seen) => Some(seen),
            // It was stored after the scan had passed its place.
            None => self.inbox.get(key).await?.and_then(|part| read::<UnixSecs>(&part, Attribute::ExpiresAt)),
        };
        let Some(expires_at) = expires_at else { return Ok(Erasure::Erased) };
        let is_as_seen = Attribute::ExpiresAt.equals(&expires_at);
        self.inbox.delete_if(key, is_as_seen).await.map(erased_if_applied)
    }

    /// Returns `true` if a batch is still polled. One strongly consistent read.
    async fn is_batch_tracked(&self, batch_id: &Id) -> Result<bool, AwsError> {
        let batch = self.inbox.get(&Key::batch(batch_id)).await?;
        Ok(batch.is_some_and(|batch| read_due_at(&batch).is_some()))
    }
}

fn as_read(tracking: &TrackingState) -> Update {
    Update::at_rev(tracking.key().clone(), tracking.rev())
}

fn erased_if_applied(written: WriteOutcome) -> Erasure {
    match written {
        WriteOutcome::Applied => Erasure::Erased,
        WriteOutcome::Conflict => Erasure::Left(WhyLeft::Changed),
    }
}

/// The name that takes the place of the person's id. It is random, so that it tells nothing.
fn replacement() -> String {
    format!("erased-{}", Uuid::new_v4().simple())
}
