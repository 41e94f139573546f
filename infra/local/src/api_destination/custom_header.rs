//! Header that a user adds to each request, as the connection of an API destination does for an API key.

use std::fmt;
use std::str::FromStr;

use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RANGE, USER_AGENT,
};

/// Headers that EventBridge sets itself.
const RESERVED: [HeaderName; 6] = [ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, RANGE, USER_AGENT];

/// A header. `Debug` does not show its value, which may be a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomHeader {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

/// The text is no header that may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidCustomHeader {
    /// It has no colon, or a character that no header has.
    Malformed,
    /// EventBridge sets this header itself.
    Reserved,
}

impl fmt::Display for InvalidCustomHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a header is written as in `x-api-key: 123`",
            Self::Reserved => "EventBridge sets this header itself",
        })
    }
}

impl std::error::Error for InvalidCustomHeader {}

impl FromStr for CustomHeader {
    type Err = InvalidCustomHeader;

    fn from_str(text: &str) -> Result<Self, InvalidCustomHeader> {
        let (name, value) = text.split_once(':').ok_or(InvalidCustomHeader::Malformed)?;
        let name: HeaderName = name.trim().parse().map_err(|_| InvalidCustomHeader::Malformed)?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| InvalidCustomHeader::Malformed)?;
        value.set_sensitive(true);
        if RESERVED.contains(&name) { Err(InvalidCustomHeader::Reserved) } else { Ok(Self { name, value }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_name_and_a_value_that_is_not_shown() {
        let header: CustomHeader = "X-Api-Key: s3cret: x".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.as_bytes()), ("x-api-key", &b"s3cret: x"[..]));
        assert!(!format!("{header:?}").contains("s3cret"), "P8");
        let error = |text: &str| text.parse::<CustomHeader>().unwrap_err();
        for malformed in ["x-api-key", ": a", "a b: c", "a: b\nc"] {
            assert_eq!(error(malformed), InvalidCustomHeader::Malformed, "{malformed}");
        }
        assert_eq!(error("Host: example.com"), InvalidCustomHeader::Reserved);
    }
}
