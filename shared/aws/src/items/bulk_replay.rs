//! The bulk replay that an event was last part of: the attribute `bulk_replay`.

use aws_sdk_dynamodb::types::AttributeValue;

use super::audit::field;
use crate::table::value::{FromAttribute, ToAttribute};

/// A bulk replay, as one of its events remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkReplay {
    /// Random id of the bulk replay.
    pub id: String,
    /// The event's own number of that replay: a later replay of the event alone has another one.
    pub replay: u64,
}

impl ToAttribute for BulkReplay {
    fn to_attribute(&self) -> AttributeValue {
        let fields = [("id", self.id.to_attribute()), ("replay", self.replay.to_attribute())];
        AttributeValue::M(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl FromAttribute for BulkReplay {
    fn from_attribute(value: &AttributeValue) -> Option<Self> {
        let fields = value.as_m().ok()?;
        Some(Self { id: field(fields, "id")?, replay: field(fields, "replay")? })
    }
}
