//! Records an event in the inbox and puts it on the queue: the same for webhooks, the poller and replays.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use inbox_core::audit::AuditEntry;
use inbox_core::duplicates::RecordOutcome;
use inbox_core::event::Event;
use inbox_core::limits::{DUPLICATE_COUNT_BUDGET_MS, SEND_BUDGET_MS, SEND_MIN_MS};
use inbox_core::message::{MessageMeta, build_message};

use crate::AwsError;
use crate::clock::Clock;
use crate::queue::{EventsQueue, SEND};
use crate::stores::{EventStore, WriteOutcome};
use crate::table::UPDATE;
use crate::telemetry::metrics;

/// Records events and puts them on a queue.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    events: EventStore,
    queue: EventsQueue,
    clock: Clock,
}

impl EventRecorder {
    /// Creates a recorder that writes into `events` and enqueues on `queue`.
    pub fn new(events: EventStore, queue: EventsQueue, clock: Clock) -> Self {
        Self { events, queue, clock }
    }

    /// The store that events are recorded in.
    pub fn events(&self) -> &EventStore {
        &self.events
    }

    /// The clock of this recorder.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Records an event unless it is recorded already. After an error or at the deadline the outcome is
    /// unknown.
    pub async fn record(&self, event: &Event, deadline: Instant) -> Result<RecordOutcome, AwsError> {
        with_deadline(deadline, "dynamodb:PutItem", self.events.record(event, &new_delivery_id())).await
    }

    /// Records an event from quarantine unless it is recorded already; `by` becomes its first audit entry.
    pub async fn record_replayed(
        &self,
        event: &Event,
        by: &AuditEntry,
        deadline: Instant,
    ) -> Result<RecordOutcome, AwsError> {
        let delivery_id = new_delivery_id();
        let record = self.events.record_replayed(event, &delivery_id, by);
        with_deadline(deadline, "dynamodb:PutItem", record).await
    }

    /// Returns `true` if the event's batch was submitted under a subject other than the URL's. For an untracked
    /// batch there is nothing to compare with: `false`.
    pub(crate) async fn has_subject_mismatch(&self, event: &Event) -> Result<bool, AwsError> {
        match (event.verified().subject(), event.key().batch_id()) {
            (Some(subject), Some(batch_id)) => {
                let tracked = self.events.tracked_subject(batch_id).await?;
                Ok(tracked.is_some_and(|tracked| tracked != subject.as_str()))
            }
            _ => Ok(false),
        }
    }

    /// Counts a duplicate in the record of its event, if enough time is left before `deadline`. Only deliveries count: not
    /// what a poll finds again, or an operator replays from quarantine.
    ///
    /// Returns the AWS call that failed, if any. The caller need not act on it: the event is recorded, and only the
    /// count is too low.
    pub(crate) async fn count_duplicate(
        &self,
        event: &Event,
        payload_differs: bool,
        deadline: Instant,
    ) -> Option<AwsError> {
        let now = Instant::now();
        if deadline.saturating_duration_since(now) < Duration::from_millis(DUPLICATE_COUNT_BUDGET_MS) {
            return Some(AwsError::timeout(UPDATE));
        }
        let count_by = now + Duration::from_millis(DUPLICATE_COUNT_BUDGET_MS);
        let received_at = event.verified().received_at();
        let count = self.events.count_duplicate(event.key(), payload_differs, received_at);
        with_deadline(count_by, UPDATE, count).await.err()
    }

    /// Enqueues a new event, if enough time is left before `deadline`.
    ///
    /// Returns the AWS call that failed, if any. The caller need not act on it: the record stays due, and the
    /// relay enqueues it.
    pub async fn enqueue(&self, event: &Event, deadline: Instant) -> Option<AwsError> {
        let now = Instant::now();
        let provider = event.key().provider();
        // Too little time for a send and its mark: the relay does both.
        if deadline.saturating_duration_since(now) < Duration::from_millis(SEND_MIN_MS) {
            metrics::ENQUEUE_FAILED.add(provider, 1);
            return Some(AwsError::timeout(SEND));
        }
        let send_by = deadline.min(now + Duration::from_millis(SEND_BUDGET_MS));
        let message = build_message(MessageMeta::of(event), Some(event.verified().body()));
        if let Err(error) = with_deadline(send_by, SEND, self.queue.send(&message)).await {
            metrics::ENQUEUE_FAILED.add(provider, 1);
            return Some(error);
        }
        let mark = self.events.mark_new_sent(event.key(), self.clock.now());
        match with_deadline(send_by, "dynamodb:UpdateItem", mark).await {
            Ok(WriteOutcome::Applied) => None,
            // The relay has claimed the record meanwhile, and may send the event as well.
            Ok(WriteOutcome::Conflict) => {
                metrics::LATE_MARK.add(provider, 1);
                None
            }
            // The event is on the queue, but may still be due: then the relay sends it once more (P3).
            Err(error) => Some(error),
        }
    }
}

fn new_delivery_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Runs a call with a deadline. On a timeout its outcome is unknown.
pub(crate) async fn with_deadline<T>(
    deadline: Instant,
    action: &'static str,
    call: impl Future<Output = Result<T, AwsError>>,
) -> Result<T, AwsError> {
    timeout_at(deadline, call).await.unwrap_or(Err(AwsError::timeout(action)))
}
