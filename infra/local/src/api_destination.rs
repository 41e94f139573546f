//! Emulator of an EventBridge API destination: posts each event of the bus to an HTTP endpoint.
//!
//! Requests, time-out and retries are those that AWS documents ("API destinations as targets" and "How EventBridge retries
//! delivering events" in EventBridge's user guide), except that the retries take minutes and not a day.

mod custom_header;
mod destination_url;
mod retry_policy;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::config::Env;
use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE, RETRY_AFTER, USER_AGENT,
};
use reqwest::{Certificate, Client, Response, redirect, retry};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use retry_policy::{Answer, NextStep, RetryAfter};

pub use custom_header::{CustomHeader, InvalidCustomHeader};
pub use destination_url::{DestinationUrl, InvalidDestinationUrl};
pub use retry_policy::RetryPolicy;

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
    /// Creates a destination, with these headers beside EventBridge's own. It also trusts the certificates in
    /// `AWS_CA_BUNDLE`.
    ///
    /// # Errors
    ///
    /// The certificates cannot be read.
    pub fn new(url: DestinationUrl, custom: &[CustomHeader], policy: RetryPolicy) -> anyhow::Result<Self> {
        let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
        // A later one replaces an earlier one: the content type may be another.
        let custom = custom.iter().map(|header| (header.name.clone(), header.value.clone()));
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter(headers.into_iter().chain(custom)))
            .timeout(policy.response_timeout)
            .pool_max_idle_per_host(0)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never());
        let client = if url.is_https() {
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
        let request = self.client.post(self.url.url().clone()).body(event.json.clone());
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
    let retry_after = RetryAfter::parse(response.headers().get(RETRY_AFTER), SystemTime::now());
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::post;

    use super::*;

    /// Delivers an event to a handler. Returns whether it was delivered, and the number of requests.
    async fn deliver<F>(handler: impl Fn() -> F + Clone + Send + Sync + 'static) -> (bool, usize)
    where
        F: Future<Output = axum::response::Response> + Send,
    {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        let counting = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            handler()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let server =
            tokio::spawn(async { axum::serve(listener, Router::new().route("/", post(counting))).await });
        let policy = RetryPolicy {
            response_timeout: Duration::from_millis(200),
            first_pause: Duration::from_millis(1),
            retries_max: 2,
            ..RetryPolicy::default()
        };
        let (json, event_id) = ("{}".to_owned(), "fynapse/event/e-1".to_owned());
        let event = PublishedEvent { json, detail_type: "T".to_owned(), event_id };
        let is_delivered = ApiDestination::new(url, &[], policy).unwrap().deliver(&event).await;
        server.abort();
        (is_delivered, requests.load(Ordering::SeqCst))
    }

    fn status(status: StatusCode) -> axum::response::Response {
        axum::response::IntoResponse::into_response(status)
    }

    #[tokio::test]
    async fn an_event_is_given_up_after_the_last_retry() {
        assert_eq!(deliver(|| async { status(StatusCode::SERVICE_UNAVAILABLE) }).await, (false, 3));
        assert_eq!(deliver(|| async { status(StatusCode::NOT_FOUND) }).await, (false, 1));
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            status(StatusCode::OK)
        };
        assert_eq!(deliver(slow).await, (false, 3), "the handler is too slow");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let elsewhere = || async {
            axum::response::IntoResponse::into_response(axum::response::Redirect::temporary("/"))
        };
        assert_eq!(deliver(elsewhere).await, (false, 1));
    }

    #[tokio::test]
    async fn an_endless_response_is_read_up_to_the_limit() {
        let endless = || async {
            let chunk = || Some((Ok::<_, std::io::Error>(vec![b'x'; 65_536]), ()));
            let body = Body::from_stream(futures::stream::unfold((), move |()| async move { chunk() }));
            axum::response::Response::new(body)
        };
        assert_eq!(deliver(endless).await, (true, 1));
    }
}
