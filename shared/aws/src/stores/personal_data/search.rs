//! The search: each item of the table `inbox` is looked at once, and what it holds is compared with the person's id.

use std::collections::BTreeSet;

use inbox_core::audit::AuditEntry;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::person::{document_mentions_person, is_event_over, mentions_person, names_person};
use inbox_core::quarantine::QuarantineId;
use inbox_core::time::UnixMillis;

use super::parts::StoredParts;
use super::{FoundItem, PersonalDataKind, WhyLeft};
use crate::items::payload::is_payload_gone;
use crate::items::{AuditItem, EventRecord, ScheduleItem, StoredPayload};
use crate::table::Table;
use crate::table::attribute::Attribute;
use crate::table::key::{
    ALERT_EFFECT_SK_PREFIX, BATCH_PK_PREFIX, Key, PAYLOAD_PK_PREFIX, SCHEDULE_PK_PREFIX, SUBMITTED_SK,
    TRACKED_SK,
};
use crate::table::value::{Item, read, read_due_at, read_list};
use crate::{AwsError, AwsErrorKind};

/// A search for one person.
pub(super) struct Search<'a> {
    person: &'a Id,
    retention_days: u64,
    now: UnixMillis,
    found: Vec<FoundItem>,
    /// Items whose payload is in parts, which may come later in the scan.
    in_parts: Vec<(FoundItem, StoredPayload)>,
    parts: StoredParts,
    /// Partition keys of the batches that are still polled.
    tracked_batches: BTreeSet<String>,
    examined: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(person: &'a Id, retention_days: u64, now: UnixMillis) -> Self {
        Self {
            person,
            retention_days,
            now,
            found: Vec::new(),
            in_parts: Vec::new(),
            parts: StoredParts::default(),
            tracked_batches: BTreeSet::new(),
            examined: 0,
        }
    }

    pub(super) const fn examined(&self) -> u64 {
        self.examined
    }

    /// Looks at one item.
    pub(super) fn add(&mut self, item: &Item) {
        self.examined += 1;
        let Some(key) = Key::of_item(item) else { return };
        if let Some(name) = key.pk.strip_prefix(PAYLOAD_PK_PREFIX) {
            self.parts.add_part(name, item, self.person);
            return;
        }
        for name in read::<Vec<String>>(item, Attribute::Parts).unwrap_or_default() {
            self.parts.add_reference(&name);
        }
        if key.sk == TRACKED_SK && key.pk.starts_with(BATCH_PK_PREFIX) && read_due_at(item).is_some() {
            self.tracked_batches.insert(key.pk.clone());
        }
        let outdated: Vec<String> = read(item, Attribute::PartsToDelete).unwrap_or_default();
        outdated.iter().for_each(|name| self.parts.add_outdated(name));
        let mut found = |kind, left| self.found.push(FoundItem::new(kind, &key, left));
        if !outdated.is_empty() {
            found(PersonalDataKind::InterruptedErasure, None);
        }
        if audit_mentions(item, self.person) {
            found(PersonalDataKind::AuditReason, Some(WhyLeft::AuditTrail));
        }
        if is_named_after(&key, item, self.person) {
            found(PersonalDataKind::ItemName, Some(WhyLeft::Name));
        }
        if let Some(authorizer) = key.sk.strip_prefix(ALERT_EFFECT_SK_PREFIX) {
            if authorizer == self.person.as_str() {
                let is_claimed = read(item, Attribute::ClaimUntil).is_some_and(|until| self.now < until);
                found(PersonalDataKind::AlertEffect, is_claimed.then_some(WhyLeft::InProgress));
            }
        } else if let Some(kind) = kind_of_payload(&key) {
            self.add_payload(kind, &key, item);
        }
    }

    fn add_payload(&mut self, kind: PersonalDataKind, key: &Key, item: &Item) {
        let found = FoundItem::new(kind, key, why_left(kind, item, self.person, self.now));
        let is_probe = read::<Vec<Id>>(item, Attribute::Probes).is_some_and(|all| all.contains(self.person));
        let Some(payload) = StoredPayload::from_item(item) else { return };
        if is_probe || payload.inline().is_some_and(|bytes| holds_person(kind, bytes, self.person)) {
            self.found.push(found);
        } else if payload.parts().is_some() {
            self.in_parts.push((found, payload));
        }
    }

    /// Searches the payloads that are in parts. Returns the number of those that could not be searched.
    pub(super) async fn search_parts(&mut self, inbox: &Table) -> Result<usize, AwsError> {
        let mut unsearchable = 0;
        for (found, payload) in std::mem::take(&mut self.in_parts) {
            let names = payload.parts().map(|(names, _)| names).unwrap_or_default();
            let known = match names {
                // Most payloads are one part, which the scan has read. An answer may mention the person inside a text.
                [name] if found.kind != PersonalDataKind::SubmissionAnswer => self.parts.names_person(name),
                _ => None,
            };
            let holds = match known {
                Some(names_person) => names_person,
                None => match inbox.load_payload(&payload).await {
                    Ok(bytes) => holds_person(found.kind, &bytes, self.person),
                    Err(error) if is_payload_gone(&error) || error.kind == AwsErrorKind::UnreadableItem => {
                        unsearchable += 1;
                        false
                    }
                    Err(error) => return Err(error),
                },
            };
            self.found.extend(holds.then_some(found));
        }
        Ok(unsearchable)
    }

    /// Returns what was found, the number of items examined, and the parts.
    pub(super) fn finish(mut self) -> (Vec<FoundItem>, u64, StoredParts) {
        let is_event_at_work = |item: &&FoundItem| {
            item.kind == PersonalDataKind::EventPayload && item.left == Some(WhyLeft::InProgress)
        };
        let at_work: BTreeSet<_> =
            self.found.iter().filter(is_event_at_work).map(|item| item.key.pk.clone()).collect();
        for item in &mut self.found {
            let is_of_batch =
                matches!(item.kind, PersonalDataKind::EventPayload | PersonalDataKind::AlertEffect);
            if is_of_batch && item.left.is_none() && self.tracked_batches.contains(&item.key.pk) {
                item.left = Some(WhyLeft::BatchTracked);
            }
            // The event would write the effect anew.
            if item.kind == PersonalDataKind::AlertEffect && at_work.contains(&item.key.pk) {
                item.left = item.left.or(Some(WhyLeft::InProgress));
            }
        }
        self.found.extend(self.parts.orphans(self.retention_days, self.now));
        (self.found, self.examined, self.parts)
    }
}

