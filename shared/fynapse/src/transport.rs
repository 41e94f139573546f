//! Sends requests: retries, and the meaning of each HTTP status.

use std::time::Duration;

use inbox_http_client::{ClientConfig, HttpClient, UnavailableReason};
use reqwest::{RequestBuilder, Url};

use crate::{ApiError, ClientBuildError};

/// The path of the API below the base URL.
const API_PATH: [&str; 3] = ["api", "v1", "event-deliveries"];

/// Sends requests, with retries.
#[derive(Clone)]
pub(crate) struct Transport(HttpClient);

/// A failed attempt.
struct AttemptError {
    error: ApiError,
    retry_after: Option<Duration>,
}

impl<E: Into<ApiError>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        Self { error: error.into(), retry_after: None }
    }
}

impl Transport {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ClientBuildError> {
        HttpClient::new(config).map(Self)
    }

    /// The URL of the token endpoint.
    pub(crate) fn token_url(&self) -> Result<Url, ApiError> {
        Ok(self.0.config().endpoint(["auth", "token"])?)
    }

    /// The URL of these segments below the API's path. Opaque ids may be among them.
    pub(crate) fn endpoint(&self, segments: &[&str]) -> Result<Url, ApiError> {
        Ok(self.0.config().endpoint(API_PATH.into_iter().chain(segments.iter().copied()))?)
    }

    /// Sends a request, with retries. Returns the body of a successful response.
    pub(crate) async fn send(
        &self,
        request: impl Fn(&HttpClient) -> RequestBuilder,
    ) -> Result<Vec<u8>, ApiError> {
        let mut attempts = 0;
        loop {
            let AttemptError { error, retry_after } = match self.attempt(request(&self.0)).await {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            attempts += 1;
            let pause = error.is_transient().then(|| self.0.retry_pause(attempts, retry_after)).flatten();
            let Some(pause) = pause else { return Err(error) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request once: a second one might do twice what it asks for.
    pub(crate) async fn send_once(
        &self,
        request: impl FnOnce(&HttpClient) -> RequestBuilder,
    ) -> Result<Vec<u8>, ApiError> {
        self.attempt(request(&self.0)).await.map_err(|failed| failed.error)
    }

    async fn attempt(&self, request: RequestBuilder) -> Result<Vec<u8>, AttemptError> {
        let response = self.0.send(request).await?;
        let retry_after = response.retry_after;
        check_status(response.status()).map_err(|error| AttemptError { error, retry_after })?;
        Ok(response.read_body().await?)
    }
}

/// Classifies a status; `Ok` if the body has to be read (shared/providers/fynapse.md, "Errors of the API").
pub(crate) fn check_status(status: u16) -> Result<(), ApiError> {
    match status {
        200 | 201 => Ok(()),
        300..=399 => Err(ApiError::InvalidResponse("a redirect")),
        401 => Err(ApiError::TokenExpired),
        403 => Err(ApiError::Forbidden),
        404 => Err(ApiError::NotFound),
        408 => Err(ApiError::Unavailable(UnavailableReason::TimedOut)),
        429 => Err(ApiError::RateLimited),
        400..=499 => Err(ApiError::Declined(status)),
        500..=599 => Err(ApiError::Unavailable(UnavailableReason::ServerError)),
        _ => Err(ApiError::InvalidResponse("an unexpected status")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_status_is_without_a_meaning() {
        for status in 100..=999 {
            let checked = check_status(status);
            assert_eq!(checked.is_ok(), matches!(status, 200 | 201), "{status}");
            let is_transient = checked.is_err_and(|error| error.is_transient());
            assert_eq!(is_transient, matches!(status, 408 | 429 | 500..=599), "{status}");
        }
        assert_eq!(check_status(401), Err(ApiError::TokenExpired));
        assert_eq!(check_status(422), Err(ApiError::Declined(422)));
    }

    #[test]
    fn endpoints_stand_below_the_base_path_and_an_id_is_one_segment_of_it() {
        for (base, before) in
            [("https://a.test", "https://a.test"), ("https://a.test/b/", "https://a.test/b")]
        {
            let transport = Transport::new(ClientConfig::new(base, None).unwrap()).unwrap();
            assert_eq!(transport.token_url().unwrap().as_str(), format!("{before}/auth/token"));
            let deliveries = transport.endpoint(&["subscriptions", "s/../1?x", "deliveries"]).unwrap();
            let path = "api/v1/event-deliveries/subscriptions/s%2F..%2F1%3Fx/deliveries";
            assert_eq!(deliveries.as_str(), format!("{before}/{path}"));
            let dots = transport.endpoint(&["secrets", ".."]);
            assert_eq!(dots, Err(ApiError::InvalidResponse("an id that is not a valid path segment")));
        }
    }
}
