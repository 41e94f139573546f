//! Quarantined deliveries: verified bytes that could not be processed.

use std::collections::BTreeMap;

use inbox_core::audit::AuditEntry;
use inbox_core::event::EventKey;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::quarantine::{QuarantineId, QuarantinedDelivery, Resolution};
use inbox_core::subject::Subject;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::StoredPayload;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::{Item, read, read_list};

/// A quarantined item, without its bytes.
#[derive(Clone, Debug)]
pub struct QuarantinedItem {
    /// Its id, as operators name it.
    pub id: QuarantineId,
    /// Reason for the quarantine.
    pub reason: QuarantineReason,
    /// Time at which its bytes were first received.
    pub first_received_at: UnixMillis,
    /// Time at which they were last received.
    pub last_received_at: UnixMillis,
    /// Number of times that they were received, or that their event was quarantined.
    pub deliveries: u64,
    /// Location, size and hash of its bytes.
    pub payload: StoredPayload,
    /// The subject of the webhook URL that they came by.
    pub subject: Option<Subject>,
    /// Time of their signature, if they were signed.
    pub signed_at: Option<UnixSecs>,
    /// The stored headers of the delivery.
    pub headers: BTreeMap<String, String>,
    /// The event that was made from them, if it was recorded before it was quarantined.
    pub event: Option<EventKey>,
    /// Time and kind of its resolution; `None` while it is open.
    pub resolution: Option<(UnixMillis, Resolution)>,
    /// The audit entries of operators.
    pub audit_entries: Vec<AuditEntry>,
}

impl QuarantinedItem {
    /// Reads a quarantined item; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let event_id: Option<String> = read(item, Attribute::EventId);
        Some(Self {
            id: QuarantineId::from_pk(&Key::of_item(item)?.pk)?,
            reason: read(item, Attribute::Reason)?,
            first_received_at: read(item, Attribute::FirstReceivedAt)?,
            last_received_at: read(item, Attribute::LastReceivedAt)?,
            deliveries: read(item, Attribute::Deliveries)?,
            payload: StoredPayload::from_item(item)?,
            subject: read(item, Attribute::Subject),
            signed_at: read(item, Attribute::SignedAt),
            headers: read(item, Attribute::Headers).unwrap_or_default(),
            event: event_id.as_deref().and_then(EventKey::from_event_id),
            resolution: read(item, Attribute::ClosedAt).zip(read(item, Attribute::Resolution)),
            audit_entries: read_list(item, Attribute::AuditEntries),
        })
    }

    /// Joins the item and its bytes, to be parsed again.
    pub fn with_body(self, body: Vec<u8>) -> QuarantinedDelivery {
        QuarantinedDelivery {
            provider: self.id.provider,
            reason: self.reason,
            body,
            headers: self.headers,
            first_received_at: self.first_received_at,
            subject: self.subject,
            signed_at: self.signed_at,
        }
    }
}