/// The kind of the payload or document that an item with this key has; `None` if it has none.
fn kind_of_payload(key: &Key) -> Option<PersonalDataKind> {
    if EventKey::from_table_key(&key.pk, &key.sk).is_some() {
        return Some(PersonalDataKind::EventPayload);
    }
    if QuarantineId::from_pk(&key.pk).is_some() {
        return Some(PersonalDataKind::QuarantinedBytes);
    }
    match key.sk.as_str() {
        TRACKED_SK if key.pk.starts_with(BATCH_PK_PREFIX) => Some(PersonalDataKind::ExcludedAuthorizers),
        TRACKED_SK if key.pk.starts_with(SCHEDULE_PK_PREFIX) => Some(PersonalDataKind::Schedule),
        SUBMITTED_SK => Some(PersonalDataKind::SubmissionAnswer),
        _ => None,
    }
}

/// Returns `true` if a payload or document of this kind holds the person's id.
fn holds_person(kind: PersonalDataKind, bytes: &[u8], person: &Id) -> bool {
    if kind == PersonalDataKind::SubmissionAnswer {
        return serde_json::from_slice(bytes).is_ok_and(|answer| document_mentions_person(&answer, person));
    }
    names_person(bytes, person)
}

/// Why an item as it was read cannot be erased; `None` if it can.
pub(super) fn why_left(kind: PersonalDataKind, item: &Item, person: &Id, now: UnixMillis) -> Option<WhyLeft> {
    match kind {
        PersonalDataKind::EventPayload => match EventRecord::from_item(item) {
            Some(event) if is_event_over(&event.lifecycle, &event.audit_entries, now) => None,
            Some(_) => Some(WhyLeft::InProgress),
            None => Some(WhyLeft::Unreadable),
        },
        PersonalDataKind::ExcludedAuthorizers => read_due_at(item).map(|_| WhyLeft::BatchTracked),
        PersonalDataKind::Schedule => match ScheduleItem::from_item(item) {
            Some(schedule) => {
                let is_only_probe = schedule.schedule.probes == [person.clone()];
                (is_only_probe && schedule.tracking.due_at.is_some()).then_some(WhyLeft::OnlyProbe)
            }
            None => Some(WhyLeft::Unreadable),
        },
        PersonalDataKind::Balance
        | PersonalDataKind::AlertEffect
        | PersonalDataKind::QuarantinedBytes
        | PersonalDataKind::SubmissionAnswer
        | PersonalDataKind::OrphanedPart
        | PersonalDataKind::InterruptedErasure
        | PersonalDataKind::AuditReason
        | PersonalDataKind::ItemName => None,
    }
}

/// Returns `true` if an operator has mentioned the person in a reason, or is the person.
fn audit_mentions(item: &Item, person: &Id) -> bool {
    let mentions = |entry: &AuditEntry| {
        mentions_person(&entry.reason, person) || mentions_person(&entry.operator, person)
    };
    AuditItem::from_item(item).is_some_and(|audit| mentions(&audit.entry))
        || read_list(item, Attribute::AuditEntries).iter().any(mentions)
}

/// Returns `true` if an id in the item's key or a name in it is the person's id, except where that is the authorizer of an alert.
fn is_named_after(key: &Key, item: &Item, person: &Id) -> bool {
    let is_alert = key.sk.starts_with(ALERT_EFFECT_SK_PREFIX);
    let id_in_pk = key.pk.splitn(3, '#').nth(2);
    let id_in_sk = key.sk.split_once('#').map(|(_, id)| id).filter(|_| !is_alert);
    let names = [Attribute::Subject, Attribute::IdempotencyKey, Attribute::BatchId, Attribute::ScheduleId];
    [id_in_pk, id_in_sk].into_iter().flatten().any(|id| id == person.as_str())
        || names.iter().any(|name| read::<String>(item, *name).is_some_and(|text| text == person.as_str()))
}
