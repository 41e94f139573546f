//! What can go wrong with a call, and how it shows.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use winterbaume_core::MockResponse;

use super::{crash, sdk_response};
use crate::emulator::Emulator;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Refused for its rate; not applied.
    Throttled,
    /// Answered 500; not applied.
    ServerError,
    /// The connection broke before it was applied.
    ResetBefore,
    /// Applied, and the answer never came.
    TimeoutAfter,
    /// Refused for a missing permission; not applied.
    AccessDenied,
    /// Applied, and the answer is not readable.
    MalformedResponse,
    /// SQS finds fault with the message itself; not applied.
    InvalidMessage,
    /// A batch of messages or of events is answered 200; its first entry was refused for what it is, the others were
    /// applied.
    FirstEntryInvalid,
    /// A batch of messages or of events is answered 200; its first entry failed at AWS, the others were applied.
    FirstEntryFailed,
    /// A batch of reads or writes is answered 200, and nothing of it was processed.
    Unprocessed,
    /// A batch of writes is answered 200; its first one was not processed, the others were.
    FirstUnprocessed,
    /// The process dies before the call.
    CrashBefore,
    /// The call is applied, and the process dies before its answer.
    CrashAfter,
    /// The answer never came, and the request is applied when the next attempt at the same call was answered.
    AppliedAfterRetry,
    /// The answer never came, and the request is applied when the test says so: [`super::Wire::apply_delayed`].
    AppliedLater,
}

impl Fault {
    /// What any call can meet.
    pub const FOR_ANY_CALL: [Self; 8] = [
        Self::Throttled,
        Self::ServerError,
        Self::ResetBefore,
        Self::TimeoutAfter,
        Self::AccessDenied,
        Self::MalformedResponse,
        Self::CrashBefore,
        Self::CrashAfter,
    ];

    /// What any call that writes can meet besides.
    pub const FOR_ANY_WRITE: [Self; 2] = [Self::AppliedAfterRetry, Self::AppliedLater];

    /// Whether the request stays on its way after its caller was told that it timed out.
    pub const fn is_delay(self) -> bool {
        matches!(self, Self::AppliedAfterRetry | Self::AppliedLater)
    }

    /// Whether, after this fault, the caller cannot know if the call was applied.
    pub const fn leaves_outcome_unknown(self) -> bool {
        match self {
            Self::Throttled
            | Self::AccessDenied
            | Self::InvalidMessage
            | Self::FirstEntryInvalid
            | Self::FirstEntryFailed
            | Self::Unprocessed
            | Self::FirstUnprocessed => false,
            Self::ServerError
            | Self::ResetBefore
            | Self::TimeoutAfter
            | Self::MalformedResponse
            | Self::CrashBefore
            | Self::CrashAfter
            | Self::AppliedAfterRetry
            | Self::AppliedLater => true,
        }
    }
}

/// A call on its way to the engine.
pub(super) struct EmulatorRequest<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) operation: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl EmulatorRequest<'_> {
    /// What the engine answers.
    pub(super) async fn send(self) -> MockResponse {
        self.emulator.handle_sdk(self.headers, self.body).await
    }

    /// What the caller hears once this fault went in.
    pub(super) async fn send_with_fault(self, fault: Fault) -> Result<HttpResponse, ConnectorError> {
        let error = |status, code: &str| {
            sdk_response(MockResponse::json(status, format!(r#"{{"__type":"{code}","message":"injected"}}"#)))
        };
        match fault {
            Fault::Throttled => error(400, "ThrottlingException"),
            Fault::ServerError => error(500, "InternalServerError"),
            Fault::AccessDenied => error(400, "AccessDeniedException"),
            Fault::ResetBefore => Err(ConnectorError::io("connection reset (injected)".into())),
            Fault::TimeoutAfter => {
                self.send().await;
                Err(ConnectorError::timeout("no answer (injected)".into()))
            }
            // The wire keeps the request.
            Fault::AppliedAfterRetry | Fault::AppliedLater => {
                Err(ConnectorError::timeout("no answer (injected)".into()))
            }
            Fault::MalformedResponse => {
                self.send().await;
                sdk_response(MockResponse::json(200, "<html>"))
            }
            Fault::InvalidMessage => error(400, "InvalidMessageContents"),
            Fault::FirstEntryInvalid => sdk_response(self.send_without_first_entry(true).await),
            Fault::FirstEntryFailed => sdk_response(self.send_without_first_entry(false).await),
            Fault::Unprocessed => sdk_response(self.unprocessed_response()),
            Fault::FirstUnprocessed => sdk_response(self.send_without_first_write().await),
            Fault::CrashBefore => crash().await,
            Fault::CrashAfter => {
                self.send().await;
                crash().await
            }
        }
    }

    /// Has a batch of entries applied less its first one, which the answer says failed, by its own fault or not.
    async fn send_without_first_entry(self, is_sender_fault: bool) -> MockResponse {
        let is_put_events = self.operation == "PutEvents";
        let (first, answer) = self.send_without_first("/Entries").await;
        let answer = if is_put_events {
            let code = if is_sender_fault { "MalformedDetail" } else { "InternalFailure" };
            let failed = json!({"ErrorCode": code, "ErrorMessage": "injected"});
            let others = answer.get("Entries").and_then(Value::as_array).cloned().unwrap_or_default();
            let other_failures = answer.get("FailedEntryCount").and_then(Value::as_u64).unwrap_or(0);
            let entries: Vec<_> = std::iter::once(failed).chain(others).collect();
            json!({"FailedEntryCount": 1 + other_failures, "Entries": entries})
        } else {
            let code = if is_sender_fault { "InvalidMessageContents" } else { "InternalError" };
            let failed = json!([{"Id": first.get("Id"), "SenderFault": is_sender_fault, "Code": code}]);
            json!({"Successful": answer.get("Successful").unwrap_or(&json!([])), "Failed": failed})
        };
        MockResponse::json(200, answer.to_string())
    }

    /// Has a batch of writes to one table applied less its first one.
    async fn send_without_first_write(self) -> MockResponse {
        let request: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let tables = request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let table = tables.map(|(table, _)| table.clone()).next().unwrap_or_default();
        let (first, _) = self.send_without_first(&format!("/RequestItems/{table}")).await;
        MockResponse::json(200, json!({"UnprocessedItems": {table: [first]}}).to_string())
    }

    /// Takes the first element out of the batch that stands there in the request, and has the others applied, if there
    /// are any: the element, and the answer about the others.
    async fn send_without_first(mut self, pointer: &str) -> (Value, Value) {
        let mut request: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let Some(batch) = request.pointer_mut(pointer).and_then(Value::as_array_mut) else {
            return (Value::Null, Value::Null);
        };
        let first = if batch.is_empty() { Value::Null } else { batch.remove(0) };
        if batch.is_empty() {
            return (first, Value::Null);
        }
        self.body = Bytes::from(request.to_string());
        (first, serde_json::from_slice(&self.send().await.body).unwrap_or_default())
    }

    /// DynamoDB's answer to a batch when it got to nothing of it.
    fn unprocessed_response(self) -> MockResponse {
        let request: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let all = request.get("RequestItems");
        let answer = match self.operation {
            "BatchWriteItem" => json!({"UnprocessedItems": all}),
            _ => json!({"Responses": {}, "UnprocessedKeys": all}),
        };
        MockResponse::json(200, answer.to_string())
    }
}
