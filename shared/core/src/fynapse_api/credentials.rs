//! The credentials of our API client at Fynapse: a secret of the form `{"client_id": "…", "client_secret": "…"}`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::limits::{CREDENTIALS_VALID_DAYS, CREDENTIALS_WARNING_DAYS};
use crate::time::UnixMillis;

/// The id and secret of an API client.
#[derive(Clone)]
pub struct ClientCredentials {
    /// The client's id.
    pub client_id: Zeroizing<String>,
    /// The client's secret.
    pub client_secret: Zeroizing<String>,
    /// The time at which they end, if the secret says it (`expires_at`, RFC 3339).
    pub expires_at: Option<UnixMillis>,
}

/// The reason why a secret's value holds no credentials. Never contains the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The secret was never given a value.
    #[error("the secret is empty")]
    Empty,
    /// Not an object with the two fields.
    #[error("the secret is not of the form {{\"client_id\": \"…\", \"client_secret\": \"…\"}}")]
    WrongForm,
}

#[derive(Deserialize)]
struct SecretValue {
    client_id: String,
    client_secret: String,
    expires_at: Option<String>,
}

impl ClientCredentials {
    /// Parses the value of the secret. An `expires_at` that is not a time is ignored.
    pub fn parse(value: &str) -> Result<Self, CredentialsError> {
        if value.trim().is_empty() {
            return Err(CredentialsError::Empty);
        }
        let value: SecretValue = serde_json::from_str(value).map_err(|_| CredentialsError::WrongForm)?;
        let (client_id, client_secret) =
            (Zeroizing::new(value.client_id), Zeroizing::new(value.client_secret));
        if client_id.trim().is_empty() || client_secret.trim().is_empty() {
            return Err(CredentialsError::WrongForm);
        }
        Ok(Self {
            client_id,
            client_secret,
            expires_at: value.expires_at.as_deref().and_then(UnixMillis::from_rfc3339),
        })
    }

    /// Returns `true` if they end within two weeks. Without an `expires_at`, they end 90 days after they were stored: that is how long
    /// they are valid by default.
    pub fn expire_soon(&self, stored_at: Option<UnixMillis>, now: UnixMillis) -> bool {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let end = self.expires_at.or_else(|| stored_at.map(|at| at.plus(days(CREDENTIALS_VALID_DAYS))));
        end.is_some_and(|end| end.minus(days(CREDENTIALS_WARNING_DAYS)) <= now)
    }
}

/// Shows neither (P8).
impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCredentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_a_secret_of_another_form_is_named_and_not_shown() {
        let parse = |value: &str| ClientCredentials::parse(value).map(|_| ());
        assert_eq!(parse(r#"{"client_id":"c-1","client_secret":"s-1"}"#), Ok(()));
        assert_eq!(
            parse(r#"{"client_id":"c-1","client_secret":"s-1","note":"x","expires_at":"soon"}"#),
            Ok(())
        );
        for empty in ["", " ", "\n"] {
            assert_eq!(parse(empty), Err(CredentialsError::Empty), "{empty:?}");
        }
        for wrong in [
            "s-1",
            "[]",
            "{}",
            r#"{"client_id":"c-1"}"#,
            r#"{"client_id":"","client_secret":"s-1"}"#,
            r#""c-1""#,
        ] {
            assert_eq!(parse(wrong), Err(CredentialsError::WrongForm), "{wrong}");
        }
        let credentials = ClientCredentials::parse(r#"{"client_id":"c-1","client_secret":"s-1"}"#).unwrap();
        assert_eq!(format!("{credentials:?}"), "ClientCredentials(..)");
        assert_eq!(
            CredentialsError::WrongForm.to_string(),
            r#"the secret is not of the form {"client_id": "…", "client_secret": "…"}"#
        );
    }

    #[test]
    fn credentials_are_reported_two_weeks_before_they_end() {
        let day = |days: i64| UnixMillis(days * 86_400_000);
        let plain = ClientCredentials::parse(r#"{"client_id":"c","client_secret":"s"}"#).unwrap();
        assert!(!plain.expire_soon(None, day(1_000)), "nothing is known");
        assert!(!plain.expire_soon(Some(day(0)), UnixMillis(day(76).0 - 1)));
        assert!(plain.expire_soon(Some(day(0)), day(76)));
        let value = r#"{"client_id":"c","client_secret":"s","expires_at":"1970-02-01T00:00:00Z"}"#;
        let dated = ClientCredentials::parse(value).unwrap();
        assert!(!dated.expire_soon(Some(day(0)), UnixMillis(day(17).0 - 1)));
        assert!(dated.expire_soon(Some(day(0)), day(17)), "31 days without 14");
    }
}
