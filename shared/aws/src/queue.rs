//! The queue `events`.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures::stream::{self, StreamExt};

use inbox_core::message::QueueMessage;

use crate::{AwsError, AwsErrorKind};

/// `SendMessageBatch` needs the same permission.
pub(crate) const SEND: &str = "sqs:SendMessage";

/// A queue to send to.
#[derive(Clone, Debug)]
pub struct EventsQueue {
    sqs: Client,
    url: String,
}

/// What became of one message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is on the queue.
    Sent,
    /// SQS refuses it for what it is: sending it again will not help.
    Undeliverable(AwsError),
    /// Not sent, or not known.
    Failed(AwsError),
}

impl EventsQueue {
    /// The queue at this URL.
    pub fn new(sqs: Client, url: impl Into<String>) -> Self {
        Self { sqs, url: url.into() }
    }

    /// Sends one message. On a fault the outcome is unknown.
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

    /// Sends at most ten messages and 1 MiB (see [`inbox_core::inbox::batches`]), and says of each what became
    /// of it. A batch that is refused as a whole is sent message by message, to find the one that is at fault.
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

/// SQS answers 200 with failed entries: only what stands under `Successful` was sent.
fn entry_outcome(answer: &SendMessageBatchOutput, id: &str) -> SendOutcome {
    if answer.successful().iter().any(|entry| entry.id() == id) {
        return SendOutcome::Sent;
    }
    match answer.failed().iter().find(|entry| entry.id() == id) {
        Some(failed) if failed.sender_fault() => {
            send_failure(AwsError { action: SEND, kind: AwsErrorKind::Service(failed.code().to_owned()) })
        }
        Some(failed) => SendOutcome::Failed(AwsError {
            action: SEND,
            kind: AwsErrorKind::Service(failed.code().to_owned()),
        }),
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

/// Whether SQS found fault with the message itself, and not with us, our permissions, or itself.
fn is_undeliverable(error: &AwsError) -> bool {
    const UNDELIVERABLE_CODES: [&str; 5] = [
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidAttributeValue",
        "MessageTooLong",
        "BatchRequestTooLong",
    ];
    match &error.kind {
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
