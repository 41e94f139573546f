//! Recording what was found; and what becomes of a record that stands there already.
//!
//! ```text
//!  new ────────────────────────────────▶ on the queue
//!  given up ───────────────────────────▶ given back, once
//!  published with results missing ─────▶ published once more, as revision 2
//!  a worker is at it ──────────────────▶ looked at again: he may have begun before the batch was tracked
//!  found before, with other balances ──▶ counted; the worker asks the API anyway
//!  anything else ──────────────────────▶ as good: the webhook came, or another run was faster
//! ```

use std::time::Duration;

use tokio::time::Instant;

use inbox_aws::inbox::{EventView, WriteOutcome};
use inbox_aws::telemetry::count_with_reason;
use inbox_core::event::{Event, EventKey, Origin, payload_hash};
use inbox_core::inbox::RecordOutcome;
use inbox_core::limits::{RECORD_BUDGET_MS, SEND_BUDGET_MS};
use inbox_core::providers::parse_alerts;

use crate::RightfootPoller;
use crate::poll_run::{RunContext, RunError};

/// Whether what was found is settled by its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordStatus {
    /// It is: whoever works on the record sees what is known now.
    Settled,
    /// A worker is at it who may have begun before the batch was tracked.
    BeingProcessed,
}

impl RightfootPoller {
    /// Records what was found, and puts it on the queue. `results` is how many results its batch has.
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
        metrics::counter!("found_by_poll").increment(1);
        tracing::info!(target: "poll", event_id = event.key().event_id(), "found");
        // If it fails, the relay sends it.
        if let Some(fault) = self.recorder.enqueue(event, in_time(SEND_BUDGET_MS)).await {
            context.note_error(fault.into());
        }
        Ok(RecordStatus::Settled)
    }

    /// Holds what the API shows against a record that stands. `payload` is what would have been recorded.
    pub(crate) async fn review_record(
        &self,
        key: &EventKey,
        payload: Option<&[u8]>,
        results: u64,
        context: &RunContext,
    ) -> Result<RecordStatus, RunError> {
        let inbox = self.recorder.inbox();
        let Some(event) = inbox.event(key).await? else { return Ok(RecordStatus::Settled) };
        let (lifecycle, now) = (&event.lifecycle, self.recorder.clock().now());
        if let Some(payload) = payload {
            self.compare_payload(&event, payload).await?;
        }
        if lifecycle.quarantined_at.is_some() {
            let written = inbox.requeue_quarantined(&event, now).await?;
            report_reopened(&event, written, "given_back", context);
        } else if lifecycle.done_at.is_some() {
            if event.published_untracked.is_some_and(|published| published < results) {
                let written = inbox.requeue_as_revision(&event, now).await?;
                report_reopened(&event, written, "results_missing", context);
            }
        } else if lifecycle.claim_until.is_some_and(|until| until > now) {
            return Ok(RecordStatus::BeingProcessed);
        }
        Ok(RecordStatus::Settled)
    }

    /// Says it if the poller had found the same before with other balances. Its time stamp is another each time.
    async fn compare_payload(&self, event: &EventView, payload: &[u8]) -> Result<(), RunError> {
        if event.origin != Origin::Poll || event.payload_hash == payload_hash(payload) {
            return Ok(());
        }
        let stored_payload = self.recorder.inbox().event_payload(event).await?;
        if parse_alerts(&stored_payload).map(|parsed| parsed.alerts)
            != parse_alerts(payload).map(|parsed| parsed.alerts)
        {
            metrics::counter!("payload_differs", "provider" => event.key.provider().as_str()).increment(1);
            let event_id = event.key.event_id();
            tracing::warn!(target: "poll", event_id, reason = "payload_differs", "found again");
        }
        Ok(())
    }
}

/// Says what was done to a record. Where it was done before, or somebody else was faster, it is left alone.
fn report_reopened(event: &EventView, written: WriteOutcome, reason: &'static str, context: &RunContext) {
    let event_id = event.key.event_id();
    if written == WriteOutcome::Conflict {
        tracing::warn!(target: "poll", event_id, reason, "left as it is");
        return;
    }
    context.summary().reopened += 1;
    count_with_reason("record_mended", None, reason);
    tracing::warn!(target: "poll", event_id, reason, "made due again");
}
