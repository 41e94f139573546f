//! How many messages a queue holds. The embedded SQS counts a message that was received, and may be received again, neither
//! as visible nor as in flight, until somebody receives it. Here it is visible.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use winterbaume_core::{MockResponse, MockService};
use winterbaume_sqs::SqsService;

use super::sqs_request;

const VISIBLE: &str = "ApproximateNumberOfMessages";

/// The receipts that were given out, by queue.
#[derive(Debug, Default)]
pub(super) struct Receipts(Mutex<HashMap<String, HashMap<String, Hidden>>>);

/// Until when a received message is hidden.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    since: Instant,
    /// `None` for as long as its queue says.
    secs: Option<u64>,
}

impl Hidden {
    fn from_now(secs: Option<u64>) -> Self {
        Self { since: Instant::now(), secs }
    }

    fn is_over(self, usual_secs: u64) -> bool {
        self.since.elapsed() >= Duration::from_secs(self.secs.unwrap_or(usual_secs))
    }
}

impl Receipts {
    /// Notes what an answered request says of receipts.
    pub(super) fn note(&self, operation: &str, request: &[u8], answer: &MockResponse) {
        if answer.status != 200 {
            return;
        }
        match operation {
            "ReceiveMessage" => self.note_received(request, &answer.body),
            "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => {
                let request: Value = serde_json::from_slice(request).unwrap_or_default();
                let entries = request.get("Entries").and_then(Value::as_array);
                let entries = entries.map_or(std::slice::from_ref(&request), Vec::as_slice);
                let hidden = entries.iter().filter_map(|entry| {
                    let secs = entry.get("VisibilityTimeout").and_then(Value::as_u64);
                    Some((text(entry, "ReceiptHandle")?.to_owned(), Hidden::from_now(secs)))
                });
                self.with(queue_of(&request), |receipts| receipts.extend(hidden));
            }
            "DeleteMessage" => {
                let request: Value = serde_json::from_slice(request).unwrap_or_default();
                if let Some(receipt) = text(&request, "ReceiptHandle") {
                    self.with(queue_of(&request), |receipts| receipts.remove(receipt));
                }
            }
            _ => {}
        }
    }

    fn note_received(&self, request: &[u8], answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let messages = answer.get("Messages").and_then(Value::as_array);
        let receipts: Vec<_> =
            messages.into_iter().flatten().filter_map(|message| text(message, "ReceiptHandle")).collect();
        if receipts.is_empty() {
            return;
        }
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        // It takes 0 for the queue's own.
        let secs = request.get("VisibilityTimeout").and_then(Value::as_u64).filter(|secs| *secs > 0);
        let hidden = receipts.into_iter().map(|receipt| (receipt.to_owned(), Hidden::from_now(secs)));
        self.with(queue_of(&request), |receipts| receipts.extend(hidden));
    }

    fn with<T>(&self, queue: &str, change: impl FnOnce(&mut HashMap<String, Hidden>) -> T) -> T {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(queues.entry(queue.to_owned()).or_default())
    }

    /// The answer to a question about a queue's attributes, with the messages that may be received again among the visible
    /// ones.
    pub(super) async fn counted(
        &self,
        sqs: &SqsService,
        request: &[u8],
        mut answer: MockResponse,
    ) -> MockResponse {
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(counted) = body.pointer(&format!("/Attributes/{VISIBLE}")).and_then(Value::as_str) else {
            return answer;
        };
        let counted: usize = counted.parse().unwrap_or_default();
        let visible = (counted + self.visible_again(sqs, &request).await).to_string();
        if let Some(number) = body.pointer_mut(&format!("/Attributes/{VISIBLE}")) {
            *number = visible.into();
        }
        answer.body = body.to_string().into();
        answer
    }

    async fn visible_again(&self, sqs: &SqsService, request: &Value) -> usize {
        let (queue, url) = (queue_of(request), text(request, "QueueUrl").unwrap_or_default());
        let usual_secs = visibility_secs(sqs, url).await;
        let over = |receipts: &mut HashMap<String, Hidden>| -> Vec<String> {
            let over = receipts.iter().filter(|(_, hidden)| hidden.is_over(usual_secs));
            over.map(|(receipt, _)| receipt.clone()).collect()
        };
        let mut count = 0;
        for receipt in self.with(queue, over) {
            // A message that is visible stays so. By this receipt none is known that was received again, or is gone.
            let ask = json!({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": 0});
            if sqs.handle(sqs_request("ChangeMessageVisibility", &ask)).await.status == 200 {
                count += 1;
            } else {
                self.with(queue, |receipts| receipts.remove(&receipt));
            }
        }
        count
    }
}

/// How long a queue hides a received message, unless who receives it says otherwise.
async fn visibility_secs(sqs: &SqsService, url: &str) -> u64 {
    let ask = json!({"QueueUrl": url, "AttributeNames": ["VisibilityTimeout"]});
    let answer = sqs.handle(sqs_request("GetQueueAttributes", &ask)).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let secs = body.pointer("/Attributes/VisibilityTimeout").and_then(Value::as_str);
    // SQS's own default.
    secs.and_then(|secs| secs.parse().ok()).unwrap_or(30)
}

/// The name of the queue that a request is about: its URL is another for each of the endpoints.
fn queue_of(request: &Value) -> &str {
    text(request, "QueueUrl").and_then(|url| url.rsplit('/').next()).unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}
