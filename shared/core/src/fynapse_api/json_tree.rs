//! JSON level by level, without loss: each value stays the text that was received.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use serde_json::value::RawValue;

/// Levels of nested values that are searched.
pub(super) const DEPTH_MAX: usize = 6;

/// The fields of an object, by name.
pub(super) type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The value of an object or array, one level deep.
pub(super) enum Node<'a> {
    Object(Fields<'a>),
    Array(Vec<&'a RawValue>),
    Scalar,
}

impl<'a> Node<'a> {
    /// Parses one level.
    pub(super) fn of(raw: &'a RawValue) -> Self {
        match raw.get().as_bytes().first() {
            Some(b'{') => fields(raw).map_or(Self::Scalar, Self::Object),
            Some(b'[') => serde_json::from_str(raw.get()).map_or(Self::Scalar, Self::Array),
            _ => Self::Scalar,
        }
    }
}

/// The fields of an object; `None` for any other value.
pub(super) fn fields(raw: &RawValue) -> Option<Fields<'_>> {
    if raw.get().starts_with('{') { serde_json::from_str(raw.get()).ok() } else { None }
}

/// The text of a string.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw.get()).ok()
}

/// The digits of a whole number that is not negative.
pub(super) fn whole_number(raw: &RawValue) -> Option<u64> {
    serde_json::from_str(raw.get()).ok()
}

/// A field's name without what APIs write differently: case, `_` and `-`.
pub(super) fn plain_name(name: &str) -> String {
    name.chars().filter(|letter| !['_', '-'].contains(letter)).map(|it| it.to_ascii_lowercase()).collect()
}

/// The first value that `find` accepts, in the object and the objects below it, the upper ones first. An object with one of the names
/// `left_out` is not searched, and nothing below an object in it that `is_closed` accepts.
pub(super) fn find_in_objects<'a, T>(
    object: &Fields<'a>,
    left_out: &[&str],
    is_closed: impl Fn(&Fields<'_>) -> bool,
    find: impl Fn(&str, &'a RawValue) -> Option<T>,
) -> Option<T> {
    let mut open = VecDeque::from([(object.clone(), 0)]);
    while let Some((object, depth)) = open.pop_front() {
        if let Some(found) = object.iter().find_map(|(name, value)| find(&plain_name(name), value)) {
            return Some(found);
        }
        if depth < DEPTH_MAX && (depth == 0 || !is_closed(&object)) {
            let searched = object.iter().filter(|(name, _)| !left_out.contains(&plain_name(name).as_str()));
            open.extend(searched.filter_map(|(_, value)| Some((fields(value)?, depth + 1))));
        }
    }
    None
}
