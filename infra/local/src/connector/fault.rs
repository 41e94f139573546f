//! Faults that the connector injects, and the responses that their callers get.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use winterbaume_core::MockResponse;

use super::sdk_response;
use crate::emulator::Emulator;

/// A fault to inject into a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Throttled; not applied.
    Throttled,
    /// Answered 500; not applied.
    ServerError,
    /// Connection reset; not applied.
    ResetBefore,
    /// Applied; the caller gets a time-out.
    TimeoutAfter,
    /// Denied for a missing permission; not applied.
    AccessDenied,
    /// Applied; the response cannot be parsed.
    MalformedResponse,
    /// SQS rejects the content of the message; not applied.
    InvalidMessage,
    /// A batch of messages or bus events gets 200; its first entry is rejected for its content, the others are applied.
    FirstEntryInvalid,
    /// A batch of messages or bus events gets 200; its first entry failed at AWS, the others are applied.
    FirstEntryFailed,
    /// A batch of reads or writes gets 200; none of it is processed.
    Unprocessed,
    /// A batch of writes gets 200; the first one is not processed, the others are.
    FirstUnprocessed,
    /// The simulated process crashes before the call; not applied.
    CrashBefore,
    /// Applied; the simulated process crashes before it gets the response.
    CrashAfter,
    /// The caller gets a time-out; the request is applied after the next attempt at the same call got its response.
    AppliedAfterRetry,
    /// The caller gets a time-out; the request is applied by [`super::AwsConnector::apply_delayed`].
    AppliedLater,
}

impl Fault {
    /// Faults that fit any call.
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

    /// Further faults that fit any call that writes.
    pub const FOR_ANY_WRITE: [Self; 2] = [Self::AppliedAfterRetry, Self::AppliedLater];

    /// Returns `true` if the simulated process crashes.
    pub(super) const fn is_crash(self) -> bool {
        matches!(self, Self::CrashBefore | Self::CrashAfter)
    }

    /// Returns `true` if the request is applied after its caller got a time-out.
    pub const fn is_delay(self) -> bool {
        matches!(self, Self::AppliedAfterRetry | Self::AppliedLater)
    }

    /// Returns `true` if the caller cannot know from the response whether the call was applied.
    pub const fn leaves_outcome_unknown(self) -> bool {
        match self {
            Self::Throttled
            | Self::AccessDenied
            | Self::InvalidMessage
            | Self::FirstEntryInvalid
            | Self::FirstEntryFailed
            | Self::Unprocessed
            | Self::FirstUnprocessed => false,
            // Some of these are never applied, but the caller cannot tell them from those that are.
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

/// A request for the emulator.
pub(super) struct EmulatorRequest<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) operation: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl EmulatorRequest<'_> {
    pub(super) async fn send(self) -> MockResponse {
        self.emulator.handle_sdk(self.headers, self.body).await
    }

    /// Injects a fault and returns the response that the caller gets, unless it has crashed.
    pub(super) async fn send_with_fault(self, fault: Fault) -> Result<HttpResponse, ConnectorError> {
        let error = |status, code: &str| {
            sdk_response(MockResponse::json(status, format!(r#"{{"__type":"{code}","message":"injected"}}"#)))
        };
        match fault {
            // AWS reports throttling and missing permissions as 400, too; only the code differs.
            Fault::Throttled => error(400, "ThrottlingException"),
            Fault::ServerError => error(500, "InternalServerError"),
            Fault::AccessDenied => error(400, "AccessDeniedException"),
            Fault::ResetBefore => Err(ConnectorError::io("connection reset (injected)".into())),
            Fault::TimeoutAfter => {
                self.send().await;
                Err(ConnectorError::timeout("no response (injected)".into()))
            }
            // The connector has stored the request and applies it later.
            Fault::AppliedAfterRetry | Fault::AppliedLater => {
                Err(ConnectorError::timeout("no response (injected)".into()))
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
            // The connector crashes the process, so nobody gets these errors.
            Fault::CrashBefore => Err(crashed()),
            Fault::CrashAfter => {
                self.send().await;
                Err(crashed())
            }
        }
    }

    /// Applies a batch without its first entry. The response reports that entry as failed, for its content if
    /// `is_sender_fault`.
    async fn send_without_first_entry(self, is_sender_fault: bool) -> MockResponse {
        let is_put_events = self.operation == "PutEvents";
        let (first, answer) = self.send_without_first("/Entries").await;
        let answer = if is_put_events {
            let code = if is_sender_fault { "MalformedDetail" } else { "InternalFailure" };
            let failed = json!({"ErrorCode": code, "ErrorMessage": "injected"});
            let others = answer.get("Entries").and_then(Value::as_array).cloned().unwrap_or_default();
            let other_failures = answer.get("FailedEntryCount").and_then(Value::as_u64).unwrap_or(0);
            // `PutEvents` answers by position, so the failed entry must come first.
            let entries: Vec<_> = std::iter::once(failed).chain(others).collect();
            json!({"FailedEntryCount": 1 + other_failures, "Entries": entries})
        } else {
            let code = if is_sender_fault { "InvalidMessageContents" } else { "InternalError" };
            // SQS answers by id, not by position.
            let failed = json!([{"Id": first.get("Id"), "SenderFault": is_sender_fault, "Code": code}]);
            json!({"Successful": answer.get("Successful").unwrap_or(&json!([])), "Failed": failed})
        };
        MockResponse::json(200, answer.to_string())
    }

    /// Applies a batch of writes to one table without the first, which the response reports as unprocessed.
    async fn send_without_first_write(self) -> MockResponse {
        let request: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let tables = request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let table = tables.map(|(table, _)| table.clone()).next().unwrap_or_default();
        let (first, _) = self.send_without_first(&format!("/RequestItems/{table}")).await;
        MockResponse::json(200, json!({"UnprocessedItems": {table: [first]}}).to_string())
    }

    /// Removes the first element of the array at `pointer` and applies the rest, if any. Returns the element and the
    /// response for the rest.
    async fn send_without_first(mut self, pointer: &str) -> (Value, Value) {
        let mut request: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let Some(batch) = request.pointer_mut(pointer).and_then(Value::as_array_mut) else {
            return (Value::Null, Value::Null);
        };
        let first = if batch.is_empty() { Value::Null } else { batch.remove(0) };
        // AWS rejects an empty batch, so nothing is sent.
        if batch.is_empty() {
            return (first, Value::Null);
        }
        self.body = Bytes::from(request.to_string());
        (first, serde_json::from_slice(&self.send().await.body).unwrap_or_default())
    }

    /// DynamoDB's response to a batch of which it processed nothing.
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

fn crashed() -> ConnectorError {
    ConnectorError::io("the process crashed (injected)".into())
}
