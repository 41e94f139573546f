//! Updates of one item. An update that changes a state names the `rev` or the claim that its writer has seen; the others
//! are [`Update::without_rev`].

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::due_queue::DueQueue;
use inbox_core::time::UnixMillis;

use super::attribute::Attribute;
use super::expression::{Condition, Placeholders};
use super::key::Key;
use super::value::ToAttribute;

/// An update of one item.
#[derive(Clone)]
pub(crate) struct Update {
    pub(super) key: Key,
    pub(super) placeholders: Placeholders,
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    delete: Vec<String>,
    conditions: Vec<Condition>,
}

impl Update {
    /// An update of an item as it was read: it fails if the item's `rev` has changed.
    pub(crate) fn at_rev(key: Key, seen: u64) -> Self {
        Self::new(key).only_if(Attribute::Rev.equals(&seen))
    }

    /// An update of a due item as it was read. A mark leaves `rev` unchanged but removes `due`, so of two writers with the same
    /// `rev` one fails.
    pub(crate) fn of_due_item(key: Key, seen: u64) -> Self {
        Self::at_rev(key, seen).only_if(Attribute::Due.exists())
    }

    /// An update by the holder of a claim: it fails if the claim was lost.
    pub(crate) fn at_claim(key: Key, claim_id: &str) -> Self {
        Self::new(key).only_if(Attribute::ClaimBy.equals(claim_id))
    }

    /// An update by the holder of a claim that ends it.
    pub(crate) fn ending_claim(key: Key, claim_id: &str) -> Self {
        Self::at_claim(key, claim_id)
            .drop_claim()
            // A delayed retry of the claim's own request must not claim the event again.
            .set(Attribute::EndedBy, claim_id)
    }

    /// An update that names neither `rev` nor a claim. It takes a claim, adds to an item (a tag, a count, an audit entry), changes
    /// only a time, or names something else that was seen; its caller says which.
    pub(crate) fn without_rev(key: Key) -> Self {
        Self::new(key)
    }

    fn new(key: Key) -> Self {
        Self {
            key,
            placeholders: Placeholders::default(),
            set: Vec::new(),
            remove: Vec::new(),
            add: Vec::new(),
            delete: Vec::new(),
            conditions: Vec::new(),
        }
    }

    /// The key of the item.
    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// Adds a condition; all of them must hold.
    pub(crate) fn only_if(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    pub(crate) fn set(mut self, attribute: Attribute, value: &(impl ToAttribute + ?Sized)) -> Self {
        let value = self.placeholders.value(value.to_attribute());
        let name = self.placeholders.name(attribute);
        self.set.push(format!("{name} = {value}"));
        self
    }

    pub(crate) fn set_some(self, attribute: Attribute, value: Option<&impl ToAttribute>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self,
        }
    }

    /// Sets several attributes, such as those of a stored payload.
    pub(crate) fn set_all(self, attributes: impl IntoIterator<Item = (Attribute, AttributeValue)>) -> Self {
        attributes.into_iter().fold(self, |update, (attribute, value)| update.set(attribute, &value))
    }

    /// Sets an attribute to the value of `marker` if that exists, and to `value` otherwise: so to the first value that `marker` ever
    /// had.
    pub(crate) fn set_first(
        mut self,
        attribute: Attribute,
        marker: Attribute,
        value: &impl ToAttribute,
    ) -> Self {
        let value = self.placeholders.value(value.to_attribute());
        let (name, marker) = (self.placeholders.name(attribute), self.placeholders.name(marker));
        self.set.push(format!("{name} = if_not_exists({marker}, {value})"));
        self
    }

    /// Adds one to a counter, which counts from 0.
    pub(crate) fn increment(mut self, attribute: Attribute) -> Self {
        let (zero, one) =
            (self.placeholders.value(0_u64.to_attribute()), self.placeholders.value(1_u64.to_attribute()));
        let name = self.placeholders.name(attribute);
        self.set.push(format!("{name} = if_not_exists({name}, {zero}) + {one}"));
        self
    }

    /// Appends to a list, which begins empty.
    pub(crate) fn append(mut self, attribute: Attribute, value: &impl ToAttribute) -> Self {
        let empty = self.placeholders.value(AttributeValue::L(Vec::new()));
        let one = self.placeholders.value(AttributeValue::L(vec![value.to_attribute()]));
        let name = self.placeholders.name(attribute);
        self.set.push(format!("{name} = list_append(if_not_exists({name}, {empty}), {one})"));
        self
    }

    pub(crate) fn remove(mut self, attributes: &[Attribute]) -> Self {
        let names = attributes.iter().map(|attribute| self.placeholders.name(*attribute));
        self.remove.extend(names);
        self
    }

    /// Adds a tag to a set.
    pub(crate) fn add_tag(mut self, attribute: Attribute, tag: &str) -> Self {
        let tags = self.placeholders.value(AttributeValue::Ss(vec![tag.to_owned()]));
        let name = self.placeholders.name(attribute);
        self.add.push(format!("{name} {tags}"));
        self
    }

    /// Removes a tag from a set.
    pub(crate) fn delete_tag(mut self, attribute: Attribute, tag: &str) -> Self {
        let tags = self.placeholders.value(AttributeValue::Ss(vec![tag.to_owned()]));
        let name = self.placeholders.name(attribute);
        self.delete.push(format!("{name} {tags}"));
        self
    }

    /// Makes the item due in `queue` at this time.
    pub(crate) fn make_due(self, queue: DueQueue, at: UnixMillis) -> Self {
        let shard = queue.shard(&self.key.pk);
        self.set(Attribute::Due, shard.as_str()).set(Attribute::DueAt, &at)
    }

    /// Takes the item out of the index `due`.
    pub(crate) fn end_due(self) -> Self {
        self.remove(&[Attribute::Due, Attribute::DueAt])
    }

    /// Drops the claim.
    pub(crate) fn drop_claim(self) -> Self {
        self.remove(&[Attribute::ClaimBy, Attribute::ClaimUntil])
    }

    /// The condition as text; `None` if there is none. Call it before the placeholders are taken.
    pub(super) fn condition_expression(&mut self) -> Option<String> {
        let all = Condition::All(std::mem::take(&mut self.conditions));
        let expression = self.placeholders.condition(&all);
        (!expression.is_empty()).then_some(expression)
    }

    /// The update as text.
    pub(super) fn update_expression(&self) -> String {
        let clauses =
            [("SET", &self.set), ("REMOVE", &self.remove), ("ADD", &self.add), ("DELETE", &self.delete)];
        let clauses = clauses.into_iter().filter(|(_, parts)| !parts.is_empty());
        clauses.map(|(verb, parts)| format!("{verb} {}", parts.join(", "))).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_names_the_rev_that_was_seen() {
        let mut update = Update::of_due_item(Key::new("fynapse#event#e", "event"), 3)
            .set(Attribute::SentAt, &UnixMillis(5))
            .increment(Attribute::Rev)
            .end_due();
        assert_eq!(update.condition_expression().as_deref(), Some("#rev = :v3 AND attribute_exists(#due)"));
        assert_eq!(
            update.update_expression(),
            "SET #sent_at = :v0, #rev = if_not_exists(#rev, :v1) + :v2 REMOVE #due, #due_at"
        );
    }
}
