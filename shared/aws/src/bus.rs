//! The EventBridge bus.

use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};

use inbox_core::bus::{BusEvent, SOURCE};
use inbox_core::inbox::{ChunkLimits, chunk_by_size};
use inbox_core::limits::{BUS_ENTRIES_MAX, BUS_MAX_BYTES};

use crate::{AwsError, AwsErrorKind};

const PUT: &str = "events:PutEvents";
/// What one call carries.
const CALL_LIMITS: ChunkLimits = ChunkLimits { max_entries: BUS_ENTRIES_MAX, max_bytes: BUS_MAX_BYTES };
/// Pauses before another attempt at the entries that EventBridge failed to take in. The SDK sees a good answer.
const BACKOFF_MS: [u64; 3] = [100, 200, 400];

/// A bus to publish on.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: Client,
    name: String,
}

/// What became of one announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is on the bus.
    Published,
    /// EventBridge refuses it for what it is: publishing it again will not help.
    Undeliverable(AwsError),
    /// Not published, or not known.
    Failed(AwsError),
}

impl EventBus {
    /// The bus of this name or ARN.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Publishes, in as many calls as EventBridge's bounds take, and says of each announcement what became of it.
    pub async fn publish(&self, events: &[BusEvent]) -> Vec<PublishOutcome> {
        let mut published = Vec::with_capacity(events.len());
        for batch in chunk_by_size(events.iter().collect(), CALL_LIMITS, |event| event.size_bytes()) {
            published.extend(self.publish_with_retries(&batch).await);
        }
        published
    }

    /// The entries that EventBridge failed to take in are sent again, a few times, and later each time.
    async fn publish_with_retries(&self, batch: &[&BusEvent]) -> Vec<PublishOutcome> {
        let mut outcome = self.put_events(batch).await;
        // A call that is refused as a whole does not say which entry is at fault.
        if batch.len() > 1 && outcome.iter().all(|it| matches!(it, PublishOutcome::Undeliverable(_))) {
            outcome.clear();
            for event in batch {
                outcome.extend(self.put_events(&[event]).await);
            }
        }
        for pause_ms in BACKOFF_MS {
            let failed: Vec<_> = retryable_entries(&outcome).collect();
            if failed.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let rest: Vec<_> = failed.iter().filter_map(|index| batch.get(*index).copied()).collect();
            for (index, published) in failed.into_iter().zip(self.put_events(&rest).await) {
                outcome.splice(index..=index, [published]);
            }
        }
        outcome
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
        // A call that failed as a whole was tried again by the SDK.
        PublishOutcome::Failed(error) => matches!(error.kind, AwsErrorKind::Service(_)).then_some(index),
        PublishOutcome::Published | PublishOutcome::Undeliverable(_) => None,
    };
    outcome.iter().enumerate().filter_map(failed)
}

/// EventBridge answers 200 with failed entries: only what has an event id is on the bus.
fn entry_outcome(entry: Option<&PutEventsResultEntry>) -> PublishOutcome {
    match entry.map(|entry| (entry.event_id(), entry.error_code())) {
        Some((_, Some(code))) => {
            publish_failure(AwsError { action: PUT, kind: AwsErrorKind::Service(code.to_owned()) })
        }
        Some((Some(_), None)) => PublishOutcome::Published,
        Some((None, None)) | None => {
            PublishOutcome::Failed(AwsError { action: PUT, kind: AwsErrorKind::UnreadableResponse })
        }
    }
}

fn publish_failure(error: AwsError) -> PublishOutcome {
    const UNDELIVERABLE_CODES: [&str; 2] = ["MalformedDetail", "ValidationException"];
    let is_refusal =
        matches!(&error.kind, AwsErrorKind::Service(code) if UNDELIVERABLE_CODES.contains(&code.as_str()));
    if is_refusal { PublishOutcome::Undeliverable(error) } else { PublishOutcome::Failed(error) }
}
