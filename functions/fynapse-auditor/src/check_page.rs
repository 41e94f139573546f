//! Compares the deliveries of a page with the recorded events.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use inbox_aws::AwsError;
use inbox_aws::items::{DeliveryCheckItem, MissedDeliveryItem};
use inbox_aws::telemetry::metrics;
use inbox_core::duplicates::RecordOutcome;
use inbox_core::event::Event;
use inbox_core::fynapse_api::delivery_page::DeliveryPage;
use inbox_core::fynapse_api::finding::{EventsHere, Finding, MissedReason, Presence, is_comparable, judge};
use inbox_core::fynapse_api::listed_delivery::{DeliveryStatus, ListedDelivery};
use inbox_core::fynapse_api::polled_event;
use inbox_core::limits::{DELIVERY_COMPARABLE_DAYS, RECORD_BUDGET_MS, SEND_BUDGET_MS};
use inbox_core::time::UnixMillis;

use crate::FynapseAuditor;
use crate::check_summary::{CheckSummary, Problem};

impl FynapseAuditor {
    /// Judges each delivery of a page, and reports those that were missed. `here` is what the run has searched so far.
    pub(crate) async fn check_page(
        &self,
        page: &DeliveryPage,
        state: &mut DeliveryCheckItem,
        here: &mut EventsHere,
        run: &mut CheckSummary,
        stop_at: Instant,
    ) -> Result<(), Problem> {
        let since = state.wanted_since();
        let ended = page.deliveries.iter().filter(|it| it.status != DeliveryStatus::Pending);
        // Those that were created before had ended, and were judged, in the last check.
        let ended: Vec<_> =
            ended.filter(|it| it.created_at.is_none_or(|at| since.is_none_or(|since| at >= since))).collect();
        let event_ids: BTreeSet<_> = ended.iter().filter_map(|it| it.event_id.clone()).collect();
        let recorded = self.checks.recorded_events(&event_ids).await?;
        let now = self.recorder.clock().now();
        if !recorded.is_empty() {
            state.ids_matched_at.get_or_insert(now);
        }
        let is_recorded = |it: &&ListedDelivery| it.event_id.as_ref().is_some_and(|id| recorded.contains(id));
        let unmatched: Vec<_> = ended.into_iter().filter(|it| !is_recorded(it)).collect();
        if unmatched.is_empty() {
            return Ok(());
        }
        if here.since.is_none() {
            // Once in a run, and only if something has to be searched.
            let comparable = now.minus(Duration::from_secs(DELIVERY_COMPARABLE_DAYS * 86_400));
            *here = self.checks.events_since(since.map_or(comparable, |since| since.max(comparable))).await?;
        }
        here.are_ids_comparable = state.ids_matched_at.is_some();
        for delivery in unmatched {
            // The rest is judged by the next run, which reads the page again.
            if Instant::now() >= stop_at {
                return Err(Problem::TimedOut);
            }
            self.check_delivery(delivery, here.presence_of(delivery), state, run).await?;
        }
        Ok(())
    }

    async fn check_delivery(
        &self,
        delivery: &ListedDelivery,
        presence: Presence,
        state: &mut DeliveryCheckItem,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let now = self.recorder.clock().now();
        let Some(reference) = delivery.reference() else {
            // Nothing would recognise it the next time.
            run.not_comparable += 1;
            return Ok(());
        };
        match judge(delivery, presence, state.absent_since(reference), now) {
            Finding::Waits => {}
            Finding::Settled => state.forget_absent(reference),
            Finding::NotComparable => run.not_comparable += 1,
            Finding::Absent => state.note_absent(reference, now),
            Finding::Missed(reason) => {
                self.report_missed(delivery, reason, state.reported_until, run).await?;
                state.forget_absent(reference);
            }
        }
        Ok(())
    }

    /// Records the event if the list holds its payload, and otherwise saves what is known of it; reports it unless that was done.
    async fn report_missed(
        &self,
        delivery: &ListedDelivery,
        reason: MissedReason,
        reported_until: Option<UnixMillis>,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let now = self.recorder.clock().now();
        // The record of an older one may have expired, and its event would be published again.
        let event = polled_event(delivery, now).filter(|_| is_comparable(delivery, now));
        let is_new = if let Some(event) = event {
            self.record(&event, run).await?
        } else if let Some(missed) = MissedDeliveryItem::new(delivery, reason, now) {
            let found_before = self.checks.save_missed(&missed).await?;
            // The run that found it may have ended before it reported it.
            found_before.is_none_or(|at| reported_until.is_none_or(|until| at > until))
        } else {
            false
        };
        if is_new {
            count_missed(delivery, reason, run);
        }
        Ok(())
    }

    /// Records an event, and enqueues it. Returns `true` if it is new.
    async fn record(&self, event: &Event, run: &mut CheckSummary) -> Result<bool, AwsError> {
        let in_time = |budget_ms| Instant::now() + Duration::from_millis(budget_ms);
        if self.recorder.record(event, in_time(RECORD_BUDGET_MS)).await? != RecordOutcome::New {
            return Ok(false);
        }
        run.recovered += 1;
        metrics::DELIVERY_RECOVERED.add(1);
        // If this fails, the relay sends it.
        if let Some(error) = self.recorder.enqueue(event, in_time(SEND_BUDGET_MS)).await {
            tracing::warn!(target: "auditor", event_id = event.key().event_id(), %error, "not enqueued");
        }
        Ok(true)
    }
}

fn count_missed(delivery: &ListedDelivery, reason: MissedReason, run: &mut CheckSummary) {
    match reason {
        MissedReason::Lost => {
            run.lost += 1;
            metrics::DELIVERY_LOST.add(1);
        }
        MissedReason::DeadLetter | MissedReason::Cancelled => {
            run.missed += 1;
            metrics::DELIVERY_MISSED.add(reason.as_str(), 1);
        }
    }
    let delivery_id = delivery.reference().map(|id| id.as_str());
    let event_id = delivery.event_key().map(|key| key.event_id());
    tracing::error!(target: "auditor", delivery_id, event_id, reason = reason.as_str(), "event missing");
}
