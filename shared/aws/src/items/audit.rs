//! Audit entries: items of their own, and a list in the item that each is about.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::{AuditEntry, OperatorAction};
use inbox_core::list_kind::ListKind;
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::new_item::NewItem;
use crate::table::value::{FromAttribute, Item, ToAttribute, read};

/// An audit entry as an item of its own: it outlives the item that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditItem {
    /// What the entry is about, as `inbox_core::audit::AuditSubject` is written.
    pub subject: String,
    /// The entry.
    pub entry: AuditEntry,
}

impl AuditItem {
    /// The attributes of a new entry.
    pub(crate) fn to_item(&self, expires_at: UnixSecs) -> Item {
        let key = Key::audit_entry(&self.subject, &self.entry);
        NewItem::at(&key)
            .listed(ListKind::Audit, &key, self.entry.at)
            .set(Attribute::AuditSubject, &self.subject)
            .set(Attribute::Operator, &self.entry.operator)
            .set(Attribute::Action, self.entry.action.as_str())
            .set(Attribute::Reason, &self.entry.reason)
            .set(Attribute::ExpiresAt, &expires_at)
            .build()
    }

    /// Reads an audit entry; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            subject: read(item, Attribute::AuditSubject)?,
            entry: AuditEntry {
                at: read(item, Attribute::ListedAt)?,
                operator: read(item, Attribute::Operator)?,
                action: OperatorAction::from_name(&read::<String>(item, Attribute::Action)?)?,
                reason: read(item, Attribute::Reason)?,
            },
        })
    }
}

impl ToAttribute for AuditEntry {
    fn to_attribute(&self) -> AttributeValue {
        let fields = [
            ("at", self.at.to_attribute()),
            ("operator", self.operator.to_attribute()),
            ("action", self.action.as_str().to_attribute()),
            ("reason", self.reason.to_attribute()),
        ];
        AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl FromAttribute for AuditEntry {
    fn from_attribute(value: &AttributeValue) -> Option<Self> {
        let fields = value.as_m().ok()?;
        Some(Self {
            at: field::<UnixMillis>(fields, "at")?,
            operator: field(fields, "operator")?,
            action: OperatorAction::from_name(&field::<String>(fields, "action")?)?,
            reason: field(fields, "reason")?,
        })
    }
}

/// Reads a field of a map attribute.
pub(super) fn field<T: FromAttribute>(fields: &HashMap<String, AttributeValue>, name: &str) -> Option<T> {
    T::from_attribute(fields.get(name)?)
}
