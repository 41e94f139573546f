//! Tests of the console as a browser sees it: requests over HTTP to a console of the embedded stack, and parsed pages.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's own code")]

#[path = "console/acts.rs"]
mod acts;
#[path = "console/attacks.rs"]
mod attacks;
#[path = "console/audit.rs"]
mod audit;
#[path = "console/balances.rs"]
mod balances;
#[path = "console/lists.rs"]
mod lists;
#[path = "console/missed.rs"]
mod missed;
#[path = "console/overview.rs"]
mod overview;
#[path = "console/pages.rs"]
mod pages;
#[path = "console/payloads.rs"]
mod payloads;
#[path = "console/slow_clients.rs"]
mod slow_clients;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::config::timeout::TimeoutConfig;
use futures::FutureExt;
use futures::future::BoxFuture;
use inbox_console::{
    Answer, Console, Defect, Finding, FindingStatus, Host, Inbox, LastHour, SentDelivery, StackFacts,
    TestDelivery,
};
use inbox_core::delivery::Provider;
use inbox_core::poll::PollTiming;
use local::stack::DEAD_LETTER_QUEUE;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use scraper::{Html, Selector};
use tests::World;
use tokio::task::JoinHandle;

/// A host whose checks find what a test says, and that keeps the deliveries that it was asked to send.
struct TestHost {
    findings: Vec<Finding>,
    last_hour: Mutex<Result<LastHour, String>>,
    /// How often the metrics were read.
    metric_reads: AtomicUsize,
    clock_error: Option<String>,
    sent: Mutex<Vec<TestDelivery>>,
}

/// A host that finds nothing and may not read metrics.
impl Default for TestHost {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            last_hour: Mutex::new(Err("no <metrics>".to_owned())),
            metric_reads: AtomicUsize::new(0),
            clock_error: None,
            sent: Mutex::default(),
        }
    }
}

impl Host for TestHost {
    fn last_hour(&self) -> BoxFuture<'_, Result<LastHour, String>> {
        self.metric_reads.fetch_add(1, Ordering::SeqCst);
        async { self.last_hour.lock().unwrap().clone() }.boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>, String>> {
        async { Ok(self.findings.clone()) }.boxed()
    }

    fn send_test(&self, delivery: TestDelivery) -> BoxFuture<'_, Result<SentDelivery, String>> {
        self.sent.lock().unwrap().push(delivery);
        let answer = |actual: &str, is_expected| Answer {
            actual: actual.to_owned(),
            expected: vec!["200 {\"status\":\"received\"}".to_owned()],
            took_ms: 7,
            is_expected,
        };
        let answers = vec![answer("200 {\"status\":\"received\"}", true), answer("503 <b>", false)];
        async { Ok(SentDelivery { event_id: Some("fynapse/event/e-9".to_owned()), answers }) }.boxed()
    }

    fn check_clock(&self) -> Result<(), String> {
        self.clock_error.clone().map_or(Ok(()), Err)
    }

    fn defects(&self, _: Provider) -> Vec<Defect> {
        vec![Defect { name: "json".to_owned(), description: "Valid signature, but not JSON.".to_owned() }]
    }
}

/// A browser that is signed in to a console of the embedded stack.
struct Browser {
    world: World,
    host: Arc<TestHost>,
    client: Client,
    port: u16,
    token: String,
    cookie: String,
    server: JoinHandle<()>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A page, or another response.
struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Page {
    /// The texts of the elements that a selector matches, with single blanks.
    fn texts(&self, selector: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Line breaks and cells part words, too.
        let html = Html::parse_document(&self.text.replace("<br>", "<br> ").replace("</td>", " </td>"));
        html.select(&selector).map(|element| words(element.text().collect())).collect()
    }

    /// The values of an attribute.
    fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let html = Html::parse_document(&self.text);
        let selector = Selector::parse(selector).unwrap();
        html.select(&selector).filter_map(|element| element.value().attr(name)).map(str::to_owned).collect()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// All text of the page's main part.
    fn main(&self) -> String {
        self.texts("main").join(" ")
    }
}

impl Browser {
    async fn new() -> Self {
        Self::with(World::new().await, TestHost::default(), false).await
    }

    async fn read_only() -> Self {
        Self::with(World::new().await, TestHost::default(), true).await
    }

