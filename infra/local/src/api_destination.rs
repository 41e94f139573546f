//! Emulator of an EventBridge API destination: posts each event of the bus to an HTTP endpoint.
//!
//! Requests, time-out and retries are those that AWS documents ("API destinations as targets" and "How EventBridge retries
//! delivering events" in EventBridge's user guide), except that the retries take minutes and not a day.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::config::Env;
use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE, RETRY_AFTER, USER_AGENT,
};
use reqwest::{Certificate, Client, Response, Url, redirect, retry};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Headers of every request. The client adds `host` and `content-length`.
const HEADERS: [(reqwest::header::HeaderName, &str); 5] = [
    (USER_AGENT, "Amazon/EventBridge/ApiDestinations"),
    (CONTENT_TYPE, "application/json; charset=utf-8"),
    (RANGE, "bytes=0-1048575"),
    (ACCEPT_ENCODING, "gzip,deflate"),
    (CONNECTION, "close"),
];
/// Bytes of a response that are read: those that the header `range` asks for.
const RESPONSE_MAX_BYTES: usize = 1_048_576;
/// Requests that may wait for their responses at the same time.
const CONCURRENT_REQUESTS_MAX: usize = 10;
/// Hosts beside this machine that may be addressed without TLS: names of the host in Docker's and Podman's containers.
const CONTAINER_HOST_NAMES: [&str; 3] =
    ["host.docker.internal", "gateway.docker.internal", "host.containers.internal"];

/// URL of an API destination: `https`, or `http` on this machine. `Display` leaves out its query, which may be a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct DestinationUrl(Url);

/// The text is no URL of an API destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDestinationUrl;

impl fmt::Display for InvalidDestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a URL is https://… without a user name and fragment; http:// is for this machine only (localhost, \
             127.0.0.1, host.docker.internal)",
        )
    }
}

impl std::error::Error for InvalidDestinationUrl {}

impl FromStr for DestinationUrl {
    type Err = InvalidDestinationUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDestinationUrl> {
        let url = Url::parse(text).map_err(|_| InvalidDestinationUrl)?;
        let is_allowed = match url.scheme() {
            "https" => true,
            "http" => is_this_machine(url.host_str().unwrap_or_default()),
            _ => false,
        };
        let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (is_allowed && is_bare).then_some(Self(url)).ok_or(InvalidDestinationUrl)
    }
}

impl fmt::Display for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

impl fmt::Debug for DestinationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DestinationUrl({self})")
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local_name =
        host == "localhost" || host.ends_with(".localhost") || CONTAINER_HOST_NAMES.contains(&host);
    address.map_or(is_local_name, |address| address.is_loopback())
}

/// Times and limits of the retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Time until a request is given up: EventBridge's.
    pub response_timeout: Duration,
    /// Pause before the first retry. It doubles from retry to retry.
    pub first_pause: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// Most retries of an event. EventBridge's default is 185.
    pub retries_max: u32,
    /// Age at which an event is not retried any more. EventBridge's default is 24 hours.
    pub event_age_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(5),
            first_pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            retries_max: 10,
            event_age_max: Duration::from_secs(600),
        }
    }
}

impl RetryPolicy {
    /// The pause after the failed attempt with this number, counted from 1, without jitter.
    fn pause_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        self.first_pause.saturating_mul(1 << doublings).min(self.pause_max)
    }

    /// What follows an attempt. `jitter` is in 0.0..1.0, `age` that of the event.
    fn next_step(&self, attempt: u32, answer: &Answer, age: Duration, jitter: f64) -> NextStep {
        let retry_after = match answer {
            Answer::Http { status, .. } if (200..300).contains(status) => return NextStep::Delivered,
            Answer::Http { status, .. } if !is_retried(*status) => {
                return NextStep::GiveUp("not retried");
            }
            Answer::Http { retry_after: Some(RetryAfter::Never), .. } => {
                return NextStep::GiveUp("negative Retry-After");
            }
            Answer::Http { retry_after: Some(RetryAfter::In(pause)), .. } => *pause,
            Answer::Http { retry_after: None, .. } | Answer::None(_) => Duration::ZERO,
        };
        if attempt > self.retries_max {
            return NextStep::GiveUp("last attempt");
        }
        // Half of the pause is random. The handler's own wish is the least.
        let pause = self.pause_after(attempt).mul_f64(0.5 + jitter / 2.0).max(retry_after);
        if age.saturating_add(pause) > self.event_age_max {
            return NextStep::GiveUp("too old");
        }
        NextStep::RetryIn(pause)
    }
}

/// Returns `true` for the statuses that EventBridge retries.
fn is_retried(status: u16) -> bool {
    matches!(status, 401 | 407 | 409 | 429 | 500..)
}

