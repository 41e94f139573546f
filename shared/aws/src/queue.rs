//! Sends messages to the queue `events`.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures::stream::{self, StreamExt};

use inbox_core::message::QueueMessage;

use crate::{AwsError, AwsErrorKind};

/// `SendMessageBatch` is permitted by the same IAM action.
pub(crate) const SEND: &str = "sqs:SendMessage";

/// Sends to the queue `events`.
#[derive(Clone, Debug)]
pub struct EventsQueue {
    sqs: Client,
    url: String,
}

/// Outcome of sending one message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The message is on the queue.
    Sent,
    /// SQS rejects the message itself: sending it again will not help.
    Undeliverable(AwsError),
    /// The message was not sent, or the outcome is unknown.
    Failed(AwsError),
}

impl EventsQueue {
    /// Creates a sender to the queue at this URL.
    pub fn new(sqs: Client, url: impl Into<String>) -> Self {
        Self { sqs, url: url.into() }
    }

    /// Sends one message. After an error the outcome is unknown.
    pub async fn send(&self, message: &QueueMessage) -> Result<(), AwsError> {
        let [provider, event_type] = attributes(message).ok_or(AwsError::unreadable_item(SEND))?;
        self.sqs
            .send_message()
            .queue_url(&self.url)
            .message_body(&message.body)
            .message_attributes(provider.0, provider.1)
            .message_attributes(event_type.0, event_type.1)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk_error(SEND, &error))
    }

    /// Sends at most ten messages and 1 MiB (see [`inbox_core::chunking::chunk_by_size`]); returns one outcome per
    /// message, in order.
    ///
    /// A batch that SQS rejects as a whole is sent again message by message, to find the one at fault.
    pub async fn send_batch(&self, messages: &[&QueueMessage]) -> Vec<SendOutcome> {
        match self.send_entries(messages).await {
            Err(error) if is_undeliverable(&error) && messages.len() > 1 => {
                stream::iter(messages.iter().copied())
                    .then(|message| async move {
                        self.send_entries(&[message])
                            .await
                            .map_or_else(send_failure, |sent| first_outcome(&sent))
                    })
                    .collect()
                    .await
            }
            Err(error) => vec![send_failure(error); messages.len()],
            Ok(sent) => sent,
        }
    }

    async fn send_entries(&self, messages: &[&QueueMessage]) -> Result<Vec<SendOutcome>, AwsError> {
        let entries: Option<Vec<_>> =
            messages.iter().enumerate().map(|(index, message)| entry(index, message)).collect();
        let answer = self
            .sqs
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries.ok_or(AwsError::unreadable_item(SEND))?))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk_error(SEND, &error))?;
        Ok((0..messages.len()).map(|index| entry_outcome(&answer, &index.to_string())).collect())
    }
}

/// The outcome of one entry of a batch.
fn entry_outcome(answer: &SendMessageBatchOutput, id: &str) -> SendOutcome {
    // SQS answers 200 even if entries failed: only those under `Successful` were sent.
    if answer.successful().iter().any(|entry| entry.id() == id) {
        return SendOutcome::Sent;
    }
    match answer.failed().iter().find(|entry| entry.id() == id) {
        // Not every fault of the sender is in the message, so the code decides.
        Some(failed) if failed.sender_fault() => {
            send_failure(AwsError { action: SEND, kind: AwsErrorKind::Service(failed.code().to_owned()) })
        }
        Some(failed) => SendOutcome::Failed(AwsError {
            action: SEND,
            kind: AwsErrorKind::Service(failed.code().to_owned()),
        }),
        // Neither successful nor failed: the outcome is unknown.
        None => SendOutcome::Failed(AwsError { action: SEND, kind: AwsErrorKind::UnreadableResponse }),
    }
}

fn send_failure(error: AwsError) -> SendOutcome {
    if is_undeliverable(&error) { SendOutcome::Undeliverable(error) } else { SendOutcome::Failed(error) }
}

fn first_outcome(sent: &[SendOutcome]) -> SendOutcome {
    sent.first()
        .cloned()
        .unwrap_or(SendOutcome::Failed(AwsError { action: SEND, kind: AwsErrorKind::UnreadableResponse }))
}

/// Returns `true` if SQS rejected the message itself: its size, contents or attributes.
fn is_undeliverable(error: &AwsError) -> bool {
    const UNDELIVERABLE_CODES: [&str; 5] = [
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidAttributeValue",
        "MessageTooLong",
        "BatchRequestTooLong",
    ];
    match &error.kind {
        // A code may have a prefix, as in `AWS.SimpleQueueService.…`, or the suffix `Exception`.
        AwsErrorKind::Service(code) => UNDELIVERABLE_CODES
            .contains(&code.rsplit('.').next().unwrap_or(code).trim_end_matches("Exception")),
        AwsErrorKind::Construction
        | AwsErrorKind::Timeout
        | AwsErrorKind::Connection
        | AwsErrorKind::Certificate
        | AwsErrorKind::UnreadableResponse
        | AwsErrorKind::UnreadableItem
        | AwsErrorKind::PayloadGone => false,
    }
}

fn entry(index: usize, message: &QueueMessage) -> Option<SendMessageBatchRequestEntry> {
    let [provider, event_type] = attributes(message)?;
    SendMessageBatchRequestEntry::builder()
        // The response names entries by id, not by position.
        .id(index.to_string())
        .message_body(&message.body)
        .message_attributes(provider.0, provider.1)
        .message_attributes(event_type.0, event_type.1)
        .build()
        .ok()
}

fn attributes(message: &QueueMessage) -> Option<[(&'static str, MessageAttributeValue); 2]> {
    let value =
        |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().ok();
    Some([("provider", value(message.provider.as_str())?), ("type", value(&message.event_type)?)])
}
