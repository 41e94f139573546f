//! Deliveries of Fynapse's whose event is missing here.

use inbox_core::audit::AuditEntry;
use inbox_core::event::EventKey;
use inbox_core::expiry::missed_delivery_expiry;
use inbox_core::fynapse_api::finding::MissedReason;
use inbox_core::fynapse_api::listed_delivery::ListedDelivery;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;
use inbox_core::table_keys::MISSED_DELIVERY_PK_PREFIX;
use inbox_core::time::UnixMillis;

use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::new_item::NewItem;
use crate::table::value::{Item, read, read_list};

/// A delivery of Fynapse's whose event is missing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedDeliveryItem {
    /// What identifies the delivery: its id at Fynapse, or else its event's id or its idempotency key.
    pub reference: Id,
    /// The reason why the event is missing.
    pub reason: MissedReason,
    /// Time at which that was found.
    pub found_at: UnixMillis,
    /// The event's key, if its id could be read.
    pub event: Option<EventKey>,
    /// The idempotency key, if it could be read.
    pub idempotency_key: Option<Id>,
    /// The event's type, if it could be read.
    pub event_type: Option<String>,
    /// Time of its creation at Fynapse, or else that of its event.
    pub created_at: Option<UnixMillis>,
    /// Time at which an operator resolved it.
    pub resolved_at: Option<UnixMillis>,
    /// The audit entries of operators.
    pub audit_entries: Vec<AuditEntry>,
}

impl MissedDeliveryItem {
    /// A delivery that was found to be missed; `None` if nothing identifies it.
    pub fn new(delivery: &ListedDelivery, reason: MissedReason, found_at: UnixMillis) -> Option<Self> {
        Some(Self {
            reference: delivery.reference()?.clone(),
            reason,
            found_at,
            event: delivery.event_key(),
            idempotency_key: delivery.idempotency_key.clone(),
            event_type: delivery.event_type.clone(),
            created_at: delivery.dated_at,
            resolved_at: None,
            audit_entries: Vec::new(),
        })
    }

    /// The attributes of a new item.
    pub(crate) fn to_item(&self, retention_days: u64) -> Item {
        let key = Key::missed_delivery(&self.reference);
        let event_id = self.event.as_ref().map(EventKey::event_id);
        NewItem::at(&key)
            .listed(ListKind::MissedDelivery, &key, self.found_at)
            .set(Attribute::Reason, &self.reason)
            .set_some(Attribute::EventId, event_id.as_ref())
            .set_some(Attribute::IdempotencyKey, self.idempotency_key.as_ref())
            .set_some(Attribute::Type, self.event_type.as_ref())
            .set_some(Attribute::CreatedAt, self.created_at.as_ref())
            .set(Attribute::ExpiresAt, &missed_delivery_expiry(self.found_at, retention_days))
            .build()
    }

    /// Reads a missed delivery; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let event_id: Option<String> = read(item, Attribute::EventId);
        Some(Self {
            reference: Id::new(Key::of_item(item)?.pk.strip_prefix(MISSED_DELIVERY_PK_PREFIX)?)?,
            reason: read(item, Attribute::Reason)?,
            found_at: read(item, Attribute::ListedAt)?,
            event: event_id.as_deref().and_then(EventKey::from_event_id),
            idempotency_key: read(item, Attribute::IdempotencyKey),
            event_type: read(item, Attribute::Type),
            created_at: read(item, Attribute::CreatedAt),
            resolved_at: read(item, Attribute::ClosedAt),
            audit_entries: read_list(item, Attribute::AuditEntries),
        })
    }
}
