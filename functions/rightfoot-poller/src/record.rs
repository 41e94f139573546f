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

use inbox_aws::inbox::{EventTold, Written};
use inbox_aws::telemetry::count_reason;
use inbox_core::event::{Event, EventKey, Origin, payload_hash};
use inbox_core::inbox::Recorded;
use inbox_core::limits::{RECORD_BUDGET_MS, SEND_BUDGET_MS};
use inbox_core::providers::alerts;

use crate::Poller;
use crate::run::{Course, Trouble};

/// Whether what was found is settled by its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is: whoever works on the record sees what is known now.
    Settled,
    /// A worker is at it who may have begun before the batch was tracked.
    BeingWorked,
}

impl Poller {
    /// Records what was found, and puts it on the queue. `results` is how many results its batch has.
    pub(crate) async fn record(
        &self,
        event: &Event,
        results: u64,
        course: &Course,
    ) -> Result<Standing, Trouble> {
        let in_time = |budget_ms| Instant::now() + Duration::from_millis(budget_ms);
        if self.recorder.record(event, in_time(RECORD_BUDGET_MS)).await? != Recorded::New {
            return self.review(event.key(), Some(event.proven().body()), results, course).await;
        }
        course.run().found += 1;
        metrics::counter!("found_by_poll").increment(1);
        tracing::info!(target: "poll", event_id = event.key().event_id(), "found");
        // If it fails, the relay sends it.
        if let Some(fault) = self.recorder.enqueue(event, in_time(SEND_BUDGET_MS)).await {
            course.note(fault.into());
        }
        Ok(Standing::Settled)
    }

    /// Holds what the API shows against a record that stands. `payload` is what would have been recorded.
    pub(crate) async fn review(
        &self,
        key: &EventKey,
        payload: Option<&[u8]>,
        results: u64,
        course: &Course,
    ) -> Result<Standing, Trouble> {
        let inbox = self.recorder.inbox();
        let Some(event) = inbox.event(key).await? else { return Ok(Standing::Settled) };
        let (facts, now) = (&event.facts, self.recorder.clock().now());
        if let Some(payload) = payload {
            self.compare(&event, payload).await?;
        }
        if facts.quarantined_at.is_some() {
            let written = inbox.give_back(&event, now).await?;
            mended(&event, written, "given_back", course);
        } else if facts.done_at.is_some() {
            if event.published_untracked.is_some_and(|published| published < results) {
                let written = inbox.revise(&event, now).await?;
                mended(&event, written, "results_missing", course);
            }
        } else if facts.claim_until.is_some_and(|until| until > now) {
            return Ok(Standing::BeingWorked);
        }
        Ok(Standing::Settled)
    }

    /// Says it if the poller had found the same before with other balances. Its time stamp is another each time.
    async fn compare(&self, event: &EventTold, payload: &[u8]) -> Result<(), Trouble> {
        if event.origin != Origin::Poll || event.payload_hash == payload_hash(payload) {
            return Ok(());
        }
        let stands = self.recorder.inbox().event_bytes(event).await?;
        if alerts(&stands).map(|told| told.alerts) != alerts(payload).map(|told| told.alerts) {
            metrics::counter!("payload_differs", "provider" => event.key.provider().as_str()).increment(1);
            let event_id = event.key.event_id();
            tracing::warn!(target: "poll", event_id, reason = "payload_differs", "found again");
        }
        Ok(())
    }
}

/// Says what was done to a record. Where it was done before, or somebody else was faster, it is left alone.
fn mended(event: &EventTold, written: Written, reason: &'static str, course: &Course) {
    let event_id = event.key.event_id();
    if written == Written::Overtaken {
        tracing::warn!(target: "poll", event_id, reason, "left as it is");
        return;
    }
    course.run().mended += 1;
    count_reason("record_mended", None, reason);
    tracing::warn!(target: "poll", event_id, reason, "made due again");
}
