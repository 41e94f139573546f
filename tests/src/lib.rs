//! Test harness: the whole stack over embedded AWS emulators, with a clock that the test controls.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's own code: a surprise shall end the test"
)]

pub mod fault_injection;
pub mod fault_matrix;
pub mod fynapse_world;
pub mod interleave;
pub mod lambda_process;
pub mod operator;
pub mod rightfoot_world;
pub mod simulated_network;
pub mod tls_proxy;
pub mod worker_effects;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use inbox_aws::AwsError;
use inbox_aws::clock::Clock;
use inbox_core::delivery::Provider;
use inbox_core::event::payload_hash;
use inbox_core::providers::fynapse::signature;
use inbox_core::providers::{Credential, ProviderSpec};
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::UnixMillis;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use local::connector::until_crash;
use local::inspect;
use local::stack::{EVENTS_QUEUE, INBOX_TABLE, Stack, StackOptions};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Sixty seconds.
pub const MINUTE: Duration = Duration::from_secs(60);
/// Sixty minutes.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// Twenty-four hours.
pub const DAY: Duration = Duration::from_secs(86_400);
/// Time at which every test begins: 2026-01-02T03:04:05Z.
pub const START: UnixMillis = UnixMillis(1_767_323_045_000);
/// Secret with which [`World`] signs Fynapse's deliveries.
pub const FYNAPSE_SIGNING_SECRET: &str = "local-fynapse-secret";
/// Subject of the webhook URL that [`World::deliver_rightfoot`] calls.
pub const SUBJECT: &str = "demo";

/// An item of the inbox table.
pub type Item = HashMap<String, AttributeValue>;

/// The stack, its emulators and its clock. Clones share all of them.
#[derive(Clone)]
pub struct World {
    /// The functions and emulators under test.
    pub stack: Stack,
    time: Arc<AtomicI64>,
}

/// Response of a webhook function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookResponse {
    /// HTTP status; 500 if the function died.
    pub status: u16,
    /// Response body.
    pub body: String,
    /// Names of the response headers.
    pub headers: Vec<String>,
}

impl WebhookResponse {
    /// Returns `true` for a 2xx status.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A message received from the events queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Id of the event.
    pub id: String,
    /// Whole message body: a CloudEvents event.
    pub body: String,
}

impl World {
    /// Starts a world at [`START`] with default options.
    pub async fn new() -> Self {
        Self::with_options(|_| {}).await
    }

    /// Starts a world with changed options.
    pub async fn with_options(change: impl FnOnce(&mut StackOptions)) -> Self {
        let time = Arc::new(AtomicI64::new(START.0));
        let shared_time = time.clone();
        let clock = Clock::new(move || UnixMillis(shared_time.load(Ordering::SeqCst)));
        let mut options = StackOptions::in_memory(clock).unwrap();
        change(&mut options);
        Self { stack: Stack::start(options).await.unwrap(), time }
    }

    /// Returns a second process over the same emulators and clock, with an AWS connector of its own.
    pub fn another_process(&self) -> Self {
        Self { stack: self.stack.another_process(), time: self.time.clone() }
    }

