//! The keys in a secret's value. Several are accepted at once, so that a rotation needs no deployment.

mod rotation;
mod warnings;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::limits::SECRETS_MAX;

pub use rotation::{dropped_keys, with_new_key};
pub use warnings::{SecretWarning, secret_warnings};

/// The decoding of a key's bytes from the string that the provider shows. Fynapse's documents do not say
/// which one it uses (shared/providers/fynapse.md, "Signature"); UTF-8 is the convention of its scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyCodec {
    /// The string's own bytes.
    #[default]
    Utf8,
    /// The string is standard base64.
    Base64,
    /// The string is hexadecimal.
    Hex,
}

impl std::str::FromStr for KeyCodec {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        match name {
            "utf8" => Ok(Self::Utf8),
            "base64" => Ok(Self::Base64),
            "hex" => Ok(Self::Hex),
            _ => Err(KeyError::UnknownCodec),
        }
    }
}

/// The reason why a secret's value cannot be used. Never contains the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The value is empty, blank, or an array with such an element.
    #[error("the secret is empty or has an empty element")]
    Empty,
    /// More than [`SECRETS_MAX`] elements.
    #[error("the secret has more than {SECRETS_MAX} elements")]
    TooMany,
    /// JSON, but not an array of strings.
    #[error(
        "the secret is JSON but not an array of strings; store it as plain text or as [\"current\", \"previous\"]"
    )]
    NotStringArray,
    /// Not decodable with the configured codec.
    #[error("the secret does not decode with the configured key codec")]
    Undecodable,
    /// An API key with a character that no HTTP header carries, or that no key has.
    #[error(
        "the API key is not of visible ASCII characters only: it has a blank, a line break or another character"
    )]
    NotVisibleAscii,
    /// No such codec.
    #[error("unknown key codec; use utf8, base64 or hex")]
    UnknownCodec,
}

/// The accepted keys of one secret. The first one signs, all of them verify; the default has none.
#[derive(Clone, Default)]
pub struct Keys {
    // Keyed states, not keys: the two SHA-256 compressions over the key happen once at load, not per delivery.
    macs: Vec<Hmac<Sha256>>,
}

impl Keys {
    /// Parses a secret's value: a plain string, or a JSON array of at most four strings. One trailing newline
    /// is dropped, because editors and `echo` leave one.
    pub fn parse(value: &str, codec: KeyCodec) -> Result<Self, KeyError> {
        let strings = parse_elements(value)?;
        if strings.len() > SECRETS_MAX {
            return Err(KeyError::TooMany);
        }
        let macs = strings.iter().map(|one| hmac_from(one, codec)).collect::<Result<Vec<_>, _>>()?;
        if macs.is_empty() { Err(KeyError::Empty) } else { Ok(Self { macs }) }
    }

    /// The keyed HMAC states, one per accepted key.
    pub(crate) fn macs(&self) -> impl Iterator<Item = Hmac<Sha256>> + '_ {
        self.macs.iter().cloned()
    }

    /// The HMAC state of the key that signs.
    pub(crate) fn signing_key(&self) -> Option<Hmac<Sha256>> {
        self.macs.first().cloned()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} redacted)", self.macs.len())
    }
}

/// Parses an API key's secret: the plain string, or the first one of an array. One trailing newline is
/// dropped, and the rest must be visible ASCII characters.
pub fn parse_api_key(value: &str) -> Result<Zeroizing<String>, KeyError> {
    let key = primary(value)?;
    if is_valid_api_key(&key) { Ok(key) } else { Err(KeyError::NotVisibleAscii) }
}

/// Returns `true` if `key` can be an API key: not empty, and of visible ASCII characters only.
pub fn is_valid_api_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn primary(value: &str) -> Result<Zeroizing<String>, KeyError> {
    let strings = parse_elements(value)?;
    if strings.len() > SECRETS_MAX {
        return Err(KeyError::TooMany);
    }
    let first = strings.first().map(|string| strip_newline(string)).unwrap_or_default();
    if first.trim().is_empty() { Err(KeyError::Empty) } else { Ok(Zeroizing::new(first.to_owned())) }
}

fn strip_newline(string: &str) -> &str {
    string.strip_suffix('\n').map_or(string, |rest| rest.strip_suffix('\r').unwrap_or(rest))
}

fn parse_elements(value: &str) -> Result<Vec<Zeroizing<String>>, KeyError> {
    let looks_like_json = value.trim_start().starts_with(['[', '{']);
    match serde_json::from_str::<Vec<String>>(value) {
        Ok(many) => Ok(many.into_iter().map(Zeroizing::new).collect()),
        // A mistyped array or a key/value secret, taken as a plain string, would silently reject every delivery.
        Err(_) if looks_like_json && is_json_or_array(value) => Err(KeyError::NotStringArray),
        Err(_) => Ok(vec![Zeroizing::new(value.to_owned())]),
    }
}

