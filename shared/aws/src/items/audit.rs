//! Audit entries: a list in the records of events, submissions and quarantined deliveries.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::audit::{AuditEntry, OperatorAction};
use inbox_core::time::UnixMillis;

use crate::table::value::{FromAttribute, ToAttribute};

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