    /// Advances the clock.
    pub fn advance(&self, span: Duration) {
        self.time.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Advances only the age of cached secrets, in every process.
    pub fn age_secret_caches(&self, span: Duration) {
        self.stack.clock.advance(span);
    }

    /// Current time of the clock.
    pub fn now(&self) -> UnixMillis {
        self.stack.clock.now()
    }

    /// Delivers a Fynapse webhook, signed now, with the `Idempotency-Key` `key-1`.
    pub async fn deliver_fynapse(&self, body: impl AsRef<[u8]>) -> WebhookResponse {
        let body = body.as_ref();
        self.deliver_fynapse_with(body, &self.sign(body), Some("key-1")).await
    }

    /// Delivers a Fynapse webhook with this signature and `Idempotency-Key`.
    pub async fn deliver_fynapse_with(
        &self,
        body: impl AsRef<[u8]>,
        signature: &str,
        key: Option<&str>,
    ) -> WebhookResponse {
        let mut headers = json!({"content-type": "application/json", "webhook-signature": signature});
        if let Some(key) = key {
            headers["idempotency-key"] = key.into();
        }
        self.invoke_webhook(gateway_event("/webhooks/fynapse", headers, body.as_ref(), None)).await
    }

    /// Returns Fynapse's signature of a body, with the current time stamp.
    pub fn sign(&self, body: impl AsRef<[u8]>) -> String {
        let keys = Keys::parse(FYNAPSE_SIGNING_SECRET, KeyCodec::Utf8).unwrap();
        signature::sign(self.now().secs(), body.as_ref(), &keys)
    }

    /// Delivers a Rightfoot webhook to the URL of [`SUBJECT`].
    pub async fn deliver_rightfoot(&self, body: impl AsRef<[u8]>) -> WebhookResponse {
        let token = self.stack.mint_url_token(&SUBJECT.parse().unwrap()).unwrap();
        self.deliver_rightfoot_to(&token, body).await
    }

    /// Delivers a Rightfoot webhook to the URL with this token.
    pub async fn deliver_rightfoot_to(&self, token: &str, body: impl AsRef<[u8]>) -> WebhookResponse {
        let headers = json!({"content-type": "application/json"});
        self.invoke_webhook(gateway_event(
            &format!("/webhooks/rightfoot/{token}"),
            headers,
            body.as_ref(),
            Some(token),
        ))
        .await
    }

    /// Invokes the webhook function that serves the path of this invocation event.
    pub async fn invoke_webhook(&self, event: Value) -> WebhookResponse {
        let path = event["rawPath"].as_str().unwrap().to_owned();
        let event = to_raw_value(&event).unwrap();
        webhook_response(until_crash(self.stack.webhooks[&provider_of(&path)].handle(event)).await)
    }

    /// Delivers a webhook as its provider does; Rightfoot's to the URL of [`SUBJECT`].
    pub async fn deliver(&self, provider: Provider, body: impl AsRef<[u8]>) -> WebhookResponse {
        let credential = self.credential(provider, &body);
        self.invoke_webhook(delivery_event(provider, Some(&credential), body.as_ref())).await
    }

    /// The credential that verifies a body: the provider's signature, or the token in the URL of [`SUBJECT`].
    pub fn credential(&self, provider: Provider, body: impl AsRef<[u8]>) -> String {
        match ProviderSpec::of(provider).credential {
            Credential::Signature(scheme) => {
                let keys = self.stack.webhook_keys(provider).unwrap();
                (scheme.sign)(self.now().secs(), body.as_ref(), &keys)
            }
            Credential::UrlToken => self.stack.mint_url_token(&SUBJECT.parse().unwrap()).unwrap(),
        }
    }

    /// Runs the relay once; `None` if it crashed.
    pub async fn run_relay(&self) -> Option<Result<Value, AwsError>> {
        until_crash(self.stack.relay.handle(Duration::from_secs(60))).await
    }

    /// Advances the clock and runs the relay until nothing is due. Panics if items are still due after the relay's
    /// longest backoff.
    pub async fn drain_outbox(&self) {
        // Just past the relay's pauses between attempts: 30 s at first, doubling up to 15 minutes.
        for pause_secs in [31, 65, 125, 245, 490, 905] {
            self.advance(Duration::from_secs(pause_secs));
            self.run_relay().await.expect("no crash").expect("no fault");
            if self.due_items().await.is_empty() {
                return;
            }
        }
        assert_eq!(self.due_items().await, [], "still due");
    }

    /// Receives every message on the queue. They stay hidden for longer than any test lasts.
    pub async fn drain_queue(&self) -> Vec<QueuedMessage> {
        let bodies = inspect::receive_all(&self.stack, EVENTS_QUEUE).await.unwrap();
        bodies
            .into_iter()
            .map(|body| QueuedMessage { id: inspect::parse_event_id(&body).unwrap(), body })
            .collect()
    }

    /// Receives every message, and returns the event ids, sorted.
    pub async fn drain_event_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.drain_queue().await.into_iter().map(|message| message.id).collect();
        ids.sort();
        ids
    }

    /// Every item of the table.
    pub async fn items(&self) -> Vec<Item> {
        let scan = self.stack.inspector.dynamodb.scan().table_name(INBOX_TABLE).consistent_read(true);
        scan.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap()
    }

    /// Items that are due for the relay or the poller. Quarantined deliveries are left out: they wait for an
    /// operator.
    pub async fn due_items(&self) -> Vec<Item> {
        let waits = |item: &Item| item.contains_key("due") && !text(item, "due").starts_with("quarantine#");
        self.items().await.into_iter().filter(waits).collect()
    }

    /// One item of the table, by its key.
    pub async fn item(&self, pk: &str, sk: &str) -> Option<Item> {
        self.items().await.into_iter().find(|item| text(item, "pk") == pk && text(item, "sk") == sk)
    }

    /// Puts an item unconditionally.
    pub async fn put_item(&self, item: Item) {
        let put = self.stack.inspector.dynamodb.put_item().table_name(INBOX_TABLE).set_item(Some(item));
        put.send().await.unwrap();
    }

    /// Deletes every item whose `pk` begins with this text, as DynamoDB's expiry would.
    pub async fn expire_items(&self, pk: &str) {
        for item in self.items().await.into_iter().filter(|item| text(item, "pk").starts_with(pk)) {
            let delete = self.stack.inspector.dynamodb.delete_item().table_name(INBOX_TABLE);
            delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
        }
    }

    /// Quarantined deliveries, as (reason, payload hash).
    pub async fn quarantined(&self) -> Vec<(String, String)> {
        let items = self.items().await;
        let quarantined = items.iter().filter(|item| text(item, "pk").starts_with("quarantine#"));
        quarantined
            .map(|item| (text(item, "reason").to_owned(), text(item, "payload_hash").to_owned()))
            .collect()
    }
}

