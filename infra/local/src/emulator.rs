//! In-process DynamoDB, SQS, EventBridge, Secrets Manager and a part of CloudWatch that speak AWS's wire format.
//!
//! The connector calls them directly; other AWS clients use the HTTP endpoint of [`Emulator::router`].

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use dynoxide::Database;
use inbox_aws::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use winterbaume_core::{MockRequest, MockResponse, MockService};
use winterbaume_secretsmanager::SecretsManagerService;
use winterbaume_sqs::SqsService;

mod cloudwatch;
mod counter_metrics;
mod dynamodb;
mod eventbridge;
mod minute_values;
mod queue_metrics;
mod sqs_counts;

pub use counter_metrics::MetricsRecorder;

use cloudwatch::CloudWatch;
use counter_metrics::CounterMetrics;
use eventbridge::EventBridge;
use queue_metrics::QueueMetrics;
use sqs_counts::{ReceiptHandles, queue_name};

use crate::resource_names::BUS_QUEUE;

/// Base of the queue URLs that the SQS emulator returns.
const SQS_BASE_URL: &str = "https://sqs.us-east-1.amazonaws.com/";
/// Largest request that the AWS endpoint accepts: DynamoDB's limit.
const REQUEST_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The emulated services. Clones share their state.
#[derive(Clone)]
pub struct Emulator(Arc<EmulatedServices>);

struct EmulatedServices {
    dynamodb: Database,
    sqs: SqsService,
    receipt_handles: ReceiptHandles,
    eventbridge: EventBridge,
    bus_subscribers: Mutex<Vec<UnboundedSender<String>>>,
    secrets: SecretsManagerService,
    counters: Arc<CounterMetrics>,
    queue_metrics: QueueMetrics,
    /// Clock of the metrics.
    clock: Clock,
}

/// Service and operation in the header `x-amz-target` of an AWS request; both empty without the header.
pub fn service_and_operation(headers: &HeaderMap) -> (&str, &str) {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    target.split_once('.').unwrap_or((target, ""))
}

impl Emulator {
    /// Creates services whose state is in memory. Metrics have the times of `clock`.
    pub fn in_memory(clock: Clock) -> anyhow::Result<Self> {
        let db = Database::memory().context("cannot create the in-memory database")?;
        Ok(Self::with_database(db, clock))
    }

    /// Creates services whose tables are in a SQLite file. Queues, buses, secrets and metrics are in memory.
    ///
    /// # Errors
    ///
    /// The path is not UTF-8, or the file cannot be opened.
    pub fn in_file(path: &Path, clock: Clock) -> anyhow::Result<Self> {
        let file = path.to_str().context("the path of the data directory is not UTF-8")?;
        let db = Database::new(file).with_context(|| format!("cannot open {file}"))?;
        Ok(Self::with_database(db, clock))
    }

    fn with_database(db: Database, clock: Clock) -> Self {
        Self(Arc::new(EmulatedServices {
            dynamodb: db,
            sqs: SqsService::new(),
            receipt_handles: ReceiptHandles::default(),
            eventbridge: EventBridge::default(),
            bus_subscribers: Mutex::default(),
            secrets: SecretsManagerService::new(),
            counters: Arc::default(),
            queue_metrics: QueueMetrics::default(),
            clock,
        }))
    }

    /// Handles a request of any AWS client.
    pub async fn handle(&self, headers: HeaderMap, body: Bytes) -> MockResponse {
        let (service, operation) = service_and_operation(&headers);
        let (service, operation) = (service.to_owned(), operation.to_owned());
        let request = MockRequest { method: "POST".to_owned(), uri: SQS_BASE_URL.to_owned(), headers, body };
        match service.as_str() {
            "DynamoDB_20120810" => {
                dynamodb::handle(&self.0.dynamodb, &request.headers, &operation, &request.body)
            }
            "AmazonSQS" => self.handle_sqs(&operation, request).await,
            "AWSEvents" => self.handle_eventbridge(&operation, &request.body).await,
            "secretsmanager" => self.0.secrets.handle(request).await,
            "GraniteServiceVersion20100801" => self.cloudwatch().handle(&operation, &request.body),
            _ => MockResponse::json(
                404,
                r#"{"__type":"UnknownOperationException","message":"this endpoint emulates DynamoDB, SQS, EventBridge, Secrets Manager and CloudWatch"}"#,
            ),
        }
    }

