//! Sends requests: retries, time-outs, and the meaning of each HTTP status.

use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use reqwest::{Certificate, Client, RequestBuilder, Response, Url, redirect, retry};

use crate::{ApiError, ApiKey, ClientBuildError, ClientConfig, UnavailableReason};
use crate::{content_encoding, responses};

/// Most attempts of a request.
const ATTEMPTS_MAX: u32 = 3;
/// Size limit of a response, before and after it is decoded.
pub(crate) const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Upper limit of `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Maximum idle time of a connection: a process that was frozen meanwhile finds it dead.
const POOL_IDLE_MAX: Duration = Duration::from_secs(20);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

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

impl From<ApiError> for AttemptError {
    fn from(error: ApiError) -> Self {
        Self { error, retry_after: None }
    }
}

/// Sends requests, with retries.
#[derive(Clone)]
pub(crate) struct Transport {
    get_client: Client,
    /// For requests that must not be sent twice: never on a connection that may have died meanwhile.
    post_client: Client,
    config: ClientConfig,
}

impl Transport {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ClientBuildError> {
        let pem = config.ca_bundle.as_ref().map_or("", |bundle| bundle.pem());
        let trusted = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| ClientBuildError)?;
        let client = || {
            let client = Client::builder();
            // Plain HTTP to a local simulated API checks no certificate: skip loading the system's.
            let client = match config.is_https() {
                true => client.tls_certs_merge(trusted.clone()),
                false => client.tls_certs_only([]),
            };
            client
                .user_agent(concat!("balance-inbox/", env!("CARGO_PKG_VERSION")))
                // Every request carries the key, which must not be sent in the clear.
                .https_only(config.is_https())
                .no_proxy()
                .redirect(redirect::Policy::none())
                // `send` decides about retries, because it knows what may be repeated.
                .retry(retry::never())
                .connect_timeout(config.connect_timeout)
        };
        let get_client = client().timeout(config.request_timeout).pool_idle_timeout(POOL_IDLE_MAX).build();
        let post_client = client().timeout(config.post_timeout).pool_max_idle_per_host(0).build();
        let built =
            get_client.and_then(|get_client| post_client.map(|post_client| (get_client, post_client)));
        let (get_client, post_client) = built.map_err(|_| ClientBuildError)?;
        Ok(Self { get_client, post_client, config })
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
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
            let in_time = !request.is_post() || started.elapsed() < self.config.post_timeout;
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
        let request_builder = self.prepare(request).header(AUTHORIZATION, key.bearer());
        let request_builder =
            request_builder.header(ACCEPT, JSON).header(ACCEPT_ENCODING, content_encoding::ACCEPTED);
        let response = request_builder
            .send()
            .await
            .map_err(|error| ApiError::Unavailable(UnavailableReason::from_reqwest(&error)))?;
        let retry_after = retry_after(response.headers(), Clock::system().now());
        match check_status(request, response.status().as_u16(), retry_after) {
            Ok(()) => Ok(read_body(response).await?),
            Err(ApiError::Declined { status, .. }) => {
                // The status decides; the authorizers are an extra.
                let failed = read_body(response)
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
            ApiRequest::Get(url) => self.get_client.get(url.clone()),
            ApiRequest::PostIdempotent(url, body) | ApiRequest::PostNonIdempotent(url, body) => {
                self.post_client.post(url.clone()).header(CONTENT_TYPE, JSON).body(body.clone())
            }
        }
    }

    /// The pause before the next attempt; `None` if there is none.
    fn retry_delay(&self, request: &ApiRequest, error: &AttemptError, attempts: u32) -> Option<Duration> {
        if attempts >= ATTEMPTS_MAX || !request.may_retry_after(&error.error) {
            return None;
        }
        let max_backoff =
            self.config.backoff_base.saturating_mul(1 << (attempts - 1)).min(self.config.pause_max);
        let backoff = max_backoff.mul_f64(fastrand::f64());
        match error.retry_after {
            // A longer pause is left to the caller.
            Some(requested) => (requested <= self.config.pause_max).then(|| requested.max(backoff)),
            None => Some(backoff),
        }
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

/// `Retry-After` in either of its forms (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit asks for the longest pause.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(0).plus(at).since(now)
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

/// Reads and decodes the whole body, within the size limit.
async fn read_body(mut response: Response) -> Result<Vec<u8>, ApiError> {
    let max_bytes = u64::try_from(ANSWER_MAX_BYTES).unwrap_or(u64::MAX);
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(ApiError::TOO_LARGE);
    }
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    // Chunk by chunk, because a response need not state its length.
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
    content_encoding::decode_body(&headers, body, ANSWER_MAX_BYTES)
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

    fn parse_retry_after(value: &'static str) -> Option<Duration> {
        let headers = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
        retry_after(&headers, UnixMillis(784_111_767_000))
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(parse_retry_after("120"), secs(120));
        assert_eq!(parse_retry_after("0"), secs(0));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), secs(10));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:17 GMT"), secs(0), "the past is now");
        for most in ["99999999999999999999999", "86401", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(parse_retry_after(most), secs(86_400));
        }
        for nothing in ["", "-1", "1.5", "soon", "1 s"] {
            assert_eq!(parse_retry_after(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), UnixMillis(0)), None);
    }

    #[test]
    fn pauses_are_spread_from_nothing_to_twice_as_much_each_time() {
        let transport = Transport::new(ClientConfig::new("https://a.test").unwrap()).unwrap();
        let attempt_error =
            |retry_after| AttemptError { error: ApiError::RateLimited { retry_after }, retry_after };
        let range = |attempts| {
            let pauses = (0..2_000)
                .map(|_| transport.retry_delay(&get(), &attempt_error(None), attempts).unwrap().as_millis());
            let pauses: Vec<_> = pauses.collect();
            (pauses.iter().min().copied().unwrap(), pauses.iter().max().copied().unwrap())
        };
        for (attempts, longest) in [(1, 200), (2, 400)] {
            let (least, most) = range(attempts);
            assert!(least < longest / 4 && (longest * 3 / 4..=longest).contains(&most), "{least} to {most}");
        }
        assert_eq!(transport.retry_delay(&get(), &attempt_error(None), 3), None, "at most three attempts");

        let asked = |secs| transport.retry_delay(&get(), &attempt_error(Some(Duration::from_secs(secs))), 1);
        assert_eq!(asked(2), Some(Duration::from_secs(2)));
        assert_eq!(asked(3), None);
        assert!(asked(0).unwrap() <= Duration::from_millis(200));
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
