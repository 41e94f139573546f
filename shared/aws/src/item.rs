//! Conversions between table attributes (format version 1) and the types of `inbox-core`.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::{AuditEntry, OperatorAction};
use inbox_core::duplicates::DeliveryIdentity;
use inbox_core::event::EventKey;
use inbox_core::origin::Origin;
use inbox_core::subject::Subject;
use inbox_core::time::{UnixMillis, UnixSecs};

/// The attributes of an item, by name.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The format version, written as `v`.
pub(crate) const SCHEMA_VERSION: i64 = 1;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn binary(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub(crate) fn key(pk: &str, sk: &str) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// Location of a stored payload.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PayloadLocation {
    /// In the record itself.
    Inline(Vec<u8>),
    /// Deflated, in part items of these names, which DynamoDB may delete from `expire_at` on.
    Parts { names: Vec<String>, expire_at: UnixSecs },
}

/// Shows no payload (P8).
impl fmt::Debug for PayloadLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(payload) => write!(f, "Inline({} bytes)", payload.len()),
            Self::Parts { names, .. } => write!(f, "Parts({})", names.len()),
        }
    }
}

impl PayloadLocation {
    /// Reads the location of an item's payload; `None` if it has none.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        Some(match item.get("payload") {
            Some(payload) => Self::Inline(payload.as_b().ok()?.as_ref().to_vec()),
            None => Self::Parts {
                names: strings(item, "parts")?,
                expire_at: UnixSecs(parsed_number(item, "parts_expire_at")?),
            },
        })
    }
}

/// An event record, as read from the table.
#[derive(Clone, Debug)]
pub(crate) struct EventRecord {
    pub(crate) key: EventKey,
    pub(crate) event_type: String,
    pub(crate) received_at: UnixMillis,
    /// Subject of the webhook URL, if it came by one.
    pub(crate) subject: Option<Subject>,
    pub(crate) identity: DeliveryIdentity,
    pub(crate) payload_bytes: usize,
    pub(crate) payload_location: PayloadLocation,
    pub(crate) rev: u64,
    /// Time at which it should be on the queue: its receipt, requeue or replay.
    pub(crate) enqueue_after: UnixMillis,
    /// Time at which the relay next tries to enqueue it; `None` if that is done.
    pub(crate) due_at: Option<UnixMillis>,
    pub(crate) attempts: u64,
    pub(crate) undeliverable_count: u64,
    pub(crate) replay: u64,
    /// True if it is in quarantine.
    pub(crate) is_quarantined: bool,
}

impl EventRecord {
    pub(crate) fn table_key(&self) -> Item {
        key(&self.key.pk(), &self.key.sk())
    }

    /// Reads an event record; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let received_at = UnixMillis(parsed_number(item, "received_at")?);
        Some(Self {
            key: EventKey::from_table_key(string(item, "pk")?, string(item, "sk")?)?,
            event_type: string(item, "type")?.to_owned(),
            received_at,
            // Absent from a record that was never requeued or replayed.
            enqueue_after: parsed_number(item, "enqueue_after").map_or(received_at, UnixMillis),
            subject: string(item, "subject").and_then(|subject| subject.parse().ok()),
            identity: delivery_identity(item)?,
            payload_bytes: parsed_number(item, "payload_bytes")?,
            payload_location: PayloadLocation::from_item(item)?,
            rev: parsed_number(item, "rev")?,
            due_at: item.contains_key("due").then(|| parsed_number(item, "due_at")).flatten().map(UnixMillis),
            attempts: parsed_number(item, "attempts").unwrap_or(0),
            undeliverable_count: parsed_number(item, "refusals").unwrap_or(0),
            replay: parsed_number(item, "replay").unwrap_or(0),
            is_quarantined: item.contains_key("quarantined_at"),
        })
    }
}

/// Reads the identity of the delivery that a record was made from.
pub(crate) fn delivery_identity(item: &Item) -> Option<DeliveryIdentity> {
    Some(DeliveryIdentity {
        delivery_id: string(item, "delivery_id")?.to_owned(),
        payload_hash: string(item, "payload_hash")?.to_owned(),
        idempotency_key: string(item, "idempotency_key").map(str::to_owned),
        origin: Origin::from_name(string(item, "origin")?)?,
    })
}

/// An audit entry, as it is stored.
pub(crate) fn audit_entry_value(by: &AuditEntry) -> AttributeValue {
    let fields = [
        ("at", number(by.at.0)),
        ("by", text(&by.operator)),
        ("did", text(by.action.as_str())),
        ("why", text(&by.reason)),
    ];
    AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The audit entries of an item. Entries that cannot be read are left out.
pub(crate) fn audit_entries(item: &Item) -> Vec<AuditEntry> {
    let read = |value: &AttributeValue| {
        let fields = value.as_m().ok()?;
        Some(AuditEntry {
            at: UnixMillis(parsed_number(fields, "at")?),
            operator: string(fields, "by")?.to_owned(),
            action: OperatorAction::from_name(string(fields, "did")?)?,
            reason: string(fields, "why")?.to_owned(),
        })
    };
    let all = item.get("interventions").and_then(|value| value.as_l().ok());
    all.into_iter().flatten().filter_map(read).collect()
}

pub(crate) fn millis(item: &Item, name: &str) -> Option<UnixMillis> {
    parsed_number(item, name).map(UnixMillis)
}

pub(crate) fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(crate) fn strings(item: &Item, name: &str) -> Option<Vec<String>> {
    item.get(name)?.as_l().ok()?.iter().map(|value| value.as_s().ok().cloned()).collect()
}

/// Reads a number attribute; `None` if it is absent or does not fit.
pub(crate) fn parsed_number<T: FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
