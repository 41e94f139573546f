//! The fields of a JSON object, taken one by one, so that unknown ones can be reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::InvalidRequest;
use crate::id::Id;
use crate::limits::ID_MAX_BYTES;
use crate::rightfoot_api::Amount;

/// Deepest allowed nesting of a value; an authorizer's address is on the second level.
const DEPTH_MAX: usize = 16;

/// The fields of one object, ordered by name.
#[derive(Debug)]
pub(super) struct JsonFields<'a> {
    path: String,
    values: BTreeMap<String, &'a RawValue>,
    known: BTreeSet<String>,
}

impl<'a> JsonFields<'a> {
    /// Parses the object at `path`. A field that occurs twice is an error.
    pub(super) fn parse(path: &str, object: &'a RawValue) -> Result<Self, InvalidRequest> {
        let location = if path.is_empty() { "the request" } else { path };
        if !object.get().starts_with('{') {
            return Err(InvalidRequest::new(location, "is not a JSON object"));
        }
        let Pairs(pairs) = serde_json::from_str(object.get())
            .map_err(|_| InvalidRequest::new(location, "is not a JSON object"))?;
        let mut all = BTreeMap::new();
        for (name, value) in pairs {
            if all.insert(name, value).is_some() {
                return Err(InvalidRequest::new(location, "has a field twice"));
            }
        }
        Ok(Self { path: path.to_owned(), values: all, known: BTreeSet::new() })
    }

    /// Takes an optional field; `null` counts as missing.
    pub(super) fn optional(&mut self, name: &str) -> Option<&'a RawValue> {
        self.known.insert(name.to_owned());
        self.values.get(name).copied().filter(|value| value.get() != "null")
    }

    /// Takes a required field.
    pub(super) fn required(&mut self, name: &str) -> Result<&'a RawValue, InvalidRequest> {
        self.optional(name).ok_or_else(|| self.error(name, "is missing"))
    }

    /// Takes a required string.
    pub(super) fn text(&mut self, name: &str) -> Result<String, InvalidRequest> {
        self.optional_text(name)?.ok_or_else(|| self.error(name, "is missing"))
    }

    /// Takes an optional string.
    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<String>, InvalidRequest> {
        let Some(raw) = self.optional(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| self.error(name, "is not a string"))
    }

    /// Takes a required id.
    pub(super) fn id(&mut self, name: &str) -> Result<Id, InvalidRequest> {
        let text = self.text(name)?;
        Id::new(text).ok_or_else(|| self.error(name, invalid_id_reason()))
    }

    /// Takes an optional array of different ids.
    pub(super) fn ids(&mut self, name: &str) -> Result<Option<Vec<Id>>, InvalidRequest> {
        let Some(raw) = self.optional(name) else { return Ok(None) };
        let texts: Vec<String> =
            serde_json::from_str(raw.get()).map_err(|_| self.error(name, "is not an array of strings"))?;
        let mut seen = BTreeSet::new();
        let mut ids = Vec::with_capacity(texts.len());
        for (at, text) in texts.into_iter().enumerate() {
            let id =
                Id::new(text).ok_or_else(|| self.error(&format!("{name}[{at}]"), invalid_id_reason()))?;
            if !seen.insert(id.clone()) {
                return Err(self.error(&format!("{name}[{at}]"), "is a duplicate"));
            }
            ids.push(id);
        }
        Ok(Some(ids))
    }

    /// Takes an optional non-negative integer.
    pub(super) fn integer(&mut self, name: &str) -> Result<Option<u64>, InvalidRequest> {
        let Some(raw) = self.optional(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| self.error(name, "is not a whole number"))
    }

    /// Takes all fields as amounts by id.
    pub(super) fn amounts(self) -> Result<BTreeMap<Id, Amount>, InvalidRequest> {
        let path = self.path;
        // The field's name is an authorizer's id, so an error shows its index instead.
        let parse = |(at, (name, raw)): (usize, (String, &RawValue))| {
            let location = format!("{path}[{at}]");
            let id =
                Id::new(name).ok_or_else(|| InvalidRequest::new(location.clone(), invalid_id_reason()))?;
            Ok((id, amount(&location, raw)?))
        };
        self.values.into_iter().enumerate().map(parse).collect()
    }

    /// Fails if a field was not taken. Field names are never logged.
    pub(super) fn reject_unknown(self) -> Result<(), InvalidRequest> {
        let Some(name) = self.values.keys().find(|name| !self.known.contains(*name)) else { return Ok(()) };
        // The caller wrote the name, so it may be personal data. One that looks like a field's is most likely
        // a typing mistake, and is shown.
        let looks_like_a_field =
            name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let shown_name = if looks_like_a_field { name.as_str() } else { "a field" };
        let location = if self.path.is_empty() { "the request" } else { &self.path };
        Err(InvalidRequest::new(location, format!("has {shown_name}, which this action does not take")))
    }

    fn error(&self, name: &str, why: impl Into<std::borrow::Cow<'static, str>>) -> InvalidRequest {
        let field = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        InvalidRequest::new(field, why)
    }
}

pub(super) fn invalid_id_reason() -> String {
    format!("is not an id of 1 to {ID_MAX_BYTES} bytes")
}

/// Parses an amount of money from a JSON number.
pub(super) fn amount(field: &str, raw: &RawValue) -> Result<Amount, InvalidRequest> {
    Amount::from_json(raw).map_err(|_| InvalidRequest::new(field, "is not a number of at most 28 digits"))
}

/// The canonical form of a value, equal for all texts with the same meaning: no blanks, objects ordered by
/// name, strings with the fewest escapes. Numbers keep their digits.
pub(super) fn canonical_json(field: &str, raw: &RawValue) -> Result<String, InvalidRequest> {
    let mut text = String::with_capacity(raw.get().len());
    write_canonical_json(field, raw, DEPTH_MAX, &mut text)?;
    Ok(text)
}

fn write_canonical_json(
    field: &str,
    raw: &RawValue,
    depth: usize,
    into: &mut String,
) -> Result<(), InvalidRequest> {
    let json = raw.get();
    let wrong = || InvalidRequest::new(field, "is not JSON of the expected form");
    // Bounded, because a recursion could overflow the stack on deep nesting.
    let deeper = depth.checked_sub(1).ok_or_else(|| InvalidRequest::new(field, "is nested too deeply"))?;
    if json.starts_with('{') {
        let fields = JsonFields::parse(field, raw)?;
        into.push('{');
        for (index, (name, value)) in fields.values.into_iter().enumerate() {
            if index > 0 {
                into.push(',');
            }
            into.push_str(&serde_json::to_string(&name).map_err(|_| wrong())?);
            into.push(':');
            write_canonical_json(field, value, deeper, into)?;
        }
        into.push('}');
    } else if json.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| wrong())?;
        into.push('[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                into.push(',');
            }
            write_canonical_json(field, item, deeper, into)?;
        }
        into.push(']');
    } else if json.starts_with('"') {
        let string: String = serde_json::from_str(json).map_err(|_| wrong())?;
        into.push_str(&serde_json::to_string(&string).map_err(|_| wrong())?);
    } else {
        // A number stays as it is written, so that no digit of an amount changes.
        into.push_str(json);
    }
    Ok(())
}

/// An object's fields in order. Unlike serde's maps, it keeps a field that occurs twice, so that it can be
/// reported.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}
