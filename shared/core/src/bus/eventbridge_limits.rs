//! The check that EventBridge accepts a piece of JSON as it is.

use serde_json::value::RawValue;

use super::detail::RawPayload;
use crate::json::is_embeddable;
use crate::limits::BUS_MAX_BYTES;

/// Returns a payload that can be embedded in an event: one JSON object within EventBridge's limits, with
/// integers of at most 64 bits, and not nested too deeply.
///
/// Where EventBridge's documentation is silent, this is strict: a number beyond a double, a character that
/// SQS or XML would reject, or half a surrogate is not embedded, because a rule's target might fail on it.
pub(super) fn parse_embeddable(payload: &[u8]) -> Option<RawPayload<'_>> {
    // Checked first, because the other checks read every byte.
    if payload.len() > BUS_MAX_BYTES {
        return None;
    }
    let json: &RawValue = serde_json::from_slice(payload).ok()?;
    let text = json.get();
    let fits = is_embeddable(text) && has_representable_numbers(text) && has_portable_strings(text);
    (text.starts_with('{') && fits).then_some(RawPayload(json))
}

/// Checks the numbers of valid JSON byte by byte, because a recursion could overflow the stack on deep
/// nesting.
fn has_representable_numbers(json: &str) -> bool {
    let (mut in_string, mut escaped, mut number) = (false, false, String::new());
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        if matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') {
            number.push(char::from(byte));
            continue;
        }
        if !is_representable_number(&number) {
            return false;
        }
        number.clear();
        in_string = byte == b'"';
    }
    true
}

/// Checks one number. The letters `e` of `true` and `false` arrive here, too, and are accepted.
fn is_representable_number(number: &str) -> bool {
    let is_number = number.bytes().any(|byte| byte.is_ascii_digit());
    let is_integer = !number.contains(['.', 'e', 'E']);
    !is_number
        || if is_integer {
            number.parse::<i64>().is_ok()
        } else {
            // A number beyond a double parses as infinity.
            number.parse::<f64>().is_ok_and(f64::is_finite)
        }
}

/// Returns `true` if no string holds U+FFFE, U+FFFF or half a surrogate, literally or escaped.
fn has_portable_strings(json: &str) -> bool {
    let has_noncharacter = |text: &str| text.contains(['\u{fffe}', '\u{ffff}']);
    if has_noncharacter(json) {
        return false;
    }
    // Only an escape can hide one, so strings are decoded only if there is an escape.
    !json.contains("\\u")
        || string_literals(json)
            .all(|string| serde_json::from_str::<String>(string).is_ok_and(|text| !has_noncharacter(&text)))
}

/// Iterates over the strings of valid JSON, with their quotes.
fn string_literals(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        let start = rest.find('"')?;
        let body = rest.get(start + 1..)?;
        let mut escaped = false;
        let end = body.bytes().position(|byte| {
            let closes = !escaped && byte == b'"';
            escaped = !escaped && byte == b'\\';
            closes
        })?;
        let string = rest.get(start..start + end + 2)?;
        rest = rest.get(start + end + 2..)?;
        Some(string)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_accepted(json: &str) -> bool {
        parse_embeddable(json.as_bytes()).is_some()
    }

    #[test]
    fn payloads_within_eventbridges_limits_are_embedded() {
        for json in [
            "{}",
            r#" {"a":[1,-2.50,1E+2,0,-0,true,false,null,"x"]} "#,
            r#"{"n":[9223372036854775807,-9223372036854775808]}"#,
            r#"{"n":123456789012345678901234567890.5}"#,
            r#"{"s":"99999999999999999999 \" 99999999999999999999 \\"}"#,
            r#"{"99999999999999999999":"\u00e9\ud83d\ude00\u0000"}"#,
        ] {
            assert!(is_accepted(json), "{json}");
        }
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(is_accepted(&deep(900)) && !is_accepted(&deep(901)));
    }

    #[test]
    fn payloads_outside_eventbridges_limits_are_not_embedded() {
        for json in [
            "[]",
            "3",
            "not json",
            r#"{"n":9223372036854775808}"#,
            r#"{"n":[0,-9223372036854775809]}"#,
            r#"{"n":99999999999999999999,"s":""}"#,
            r#"{"n":1e400}"#,
            "{\"s\":\"\u{ffff}\"}",
            r#"{"s":"\uFFFE"}"#,
            r#"{"s":"\ud83d"}"#,
            r#"{"\ude00":1}"#,
        ] {
            assert!(!is_accepted(json), "{json}");
        }
        assert!(parse_embeddable(b"{\"s\":\"\xff\"}").is_none());
        assert!(!is_accepted(&format!("{{\"s\":\"{}\"}}", "x".repeat(BUS_MAX_BYTES))));
    }

    proptest! {
        #[test]
        fn a_number_fits_if_and_only_if_it_is_an_integer_of_64_bits_or_a_double(n in any::<i128>(), small in any::<i64>()) {
            let holding = |number: String| is_accepted(&format!("{{\"n\":{number}}}"));
            prop_assert_eq!(holding(n.to_string()), i64::try_from(n).is_ok());
            prop_assert!(holding(small.to_string()));
        }

        #[test]
        fn any_object_of_plain_strings_fits_whatever_they_hold(key in "\\PC{0,20}", value in "\\PC{0,20}") {
            let json = serde_json::json!({ key: value }).to_string();
            prop_assert!(is_accepted(&json));
        }

        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_embeddable(&bytes);
        }
    }
}
