//! Records an event that the poller has found, or reviews its record if there is one already.
//!
//! ```text
//!  no record yet ──────────────────────▶ recorded and enqueued
//!  quarantined ────────────────────────▶ requeued, once
//!  published with results missing ─────▶ published once more, as revision 2
//!  claimed by a worker ────────────────▶ reviewed again later: it may have started before the batch was tracked
//!  found before, with other balances ──▶ counted; the worker reads the API anyway
//!  anything else ──────────────────────▶ nothing to do: the webhook came, or another run was faster
//! ```

use std::time::Duration;

use tokio::time::Instant;

use inbox_aws::items::EventRecord;
use inbox_aws::stores::WriteOutcome;
use inbox_aws::telemetry::metrics;
use inbox_core::duplicates::RecordOutcome;
use inbox_core::event::{Event, EventKey, payload_hash};
use inbox_core::limits::{RECORD_BUDGET_MS, SEND_BUDGET_MS};
use inbox_core::origin::Origin;
use inbox_core::providers::parse_alerts;

use crate::RightfootPoller;
use crate::poll_run::{RunContext, RunError};

/// Result of recording or reviewing an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordStatus {
    /// Its record needs no further review.
    Settled,
    /// A worker has claimed it, and may have started before the batch was tracked.
    BeingProcessed,
}

impl RightfootPoller {
    /// Records and enqueues an event that was found, or reviews its record. `results` is the number of results of its batch.
    pub(crate) async fn record_event(
        &self,
        event: &Event,
        results: u64,
        context: &RunContext,
    ) -> Result<RecordStatus, RunError> {
        let in_time = |budget_ms| Instant::now() + Duration::from_millis(budget_ms);
        if self.recorder.record(event, in_time(RECORD_BUDGET_MS)).await? != RecordOutcome::New {
            return self.review_record(event.key(), Some(event.verified().body()), results, context).await;
        }
        context.summary().recorded += 1;
        metrics::FOUND_BY_POLL.add(1);
        tracing::info!(target: "poller", event_id = event.key().event_id(), "found");
        // If this fails, the relay sends it.
        if let Some(error) = self.recorder.enqueue(event, in_time(SEND_BUDGET_MS)).await {
            context.note_error(error.into());
        }
        Ok(RecordStatus::Settled)
    }

    /// Compares an existing record with what the API shows, and reopens it if that is needed. `payload` is the body that would
    /// have been recorded.
    pub(crate) async fn review_record(
        &self,
        key: &EventKey,
        payload: Option<&[u8]>,
        results: u64,
        context: &RunContext,
    ) -> Result<RecordStatus, RunError> {
        let Some(event) = self.recorder.events().event(key).await? else { return Ok(RecordStatus::Settled) };
        let (lifecycle, now) = (&event.lifecycle, self.recorder.clock().now());
        if let Some(payload) = payload {
            self.compare_payload(&event, payload).await?;
        }
        // Rightfoot shows the result now, whatever led to quarantine.
        if lifecycle.quarantined_at.is_some() {
            let written = self.polls.requeue_quarantined(&event, now).await?;
            report_reopened(&event, written, "was_quarantined", context);
        } else if lifecycle.done_at.is_some() {
            if event.published_untracked.is_some_and(|published| published < results) {
                let written = self.polls.requeue_as_revision(&event, now).await?;
                report_reopened(&event, written, "results_missing", context);
            }
        } else if lifecycle.claim_until.is_some_and(|until| until > now) {
            return Ok(RecordStatus::BeingProcessed);
        }
        Ok(RecordStatus::Settled)
    }

    /// Reports an event that the poller had found before with other balances.
    async fn compare_payload(&self, event: &EventRecord, payload: &[u8]) -> Result<(), RunError> {
        // A webhook's payload has fields that a polled one lacks, so those two always differ.
        if event.origin != Origin::Poll || event.payload.hash == payload_hash(payload) {
            return Ok(());
        }
        let stored_payload = self.recorder.events().event_payload(event).await?;
        // Only the alerts are compared: the time stamps always differ.
        if parse_alerts(&stored_payload).map(|parsed| parsed.alerts)
            != parse_alerts(payload).map(|parsed| parsed.alerts)
        {
            metrics::PAYLOAD_DIFFERS.add(event.key.provider(), 1);
            let event_id = event.key.event_id();
            tracing::warn!(target: "poller", event_id, reason = "payload_differs", "found again with another payload");
        }
        Ok(())
    }
}

/// Counts and logs a reopened record.
fn report_reopened(event: &EventRecord, written: WriteOutcome, reason: &'static str, context: &RunContext) {
    let event_id = event.key.event_id();
    // It was reopened before, or changed by somebody else, and is left as it is.
    if written == WriteOutcome::Conflict {
        tracing::warn!(target: "poller", event_id, reason, "already handled, not reopened");
        return;
    }
    context.summary().reopened += 1;
    metrics::RECORD_REOPENED.add(reason, 1);
    tracing::warn!(target: "poller", event_id, reason, "reopened");
}
