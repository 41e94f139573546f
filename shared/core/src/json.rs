//! Checks and edits of JSON as bytes, independent of its content.

use crate::limits::DATA_DEPTH_MAX;

/// UTF-8's byte order mark.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Removes a leading byte order mark. A receiver may ignore one (RFC 8259, 8.1), but many parsers fail on it.
pub fn strip_bom(json: &[u8]) -> &[u8] {
    json.strip_prefix(BOM).unwrap_or(json)
}

/// Returns `true` if valid JSON can be embedded in JSON that consumers parse: nested no deeper than
/// [`DATA_DEPTH_MAX`], and without a byte order mark, which is allowed nowhere inside JSON.
pub(crate) fn is_embeddable(json: &str) -> bool {
    // Byte by byte, because a recursion could overflow the stack on deep nesting.
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DATA_DEPTH_MAX {
            return false;
        }
    }
    !json.as_bytes().starts_with(BOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_embeddable(&nested(900)) && !is_embeddable(&nested(901)));
        let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(is_embeddable(&objects(900)) && !is_embeddable(&objects(901)));
        let quoted = format!(r#"{{"a":"{}","\\":"\"{}"}}"#, "[".repeat(2_000), "{".repeat(2_000));
        assert!(is_embeddable(&quoted));
        assert!(is_embeddable(&format!("[{}]", vec!["[]"; 2_000].join(","))), "beside each other");
    }

    #[test]
    fn one_byte_order_mark_is_taken_off_and_none_is_embedded() {
        assert_eq!(strip_bom("\u{feff}{}".as_bytes()), b"{}");
        assert_eq!(strip_bom("\u{feff}\u{feff}{}".as_bytes()), "\u{feff}{}".as_bytes());
        assert_eq!(strip_bom(b" {}"), b" {}");
        assert_eq!(strip_bom(b"\xef\xbb"), b"\xef\xbb");
        assert!(!is_embeddable("\u{feff}{}") && is_embeddable("{\"a\":\"\u{feff}\"}"));
    }
}
