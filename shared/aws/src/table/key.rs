//! The keys of all items.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::AuditEntry;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::quarantine::QuarantineId;
use inbox_core::subject::Subject;
use inbox_core::table_keys::{
    batch_pk, fynapse_subscription_pk, missed_delivery_pk, open_events_sk, schedule_pk, short_hash,
    subject_pk, submission_pk,
};
use inbox_core::time::UnixMillis;

use super::attribute::Attribute;
use super::value::{Item, read};

/// The sort key of a tracked batch or schedule.
pub(crate) const TRACKED_SK: &str = "tracked";
/// The sort key of a submission.
pub(crate) const SUBMITTED_SK: &str = "submitted";
/// The prefix of an alert event's sort key.
pub(crate) const ALERT_SK_PREFIX: &str = "alert#";
/// The sort key of a completion event.
pub(crate) const COMPLETED_SK: &str = "completed";
/// The prefix of the sort key of an alert's effect; the authorizer follows.
pub(crate) const ALERT_EFFECT_SK_PREFIX: &str = "effect#alert#";
/// The prefix of the sort key of an alert that was published, and whose authorizer was erased; a hash follows.
pub(crate) const ERASED_ALERT_SK_PREFIX: &str = "effect#erased#";
/// The prefix of a payload part's partition key; its name follows.
pub(crate) const PAYLOAD_PK_PREFIX: &str = "payload#";
/// The prefix of a batch's partition key; its id follows.
pub(crate) const BATCH_PK_PREFIX: &str = "rightfoot#batch#";
/// The prefix of a schedule's partition key; its id follows.
pub(crate) const SCHEDULE_PK_PREFIX: &str = "rightfoot#schedule#";

/// The key of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// The record of an event.
    pub(crate) fn event(event: &EventKey) -> Self {
        Self::new(event.pk(), event.sk())
    }

    /// A tracked batch.
    pub(crate) fn batch(batch_id: &Id) -> Self {
        Self::new(batch_pk(batch_id), TRACKED_SK)
    }

    /// A tracked schedule.
    pub(crate) fn schedule(schedule_id: &Id) -> Self {
        Self::new(schedule_pk(schedule_id), TRACKED_SK)
    }

    /// A submission.
    pub(crate) fn submission(submission_id: &Subject) -> Self {
        Self::new(submission_pk(submission_id.as_str()), SUBMITTED_SK)
    }

    /// The effect of one authorizer's alert in a batch.
    pub(crate) fn alert_effect(batch_id: &Id, authorizer: &Id) -> Self {
        Self::new(batch_pk(batch_id), format!("{ALERT_EFFECT_SK_PREFIX}{}", authorizer.as_str()))
    }

    /// The published alert of an authorizer who was erased. The hash has the batch in it, so that it does not tell which batches
    /// have checked the same person.
    pub(crate) fn erased_alert(batch_id: &Id, authorizer: &Id) -> Self {
        let hash = short_hash(&format!("{}\n{}", batch_id.as_str(), authorizer.as_str()));
        Self::new(batch_pk(batch_id), format!("{ERASED_ALERT_SK_PREFIX}{hash}"))
    }

    /// The binding of a subject.
    pub(crate) fn bound_subject(subject: &Subject) -> Self {
        Self::new(subject_pk(subject), "bound")
    }

    /// The open events of a subject that were received on the day of `since`.
    pub(crate) fn open_events(subject: &Subject, since: UnixMillis) -> Self {
        Self::new(subject_pk(subject), open_events_sk(since))
    }

    /// The state of a Fynapse subscription's delivery checks.
    pub(crate) fn delivery_check(subscription_id: &Id) -> Self {
        Self::new(fynapse_subscription_pk(subscription_id), "check")
    }

    /// A delivery of Fynapse's whose event is missing.
    pub(crate) fn missed_delivery(reference: &Id) -> Self {
        Self::new(missed_delivery_pk(reference), "missed")
    }

    /// A part of a large payload, named by the hash of its bytes.
    pub(crate) fn payload_part(hash: &str) -> Self {
        Self::new(format!("{PAYLOAD_PK_PREFIX}{hash}"), "part")
    }

    /// An audit entry: the same request has the same key.
    pub(crate) fn audit_entry(subject: &str, by: &AuditEntry) -> Self {
        let identity = [subject, by.action.as_str(), &by.operator, &by.reason].join("\n");
        Self::new(format!("audit#{}", short_hash(&format!("{}\n{identity}", by.at.0))), "entry")
    }

    /// A quarantined delivery.
    pub(crate) fn quarantined(id: &QuarantineId) -> Self {
        Self::new(id.pk(), "delivery")
    }

    /// The id of the batch that the item belongs to, if it does to one.
    pub(crate) fn batch_id(&self) -> Option<Id> {
        self.pk.strip_prefix(BATCH_PK_PREFIX).and_then(Id::new)
    }

    pub(crate) fn of_item(item: &Item) -> Option<Self> {
        Some(Self { pk: read(item, Attribute::Pk)?, sk: read(item, Attribute::Sk)? })
    }

    pub(crate) fn to_item(&self) -> Item {
        let text = |value: &String| AttributeValue::S(value.clone());
        [(Attribute::Pk, text(&self.pk)), (Attribute::Sk, text(&self.sk))]
            .map(|(attribute, value)| (attribute.name().to_owned(), value))
            .into()
    }
}
