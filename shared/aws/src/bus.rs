//! The EventBridge bus.

use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};

use inbox_core::bus::{Announcement, SOURCE};
use inbox_core::inbox::{Load, batches};
use inbox_core::limits::{BUS_ENTRIES_MAX, BUS_MAX_BYTES};

use crate::{Cause, Fault};

const PUT: &str = "events:PutEvents";
/// What one call carries.
const LOAD: Load = Load { entries: BUS_ENTRIES_MAX, bytes: BUS_MAX_BYTES };
/// Pauses before another attempt at the entries that EventBridge failed to take in. The SDK sees a good answer.
const PAUSES_MS: [u64; 3] = [100, 200, 400];

/// A bus to publish on.
#[derive(Clone, Debug)]
pub struct Bus {
    events: Client,
    name: String,
}

/// What became of one announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is on the bus.
    Published,
    /// EventBridge refuses it for what it is: publishing it again will not help.
    Refused(Fault),
    /// Not published, or not known.
    Failed(Fault),
}

impl Bus {
    /// The bus of this name or ARN.
    pub fn new(events: Client, name: impl Into<String>) -> Self {
        Self { events, name: name.into() }
    }

    /// Publishes, in as many calls as EventBridge's bounds take, and says of each announcement what became of it.
    pub async fn publish(&self, announcements: &[Announcement]) -> Vec<Published> {
        let mut published = Vec::with_capacity(announcements.len());
        for batch in batches(announcements.iter().collect(), LOAD, |announcement| announcement.bytes()) {
            published.extend(self.publish_batch(&batch).await);
        }
        published
    }

    /// The entries that EventBridge failed to take in are sent again, a few times, and later each time.
    async fn publish_batch(&self, batch: &[&Announcement]) -> Vec<Published> {
        let mut outcome = self.put(batch).await;
        // A call that is refused as a whole does not say which entry is at fault.
        if batch.len() > 1 && outcome.iter().all(|it| matches!(it, Published::Refused(_))) {
            outcome.clear();
            for announcement in batch {
                outcome.extend(self.put(&[announcement]).await);
            }
        }
        for pause_ms in PAUSES_MS {
            let failed: Vec<_> = failures(&outcome).collect();
            if failed.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let rest: Vec<_> = failed.iter().filter_map(|index| batch.get(*index).copied()).collect();
            for (index, published) in failed.into_iter().zip(self.put(&rest).await) {
                outcome.splice(index..=index, [published]);
            }
        }
        outcome
    }

    async fn put(&self, batch: &[&Announcement]) -> Vec<Published> {
        let entries = batch.iter().map(|announcement| self.entry(announcement)).collect();
        match self.events.put_events().set_entries(Some(entries)).send().await {
            Ok(answer) => (0..batch.len()).map(|index| outcome(answer.entries().get(index))).collect(),
            Err(error) => vec![verdict(Fault::of(PUT, &error)); batch.len()],
        }
    }

    fn entry(&self, announcement: &Announcement) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(announcement.detail_type)
            .detail(&announcement.detail)
            .time(DateTime::from_millis(announcement.time.0))
            .build()
    }
}

fn failures(outcome: &[Published]) -> impl Iterator<Item = usize> {
    let failed = |(index, published): (usize, &Published)| match published {
        // A call that failed as a whole was tried again by the SDK.
        Published::Failed(fault) => matches!(fault.cause, Cause::Service(_)).then_some(index),
        Published::Published | Published::Refused(_) => None,
    };
    outcome.iter().enumerate().filter_map(failed)
}

/// EventBridge answers 200 with failed entries: only what has an event id is on the bus.
fn outcome(entry: Option<&PutEventsResultEntry>) -> Published {
    match entry.map(|entry| (entry.event_id(), entry.error_code())) {
        Some((_, Some(code))) => verdict(Fault { action: PUT, cause: Cause::Service(code.to_owned()) }),
        Some((Some(_), None)) => Published::Published,
        Some((None, None)) | None => Published::Failed(Fault { action: PUT, cause: Cause::Answer }),
    }
}

fn verdict(fault: Fault) -> Published {
    const ENTRY_AT_FAULT: [&str; 2] = ["MalformedDetail", "ValidationException"];
    let is_refusal = matches!(&fault.cause, Cause::Service(code) if ENTRY_AT_FAULT.contains(&code.as_str()));
    if is_refusal { Published::Refused(fault) } else { Published::Failed(fault) }
}
