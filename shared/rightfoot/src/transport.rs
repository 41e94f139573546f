//! Sending: what is sent again, when, and what a status means.

use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use reqwest::{Certificate, Client, RequestBuilder, Response, Url, redirect, retry};

use crate::{ApiError, ApiKey, ClientError, Config, Why};
use crate::{answers, encoding};

/// How often a request is sent at most.
const ATTEMPTS_MAX: u32 = 3;
/// Largest answer that is read, before and after it is decoded.
pub(crate) const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The longest pause that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// An idle connection is not used for longer: a process that was frozen meanwhile finds it dead.
const POOL_IDLE_MAX: Duration = Duration::from_secs(20);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request, and with it what may be done again.
pub(crate) enum Request {
    /// Changes nothing.
    Get(Url),
    /// The same bytes get the same answer, and are applied once.
    PostCached(Url, Bytes),
    /// Is applied as often as it arrives.
    PostOnce(Url, Bytes),
}

/// A failed attempt.
struct Fault {
    error: ApiError,
    retry_after: Option<Duration>,
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self { error, retry_after: None }
    }
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Transport {
    http: Client,
    /// For what may not be sent twice: never over a connection that may have died meanwhile.
    fresh: Client,
    config: Config,
}

impl Transport {
    pub(crate) fn new(config: Config) -> Result<Self, ClientError> {
        let pem = config.ca_bundle.as_ref().map_or("", |bundle| bundle.pem());
        let trusted = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| ClientError)?;
        let client = || {
            let client = Client::builder();
            // Plain HTTP, to a machine's own simulated API, checks no certificate: the system's many are left unread.
            let client = match config.is_https() {
                true => client.tls_certs_merge(trusted.clone()),
                false => client.tls_certs_only([]),
            };
            client
                .user_agent(concat!("balance-inbox/", env!("CARGO_PKG_VERSION")))
                .https_only(config.is_https())
                .no_proxy()
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .connect_timeout(config.connect_timeout)
        };
        let http = client().timeout(config.request_timeout).pool_idle_timeout(POOL_IDLE_MAX).build();
        let fresh = client().timeout(config.post_timeout).pool_max_idle_per_host(0).build();
        let built = http.and_then(|http| fresh.map(|fresh| (http, fresh)));
        let (http, fresh) = built.map_err(|_| ClientError)?;
        Ok(Self { http, fresh, config })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The body of the answer to a request, if it is one that has to be read.
    pub(crate) async fn send(&self, key: &ApiKey, request: &Request) -> Result<Vec<u8>, ApiError> {
        let started = Instant::now();
        let mut unsettled = None;
        let mut attempts = 0;
        loop {
            let fault = match self.attempt(key, request).await {
                Ok(body) => return Ok(body),
                Err(fault) => fault,
            };
            attempts += 1;
            let in_time = !request.is_post() || started.elapsed() < self.config.post_timeout;
            let Some(pause) = self.pause(request, &fault, attempts).filter(|_| in_time) else {
                return Err(settle(unsettled, fault.error));
            };
            if request.is_post() && fault.error.outcome_unknown() {
                unsettled = Some(fault.error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, key: &ApiKey, request: &Request) -> Result<Vec<u8>, Fault> {
        let prepared = self.prepare(request).header(AUTHORIZATION, key.bearer());
        let accepting = prepared.header(ACCEPT, JSON).header(ACCEPT_ENCODING, encoding::ACCEPTED);
        let response = accepting.send().await.map_err(|error| ApiError::Unavailable(Why::of(&error)))?;
        let retry_after = retry_after(response.headers(), Clock::system().now());
        match judge(request, response.status().as_u16(), retry_after) {
            Ok(()) => Ok(read(response).await?),
            Err(ApiError::Refused { status, .. }) => {
                // The status has said it all; whom it is about is an extra.
                let failed = read(response).await.map(|body| answers::refused(&body)).unwrap_or_default();
                Err(ApiError::Refused { status, failed }.into())
            }
            Err(error) => Err(Fault { error, retry_after }),
        }
    }

    fn prepare(&self, request: &Request) -> RequestBuilder {
        match request {
            Request::Get(url) => self.http.get(url.clone()),
            Request::PostCached(url, body) | Request::PostOnce(url, body) => {
                self.fresh.post(url.clone()).header(CONTENT_TYPE, JSON).body(body.clone())
            }
        }
    }

    /// How long to wait before another attempt; `None` if there shall be none.
    fn pause(&self, request: &Request, fault: &Fault, attempts: u32) -> Option<Duration> {
        if attempts >= ATTEMPTS_MAX || !request.may_repeat_after(&fault.error) {
            return None;
        }
        let most = self.config.backoff_base.saturating_mul(1 << (attempts - 1)).min(self.config.pause_max);
        let backoff = most.mul_f64(fastrand::f64());
        match fault.retry_after {
            Some(asked) => (asked <= self.config.pause_max).then(|| asked.max(backoff)),
            None => Some(backoff),
        }
    }
}

impl Request {
    fn is_post(&self) -> bool {
        match self {
            Self::Get(_) => false,
            Self::PostCached(..) | Self::PostOnce(..) => true,
        }
    }

    fn may_repeat_after(&self, error: &ApiError) -> bool {
        match error {
            ApiError::RateLimited { .. } | ApiError::Unavailable(Why::NotConnected) => true,
            ApiError::Unavailable(Why::ServerError) => match self {
                Self::Get(_) | Self::PostCached(..) => true,
                Self::PostOnce(..) => false,
            },
            // The first may be under way still, and what the cache makes of two at once is not documented.
            ApiError::Unavailable(Why::ConnectionLost | Why::TimedOut) => !self.is_post(),
            ApiError::NoKey
            | ApiError::Unauthorized
            | ApiError::Forbidden
            | ApiError::NotReady
            | ApiError::Refused { .. }
            | ApiError::RefusedOnRetry { .. }
            | ApiError::Conflict
            | ApiError::Broken(_) => false,
        }
    }
}

/// The error of a `POST` whose last attempt failed with `last`, and an earlier one, if any, without a known outcome.
/// Nothing that is answered later makes that one known: it may have been applied before its repetition was refused.
fn settle(earlier: Option<ApiError>, last: ApiError) -> ApiError {
    match (earlier, last) {
        (Some(_), ApiError::Refused { status, failed }) => ApiError::RefusedOnRetry { status, failed },
        (Some(_), last) if last.outcome_unknown() => last,
        (Some(earlier), _) => earlier,
        (None, last) => last,
    }
}

/// What a status means; `Ok` if the body has to be read.
fn judge(request: &Request, status: u16, retry_after: Option<Duration>) -> Result<(), ApiError> {
    match (request.is_post(), status) {
        (false, 200) | (true, 200..=299) => Ok(()),
        (_, 300..=399) => Err(ApiError::Broken("a redirection")),
        (_, 401) => Err(ApiError::Unauthorized),
        (_, 403) => Err(ApiError::Forbidden),
        (_, 408) => Err(ApiError::Unavailable(Why::TimedOut)),
        (_, 429) => Err(ApiError::RateLimited { retry_after }),
        // Not for a `POST`: the sentence does not say that nothing was applied.
        (false, 503) if retry_after.is_some() => Err(ApiError::RateLimited { retry_after }),
        (_, 500..=599) => Err(ApiError::Unavailable(Why::ServerError)),
        (false, 202 | 204 | 404 | 425) => Err(ApiError::NotReady),
        (true, 409) => Err(ApiError::Conflict),
        // What is said of the body is said of it for good. What a gateway says of anything else is not.
        (true, 400 | 413 | 422) | (false, 400..=499) => Err(ApiError::Refused { status, failed: Vec::new() }),
        _ => Err(ApiError::Broken("an unexpected status")),
    }
}

/// `Retry-After` in either of its forms (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(0).plus(at).since(now)
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// The whole body, decoded, unless it is too large: chunk by chunk, because it need not tell its length.
async fn read(mut response: Response) -> Result<Vec<u8>, ApiError> {
    let most = u64::try_from(ANSWER_MAX_BYTES).unwrap_or(u64::MAX);
    if response.content_length().is_some_and(|length| length > most) {
        return Err(ApiError::TOO_LARGE);
    }
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ApiError::Unavailable(Why::of(&error)))? {
        if body.len().saturating_add(chunk.len()) > ANSWER_MAX_BYTES {
            return Err(ApiError::TOO_LARGE);
        }
        body.extend_from_slice(&chunk);
    }
    encoding::decoded(&headers, body, ANSWER_MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> Request {
        Request::Get(Url::parse("https://a.test").unwrap())
    }

    fn post_once() -> Request {
        Request::PostOnce(Url::parse("https://a.test").unwrap(), Bytes::new())
    }

    fn said(value: &'static str) -> Option<Duration> {
        let headers = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
        retry_after(&headers, UnixMillis(784_111_767_000))
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(said("120"), secs(120));
        assert_eq!(said("0"), secs(0));
        assert_eq!(said("Sun, 06 Nov 1994 08:49:37 GMT"), secs(10));
        assert_eq!(said("Sun, 06 Nov 1994 08:49:17 GMT"), secs(0), "the past is now");
        for most in ["99999999999999999999999", "86401", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(said(most), secs(86_400));
        }
        for nothing in ["", "-1", "1.5", "soon", "1 s"] {
            assert_eq!(said(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), UnixMillis(0)), None);
    }

    #[test]
    fn pauses_are_spread_from_nothing_to_twice_as_much_each_time() {
        let transport = Transport::new(Config::new("https://a.test").unwrap()).unwrap();
        let fault = |retry_after| Fault { error: ApiError::RateLimited { retry_after }, retry_after };
        let range = |attempts| {
            let pauses =
                (0..2_000).map(|_| transport.pause(&get(), &fault(None), attempts).unwrap().as_millis());
            let pauses: Vec<_> = pauses.collect();
            (pauses.iter().min().copied().unwrap(), pauses.iter().max().copied().unwrap())
        };
        for (attempts, longest) in [(1, 200), (2, 400)] {
            let (least, most) = range(attempts);
            assert!(least < longest / 4 && (longest * 3 / 4..=longest).contains(&most), "{least} to {most}");
        }
        assert_eq!(transport.pause(&get(), &fault(None), 3), None, "three attempts at the most");

        let asked = |secs| transport.pause(&get(), &fault(Some(Duration::from_secs(secs))), 1);
        assert_eq!(asked(2), Some(Duration::from_secs(2)));
        assert_eq!(asked(3), None);
        assert!(asked(0).unwrap() <= Duration::from_millis(200));
    }

    #[test]
    fn what_is_not_cached_is_sent_again_only_where_nothing_was_applied() {
        let again = [ApiError::RateLimited { retry_after: None }, ApiError::Unavailable(Why::NotConnected)];
        assert!(again.iter().all(|error| post_once().may_repeat_after(error) && !error.outcome_unknown()));
        for why in [Why::ConnectionLost, Why::TimedOut, Why::ServerError] {
            assert!(!post_once().may_repeat_after(&ApiError::Unavailable(why)));
            assert!(get().may_repeat_after(&ApiError::Unavailable(why)));
        }
    }

    #[test]
    fn no_status_is_without_a_meaning() {
        for status in 100..=999 {
            let (get, post) = (judge(&get(), status, None), judge(&post_once(), status, None));
            assert_eq!(get.is_ok(), status == 200);
            assert_eq!(post.is_ok(), (200..=299).contains(&status));
            assert!(!matches!(get, Err(ApiError::Conflict)), "{status}");
            assert!(!matches!(post, Err(ApiError::NotReady)), "{status}");
            let is_refused = matches!(post, Err(ApiError::Refused { .. }));
            assert_eq!(is_refused, [400, 413, 422].contains(&status), "{status}");
        }
    }

    #[test]
    fn an_unknown_outcome_stays_unknown_whatever_is_answered_later() {
        let timed_out = ApiError::Unavailable(Why::TimedOut);
        let refused = ApiError::Refused { status: 400, failed: vec![] };
        let limited = ApiError::RateLimited { retry_after: None };
        assert_eq!(settle(None, limited.clone()), limited);
        let on_retry = ApiError::RefusedOnRetry { status: 400, failed: vec![] };
        assert_eq!(settle(None, refused.clone()), refused);
        assert_eq!(settle(Some(timed_out.clone()), refused), on_retry);
        assert!(on_retry.outcome_unknown());
        for last in [limited, ApiError::Unavailable(Why::NotConnected), ApiError::Unauthorized] {
            assert_eq!(settle(Some(timed_out.clone()), last), timed_out);
        }
        let lost = ApiError::Unavailable(Why::ConnectionLost);
        assert_eq!(settle(Some(timed_out), lost.clone()), lost);
    }
}
