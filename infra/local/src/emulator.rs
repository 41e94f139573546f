//! Embedded DynamoDB, SQS, EventBridge and Secrets Manager, behind AWS's own wire format.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use dynoxide::Database;
use serde_json::{Value, json};
use winterbaume_core::{MockRequest, MockResponse, MockService};
use winterbaume_secretsmanager::SecretsManagerService;
use winterbaume_sqs::SqsService;

mod dynamodb;
mod eventbridge;
mod sqs_counts;

use dynamodb::DynamoDb;
use eventbridge::EventBridge;
use sqs_counts::ReceiptHandles;

/// The queue that every event of a bus is put on, if it is there, as a rule that matches all of them would.
pub const BUS_QUEUE: &str = "bus-events";
/// Where the embedded SQS believes itself to be; queue URLs start with it.
const SQS_BASE_URL: &str = "https://sqs.us-east-1.amazonaws.com/";
/// Largest request that the AWS endpoint reads: DynamoDB's own bound.
const REQUEST_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The four services. Clones share them.
#[derive(Clone)]
pub struct Emulator(Arc<EmulatedServices>);

struct EmulatedServices {
    dynamodb: DynamoDb,
    sqs: SqsService,
    receipt_handles: ReceiptHandles,
    eventbridge: EventBridge,
    secrets: SecretsManagerService,
}

/// The service and the operation that an AWS request names; both empty if it names none.
pub fn service_and_operation(headers: &HeaderMap) -> (&str, &str) {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    target.split_once('.').unwrap_or((target, ""))
}

impl Emulator {
    /// Services that forget everything when they are dropped.
    pub async fn in_memory() -> anyhow::Result<Self> {
        Self::with_database(Database::memory().context("embedded DynamoDB")?).await
    }

    /// The table stands in this file; queues and secrets are in memory.
    pub async fn in_file(path: &Path) -> anyhow::Result<Self> {
        let file = path.to_str().context("the data directory's name is not UTF-8")?;
        let db = Database::new(file).with_context(|| format!("cannot open {file}"))?;
        Self::with_database(db).await
    }

    async fn with_database(db: Database) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(EmulatedServices {
            dynamodb: DynamoDb::start(db).await?,
            sqs: SqsService::new(),
            receipt_handles: ReceiptHandles::default(),
            eventbridge: EventBridge::default(),
            secrets: SecretsManagerService::new(),
        })))
    }

    /// Answers one request of an AWS client.
    pub async fn handle(&self, headers: HeaderMap, body: Bytes) -> MockResponse {
        let (service, operation) = service_and_operation(&headers);
        let (service, operation) = (service.to_owned(), operation.to_owned());
        let request = MockRequest { method: "POST".to_owned(), uri: SQS_BASE_URL.to_owned(), headers, body };
        match service.as_str() {
            "DynamoDB_20120810" => self.0.dynamodb.handle(request).await,
            "AmazonSQS" => self.handle_sqs(&operation, request).await,
            "AWSEvents" => self.handle_eventbridge(&operation, &request.body).await,
            "secretsmanager" => self.0.secrets.handle(request).await,
            _ => MockResponse::json(
                404,
                r#"{"__type":"UnknownOperationException","message":"here are DynamoDB, SQS, EventBridge and Secrets Manager"}"#,
            ),
        }
    }

    /// Answers one request of the SDK's in this process.
    pub async fn handle_sdk(&self, headers: HeaderMap, body: Bytes) -> MockResponse {
        // Whoever else is at work gets his turn, as over a network.
        tokio::task::yield_now().await;
        let direct = match service_and_operation(&headers) {
            ("DynamoDB_20120810", operation) => self.0.dynamodb.handle_directly(operation, &body),
            _ => None,
        };
        match direct {
            Some(answer) => answer,
            None => self.handle(headers, body).await,
        }
    }

    async fn handle_sqs(&self, operation: &str, request: MockRequest) -> MockResponse {
        let body = request.body.clone();
        let answer = self.0.sqs.handle(request).await;
        self.0.receipt_handles.observe(operation, &body, &answer);
        match operation {
            "GetQueueAttributes" => {
                self.0.receipt_handles.with_visible_again(&self.0.sqs, &body, answer).await
            }
            _ => answer,
        }
    }

    async fn handle_eventbridge(&self, operation: &str, body: &[u8]) -> MockResponse {
        let outcome = self.0.eventbridge.handle(operation, body);
        for event in outcome.events {
            let message =
                json!({"QueueUrl": format!("{SQS_BASE_URL}123456789012/{BUS_QUEUE}"), "MessageBody": event});
            // Where there is no such queue, there is no rule either.
            self.0.sqs.handle(sqs_request("SendMessage", &message)).await;
        }
        outcome.response
    }

    /// An HTTP endpoint for any AWS client. `base_url` is its own address: queue URLs lead back to it.
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
    let is_text = std::str::from_utf8(&answer.body).ok();
    let body = match is_text.filter(|text| text.contains(SQS_BASE_URL)) {
        Some(text) => Bytes::from(text.replace(SQS_BASE_URL, &format!("{base_url}/"))),
        None => answer.body,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        // The body may have become longer, and a checksum of the old one would be wrong.
        if name != "content-length" && name != "x-amz-crc32" && name != "transfer-encoding" {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}
