//! Metrics of the queues, by minute: messages sent, and the age of the oldest message, in flight or not.
//!
//! The SQS emulator (winterbaume) has no metrics, so each successful request is observed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use inbox_core::time::UnixMillis;
use serde::Deserialize;
use serde_json::Value;
use winterbaume_core::MockResponse;

use super::minute_values::{Minute, MinuteValues};

/// Metrics of the queues, by name.
#[derive(Debug, Default)]
pub(super) struct QueueMetrics(Mutex<HashMap<String, TrackedQueue>>);

/// A received message that SQS may have moved to the dead-letter queue.
pub(super) struct ExhaustedMessage {
    pub(super) message_id: String,
    /// Its last receipt handle, which is void if the message was moved.
    pub(super) receipt: String,
}

#[derive(Debug, Default)]
struct TrackedQueue {
    sent: MinuteValues,
    /// Age of the oldest message, in seconds: the highest of each minute.
    oldest_age_secs: MinuteValues,
    /// Minute up to which the ages are known.
    aged_in: Option<Minute>,
    messages: HashMap<String, TrackedMessage>,
    /// Ids of the messages, by the time at which they came to this queue.
    by_time: BTreeSet<(UnixMillis, String)>,
    /// Message id of each receipt handle.
    receipts: HashMap<String, String>,
    redrive: Option<Redrive>,
}

#[derive(Debug)]
struct TrackedMessage {
    came_at: UnixMillis,
    receipts: Vec<String>,
}

/// The redrive policy of a queue.
#[derive(Debug)]
struct Redrive {
    dead_letter_queue: String,
    max_receives: usize,
}

/// The fields of SQS requests that matter here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Request {
    queue_url: String,
    queue_name: String,
    receipt_handle: String,
    entries: Vec<Entry>,
    attributes: HashMap<String, String>,
}

/// The fields of SQS responses that matter here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Response {
    message_id: String,
    successful: Vec<Entry>,
    messages: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Entry {
    id: String,
    message_id: String,
    receipt_handle: String,
}

impl QueueMetrics {
    /// Updates the metrics after a request.
    pub(super) fn observe(&self, operation: &str, request: &[u8], response: &MockResponse, now: UnixMillis) {
        let is_observed =
            matches!(operation, "CreateQueue" | "DeleteQueue" | "PurgeQueue" | "SetQueueAttributes")
                || operation.starts_with("SendMessage")
                || operation.starts_with("DeleteMessage")
                || operation == "ReceiveMessage";
        if response.status != 200 || !is_observed {
            return;
        }
        let request: Request = serde_json::from_slice(request).unwrap_or_default();
        let response: Response = serde_json::from_slice(&response.body).unwrap_or_default();
        // Not the URL: it differs between endpoints.
        let name = request.queue_url.rsplit('/').next().filter(|name| !name.is_empty());
        let name = name.unwrap_or(&request.queue_name).to_owned();
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if operation == "DeleteQueue" {
            queues.remove(&name);
            return;
        }
        let queue = queues.entry(name).or_default();
        queue.age(now);
        queue.apply(operation, &request, response, now);
    }

    /// The messages that were received as often as the redrive policy allows.
    pub(super) fn exhausted(&self, queue: &str) -> Vec<ExhaustedMessage> {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((queue, redrive)) = queues.get(queue).and_then(|it| Some((it, it.redrive.as_ref()?))) else {
            return Vec::new();
        };
        let exhausted =
            queue.messages.iter().filter(|(_, message)| message.receipts.len() >= redrive.max_receives);
        let exhausted = exhausted.filter_map(|(id, message)| {
            Some(ExhaustedMessage { message_id: id.clone(), receipt: message.receipts.last()?.clone() })
        });
        exhausted.collect()
    }

