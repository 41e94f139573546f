//! Publishes events on the EventBridge bus.

use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};

use inbox_core::bus::{BusEvent, SOURCE};
use inbox_core::chunking::{ChunkLimits, chunk_by_size};
use inbox_core::limits::{BUS_ENTRIES_MAX, BUS_MAX_BYTES};

use crate::backoff::Backoff;
use crate::{AwsError, AwsErrorKind};

const PUT: &str = "events:PutEvents";
/// EventBridge's limits of one call.
const CALL_LIMITS: ChunkLimits = ChunkLimits { max_entries: BUS_ENTRIES_MAX, max_bytes: BUS_MAX_BYTES };
/// Retries of failed entries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), 3);

/// Publishes on one EventBridge bus.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: Client,
    name: String,
}

/// Outcome of publishing one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The event is on the bus.
    Published,
    /// EventBridge rejects the event itself: publishing it again will not help.
    Undeliverable(AwsError),
    /// The event was not published, or the outcome is unknown.
    Failed(AwsError),
}

impl EventBus {
    /// Creates a publisher for the bus of this name or ARN.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Publishes events, in as many calls as EventBridge's limits require; returns one outcome per event, in
    /// order.
    pub async fn publish(&self, events: &[BusEvent]) -> Vec<PublishOutcome> {
        let mut published = Vec::with_capacity(events.len());
        for batch in chunk_by_size(events.iter().collect(), CALL_LIMITS, |event| event.size_bytes()) {
            published.extend(self.publish_with_retries(&batch).await);
        }
        published
    }

    /// Publishes one call's events and retries failed entries, with growing pauses.
    async fn publish_with_retries(&self, batch: &[&BusEvent]) -> Vec<PublishOutcome> {
        let mut outcome = self.put_events(batch).await;
        // A rejected call does not say which entry is at fault: each is sent alone.
        if batch.len() > 1 && outcome.iter().all(|it| matches!(it, PublishOutcome::Undeliverable(_))) {
            outcome.clear();
            for event in batch {
                outcome.extend(self.put_events(&[event]).await);
            }
        }
        let mut backoff = BACKOFF;
        loop {
            let failed: Vec<_> = retryable_entries(&outcome).collect();
            if failed.is_empty() || !backoff.pause().await {
                return outcome;
            }
            let rest: Vec<_> = failed.iter().filter_map(|index| batch.get(*index).copied()).collect();
            for (index, published) in failed.into_iter().zip(self.put_events(&rest).await) {
                outcome.splice(index..=index, [published]);
            }
        }
    }

    async fn put_events(&self, batch: &[&BusEvent]) -> Vec<PublishOutcome> {
        let entries = batch.iter().map(|event| self.entry(event)).collect();
        match self.client.put_events().set_entries(Some(entries)).send().await {
            Ok(answer) => (0..batch.len()).map(|index| entry_outcome(answer.entries().get(index))).collect(),
            Err(error) => vec![publish_failure(AwsError::from_sdk_error(PUT, &error)); batch.len()],
        }
    }

    fn entry(&self, event: &BusEvent) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(event.detail_type)
            .detail(&event.detail)
            .time(DateTime::from_millis(event.time.0))
            .build()
    }
}

fn retryable_entries(outcome: &[PublishOutcome]) -> impl Iterator<Item = usize> {
    let failed = |(index, published): (usize, &PublishOutcome)| match published {
        // The SDK has already retried a call that failed as a whole.
        PublishOutcome::Failed(error) => matches!(error.kind, AwsErrorKind::Service(_)).then_some(index),
        PublishOutcome::Published | PublishOutcome::Undeliverable(_) => None,
    };
    outcome.iter().enumerate().filter_map(failed)
}

/// Classifies one entry of a response.
fn entry_outcome(entry: Option<&PutEventsResultEntry>) -> PublishOutcome {
    // EventBridge answers 200 even if entries failed: only an entry with an event id is on the bus.
    match entry.map(|entry| (entry.event_id(), entry.error_code())) {
        Some((_, Some(code))) => {
            publish_failure(AwsError { action: PUT, kind: AwsErrorKind::Service(code.to_owned()) })
        }
        Some((Some(_), None)) => PublishOutcome::Published,
        // Neither an event id nor an error code: the outcome is unknown.
        Some((None, None)) | None => {
            PublishOutcome::Failed(AwsError { action: PUT, kind: AwsErrorKind::UnreadableResponse })
        }
    }
}

fn publish_failure(error: AwsError) -> PublishOutcome {
    // With these codes EventBridge blames the event itself. Every other error may pass.
    const UNDELIVERABLE_CODES: [&str; 2] = ["MalformedDetail", "ValidationException"];
    let is_undeliverable =
        matches!(&error.kind, AwsErrorKind::Service(code) if UNDELIVERABLE_CODES.contains(&code.as_str()));
    if is_undeliverable { PublishOutcome::Undeliverable(error) } else { PublishOutcome::Failed(error) }
}