    async fn with(world: World, host: TestHost, is_read_only: bool) -> Self {
        Self::with_limits(world, host, is_read_only, |console| console).await
    }

    async fn with_limits(
        world: World,
        host: TestHost,
        is_read_only: bool,
        limit: impl FnOnce(Console) -> Console,
    ) -> Self {
        let stack = &world.stack;
        let clients = stack.unrestricted_clients();
        let inbox = Inbox {
            stores: world.stores(),
            clock: stack.clock.clone(),
            sqs: patient(&clients.sqs),
            events_queue_url: stack.events_queue_url.clone(),
            dead_letter_queue_url: stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap(),
            balances: Some(world.balances()),
            poll_timing: PollTiming::default(),
        };
        let facts = StackFacts {
            stack: "payments-inbox".to_owned(),
            account: "account 123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            is_production: true,
            is_read_only,
            inboxctl_options: "--stack payments-inbox".to_owned(),
            operator_name: Some("ada".to_owned()),
        };
        let host = Arc::new(host);
        let console = limit(Console::bind(0, inbox, facts, host.clone()).await.unwrap());
        let url = console.url().to_owned();
        let server = tokio::spawn(console.serve());
        let (base, token) = url.split_once("/?token=").unwrap();
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut browser = Self {
            world,
            host,
            client,
            port: base.rsplit_once(':').unwrap().1.parse().unwrap(),
            token: token.to_owned(),
            cookie: String::new(),
            server,
        };
        let signed_in = browser.request(Method::GET, &format!("/?token={token}"), &TYPED, "").await;
        browser.cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
        browser
    }

    /// A request with these headers and the cookie.
    async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let mut all = HeaderMap::new();
        if !self.cookie.is_empty() {
            all.insert("cookie", HeaderValue::from_str(&self.cookie).unwrap());
        }
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            // An empty value takes the header away.
            match *value {
                "" => drop(all.remove(name)),
                value => drop(all.insert(name, HeaderValue::from_str(value).unwrap())),
            }
        }
        let request =
            self.client.request(method, format!("http://127.0.0.1:{}{path}", self.port)).headers(all);
        let response = request.body(body.to_owned()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Page { status, headers, text: response.text().await.unwrap() }
    }

    /// Opens a page from another one of the console.
    async fn get(&self, path: &str) -> Page {
        self.request(Method::GET, path, &FROM_OWN_PAGE, "").await
    }

    /// Opens a page that must be there.
    async fn open(&self, path: &str) -> Page {
        let page = self.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.main());
        page
    }

    /// Sends a form of the console.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        let origin = format!("http://127.0.0.1:{}", self.port);
        self.request(Method::POST, path, &form_headers(&origin), &encode(form)).await
    }

    /// Sends a form, and follows the redirect that must come.
    async fn act(&self, path: &str, form: &[(&str, &str)]) -> Page {
        let page = self.post(path, form).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}: {}", page.main());
        self.open(page.header("location")).await
    }
}

/// A client with longer time-outs than a function's, as operators have: a look at dead letters waits for messages.
fn patient(sqs: &aws_sdk_sqs::Client) -> aws_sdk_sqs::Client {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(10)).build();
    aws_sdk_sqs::Client::from_conf(sqs.config().to_builder().timeout_config(timeouts).build())
}

/// Headers of an address that was typed.
const TYPED: [(&str, &str); 2] = [("sec-fetch-site", "none"), ("sec-fetch-dest", "document")];
/// Headers of a link of the console itself.
const FROM_OWN_PAGE: [(&str, &str); 2] = [("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "document")];

/// Headers of a form of the page at this origin.
fn form_headers(origin: &str) -> [(&str, &str); 4] {
    [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-dest", "document"),
        ("origin", origin),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
}

fn encode(form: &[(&str, &str)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> =
        form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

fn finding(check: &str, status: FindingStatus, finding: &str) -> Finding {
    Finding {
        check: check.to_owned(),
        status,
        finding: finding.to_owned(),
        advice: Some(format!("look at `{check}`")),
    }
}

impl Browser {
    /// The values of an attribute on a page that must be there.
    async fn attributes_of(&self, path: &str, selector: &str, name: &str) -> Vec<String> {
        self.open(path).await.attributes(selector, name)
    }
}
