//! The key of Rightfoot's API.

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use inbox_core::secret_keys::is_valid_api_key;

/// The key of Rightfoot's API.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

/// The text cannot be an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is not empty and of visible ASCII characters")]
pub struct InvalidApiKey;

impl ApiKey {
    /// Creates a key of visible ASCII characters.
    pub fn new(key: &str) -> Result<Self, InvalidApiKey> {
        is_valid_api_key(key).then(|| Self(Zeroizing::new(key.to_owned()))).ok_or(InvalidApiKey)
    }

    /// The value of the `Authorization` header.
    pub(crate) fn bearer(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        // Visible ASCII is always a valid header value; an empty one would be answered 401.
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        // Keeps the key out of `Debug` output (P8).
        value.set_sensitive(true);
        value
    }
}

/// Does not show the key (P8).
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii() {
        for bad in ["", " rf_live_1", "rf_live_1\n", "rf live", "schlüssel"] {
            assert_eq!(ApiKey::new(bad).err(), Some(InvalidApiKey), "{bad:?}");
        }
        let bearer = ApiKey::new("rf_live_1~!").unwrap().bearer();
        assert_eq!(bearer, "Bearer rf_live_1~!");
        assert!(bearer.is_sensitive());
    }
}