    /// Notes that a message was moved to the dead-letter queue. Its age begins again there, as in AWS.
    pub(super) fn move_to_dead_letters(&self, queue: &str, message_id: &str, now: UnixMillis) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(source) = queues.get_mut(queue) else { return };
        source.age(now);
        source.remove(message_id);
        let Some(redrive) = &source.redrive else { return };
        let target = redrive.dead_letter_queue.clone();
        let target = queues.entry(target).or_default();
        target.age(now);
        target.insert(message_id.to_owned(), now);
    }

    /// The number of messages that were sent in each minute.
    pub(super) fn sent(&self, queue: &str, start: Minute, end: Minute) -> Vec<(Minute, u64)> {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).map(|it| it.sent.between(start, end)).unwrap_or_default()
    }

    /// The highest age of the oldest message in each minute, in seconds.
    pub(super) fn oldest_age_secs(
        &self,
        queue: &str,
        start: Minute,
        end: Minute,
        now: UnixMillis,
    ) -> Vec<(Minute, u64)> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queues.get_mut(queue) else { return Vec::new() };
        queue.age(now);
        queue.oldest_age_secs.between(start, end)
    }
}

impl TrackedQueue {
    /// Notes the age of the oldest message in each minute since the last time. It must be called before each change: until
    /// then, the oldest message was the same.
    fn age(&mut self, now: UnixMillis) {
        let this_minute = Minute::of(now);
        let oldest = self.by_time.first().map(|(came_at, _)| *came_at);
        let age_secs = |at: UnixMillis| oldest.map_or(0, |oldest| at.since(oldest).as_secs());
        let mut minute = self.aged_in.unwrap_or(this_minute).max(this_minute.oldest_kept());
        while minute < this_minute {
            self.oldest_age_secs.raise_to(minute, age_secs(minute.next().start()));
            minute = minute.next();
        }
        self.oldest_age_secs.raise_to(this_minute, age_secs(now));
        self.aged_in = Some(this_minute);
    }

    fn apply(&mut self, operation: &str, request: &Request, response: Response, now: UnixMillis) {
        match operation {
            "SendMessage" => self.send(response.message_id, now),
            "SendMessageBatch" => {
                response.successful.into_iter().for_each(|it| self.send(it.message_id, now));
            }
            "ReceiveMessage" => response.messages.into_iter().for_each(|it| self.receive(it)),
            "DeleteMessage" => self.remove_received(&request.receipt_handle),
            "DeleteMessageBatch" => {
                let is_deleted = |entry: &&Entry| response.successful.iter().any(|it| it.id == entry.id);
                for entry in request.entries.iter().filter(is_deleted) {
                    self.remove_received(&entry.receipt_handle);
                }
            }
            "PurgeQueue" => {
                self.messages.clear();
                self.by_time.clear();
                self.receipts.clear();
            }
            // `CreateQueue` and `SetQueueAttributes`.
            _ => {
                if let Some(policy) = request.attributes.get("RedrivePolicy") {
                    self.redrive = parse_redrive(policy);
                }
            }
        }
    }

    fn send(&mut self, message_id: String, now: UnixMillis) {
        self.sent.add(Minute::of(now), 1);
        self.insert(message_id, now);
    }

    fn insert(&mut self, message_id: String, now: UnixMillis) {
        self.by_time.insert((now, message_id.clone()));
        self.messages.insert(message_id, TrackedMessage { came_at: now, receipts: Vec::new() });
    }

    fn receive(&mut self, received: Entry) {
        if let Some(message) = self.messages.get_mut(&received.message_id) {
            message.receipts.push(received.receipt_handle.clone());
            self.receipts.insert(received.receipt_handle, received.message_id);
        }
    }

    fn remove_received(&mut self, receipt: &str) {
        if let Some(message_id) = self.receipts.get(receipt).cloned() {
            self.remove(&message_id);
        }
    }

    fn remove(&mut self, message_id: &str) {
        let Some(message) = self.messages.remove(message_id) else { return };
        self.by_time.remove(&(message.came_at, message_id.to_owned()));
        for receipt in message.receipts {
            self.receipts.remove(&receipt);
        }
    }
}

/// `None` for a policy that cannot be read.
fn parse_redrive(policy: &str) -> Option<Redrive> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let target = policy.get("deadLetterTargetArn")?.as_str()?.rsplit(':').next()?;
    let max_receives = policy.get("maxReceiveCount")?;
    let max_receives = max_receives.as_u64().or_else(|| max_receives.as_str()?.parse().ok())?;
    Some(Redrive { dead_letter_queue: target.to_owned(), max_receives: usize::try_from(max_receives).ok()? })
}