/// Result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Http {
        status: u16,
        retry_after: Option<RetryAfter>,
    },
    /// No response, for this reason.
    None(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryAfter {
    In(Duration),
    /// A negative value.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextStep {
    Delivered,
    RetryIn(Duration),
    GiveUp(&'static str),
}

/// An event of the bus, as a rule's target gets it.
#[derive(Clone, Debug)]
pub struct PublishedEvent {
    /// The event as JSON.
    pub json: String,
    /// EventBridge's `detail-type`.
    pub detail_type: String,
    /// Id of the inbox event that it results from; EventBridge's own id if it has none.
    pub event_id: String,
}

/// Posts events to an endpoint. Clones share the limit of concurrent requests.
#[derive(Clone, Debug)]
pub struct ApiDestination {
    client: Client,
    url: DestinationUrl,
    policy: RetryPolicy,
    slots: Arc<Semaphore>,
}

impl ApiDestination {
    /// Creates a destination. It also trusts the certificates in `AWS_CA_BUNDLE`.
    ///
    /// # Errors
    ///
    /// The certificates cannot be read.
    pub fn new(url: DestinationUrl, policy: RetryPolicy) -> anyhow::Result<Self> {
        let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter(headers))
            .timeout(policy.response_timeout)
            .pool_max_idle_per_host(0)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never());
        let client = if url.0.scheme() == "https" {
            let bundle = CaBundle::from_env(&Env::process())?;
            let pem = bundle.as_ref().map_or("", |bundle| bundle.pem());
            client.tls_certs_merge(Certificate::from_pem_bundle(pem.as_bytes()).context("AWS_CA_BUNDLE")?)
        } else {
            // Loading the system's certificates would take time for nothing.
            client.tls_certs_only([])
        };
        let client = client.build().context("no HTTP client")?;
        Ok(Self { client, url, policy, slots: Arc::new(Semaphore::new(CONCURRENT_REQUESTS_MAX)) })
    }

    /// Posts an event, with retries, and logs each answer. Returns `true` if it was delivered.
    pub async fn deliver(&self, event: &PublishedEvent) -> bool {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let (answer, took) = self.post(event).await;
            let next = self.policy.next_step(attempt, &answer, started.elapsed(), rand::random());
            log_answer(event, attempt, &answer, next, took);
            match next {
                NextStep::Delivered => return true,
                NextStep::GiveUp(_) => return false,
                NextStep::RetryIn(pause) => tokio::time::sleep(pause).await,
            }
            attempt += 1;
        }
    }

    async fn post(&self, event: &PublishedEvent) -> (Answer, Duration) {
        // Held for the request only: an event that waits for its retry must not hold up others.
        let _slot = self.slots.acquire().await;
        let started = Instant::now();
        let request = self.client.post(self.url.0.clone()).body(event.json.clone());
        let answer = match request.send().await {
            Ok(response) => read_response(response).await,
            Err(error) => no_answer(&error),
        };
        (answer, started.elapsed())
    }
}

/// Reads a response to its end, or to the limit.
async fn read_response(mut response: Response) -> Answer {
    let status = response.status().as_u16();
    let retry_after = parse_retry_after(response.headers().get(RETRY_AFTER), SystemTime::now());
    let mut bytes = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes + chunk.len() <= RESPONSE_MAX_BYTES => bytes += chunk.len(),
            Ok(_) => return Answer::Http { status, retry_after },
            Err(error) => return no_answer(&error),
        }
    }
}

fn no_answer(error: &reqwest::Error) -> Answer {
    Answer::None(if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "no connection"
    } else {
        "connection lost"
    })
}

