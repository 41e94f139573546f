//! Expressions of DynamoDB, with every name and value behind a placeholder: no attribute name can clash with a reserved
//! word, and no value can be part of the syntax.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attribute::Attribute;
use super::value::ToAttribute;

/// A condition on an item's attributes. Without `Debug`, because its values may be personal data (P8).
#[derive(Clone)]
pub(crate) enum Condition {
    Exists(Attribute),
    IsMissing(Attribute),
    Compare(Attribute, &'static str, AttributeValue),
    Between(Attribute, AttributeValue, AttributeValue),
    BeginsWith(Attribute, AttributeValue),
    Contains(Attribute, AttributeValue),
    SizeBelow(Attribute, AttributeValue),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Attribute {
    /// The attribute exists.
    pub(crate) const fn exists(self) -> Condition {
        Condition::Exists(self)
    }

    /// The attribute does not exist.
    pub(crate) const fn is_missing(self) -> Condition {
        Condition::IsMissing(self)
    }

    pub(crate) fn equals(self, value: &(impl ToAttribute + ?Sized)) -> Condition {
        Condition::Compare(self, "=", value.to_attribute())
    }

    pub(crate) fn differs_from(self, value: &(impl ToAttribute + ?Sized)) -> Condition {
        Condition::Compare(self, "<>", value.to_attribute())
    }

    pub(crate) fn is_below(self, value: &impl ToAttribute) -> Condition {
        Condition::Compare(self, "<", value.to_attribute())
    }

    pub(crate) fn is_at_most(self, value: &impl ToAttribute) -> Condition {
        Condition::Compare(self, "<=", value.to_attribute())
    }

    pub(crate) fn is_above(self, value: &impl ToAttribute) -> Condition {
        Condition::Compare(self, ">", value.to_attribute())
    }

    /// The value is one of these, or between them.
    pub(crate) fn is_between(self, low: &impl ToAttribute, high: &impl ToAttribute) -> Condition {
        Condition::Between(self, low.to_attribute(), high.to_attribute())
    }

    pub(crate) fn begins_with(self, prefix: &str) -> Condition {
        Condition::BeginsWith(self, prefix.to_attribute())
    }

    /// The set holds this tag.
    pub(crate) fn contains(self, tag: &str) -> Condition {
        Condition::Contains(self, tag.to_attribute())
    }

    /// The set holds fewer than `limit` tags.
    pub(crate) fn has_fewer_than(self, limit: usize) -> Condition {
        Condition::SizeBelow(self, limit.to_attribute())
    }
}

impl Condition {
    pub(crate) fn and(self, other: Self) -> Self {
        if let Self::All(mut all) = self {
            all.push(other);
            return Self::All(all);
        }
        Self::All(vec![self, other])
    }

    pub(crate) fn or(self, other: Self) -> Self {
        if let Self::Any(mut any) = self {
            any.push(other);
            return Self::Any(any);
        }
        Self::Any(vec![self, other])
    }

    pub(crate) fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }
}

/// The placeholders of one request. Without `Debug`, because its values may be payloads and credentials (P8).
#[derive(Clone, Default)]
pub(crate) struct Placeholders {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Placeholders {
    /// The placeholder of an attribute's name.
    pub(crate) fn name(&mut self, attribute: Attribute) -> String {
        let placeholder = format!("#{}", attribute.name());
        self.names.insert(placeholder.clone(), attribute.name().to_owned());
        placeholder
    }

    /// The placeholder of a value.
    pub(crate) fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// The condition as text.
    pub(crate) fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Exists(attribute) => format!("attribute_exists({})", self.name(*attribute)),
            Condition::IsMissing(attribute) => format!("attribute_not_exists({})", self.name(*attribute)),
            Condition::Compare(attribute, operator, value) => {
                format!("{} {operator} {}", self.name(*attribute), self.value(value.clone()))
            }
            Condition::Between(attribute, low, high) => {
                let (low, high) = (self.value(low.clone()), self.value(high.clone()));
                format!("{} BETWEEN {low} AND {high}", self.name(*attribute))
            }
            Condition::BeginsWith(attribute, prefix) => self.call("begins_with", *attribute, prefix),
            Condition::Contains(attribute, tag) => self.call("contains", *attribute, tag),
            Condition::SizeBelow(attribute, limit) => {
                format!("size({}) < {}", self.name(*attribute), self.value(limit.clone()))
            }
            Condition::Not(inner) => format!("NOT ({})", self.condition(inner)),
            Condition::All(all) => self.join(all, " AND "),
            Condition::Any(any) => self.join(any, " OR "),
        }
    }

    fn call(&mut self, function: &str, attribute: Attribute, value: &AttributeValue) -> String {
        format!("{function}({}, {})", self.name(attribute), self.value(value.clone()))
    }

    fn join(&mut self, conditions: &[Condition], operator: &str) -> String {
        let parts: Vec<_> = conditions
            .iter()
            .map(|condition| match condition {
                Condition::All(_) | Condition::Any(_) => format!("({})", self.condition(condition)),
                Condition::Exists(_)
                | Condition::IsMissing(_)
                | Condition::Compare(..)
                | Condition::Between(..)
                | Condition::BeginsWith(..)
                | Condition::Contains(..)
                | Condition::SizeBelow(..)
                | Condition::Not(_) => self.condition(condition),
            })
            .collect();
        parts.join(operator)
    }

    /// Takes the names out, for the request.
    pub(crate) fn take_names(&mut self) -> Option<HashMap<String, String>> {
        // DynamoDB rejects empty maps.
        Some(std::mem::take(&mut self.names)).filter(|names| !names.is_empty())
    }

    /// Takes the values out, for the request.
    pub(crate) fn take_values(&mut self) -> Option<HashMap<String, AttributeValue>> {
        Some(std::mem::take(&mut self.values)).filter(|values| !values.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_keep_their_precedence_and_hold_placeholders_only() {
        let condition = Attribute::Rev
            .equals(&7_u64)
            .and(Attribute::Type.is_missing().or(Attribute::OpenEvents.contains("x; DROP").negated()));
        let mut placeholders = Placeholders::default();
        assert_eq!(
            placeholders.condition(&condition),
            "#rev = :v0 AND (attribute_not_exists(#type) OR NOT (contains(#open_events, :v1)))"
        );
        let names = placeholders.take_names().unwrap();
        assert_eq!(names.get("#type").map(String::as_str), Some("type"));
        let values = placeholders.take_values().unwrap();
        assert_eq!(values.get(":v0"), Some(&AttributeValue::N("7".to_owned())));
        assert_eq!(values.get(":v1"), Some(&AttributeValue::S("x; DROP".to_owned())));
    }
}
