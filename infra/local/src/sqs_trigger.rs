//! Emulator of Lambda's event source mapping for SQS: receives messages, invokes a function with them, and deletes those
//! that the function does not report as failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::resource_names::EVENTS_QUEUE;

/// Most messages in one invocation.
const BATCH_MESSAGES_MAX: i32 = 10;

/// Event source mapping of the queue `events`. Several may run concurrently.
#[derive(Clone, Debug)]
pub struct SqsTrigger {
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
}

/// Result of one receive and invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriggerOutcome {
    /// Number of messages that the function was invoked with.
    pub received: usize,
    /// Number of these that were processed and deleted.
    pub deleted: usize,
    /// Number of these that failed; they are visible again after the visibility timeout.
    pub failed: usize,
}

impl SqsTrigger {
    /// Creates a mapping of the queue with this URL; it does not run yet.
    pub fn new(sqs: aws_sdk_sqs::Client, queue_url: String) -> Self {
        Self { sqs, queue_url }
    }

    /// Receives messages and invokes `function` until the handle is aborted, with this pause while the queue is empty or
    /// cannot be read.
    pub fn run<F>(
        self,
        pause: Duration,
        function: impl Fn(SqsEvent) -> F + Send + Sync + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = Option<SqsBatchResponse>> + Send,
    {
        tokio::spawn(async move {
            loop {
                // After messages, the next receive follows without a pause: the queue may hold more.
                if self.run_once(&function).await.is_ok_and(|outcome| outcome.received > 0) {
                    continue;
                }
                tokio::time::sleep(pause).await;
            }
        })
    }

    /// Receives at most ten messages and invokes `function` with them, if there are any. `function` returns `None` if it
    /// failed or crashed.
    ///
    /// # Errors
    ///
    /// Messages cannot be received or deleted. Messages that were not deleted are visible again after the visibility timeout.
    pub async fn run_once<F>(&self, function: impl Fn(SqsEvent) -> F) -> anyhow::Result<TriggerOutcome>
    where
        F: Future<Output = Option<SqsBatchResponse>>,
    {
        let receive =
            self.sqs.receive_message().queue_url(&self.queue_url).max_number_of_messages(BATCH_MESSAGES_MAX);
        let receive = receive.message_attribute_names("All");
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let messages = receive.send().await.context("receive messages")?.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(TriggerOutcome::default());
        }
        let event = sqs_event(&messages).context("build the SQS event")?;
        let failed = failed_message_ids(&messages, Box::pin(function(event)).await);
        let mut outcome = TriggerOutcome { received: messages.len(), ..TriggerOutcome::default() };
        for message in &messages {
            if failed.contains(message_id(message)) {
                outcome.failed += 1;
                continue;
            }
            let delete = self.sqs.delete_message().queue_url(&self.queue_url);
            let handle = message.receipt_handle.clone().unwrap_or_default();
            delete.receipt_handle(handle).send().await.context("delete a message")?;
            outcome.deleted += 1;
        }
        Ok(outcome)
    }
}

fn message_id(message: &Message) -> &str {
    message.message_id.as_deref().unwrap_or_default()
}

/// Ids of the failed messages: those that the function reports; all, if the function failed or reports an unknown id, as
/// in Lambda.
fn failed_message_ids(messages: &[Message], response: Option<SqsBatchResponse>) -> BTreeSet<String> {
    let all: BTreeSet<String> = messages.iter().map(|message| message_id(message).to_owned()).collect();
    let Some(response) = response else { return all };
    let reported: BTreeSet<String> =
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    if reported.is_subset(&all) { reported } else { all }
}

/// The invocation event, in the form that Lambda builds.
fn sqs_event(messages: &[Message]) -> serde_json::Result<SqsEvent> {
    // Built as JSON and parsed, so that the function gets the field names and forms that Lambda sends.
    let records: Vec<_> = messages.iter().map(sqs_record).collect();
    serde_json::from_value(json!({"Records": records}))
}

fn sqs_record(message: &Message) -> Value {
    let attributes: BTreeMap<_, _> =
        message.attributes.iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
    let message_attributes: BTreeMap<_, _> = message
        .message_attributes
        .iter()
        .flatten()
        .map(|(name, value)| (name, message_attribute(value)))
        .collect();
    json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "md5OfBody": message.md5_of_body,
        "md5OfMessageAttributes": message.md5_of_message_attributes,
        "attributes": attributes,
        "messageAttributes": message_attributes,
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:123456789012:{EVENTS_QUEUE}"),
        "awsRegion": "us-east-1",
    })
}

/// Attribute with a string value: the SQS emulator stores no binary ones.
fn message_attribute(value: &MessageAttributeValue) -> Value {
    json!({
        "stringValue": value.string_value,
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value.data_type,
    })
}