/// Parses `Retry-After`: seconds, or a time. `None` if it is neither.
fn parse_retry_after(value: Option<&HeaderValue>, now: SystemTime) -> Option<RetryAfter> {
    let text = value?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<i64>() {
        return Some(
            u64::try_from(secs).map_or(RetryAfter::Never, |secs| RetryAfter::In(Duration::from_secs(secs))),
        );
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(RetryAfter::In(at.duration_since(now).unwrap_or_default()))
}

/// Logs an answer: its status and times, never its body or the URL, which may hold personal data and credentials (P8).
fn log_answer(event: &PublishedEvent, attempt: u32, answer: &Answer, next: NextStep, took: Duration) {
    let (status, no_answer) = match *answer {
        Answer::Http { status, .. } => (Some(status), None),
        Answer::None(why) => (None, Some(why)),
    };
    let (outcome, reason, retry_in) = match next {
        NextStep::Delivered => ("delivered", None, None),
        NextStep::RetryIn(pause) => ("retry", None, Some(pause)),
        NextStep::GiveUp(why) => ("given_up", Some(why), None),
    };
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (took_ms, retry_in_ms) = (millis(took), retry_in.map(millis));
    let (detail_type, event_id) = (event.detail_type.as_str(), event.event_id.as_str());
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "forward", outcome, status, no_answer, reason, detail_type, event_id, attempt, retry_in_ms, took_ms
            )
        };
    }
    match next {
        NextStep::Delivered => line!(info),
        NextStep::RetryIn(_) => line!(warn),
        NextStep::GiveUp(_) => line!(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, retry_after: Option<RetryAfter>) -> Answer {
        Answer::Http { status, retry_after }
    }

    #[test]
    fn http_is_for_this_machine_only() {
        for url in [
            "https://example.com/hook?key=1",
            "http://localhost:3000",
            "http://127.0.0.1/a",
            "http://[::1]:8/",
            "http://api.localhost/",
            "http://host.docker.internal:3000/events",
        ] {
            assert!(url.parse::<DestinationUrl>().is_ok(), "{url}");
        }
        for url in [
            "http://example.com",
            "http://localhost.evil.test",
            "http://192.168.0.1",
            "http://host.docker.internal.evil.test",
            "https://user@example.com",
            "https://example.com/#a",
            "ftp://localhost",
            "localhost:3000",
            "",
        ] {
            assert_eq!(url.parse::<DestinationUrl>(), Err(InvalidDestinationUrl), "{url}");
        }
    }

    #[test]
    fn p8_a_printed_url_has_no_query() {
        let url: DestinationUrl = "https://example.com/hook?key=s3cret".parse().unwrap();
        assert_eq!(url.to_string(), "https://example.com/hook");
        assert_eq!(format!("{url:?}"), "DestinationUrl(https://example.com/hook)");
    }

    #[test]
    fn only_the_documented_statuses_are_retried() {
        let policy = RetryPolicy::default();
        let step = |status| policy.next_step(1, &http(status, None), Duration::ZERO, 1.0);
        for status in [200, 202, 299] {
            assert_eq!(step(status), NextStep::Delivered, "{status}");
        }
        for status in [401, 407, 409, 429, 500, 503, 599] {
            assert_eq!(step(status), NextStep::RetryIn(Duration::from_secs(1)), "{status}");
        }
        for status in [301, 400, 403, 404, 410, 422] {
            assert_eq!(step(status), NextStep::GiveUp("not retried"), "{status}");
        }
        let step = policy.next_step(1, &Answer::None("timeout"), Duration::ZERO, 0.0);
        assert_eq!(step, NextStep::RetryIn(Duration::from_millis(500)), "at least half of the pause");
    }

    #[test]
    fn pauses_double_until_no_retry_is_left_or_the_event_is_too_old() {
        let policy = RetryPolicy::default();
        let step = |attempt, age| policy.next_step(attempt, &http(503, None), Duration::from_secs(age), 1.0);
        let pauses: Vec<_> = (1..=11).map(|attempt| step(attempt, 0)).collect();
        let secs =
            [1, 2, 4, 8, 16, 30, 30, 30, 30, 30].map(|secs| NextStep::RetryIn(Duration::from_secs(secs)));
        assert_eq!(pauses[..10], secs);
        assert_eq!(pauses[10], NextStep::GiveUp("last attempt"));
        assert_eq!(step(1, 599), NextStep::RetryIn(Duration::from_secs(1)));
        assert_eq!(step(1, 600), NextStep::GiveUp("too old"));
    }

    #[test]
    fn the_longer_of_back_off_and_retry_after_decides() {
        let policy = RetryPolicy::default();
        let step = |attempt, wish| policy.next_step(attempt, &http(503, Some(wish)), Duration::ZERO, 1.0);
        let wish = |secs| RetryAfter::In(Duration::from_secs(secs));
        assert_eq!(step(1, wish(7)), NextStep::RetryIn(Duration::from_secs(7)));
        assert_eq!(step(4, wish(7)), NextStep::RetryIn(Duration::from_secs(8)));
        assert_eq!(step(1, wish(601)), NextStep::GiveUp("too old"));
        assert_eq!(step(1, RetryAfter::Never), NextStep::GiveUp("negative Retry-After"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |text| parse_retry_after(Some(&HeaderValue::from_static(text)), now);
        assert_eq!(parse("120"), Some(RetryAfter::In(Duration::from_secs(120))));
        assert_eq!(parse("-1"), Some(RetryAfter::Never));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:37 GMT"), Some(RetryAfter::In(Duration::from_secs(60))));
        assert_eq!(parse("Sun, 06 Nov 1994 08:48:37 GMT"), Some(RetryAfter::In(Duration::ZERO)));
        assert_eq!(parse("soon"), None);
        assert_eq!(parse_retry_after(None, now), None);
    }
}
