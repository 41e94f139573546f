//! Sends requests: retries, time-outs, and the meaning of each HTTP status.

use std::time::{Duration, Instant};

use bytes::Bytes;
use inbox_http_client::{ClientConfig, HttpClient, UnavailableReason};
use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, Url};

use crate::base_url::{endpoint, without_version};
use crate::{ApiError, ApiKey, ClientBuildError, responses};

/// A request, by what may be retried.
pub(crate) enum ApiRequest {
    /// A read: changes nothing.
    Get(Url),
    /// Repeated bytes get the same response, and are applied once.
    PostIdempotent(Url, Bytes),
    /// Applied as often as it arrives.
    PostNonIdempotent(Url, Bytes),
}

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

/// Sends requests, with retries.
#[derive(Clone)]
pub(crate) struct Transport(HttpClient);

impl Transport {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ClientBuildError> {
        HttpClient::new(without_version(config)).map(Self)
    }

    /// The URL of `/v1/<segments>`.
    pub(crate) fn endpoint(&self, segments: &[&str]) -> Result<Url, ApiError> {
        Ok(endpoint(self.0.config(), segments)?)
    }

    /// Sends a request, with retries. Returns the body of a successful response.
    pub(crate) async fn send(&self, key: &ApiKey, request: &ApiRequest) -> Result<Vec<u8>, ApiError> {
        let started = Instant::now();
        let mut unknown_outcome = None;
        let mut attempts = 0;
        loop {
            let error = match self.attempt(key, request).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            attempts += 1;
            // No `POST` is sent again after its time limit.
            let in_time = !request.is_post() || started.elapsed() < self.0.config().post_timeout;
            let Some(pause) = self.retry_delay(request, &error, attempts).filter(|_| in_time) else {
                return Err(final_error(unknown_outcome, error.error));
            };
            if request.is_post() && error.error.is_outcome_unknown() {
                unknown_outcome = Some(error.error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, key: &ApiKey, request: &ApiRequest) -> Result<Vec<u8>, AttemptError> {
        let response = self.0.send(self.prepare(request).header(AUTHORIZATION, key.bearer())).await?;
        let retry_after = response.retry_after;
        match check_status(request, response.status(), retry_after) {
            Ok(()) => Ok(response.read_body().await?),
            Err(ApiError::Declined { status, .. }) => {
                // The status decides; the authorizers are an extra.
                let failed = response
                    .read_body()
                    .await
                    .map(|body| responses::parse_failed_authorizers_of_error(&body))
                    .unwrap_or_default();
                Err(ApiError::Declined { status, failed }.into())
            }
            Err(error) => Err(AttemptError { error, retry_after }),
        }
    }

    fn prepare(&self, request: &ApiRequest) -> RequestBuilder {
        match request {
            ApiRequest::Get(url) => self.0.get(url.clone()),
            ApiRequest::PostIdempotent(url, body) | ApiRequest::PostNonIdempotent(url, body) => {
                self.0.post_json(url.clone(), body.clone())
            }
        }
    }

    /// The pause before the next attempt; `None` if there is none.
    fn retry_delay(&self, request: &ApiRequest, error: &AttemptError, attempts: u32) -> Option<Duration> {
        request
            .may_retry_after(&error.error)
            .then(|| self.0.retry_pause(attempts, error.retry_after))
            .flatten()
    }
}

impl ApiRequest {
    fn is_post(&self) -> bool {
        match self {
            Self::Get(_) => false,
            Self::PostIdempotent(..) | Self::PostNonIdempotent(..) => true,
        }
    }

    fn may_retry_after(&self, error: &ApiError) -> bool {
        match error {
            ApiError::RateLimited { .. } | ApiError::Unavailable(UnavailableReason::NotConnected) => true,
            ApiError::Unavailable(UnavailableReason::ServerError) => match self {
                // The same bytes give the same batch, so repeating them does no harm.
                Self::Get(_) | Self::PostIdempotent(..) => true,
                Self::PostNonIdempotent(..) => false,
            },
            // The first attempt may still be in process, and the behaviour of the cache with two at once is not
            // documented.
            ApiError::Unavailable(UnavailableReason::ConnectionLost | UnavailableReason::TimedOut) => {
                !self.is_post()
            }
            ApiError::KeyUnavailable
            | ApiError::Unauthorized
            | ApiError::Forbidden
            | ApiError::NotReady
            | ApiError::Declined { .. }
            | ApiError::DeclinedOnRetry { .. }
            | ApiError::Conflict
            | ApiError::InvalidResponse(_) => false,
        }
    }
}

/// The error of a `POST` whose last attempt failed with `last`, after `earlier`, if any, whose outcome is
/// unknown.
fn final_error(earlier: Option<ApiError>, last: ApiError) -> ApiError {
    match (earlier, last) {
        // The earlier attempt may have been applied before its retry was declined.
        (Some(_), ApiError::Declined { status, failed }) => ApiError::DeclinedOnRetry { status, failed },
        (Some(_), last) if last.is_outcome_unknown() => last,
        (Some(earlier), _) => earlier,
        (None, last) => last,
    }
}

/// Classifies a status; `Ok` if the body has to be read.
fn check_status(request: &ApiRequest, status: u16, retry_after: Option<Duration>) -> Result<(), ApiError> {
    match (request.is_post(), status) {
        // For a `GET`, 202 and 204 mean that there is no answer yet.
        (false, 200) | (true, 200..=299) => Ok(()),
        (_, 300..=399) => Err(ApiError::InvalidResponse("a redirect")),
        (_, 401) => Err(ApiError::Unauthorized),
        (_, 403) => Err(ApiError::Forbidden),
        (_, 408) => Err(ApiError::Unavailable(UnavailableReason::TimedOut)),
        (_, 429) => Err(ApiError::RateLimited { retry_after }),
        // Not for a `POST`: a 503 does not say that nothing was applied.
        (false, 503) if retry_after.is_some() => Err(ApiError::RateLimited { retry_after }),
        (_, 500..=599) => Err(ApiError::Unavailable(UnavailableReason::ServerError)),
        // The answer before completion is not documented, so each of these may mean "not yet".
        (false, 202 | 204 | 404 | 425) => Err(ApiError::NotReady),
        (true, 409) => Err(ApiError::Conflict),
        // A status about the body of a `POST` is final. Any other 4xx of a `POST` may be a gateway's, which
        // says nothing about the outcome.
        (true, 400 | 413 | 422) | (false, 400..=499) => {
            Err(ApiError::Declined { status, failed: Vec::new() })
        }
        _ => Err(ApiError::InvalidResponse("an unexpected status")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> ApiRequest {
        ApiRequest::Get(Url::parse("https://a.test").unwrap())
    }

    fn post_once() -> ApiRequest {
        ApiRequest::PostNonIdempotent(Url::parse("https://a.test").unwrap(), Bytes::new())
    }

    #[test]
    fn what_is_not_cached_is_sent_again_only_where_nothing_was_applied() {
        let again = [
            ApiError::RateLimited { retry_after: None },
            ApiError::Unavailable(UnavailableReason::NotConnected),
        ];
        assert!(again.iter().all(|error| post_once().may_retry_after(error) && !error.is_outcome_unknown()));
        for why in
            [UnavailableReason::ConnectionLost, UnavailableReason::TimedOut, UnavailableReason::ServerError]
        {
            assert!(!post_once().may_retry_after(&ApiError::Unavailable(why)));
            assert!(get().may_retry_after(&ApiError::Unavailable(why)));
        }
    }

    #[test]
    fn no_status_is_without_a_meaning() {
        for status in 100..=999 {
            let (get, post) = (check_status(&get(), status, None), check_status(&post_once(), status, None));
            assert_eq!(get.is_ok(), status == 200);
            assert_eq!(post.is_ok(), (200..=299).contains(&status));
            assert!(!matches!(get, Err(ApiError::Conflict)), "{status}");
            assert!(!matches!(post, Err(ApiError::NotReady)), "{status}");
            let is_declined = matches!(post, Err(ApiError::Declined { .. }));
            assert_eq!(is_declined, [400, 413, 422].contains(&status), "{status}");
        }
    }

    #[test]
    fn an_unknown_outcome_stays_unknown_whatever_is_answered_later() {
        let timed_out = ApiError::Unavailable(UnavailableReason::TimedOut);
        let declined = ApiError::Declined { status: 400, failed: vec![] };
        let limited = ApiError::RateLimited { retry_after: None };
        assert_eq!(final_error(None, limited.clone()), limited);
        let on_retry = ApiError::DeclinedOnRetry { status: 400, failed: vec![] };
        assert_eq!(final_error(None, declined.clone()), declined);
        assert_eq!(final_error(Some(timed_out.clone()), declined), on_retry);
        assert!(on_retry.is_outcome_unknown());
        for last in [limited, ApiError::Unavailable(UnavailableReason::NotConnected), ApiError::Unauthorized]
        {
            assert_eq!(final_error(Some(timed_out.clone()), last), timed_out);
        }
        let lost = ApiError::Unavailable(UnavailableReason::ConnectionLost);
        assert_eq!(final_error(Some(timed_out), lost.clone()), lost);
    }
}
