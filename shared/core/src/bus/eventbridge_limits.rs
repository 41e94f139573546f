//! Whether EventBridge takes a piece of JSON as it is.

use serde_json::value::RawValue;

use super::detail::RawPayload;
use crate::json::is_embeddable;
use crate::limits::BUS_MAX_BYTES;

/// A payload as data of an event: one JSON object that EventBridge reads, with integers of 64 bits, and not too deep.
///
/// Where its documents are silent, the careful choice is made: a number beyond a double, a character that SQS or XML
/// would refuse, and half a surrogate stay off the bus, because a rule's target might choke on them.
pub(super) fn parse_embeddable(payload: &[u8]) -> Option<RawPayload<'_>> {
    if payload.len() > BUS_MAX_BYTES {
        return None;
    }
    let json: &RawValue = serde_json::from_slice(payload).ok()?;
    let text = json.get();
    let fits = is_embeddable(text) && has_representable_numbers(text) && has_portable_strings(text);
    (text.starts_with('{') && fits).then_some(RawPayload(json))
}

/// Looks at the numbers of valid JSON, byte by byte: without recursion, however deep it is.
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

/// Also of the letters `e` in `true` and `false`, which are no number.
fn is_representable_number(number: &str) -> bool {
    let is_number = number.bytes().any(|byte| byte.is_ascii_digit());
    let is_integer = !number.contains(['.', 'e', 'E']);
    !is_number
        || if is_integer {
            number.parse::<i64>().is_ok()
        } else {
            number.parse::<f64>().is_ok_and(f64::is_finite)
        }
}

/// Whether no string holds U+FFFE or U+FFFF, or half a surrogate, written out or escaped.
fn has_portable_strings(json: &str) -> bool {
    let has_noncharacter = |text: &str| text.contains(['\u{fffe}', '\u{ffff}']);
    if has_noncharacter(json) {
        return false;
    }
    // Only an escape can hide one: then the strings are read for good.
    !json.contains("\\u")
        || string_literals(json)
            .all(|string| serde_json::from_str::<String>(string).is_ok_and(|text| !has_noncharacter(&text)))
}

/// The strings of valid JSON, with their quotes.
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
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_embeddable(&bytes);
        }
    }
}
