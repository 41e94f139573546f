//! The queue `events`.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures::stream::{self, StreamExt};

use inbox_core::message::Message;

use crate::{Cause, Fault};

/// `SendMessageBatch` needs the same permission.
pub(crate) const SEND: &str = "sqs:SendMessage";

/// A queue to send to.
#[derive(Clone, Debug)]
pub struct Queue {
    sqs: Client,
    url: String,
}

/// What became of one message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on the queue.
    Sent,
    /// SQS refuses it for what it is: sending it again will not help.
    Refused(Fault),
    /// Not sent, or not known.
    Failed(Fault),
}

impl Queue {
    /// The queue at this URL.
    pub fn new(sqs: Client, url: impl Into<String>) -> Self {
        Self { sqs, url: url.into() }
    }

    /// Sends one message. On a fault the outcome is unknown.
    pub async fn send(&self, message: &Message) -> Result<(), Fault> {
        let [provider, event_type] = attributes(message).ok_or(Fault::item(SEND))?;
        self.sqs
            .send_message()
            .queue_url(&self.url)
            .message_body(&message.body)
            .message_attributes(provider.0, provider.1)
            .message_attributes(event_type.0, event_type.1)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| Fault::of(SEND, &error))
    }

    /// Sends at most ten messages and 1 MiB (see [`inbox_core::inbox::batches`]), and says of each what became
    /// of it. A batch that is refused as a whole is sent message by message, to find the one that is at fault.
    pub async fn send_batch(&self, messages: &[&Message]) -> Vec<Sent> {
        match self.try_batch(messages).await {
            Err(fault) if is_refusal(&fault) && messages.len() > 1 => {
                stream::iter(messages.iter().copied())
                    .then(|message| async move {
                        self.try_batch(&[message]).await.map_or_else(verdict, |sent| first(&sent))
                    })
                    .collect()
                    .await
            }
            Err(fault) => vec![verdict(fault); messages.len()],
            Ok(sent) => sent,
        }
    }

    async fn try_batch(&self, messages: &[&Message]) -> Result<Vec<Sent>, Fault> {
        let entries: Option<Vec<_>> =
            messages.iter().enumerate().map(|(index, message)| entry(index, message)).collect();
        let answer = self
            .sqs
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries.ok_or(Fault::item(SEND))?))
            .send()
            .await
            .map_err(|error| Fault::of(SEND, &error))?;
        Ok((0..messages.len()).map(|index| outcome(&answer, &index.to_string())).collect())
    }
}

/// SQS answers 200 with failed entries: only what stands under `Successful` was sent.
fn outcome(answer: &SendMessageBatchOutput, id: &str) -> Sent {
    if answer.successful().iter().any(|entry| entry.id() == id) {
        return Sent::Sent;
    }
    match answer.failed().iter().find(|entry| entry.id() == id) {
        Some(failed) if failed.sender_fault() => {
            verdict(Fault { action: SEND, cause: Cause::Service(failed.code().to_owned()) })
        }
        Some(failed) => Sent::Failed(Fault { action: SEND, cause: Cause::Service(failed.code().to_owned()) }),
        None => Sent::Failed(Fault { action: SEND, cause: Cause::Answer }),
    }
}

fn verdict(fault: Fault) -> Sent {
    if is_refusal(&fault) { Sent::Refused(fault) } else { Sent::Failed(fault) }
}

fn first(sent: &[Sent]) -> Sent {
    sent.first().cloned().unwrap_or(Sent::Failed(Fault { action: SEND, cause: Cause::Answer }))
}

/// Whether SQS found fault with the message itself, and not with us, our permissions, or itself.
fn is_refusal(fault: &Fault) -> bool {
    const MESSAGE_AT_FAULT: [&str; 5] = [
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidAttributeValue",
        "MessageTooLong",
        "BatchRequestTooLong",
    ];
    match &fault.cause {
        Cause::Service(code) => {
            MESSAGE_AT_FAULT.contains(&code.rsplit('.').next().unwrap_or(code).trim_end_matches("Exception"))
        }
        Cause::Request
        | Cause::Timeout
        | Cause::Connection
        | Cause::Certificate
        | Cause::Answer
        | Cause::Item
        | Cause::PayloadGone => false,
    }
}

fn entry(index: usize, message: &Message) -> Option<SendMessageBatchRequestEntry> {
    let [provider, event_type] = attributes(message)?;
    SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&message.body)
        .message_attributes(provider.0, provider.1)
        .message_attributes(event_type.0, event_type.1)
        .build()
        .ok()
}

fn attributes(message: &Message) -> Option<[(&'static str, MessageAttributeValue); 2]> {
    let value =
        |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().ok();
    Some([("provider", value(message.provider.as_str())?), ("type", value(&message.event_type)?)])
}
