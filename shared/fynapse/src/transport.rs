//! Sends requests: retries, time-outs, and the meaning of each HTTP status.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, Response, redirect, retry};

use crate::{ApiError, ClientBuildError, ClientConfig, UnavailableReason};

/// Most attempts of a request.
const ATTEMPTS_MAX: u32 = 3;
/// Size limit of an answer.
pub(crate) const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Maximum idle time of a connection: a process that was frozen meanwhile finds it dead.
const POOL_IDLE_MAX: Duration = Duration::from_secs(20);

/// Sends requests, with retries.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) client: Client,
    pub(crate) config: ClientConfig,
}

/// A failed attempt.
struct AttemptError {
    error: ApiError,
    retry_after: Option<Duration>,
}

impl From<ApiError> for AttemptError {
    fn from(error: ApiError) -> Self {
        Self { error, retry_after: None }
    }
}

impl Transport {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ClientBuildError> {
        let pem = config.ca_bundle.as_ref().map_or("", |bundle| bundle.pem());
        let trusted = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| ClientBuildError)?;
        let client = Client::builder();
        // Plain HTTP to a simulated API checks no certificate: skip loading the system's.
        let client = match config.is_https() {
            true => client.tls_certs_merge(trusted),
            false => client.tls_certs_only([]),
        };
        let client = client
            .user_agent(concat!("balance-inbox/", env!("CARGO_PKG_VERSION")))
            // Requests carry credentials, which must not be sent in the clear.
            .https_only(config.is_https())
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            .pool_idle_timeout(POOL_IDLE_MAX)
            .build();
        Ok(Self { client: client.map_err(|_| ClientBuildError)?, config })
    }

    /// Sends a request, with retries. Returns the body of a successful answer.
    pub(crate) async fn send(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Vec<u8>, ApiError> {
        let mut attempts = 0;
        loop {
            let error = match self.attempt(request(&self.client)).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            attempts += 1;
            let Some(pause) = self.retry_delay(&error, attempts) else { return Err(error.error) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request once: a second one might do twice what it asks for.
    pub(crate) async fn send_once(&self, request: RequestBuilder) -> Result<Vec<u8>, ApiError> {
        self.attempt(request).await.map_err(|error| error.error)
    }

    async fn attempt(&self, request: RequestBuilder) -> Result<Vec<u8>, AttemptError> {
        let response = request
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .send()
            .await
            .map_err(|error| ApiError::Unavailable(UnavailableReason::from_reqwest(&error)))?;
        let retry_after = retry_after(response.headers());
        check_status(response.status().as_u16()).map_err(|error| AttemptError { error, retry_after })?;
        Ok(read_body(response).await?)
    }

    /// The pause before the next attempt; `None` if there is none.
    fn retry_delay(&self, error: &AttemptError, attempts: u32) -> Option<Duration> {
        if attempts >= ATTEMPTS_MAX || !error.error.is_transient() {
            return None;
        }
        let max_backoff =
            self.config.backoff_base.saturating_mul(1 << (attempts - 1)).min(self.config.pause_max);
        let backoff = max_backoff.mul_f64(fastrand::f64());
        match error.retry_after {
            // A longer pause is left to the next run.
            Some(requested) => (requested <= self.config.pause_max).then(|| requested.max(backoff)),
            None => Some(backoff),
        }
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

/// `Retry-After` in seconds. Its form as a date is not used: the next run comes within minutes.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}

/// Reads the whole body, within the size limit.
async fn read_body(mut response: Response) -> Result<Vec<u8>, ApiError> {
    // None was asked for.
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::InvalidResponse("an encoded body"));
    }
    let max_bytes = u64::try_from(ANSWER_MAX_BYTES).unwrap_or(u64::MAX);
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(ApiError::TOO_LARGE);
    }
    let mut body = Vec::new();
    // Chunk by chunk, because an answer need not state its length.
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| ApiError::Unavailable(UnavailableReason::from_reqwest(&error)))?
    {
        if body.len().saturating_add(chunk.len()) > ANSWER_MAX_BYTES {
            return Err(ApiError::TOO_LARGE);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
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
}
