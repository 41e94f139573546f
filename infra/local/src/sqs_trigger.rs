//! A stand-in for Lambda's event source mapping: it takes messages off a queue, has a function work on them, and
//! deletes those that the function does not name as failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::stack::{EVENTS_QUEUE, Stack};

/// Messages in one invocation.
const BATCH_MESSAGES_MAX: i32 = 10;

/// The mapping of the queue `events` to a function. Several may run at once.
#[derive(Clone, Debug)]
pub struct SqsTrigger {
    /// Lambda's own: no function's faults befall it.
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
}

/// What one look at the queue came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriggerOutcome {
    /// Messages that the function was invoked with.
    pub received: usize,
    /// Those of them that are done with.
    pub deleted: usize,
    /// Those that the queue shows again once they have been hidden for long enough.
    pub failed: usize,
}

impl SqsTrigger {
    /// A mapping that does nothing yet.
    pub fn new(stack: &Stack) -> Self {
        Self { sqs: stack.inspector.sqs.clone(), queue_url: stack.events_queue_url.clone() }
    }

    /// Takes messages again and again, with this pause while there are none, until the handle is aborted.
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
                if self.run_once(&function).await.is_ok_and(|outcome| outcome.received > 0) {
                    continue;
                }
                tokio::time::sleep(pause).await;
            }
        })
    }

    /// Takes what messages there are, ten at most, and has the function work on them, if there are any. What comes
    /// back is `None` if it failed or died.
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
        let event = sqs_event(&messages).context("an event of SQS")?;
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

/// Which messages failed: those that are named; all, if the function failed, or named one that is none of them.
fn failed_message_ids(messages: &[Message], answer: Option<SqsBatchResponse>) -> BTreeSet<String> {
    let all: BTreeSet<String> = messages.iter().map(|message| message_id(message).to_owned()).collect();
    let Some(answer) = answer else { return all };
    let named: BTreeSet<String> =
        answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    if named.is_subset(&all) { named } else { all }
}

/// The invocation event, as Lambda makes it.
fn sqs_event(messages: &[Message]) -> serde_json::Result<SqsEvent> {
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

/// Of text: the embedded SQS keeps no other.
fn message_attribute(value: &MessageAttributeValue) -> Value {
    json!({
        "stringValue": value.string_value,
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value.data_type,
    })
}
