//! The dead-letter queue, as an operator looks at it, and the way back out of it.
//!
//! ```text
//!  take (hidden for a while) ── send to `events` ── trace on the record ── delete
//! ```
//!
//! What dies in between leaves the message where it is: it is moved once more then, and a copy is harmless (P10).

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use serde::Deserialize;

use inbox_core::audit::AuditEntry;
use inbox_core::event::EventKey;
use inbox_core::time::UnixMillis;

use crate::AwsError;
use crate::inbox::Inbox;
use crate::queue::SEND;

const RECEIVE: &str = "sqs:ReceiveMessage";
/// Messages in one answer of SQS.
const RECEIVE_MAX: usize = 10;
/// Empty answers in a row after which the queue counts as empty: one may not have asked all of its servers.
const EMPTY_RESPONSES_MAX: usize = 2;

/// A dead-letter queue, and the queue whose messages died.
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    sqs: Client,
    dead_letter_url: String,
    events_url: String,
}

/// A message that was received too often.
#[derive(Clone)]
pub struct DeadLetter {
    /// SQS's own id of it.
    pub message_id: String,
    /// The event that it is about; `None` if it is none of ours.
    pub event: Option<EventKey>,
    /// When it was first sent.
    pub sent_at: Option<UnixMillis>,
    /// How large its body is.
    pub bytes: usize,
    body: String,
    attributes: HashMap<String, MessageAttributeValue>,
    receipt: String,
}

/// Its body is a payload (P8).
impl std::fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeadMessage({}, {} bytes)", self.message_id, self.bytes)
    }
}

impl DeadLetterQueue {
    /// The queue at `dead_url`, whose messages died on the one at `events_url`.
    pub fn new(sqs: Client, dead_url: impl Into<String>, events_url: impl Into<String>) -> Self {
        Self { sqs, dead_letter_url: dead_url.into(), events_url: events_url.into() }
    }

    /// Takes at most so many messages; they are hidden from others for so long.
    pub async fn receive(
        &self,
        limit: usize,
        visibility_timeout: Duration,
    ) -> Result<Vec<DeadLetter>, AwsError> {
        let (mut received, mut empty_responses) = (Vec::new(), 0);
        while received.len() < limit && empty_responses < EMPTY_RESPONSES_MAX {
            let max_messages = RECEIVE_MAX.min(limit - received.len());
            let receive = self
                .sqs
                .receive_message()
                .queue_url(&self.dead_letter_url)
                .max_number_of_messages(i32::try_from(max_messages).unwrap_or(1))
                .visibility_timeout(i32::try_from(visibility_timeout.as_secs()).unwrap_or(i32::MAX))
                .wait_time_seconds(1)
                .message_attribute_names("All")
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
            let answer = receive.send().await.map_err(|error| AwsError::from_sdk_error(RECEIVE, &error))?;
            let messages = answer.messages.unwrap_or_default();
            empty_responses = if messages.is_empty() { empty_responses + 1 } else { 0 };
            received.extend(messages.into_iter().filter_map(DeadLetter::from_message));
        }
        Ok(received)
    }

    /// Lets others see a message again, at once.
    pub async fn release(&self, message: &DeadLetter) -> Result<(), AwsError> {
        let request = self
            .sqs
            .change_message_visibility()
            .queue_url(&self.dead_letter_url)
            .receipt_handle(&message.receipt)
            .visibility_timeout(0);
        let done = request.send().await;
        done.map(|_| ()).map_err(|error| AwsError::from_sdk_error("sqs:ChangeMessageVisibility", &error))
    }

    /// Moves a message back, body and attributes as they are, and leaves a trace on its event's record.
    pub async fn redrive(
        &self,
        inbox: &Inbox,
        message: &DeadLetter,
        by: &AuditEntry,
    ) -> Result<(), AwsError> {
        let send = self
            .sqs
            .send_message()
            .queue_url(&self.events_url)
            .message_body(&message.body)
            .set_message_attributes(Some(message.attributes.clone()));
        send.send().await.map_err(|error| AwsError::from_sdk_error(SEND, &error))?;
        if let Some(key) = &message.event {
            inbox.append_audit_entry(key, by).await?;
        }
        let delete =
            self.sqs.delete_message().queue_url(&self.dead_letter_url).receipt_handle(&message.receipt);
        delete.send().await.map(|_| ()).map_err(|error| AwsError::from_sdk_error("sqs:DeleteMessage", &error))
    }
}

impl DeadLetter {
    fn from_message(message: Message) -> Option<Self> {
        let sent_at =
            message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
        let sent_at = sent_at.and_then(|at| at.parse().ok()).map(UnixMillis);
        let body = message.body.unwrap_or_default();
        Some(Self {
            message_id: message.message_id.unwrap_or_default(),
            event: event_key_of(&body),
            sent_at,
            bytes: body.len(),
            body,
            attributes: message.message_attributes.unwrap_or_default(),
            receipt: message.receipt_handle?,
        })
    }
}

fn event_key_of(body: &str) -> Option<EventKey> {
    #[derive(Deserialize)]
    struct EventIdField {
        id: String,
    }
    let message: EventIdField = serde_json::from_str(body).ok()?;
    EventKey::from_event_id(&message.id)
}
