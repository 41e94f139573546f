//! New items.

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::list_kind::ListKind;
use inbox_core::time::UnixMillis;

use super::attribute::Attribute;
use super::key::Key;
use super::value::{FORMAT_VERSION, Item, ToAttribute};

/// Writes an item attribute by attribute.
pub(crate) struct NewItem(Item);

impl NewItem {
    /// An item of the present format with this key.
    pub(crate) fn at(key: &Key) -> Self {
        Self(key.to_item()).set(Attribute::V, &FORMAT_VERSION)
    }

    pub(crate) fn set<T: ToAttribute + ?Sized>(mut self, attribute: Attribute, value: &T) -> Self {
        self.0.insert(attribute.name().to_owned(), value.to_attribute());
        self
    }

    /// Sets an attribute that may be absent.
    pub(crate) fn set_some<T: ToAttribute>(self, attribute: Attribute, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self,
        }
    }

    /// Puts the item into the index `listed`. Lists never change these attributes, so the index is written once.
    pub(crate) fn listed(self, kind: ListKind, key: &Key, at: UnixMillis) -> Self {
        self.set(Attribute::Listed, kind.shard(&key.pk).as_str()).set(Attribute::ListedAt, &at)
    }

    /// Adds the attributes of a stored payload, or of anything else that several kinds of items hold.
    pub(crate) fn extend(
        mut self,
        attributes: impl IntoIterator<Item = (Attribute, AttributeValue)>,
    ) -> Self {
        self.0.extend(attributes.into_iter().map(|(attribute, value)| (attribute.name().to_owned(), value)));
        self
    }

    pub(crate) fn build(self) -> Item {
        self.0
    }
}