fn is_json_or_array(value: &str) -> bool {
    // A plain secret may begin with `{`, but `[` is taken for the start of a mistyped array.
    value.trim_start().starts_with('[') || serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok()
}

fn hmac_from(string: &str, codec: KeyCodec) -> Result<Hmac<Sha256>, KeyError> {
    let string = strip_newline(string);
    if string.trim().is_empty() {
        return Err(KeyError::Empty);
    }
    let bytes = Zeroizing::new(match codec {
        KeyCodec::Utf8 => string.as_bytes().to_vec(),
        KeyCodec::Base64 => STANDARD.decode(string).map_err(|_| KeyError::Undecodable)?,
        KeyCodec::Hex => hex::decode(string).map_err(|_| KeyError::Undecodable)?,
    });
    if bytes.is_empty() {
        return Err(KeyError::Empty);
    }
    Hmac::new_from_slice(&bytes).map_err(|_| KeyError::Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::Mac;

    fn count(value: &str) -> Result<usize, KeyError> {
        Keys::parse(value, KeyCodec::Utf8).map(|keys| keys.macs.len())
    }

    #[test]
    fn a_secret_is_a_plain_string_or_an_array_of_at_most_four() {
        assert_eq!(count("fys_7Qk2vX9mB4nT1cR8"), Ok(1));
        assert_eq!(count(r#"["new","old"]"#), Ok(2));
        assert_eq!(count(r#"["1","2","3","4"]"#), Ok(4));
        assert_eq!(count(r#"["1","2","3","4","5"]"#), Err(KeyError::TooMany));
        assert_eq!(count("{not json}"), Ok(1));
    }

    #[test]
    fn empty_values_are_rejected_at_load() {
        for empty in ["", "\n", "\r\n", " ", "\u{a0}\n\n", "[]", r#"["a",""]"#, r#"["a"," "]"#] {
            assert_eq!(count(empty), Err(KeyError::Empty), "{empty:?}");
        }
    }

    #[test]
    fn json_other_than_an_array_of_strings_is_rejected() {
        for wrong in [r#"{"secret":"x"}"#, r#"["new", 3]"#, r#"["new","old""#, "[1]"] {
            assert_eq!(count(wrong), Err(KeyError::NotStringArray), "{wrong}");
        }
    }

    #[test]
    fn one_trailing_newline_is_dropped_and_no_more() {
        let tag = |value: &str| {
            let mut mac = Keys::parse(value, KeyCodec::Utf8).unwrap().signing_key().unwrap();
            mac.update(b"x");
            mac.finalize().into_bytes()
        };
        assert_eq!(tag("secret\n"), tag("secret"));
        assert_eq!(tag("secret\r\n"), tag("secret"));
        assert_ne!(tag("secret\n\n"), tag("secret"));
    }

    #[test]
    fn an_api_key_is_the_first_of_several_and_of_visible_ascii() {
        let read = |value: &str| parse_api_key(value).map(|it| it.to_string());
        assert_eq!(read("rf_live_1\n").as_deref(), Ok("rf_live_1"));
        assert_eq!(read(r#"["new","old"]"#).as_deref(), Ok("new"));
        assert_eq!(read(""), Err(KeyError::Empty));
        assert_eq!(read(" "), Err(KeyError::Empty));
        assert_eq!(read(r#"{"key":"x"}"#), Err(KeyError::NotStringArray));
        for wrong in
            ["rf_live_1 ", "Bearer rf_live_1", "rf_live_1\u{a0}", "rf_live_1\n\n", "\u{feff}rf_live_1"]
        {
            assert_eq!(read(wrong), Err(KeyError::NotVisibleAscii), "{wrong:?}");
        }
    }

    #[test]
    fn codecs_make_the_same_key_of_different_strings() {
        let tag = |value: &str, codec| {
            let mut mac = Keys::parse(value, codec).unwrap().signing_key().unwrap();
            mac.update(b"x");
            mac.finalize().into_bytes()
        };
        assert_eq!(tag("key", KeyCodec::Utf8), tag("a2V5", KeyCodec::Base64));
        assert_eq!(tag("key", KeyCodec::Utf8), tag("6b6579", KeyCodec::Hex));
        assert_eq!(Keys::parse("!", KeyCodec::Base64).unwrap_err(), KeyError::Undecodable);
        assert_eq!(Keys::parse("xyz", KeyCodec::Hex).unwrap_err(), KeyError::Undecodable);
    }

    #[test]
    fn p8_debug_shows_no_key() {
        assert_eq!(format!("{:?}", Keys::parse("s3cr3t", KeyCodec::Utf8).unwrap()), "Keys(1 redacted)");
    }
}
