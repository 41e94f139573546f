//! Conversions between attribute values and the types of `inbox-core`.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::fynapse_api::finding::MissedReason;
use inbox_core::id::Id;
use inbox_core::origin::Origin;
use inbox_core::quarantine::QuarantineReason;
use inbox_core::quarantine::Resolution;
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::rightfoot_api::Amount;
use inbox_core::subject::Subject;
use inbox_core::time::{UnixMillis, UnixSecs};

use super::attribute::Attribute;

/// An item, as the SDK has it: its attributes, by name.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The format version that this code writes, as attribute `v`.
pub(crate) const FORMAT_VERSION: u64 = 1;

/// A type that an attribute can hold.
pub(crate) trait ToAttribute {
    fn to_attribute(&self) -> AttributeValue;
}

/// A type that can be read from an attribute.
pub(crate) trait FromAttribute: Sized {
    /// Reads the value; `None` if it has another form.
    fn from_attribute(value: &AttributeValue) -> Option<Self>;
}

/// Reads an attribute; `None` if it is absent or has another form.
pub(crate) fn read<T: FromAttribute>(item: &Item, attribute: Attribute) -> Option<T> {
    T::from_attribute(item.get(attribute.name())?)
}

/// Reads a counter, which is absent until it counts something.
pub(crate) fn read_count(item: &Item, attribute: Attribute) -> u64 {
    read(item, attribute).unwrap_or(0)
}

/// Reads a list that decides nothing, such as a history. Elements of another form are left out.
pub(crate) fn read_list<T: FromAttribute>(item: &Item, attribute: Attribute) -> Vec<T> {
    let all = item.get(attribute.name()).and_then(|value| value.as_l().ok());
    all.into_iter().flatten().filter_map(T::from_attribute).collect()
}

/// Returns `true` if the item has this attribute.
pub(crate) fn has(item: &Item, attribute: Attribute) -> bool {
    item.contains_key(attribute.name())
}

/// The time at which an item is due; `None` if it has no work left.
pub(crate) fn read_due_at(item: &Item) -> Option<UnixMillis> {
    read(item, Attribute::DueAt).filter(|_| has(item, Attribute::Due))
}

impl ToAttribute for AttributeValue {
    fn to_attribute(&self) -> AttributeValue {
        self.clone()
    }
}

impl ToAttribute for str {
    fn to_attribute(&self) -> AttributeValue {
        AttributeValue::S(self.to_owned())
    }
}

impl ToAttribute for [u8] {
    fn to_attribute(&self) -> AttributeValue {
        AttributeValue::B(Blob::new(self))
    }
}

impl<T: ToAttribute> ToAttribute for Vec<T> {
    fn to_attribute(&self) -> AttributeValue {
        AttributeValue::L(self.iter().map(T::to_attribute).collect())
    }
}

impl<T: FromAttribute> FromAttribute for Vec<T> {
    /// Reads all elements or none.
    fn from_attribute(value: &AttributeValue) -> Option<Self> {
        value.as_l().ok()?.iter().map(T::from_attribute).collect()
    }
}

impl ToAttribute for BTreeMap<String, String> {
    fn to_attribute(&self) -> AttributeValue {
        AttributeValue::M(self.iter().map(|(name, value)| (name.clone(), value.to_attribute())).collect())
    }
}

impl FromAttribute for BTreeMap<String, String> {
    fn from_attribute(value: &AttributeValue) -> Option<Self> {
        let text =
            |(name, value): (&String, &AttributeValue)| Some((name.clone(), value.as_s().ok()?.clone()));
        value.as_m().ok()?.iter().map(text).collect()
    }
}

/// Types that are stored as a number.
macro_rules! number_attributes {
    ($($type:ty: |$value:ident| $to:expr, |$number:ident| $from:expr;)+) => {$(
        impl ToAttribute for $type {
            fn to_attribute(&self) -> AttributeValue {
                let $value = self;
                AttributeValue::N($to.to_string())
            }
        }

        impl FromAttribute for $type {
            fn from_attribute(value: &AttributeValue) -> Option<Self> {
                let $number = value.as_n().ok()?.parse().ok()?;
                Some($from)
            }
        }
    )+};
}

number_attributes! {
    u64: |value| value, |number| number;
    usize: |value| value, |number| number;
    UnixMillis: |value| value.0, |number| UnixMillis(number);
    UnixSecs: |value| value.0, |number| UnixSecs(number);
}

/// Types that are stored as a text.
macro_rules! text_attributes {
    ($($type:ty: |$value:ident| $to:expr, |$text:ident| $from:expr;)+) => {$(
        impl ToAttribute for $type {
            fn to_attribute(&self) -> AttributeValue {
                let $value = self;
                AttributeValue::S($to.to_string())
            }
        }

        impl FromAttribute for $type {
            fn from_attribute(value: &AttributeValue) -> Option<Self> {
                let $text = value.as_s().ok()?;
                $from
            }
        }
    )+};
}

text_attributes! {
    String: |value| value, |text| Some(text.clone());
    Subject: |value| value, |text| text.parse().ok();
    Id: |value| value.as_str(), |text| Id::new(text);
    MissedReason: |value| value.as_str(), |text| MissedReason::from_name(text);
    Origin: |value| value.as_str(), |text| Origin::from_name(text);
    QuarantineReason: |value| value.as_str(), |text| QuarantineReason::from_name(text);
    Resolution: |value| value.as_str(), |text| Resolution::from_name(text);
    SubmissionKind: |value| value.as_str(), |text| SubmissionKind::from_name(text);
    Amount: |value| value, |text| Amount::from_str(text).ok();
}