/// Binds a free port of this machine; returns its URL, too.
pub async fn bind_listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// String attribute; empty if there is none.
pub fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

/// Number attribute; `None` if there is none.
pub fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// API Gateway's invocation event, payload format 2.0. A body that is not UTF-8 is base64-encoded.
pub fn gateway_event(path: &str, headers: Value, body: &[u8], token: Option<&str>) -> Value {
    let (body, is_base64) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (STANDARD.encode(body), true),
    };
    let mut event = json!({
        "version": "2.0",
        "rawPath": path,
        "headers": headers,
        "requestContext": {"http": {"method": "POST", "path": path, "sourceIp": "203.0.113.9"}},
        "body": body,
        "isBase64Encoded": is_base64,
    });
    if let Some(token) = token {
        event["pathParameters"] = json!({"token": token});
    }
    event
}

/// The provider whose route has this path.
pub fn provider_of(path: &str) -> Provider {
    let provider =
        path.strip_prefix("/webhooks/").and_then(|path| Provider::from_name(path.split('/').next()?));
    provider.expect("the path of a webhook")
}

/// Invocation for a delivery with this credential, or without one.
pub fn delivery_event(provider: Provider, credential: Option<&str>, body: &[u8]) -> Value {
    let ProviderSpec { route, credential: evidence, .. } = ProviderSpec::of(provider);
    match evidence {
        Credential::Signature(scheme) => {
            let headers = credential.map_or(json!({}), |signature| json!({scheme.header: signature}));
            gateway_event(route, headers, body, None)
        }
        Credential::UrlToken => {
            let path = route.replace("{token}", credential.unwrap_or_default());
            gateway_event(&path, json!({}), body, credential)
        }
    }
}

/// Body of an event of this provider with this id.
pub fn event_body(provider: Provider, id: &str) -> String {
    match provider {
        Provider::Fynapse => extract_body(id),
        Provider::Rightfoot => completion_body(id, "u-1"),
    }
}

/// Body of a Fynapse `balance.extracted` event with this id.
pub fn extract_body(event_id: &str) -> String {
    format!(
        r#"{{"event_id":"{event_id}","event_type":"balance.extracted","metadata":{{}},"event_timestamp":"2026-01-02T03:04:05Z","data":{{"amount":150.00}}}}"#
    )
}

/// Body of a Rightfoot webhook: completion of this batch.
pub fn completion_body(batch_id: &str, event_uuid: &str) -> String {
    format!(r#"{{"event_uuid":"{event_uuid}","type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch_id}"}}"#)
}

/// Body of a Rightfoot webhook: threshold alert of `user-123` in a run of schedule `s-1`.
pub fn alert_body(batch_id: &str, event_uuid: &str) -> String {
    format!(
        r#"{{"event_uuid":"{event_uuid}","type":"BALANCE_THRESHOLD_ALERT","schedule_id":"s-1","batch_id":"{batch_id}","alerts":[{{"authorizer_unique_id":"user-123","balance":150.00,"threshold_amount":100.00}}],"timestamp":"2024-01-15T10:30:00Z"}}"#
    )
}

/// Hexadecimal text that does not compress, of this length; the same for the same seed.
pub fn random_hex(bytes: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(bytes);
    text
}

fn webhook_response(answer: Option<ApiGatewayV2httpResponse>) -> WebhookResponse {
    let Some(answer) = answer else {
        return WebhookResponse { status: 500, body: "the function died".to_owned(), headers: Vec::new() };
    };
    let body = answer.body.map(|body| body.to_vec()).unwrap_or_default();
    WebhookResponse {
        status: u16::try_from(answer.status_code).unwrap(),
        body: String::from_utf8(body).unwrap(),
        headers: answer.headers.keys().map(|name| name.as_str().to_owned()).collect(),
    }
}

/// Event id of a batch's completion.
pub fn completion_event_id(batch: &str) -> String {
    format!("rightfoot/batch/{batch}/completed")
}

/// Event id of a batch's alert webhook with this `event_uuid`.
pub fn alert_event_id(batch: &str, by: &str) -> String {
    format!("rightfoot/batch/{batch}/alert/{by}")
}

/// Event id of the alerts that the poller finds for a batch. It depends on the set of authorizers.
pub fn polled_alerts_event_id(batch: &str, authorizers: &[&str]) -> String {
    let mut authorizers = authorizers.to_vec();
    authorizers.sort_unstable();
    let mut bytes = Vec::new();
    for authorizer in authorizers {
        bytes.extend([0; 7]);
        bytes.push(u8::try_from(authorizer.len()).unwrap());
        bytes.extend(authorizer.as_bytes());
    }
    alert_event_id(batch, &format!("poll-{}", &payload_hash(&bytes)[..32]))
}

/// Returns `true` for a message about alerts that the poller has found.
pub fn is_polled_alert(message: &QueuedMessage) -> bool {
    message.id.contains("/alert/poll-")
}
