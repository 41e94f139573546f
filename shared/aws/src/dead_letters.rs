//! The dead-letter queue, as an operator sees it, and the redrive of its messages.
//!
//! ```text
//!  receive (hidden for a while) ── send to `events` ── audit entry on the record ── delete
//! ```
//!
//! If a redrive is interrupted, the message stays in the dead-letter queue: it is sent once more then, and a copy is
//! harmless (P10).

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use serde::Deserialize;

use inbox_core::audit::AuditEntry;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::person::names_person;
use inbox_core::time::UnixMillis;

use crate::AwsError;
use crate::queue::SEND;
use crate::stores::OperatorStore;

const RECEIVE: &str = "sqs:ReceiveMessage";
/// Most messages in one response of SQS.
const RECEIVE_MAX: usize = 10;
/// Consecutive empty responses after which the queue counts as empty: a single one may not have asked all of
/// its servers.
const EMPTY_RESPONSES_MAX: usize = 2;

/// A dead-letter queue, and the queue that its messages came from.
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    sqs: Client,
    dead_letter_url: String,
    events_url: String,
}

/// A message in the dead-letter queue: it was received too often without being deleted.
#[derive(Clone)]
pub struct DeadLetter {
    /// The message id of SQS.
    pub message_id: String,
    /// The event of the message; `None` if it is not one of ours.
    pub event: Option<EventKey>,
    /// Time at which it was first sent.
    pub sent_at: Option<UnixMillis>,
    /// Size of its body, in bytes.
    pub bytes: usize,
    body: String,
    attributes: HashMap<String, MessageAttributeValue>,
    receipt: String,
}

/// Shows no body: it is a payload (P8).
impl std::fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeadLetter({}, {} bytes)", self.message_id, self.bytes)
    }
}

impl DeadLetterQueue {
    /// Creates a client for the queue at `dead_letter_url`, whose messages came from the one at `events_url`.
    pub fn new(sqs: Client, dead_letter_url: impl Into<String>, events_url: impl Into<String>) -> Self {
        Self { sqs, dead_letter_url: dead_letter_url.into(), events_url: events_url.into() }
    }

    /// Receives at most `limit` messages; they are hidden from other receivers for `visibility_timeout`.
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
                // A redrive sends the attributes on, because consumers filter by them.
                .message_attribute_names("All")
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
            let answer = receive.send().await.map_err(|error| AwsError::from_sdk_error(RECEIVE, &error))?;
            let messages = answer.messages.unwrap_or_default();
            empty_responses = if messages.is_empty() { empty_responses + 1 } else { 0 };
            received.extend(messages.into_iter().filter_map(DeadLetter::from_message));
        }
        Ok(received)
    }

    /// Makes a message visible to other receivers at once.
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

    /// Sends a message to the queue `events` again, body and attributes unchanged, adds an audit entry to its
    /// event's record, and deletes it here.
    pub async fn redrive(
        &self,
        events: &OperatorStore,
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
            events.append_audit_entry(key, by).await?;
        }
        // Deleted last: if a call before fails, the message stays here and is redriven again.
        let delete =
            self.sqs.delete_message().queue_url(&self.dead_letter_url).receipt_handle(&message.receipt);
        delete.send().await.map(|_| ()).map_err(|error| AwsError::from_sdk_error("sqs:DeleteMessage", &error))
    }
}

impl DeadLetter {
    /// Returns `true` if the payload in the message names the person. A payload that it only refers to is in the table.
    pub fn names_person(&self, person: &Id) -> bool {
        names_person(self.body.as_bytes(), person)
    }

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
            // Without a receipt, the message could be neither released nor deleted.
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
