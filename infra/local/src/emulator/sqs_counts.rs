//! Correct message counts of queues.
//!
//! After the visibility timeout of a received message, the SQS emulator (winterbaume) counts it neither as visible nor as in
//! flight until it is received again. Here it counts as visible, as in AWS.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use winterbaume_core::{MockResponse, MockService};
use winterbaume_sqs::SqsService;

use super::sqs_request;

const VISIBLE_COUNT: &str = "ApproximateNumberOfMessages";

/// Receipt handles that were given out, by queue name.
#[derive(Debug, Default)]
pub(super) struct ReceiptHandles(Mutex<HashMap<String, HashMap<String, MessageVisibility>>>);

/// Period in which a received message is hidden.
#[derive(Clone, Copy, Debug)]
struct MessageVisibility {
    hidden_at: Instant,
    /// Seconds; `None` for the queue's visibility timeout.
    timeout_secs: Option<u64>,
}

impl MessageVisibility {
    fn starting_now(timeout_secs: Option<u64>) -> Self {
        Self { hidden_at: Instant::now(), timeout_secs }
    }

    fn has_expired(self, default_secs: u64) -> bool {
        // In real time, as in the SQS emulator, whatever clock the functions have.
        self.hidden_at.elapsed() >= Duration::from_secs(self.timeout_secs.unwrap_or(default_secs))
    }
}

impl ReceiptHandles {
    /// Updates the receipt handles after a successful request.
    pub(super) fn observe(&self, operation: &str, request: &[u8], answer: &MockResponse) {
        if answer.status != 200 {
            return;
        }
        match operation {
            "ReceiveMessage" => self.observe_received(request, &answer.body),
            "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => {
                let request: Value = serde_json::from_slice(request).unwrap_or_default();
                let entries = request.get("Entries").and_then(Value::as_array);
                // Without a batch, the request itself has the fields of an entry.
                let entries = entries.map_or(std::slice::from_ref(&request), Vec::as_slice);
                let hidden = entries.iter().filter_map(|entry| {
                    let secs = entry.get("VisibilityTimeout").and_then(Value::as_u64);
                    Some((text(entry, "ReceiptHandle")?.to_owned(), MessageVisibility::starting_now(secs)))
                });
                self.with_queue(queue_name(&request), |receipts| receipts.extend(hidden));
            }
            // This only keeps the map small: the count drops the handles of deleted messages by itself.
            "DeleteMessage" => {
                let request: Value = serde_json::from_slice(request).unwrap_or_default();
                if let Some(receipt) = text(&request, "ReceiptHandle") {
                    self.with_queue(queue_name(&request), |receipts| receipts.remove(receipt));
                }
            }
            _ => {}
        }
    }

    fn observe_received(&self, request: &[u8], answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let messages = answer.get("Messages").and_then(Value::as_array);
        let receipts: Vec<_> =
            messages.into_iter().flatten().filter_map(|message| text(message, "ReceiptHandle")).collect();
        if receipts.is_empty() {
            return;
        }
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        // The emulator treats 0 as the queue's default.
        let secs = request.get("VisibilityTimeout").and_then(Value::as_u64).filter(|secs| *secs > 0);
        let hidden =
            receipts.into_iter().map(|receipt| (receipt.to_owned(), MessageVisibility::starting_now(secs)));
        self.with_queue(queue_name(&request), |receipts| receipts.extend(hidden));
    }

    fn with_queue<T>(
        &self,
        queue: &str,
        change: impl FnOnce(&mut HashMap<String, MessageVisibility>) -> T,
    ) -> T {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(queues.entry(queue.to_owned()).or_default())
    }

    /// Corrects a response of `GetQueueAttributes`: adds the messages that are visible again to the visible ones.
    pub(super) async fn with_visible_again(
        &self,
        sqs: &SqsService,
        request: &[u8],
        mut answer: MockResponse,
    ) -> MockResponse {
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // Without the count, the request failed or did not ask for it.
        let Some(reported) = body.pointer(&format!("/Attributes/{VISIBLE_COUNT}")).and_then(Value::as_str)
        else {
            return answer;
        };
        let count: usize = reported.parse().unwrap_or_default();
        let visible = (count + self.count_visible_again(sqs, &request).await).to_string();
        if let Some(number) = body.pointer_mut(&format!("/Attributes/{VISIBLE_COUNT}")) {
            *number = visible.into();
        }
        answer.body = body.to_string().into();
        answer
    }

    /// Returns `true` if a receipt handle that was given out is void because the message is gone. A message that is hidden
    /// is not.
    pub(super) async fn is_void(&self, sqs: &SqsService, request: &Value, receipt: &str) -> bool {
        let (queue, url) = (queue_name(request), text(request, "QueueUrl").unwrap_or_default());
        let hidden = self.with_queue(queue, |receipts| receipts.get(receipt).copied());
        let default_secs = default_visibility_timeout_secs(sqs, url).await;
        if hidden.is_some_and(|hidden| !hidden.has_expired(default_secs)) {
            return false;
        }
        !keep_visible(sqs, url, receipt).await
    }

    async fn count_visible_again(&self, sqs: &SqsService, request: &Value) -> usize {
        let (queue, url) = (queue_name(request), text(request, "QueueUrl").unwrap_or_default());
        let default_secs = default_visibility_timeout_secs(sqs, url).await;
        let expired = |receipts: &mut HashMap<String, MessageVisibility>| -> Vec<String> {
            let expired = receipts.iter().filter(|(_, hidden)| hidden.has_expired(default_secs));
            expired.map(|(receipt, _)| receipt.clone()).collect()
        };
        let mut count = 0;
        // Collected first, because the lock must not be held while the emulator is asked.
        for receipt in self.with_queue(queue, expired) {
            if keep_visible(sqs, url, &receipt).await {
                count += 1;
            } else {
                self.with_queue(queue, |receipts| receipts.remove(&receipt));
            }
        }
        count
    }
}

/// Keeps a visible message visible; `false` if the message was received again, deleted or moved: its handle is void.
async fn keep_visible(sqs: &SqsService, url: &str, receipt: &str) -> bool {
    let request = json!({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": 0});
    sqs.handle(sqs_request("ChangeMessageVisibility", &request)).await.status == 200
}

/// Visibility timeout of a queue, in seconds.
async fn default_visibility_timeout_secs(sqs: &SqsService, url: &str) -> u64 {
    let request = json!({"QueueUrl": url, "AttributeNames": ["VisibilityTimeout"]});
    let response = sqs.handle(sqs_request("GetQueueAttributes", &request)).await;
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let secs = body.pointer("/Attributes/VisibilityTimeout").and_then(Value::as_str);
    // SQS's default.
    secs.and_then(|secs| secs.parse().ok()).unwrap_or(30)
}

/// Name of the queue in a request. Its URL would not do as a key: it differs between endpoints.
pub(super) fn queue_name(request: &Value) -> &str {
    text(request, "QueueUrl").and_then(|url| url.rsplit('/').next()).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}
