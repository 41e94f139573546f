//! The value of a signing secret after a rotation at the provider.

use super::{KeyCodec, KeyError, hmac_from, parse_elements, strip_newline};
use crate::limits::SECRETS_MAX;
use zeroize::Zeroizing;

/// Returns the value to store when the provider signs with `new` from now on: `new`, and behind it the stored keys, because the provider
/// goes on to sign with the previous one for a while. `None` if that is what is stored.
///
/// Stored keys that cannot be used are dropped, and so are the last ones if there are too many.
///
/// # Errors
///
/// `new` does not decode with the codec.
pub fn with_new_key(stored: &str, new: &str, codec: KeyCodec) -> Result<Option<Zeroizing<String>>, KeyError> {
    hmac_from(new, codec)?;
    let stored = parse_elements(stored).unwrap_or_default();
    let usable = || stored.iter().map(|key| strip_newline(key)).filter(|key| hmac_from(key, codec).is_ok());
    let is_first = stored.first().is_some_and(|first| strip_newline(first) == new);
    if is_first && usable().count() == stored.len() {
        return Ok(None);
    }
    let earlier = usable().filter(|key| *key != new);
    let keys: Vec<&str> = std::iter::once(new).chain(earlier).take(SECRETS_MAX).collect();
    serde_json::to_string(&keys).map(|value| Some(Zeroizing::new(value))).map_err(|_| KeyError::Undecodable)
}

/// The number of stored keys for which there is no place behind a new one.
pub fn dropped_keys(stored: &str) -> usize {
    let stored = parse_elements(stored).map_or(0, |keys| keys.len());
    (stored + 1).saturating_sub(SECRETS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_put_in_front_of_the_usable_ones() {
        let value = |stored: &str, new: &str| {
            with_new_key(stored, new, KeyCodec::Utf8).unwrap().map(|value| value.to_string())
        };
        for (stored, expected) in [
            ("", r#"["new"]"#),
            ("old\n", r#"["new","old"]"#),
            (r#"["b","a"]"#, r#"["new","b","a"]"#),
            (r#"["d","c","b","a"]"#, r#"["new","d","c","b"]"#),
            (r#"["b","new"]"#, r#"["new","b"]"#),
            (r#"["b",""]"#, r#"["new","b"]"#),
            (r#"{"key":"b"}"#, r#"["new"]"#),
        ] {
            assert_eq!(value(stored, "new").as_deref(), Some(expected), "{stored}");
        }
        for current in ["new", "new\n", r#"["new","old"]"#] {
            assert_eq!(value(current, "new"), None, "{current}");
        }
    }

    #[test]
    fn a_fifth_key_is_known_to_drop_one() {
        let counts = ["", "a", r#"["a","b","c"]"#, r#"["a","b","c","d"]"#].map(dropped_keys);
        assert_eq!(counts, [0, 0, 0, 1]);
    }

    #[test]
    fn a_key_of_another_codec_is_not_stored() {
        let hex = |stored: &str, new: &str| with_new_key(stored, new, KeyCodec::Hex);
        assert_eq!(hex("6f6c64", "not hexadecimal"), Err(KeyError::Undecodable));
        let value = hex(r#"["placeholder","6f6c64"]"#, "6e6577").unwrap().unwrap();
        assert_eq!(value.as_str(), r#"["6e6577","6f6c64"]"#);
        assert_eq!(with_new_key("old", " ", KeyCodec::Utf8), Err(KeyError::Empty));
    }
}