    /// Handles a request of the SDK in this process.
    pub async fn handle_sdk(&self, headers: HeaderMap, body: Bytes) -> MockResponse {
        // Lets other tasks run, as they would during a network call.
        tokio::task::yield_now().await;
        self.handle(headers, body).await
    }

    async fn handle_sqs(&self, operation: &str, request: MockRequest) -> MockResponse {
        let body = request.body.clone();
        let answer = self.0.sqs.handle(request).await;
        self.0.receipt_handles.observe(operation, &body, &answer);
        self.0.queue_metrics.observe(operation, &body, &answer, self.0.clock.now());
        match operation {
            "GetQueueAttributes" => {
                self.0.receipt_handles.with_visible_again(&self.0.sqs, &body, answer).await
            }
            "ReceiveMessage" => {
                self.note_dead_letters(&body).await;
                answer
            }
            _ => answer,
        }
    }

    /// Notes which messages SQS has moved to the dead-letter queue: no response says so.
    async fn note_dead_letters(&self, request: &[u8]) {
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        let queue = queue_name(&request);
        for message in self.0.queue_metrics.exhausted(queue) {
            let receipts = &self.0.receipt_handles;
            if receipts.is_void(&self.0.sqs, &request, &message.receipt).await {
                let now = self.0.clock.now();
                self.0.queue_metrics.move_to_dead_letters(queue, &message.message_id, now);
            }
        }
    }

    fn cloudwatch(&self) -> CloudWatch<'_> {
        CloudWatch { counters: &self.0.counters, queues: &self.0.queue_metrics, now: self.0.clock.now() }
    }

    /// A recorder whose counts `GetMetricData` answers. A process has one recorder, which its `main` chooses: nothing here
    /// installs it.
    pub fn metrics_recorder(&self) -> MetricsRecorder {
        MetricsRecorder { counters: Arc::clone(&self.0.counters), clock: self.0.clock.clone() }
    }

    async fn handle_eventbridge(&self, operation: &str, body: &[u8]) -> MockResponse {
        let outcome = self.0.eventbridge.handle(operation, body);
        for event in outcome.events {
            // A receiver that is gone wants no more events.
            self.bus_subscribers().retain(|subscriber| subscriber.send(event.clone()).is_ok());
            let message =
                json!({"QueueUrl": format!("{SQS_BASE_URL}123456789012/{BUS_QUEUE}"), "MessageBody": event});
            // Fails if the queue does not exist: the event is dropped, as on a bus without rules.
            self.0.sqs.handle(sqs_request("SendMessage", &message)).await;
        }
        outcome.response
    }

    /// Receives every event that any bus accepts from now on, as the JSON that a rule's target gets.
    pub fn subscribe_to_buses(&self) -> UnboundedReceiver<String> {
        let (sender, receiver) = unbounded_channel();
        self.bus_subscribers().push(sender);
        receiver
    }

    fn bus_subscribers(&self) -> MutexGuard<'_, Vec<UnboundedSender<String>>> {
        self.0.bus_subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// HTTP endpoint for any AWS client. Queue URLs in responses are rewritten to `base_url`, the address of the endpoint.
    pub fn router(&self, base_url: String) -> Router {
        Router::new().fallback(handle_http).with_state((self.clone(), base_url))
    }
}

fn sqs_request(operation: &str, body: &Value) -> MockRequest {
    let mut headers = HeaderMap::new();
    if let Ok(target) = HeaderValue::from_str(&format!("AmazonSQS.{operation}")) {
        headers.insert("x-amz-target", target);
    }
    let body = Bytes::from(body.to_string());
    MockRequest { method: "POST".to_owned(), uri: SQS_BASE_URL.to_owned(), headers, body }
}

async fn handle_http(
    State((emulator, base_url)): State<(Emulator, String)>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, REQUEST_MAX_BYTES).await else {
        return Response::builder()
            .status(StatusCode::PAYLOAD_TOO_LARGE)
            .body(Body::empty())
            .unwrap_or_default();
    };
    let answer = emulator.handle(parts.headers, body).await;
    let text = std::str::from_utf8(&answer.body).ok();
    // A client sends its next request to the queue's URL, which must therefore be this endpoint, not AWS.
    let body = match text.filter(|text| text.contains(SQS_BASE_URL)) {
        Some(text) => Bytes::from(text.replace(SQS_BASE_URL, &format!("{base_url}/"))),
        None => answer.body,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        // The body may have been rewritten, so its length and checksum may no longer be right.
        if name != "content-length" && name != "x-amz-crc32" && name != "transfer-encoding" {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}
