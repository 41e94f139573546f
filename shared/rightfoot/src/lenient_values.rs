//! Parses values in every form that has one clear meaning: a number as text, a time without its zone, an
//! integer with decimals.

use inbox_core::id::Id;
use std::borrow::Cow;
use std::collections::BTreeMap;

use inbox_core::rightfoot_api::Amount;
use inbox_core::time::UnixMillis;
use serde_json::value::RawValue;

/// Parses an id, unchanged.
pub(crate) fn id(value: &RawValue) -> Option<Id> {
    // A replaced byte, which was not UTF-8, would make it another id.
    text(value).filter(|text| !text.contains(char::REPLACEMENT_CHARACTER)).and_then(Id::new)
}

pub(crate) fn time(value: &RawValue) -> Option<UnixMillis> {
    text(value).as_deref().and_then(UnixMillis::from_iso8601)
}

/// An integer, also as text or with decimals that are all zero.
pub(crate) fn integer(value: &RawValue) -> Option<i64> {
    Amount::from_json_or_text(value).ok()?.to_integer()
}

/// A boolean, also as text or as 0 or 1.
pub(crate) fn boolean(value: &RawValue) -> Option<bool> {
    let text = match value.get() {
        word @ ("true" | "false") => word.to_owned(),
        _ => text(value)?,
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => match integer(value)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    }
}

/// A string's text, or a number's as it is written.
pub(crate) fn text(value: &RawValue) -> Option<String> {
    match value.get().bytes().next() {
        Some(b'"') => serde_json::from_str(value.get()).ok(),
        Some(b'-' | b'0'..=b'9') => Some(value.get().to_owned()),
        _ => None,
    }
}

/// A text for people: a string's text, or other JSON as it is. `None` for null.
pub(crate) fn display_text(value: &RawValue) -> Option<String> {
    (value.get() != "null").then(|| text(value).unwrap_or_else(|| value.get().to_owned()))
}

/// The fields of a JSON object, whatever their values.
pub(crate) fn fields(json: &str) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(json).ok()
}

/// The items of a list; none for null; the value itself for anything else.
pub(crate) fn items(list: &RawValue) -> Vec<&RawValue> {
    match serde_json::from_str::<Option<Vec<&RawValue>>>(list.get()) {
        Ok(items) => items.unwrap_or_default(),
        Err(_) => vec![list],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn an_integer_comes_as_a_number_or_as_text() {
        for zero in ["0", "0.0", "-0", r#""0""#, r#""0.0""#, r#"" 0 ""#, "0e5"] {
            assert_eq!(integer(&raw(zero)), Some(0), "{zero}");
        }
        assert_eq!(integer(&raw(r#""3300""#)), Some(3_300));
        assert_eq!(integer(&raw("3300.00")), Some(3_300));
        for odd in [r#""SUCCESS""#, r#""""#, "0.5", "true", "null", "[0]", r#""0,0""#, "99999999999999999999"]
        {
            assert_eq!(integer(&raw(odd)), None, "{odd}");
        }
    }

    #[test]
    fn a_boolean_comes_as_a_word_or_as_a_number() {
        for yes in ["true", r#""true""#, r#""True""#, r#"" TRUE ""#, "1", "1.0", r#""1""#] {
            assert_eq!(boolean(&raw(yes)), Some(true), "{yes}");
        }
        for no in ["false", r#""false""#, r#""False""#, "0", r#""0""#] {
            assert_eq!(boolean(&raw(no)), Some(false), "{no}");
        }
        for odd in [r#""yes""#, r#""""#, "2", "-1", "null", "[]", "{}"] {
            assert_eq!(boolean(&raw(odd)), None, "{odd}");
        }
    }
}
