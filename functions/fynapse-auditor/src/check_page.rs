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
            state.ids_matched_at = Some(now);
        }
        let mut unmatched = Vec::new();
        for delivery in ended {
            match delivery.event_id.as_ref().and_then(|id| recorded.get(id)) {
                Some(polled_at) => settle_recorded(delivery, *polled_at, state, run),
                None => unmatched.push(delivery),
            }
        }
        if unmatched.is_empty() {
            return Ok(());
        }
        if here.since.is_none() {
            // Once in a run, and only if something has to be searched.
            let comparable = now.minus(Duration::from_secs(DELIVERY_COMPARABLE_DAYS * 86_400));
            *here = self.checks.events_since(since.map_or(comparable, |since| since.max(comparable))).await?;
        }
        here.are_ids_comparable = state.are_ids_comparable(now);
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
            Finding::Absent => state.note_absent(reference, delivery.dated_at.unwrap_or(now), now),
            Finding::Missed(reason) => {
                if let Err(error) = self.report_missed(delivery, reason, state, run).await {
                    // It may be stored all the same.
                    run.write_failed_at.get_or_insert(now);
                    return Err(error);
                }
                state.forget_absent(reference);
            }
        }
        Ok(())
    }

    /// Records the event if the list holds its payload, and otherwise saves what is known of it; reports it unless an earlier run did.
    async fn report_missed(
        &self,
        delivery: &ListedDelivery,
        reason: MissedReason,
        state: &mut DeliveryCheckItem,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let now = self.recorder.clock().now();
        // The record of an older one may have expired, and its event would be published again.
        if let Some(event) = polled_event(delivery, now).filter(|_| is_comparable(delivery, now)) {
            return self.record(delivery, &event, state, run).await;
        }
        if let Some(missed) = MissedDeliveryItem::new(delivery, reason, now) {
            let found_before = self.checks.save_missed(&missed).await?;
            if found_before.is_none_or(|at| is_unreported(at, state)) {
                count_missed(delivery, reason, run);
            }
        }
        Ok(())
    }

    /// Records the event of a delivery, and enqueues it.
    async fn record(
        &self,
        delivery: &ListedDelivery,
        event: &Event,
        state: &mut DeliveryCheckItem,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let in_time = |budget_ms| Instant::now() + Duration::from_millis(budget_ms);
        let is_new = self.recorder.record(event, in_time(RECORD_BUDGET_MS)).await? == RecordOutcome::New;
        let event_ids = delivery.event_id.iter().cloned().collect();
        // A record that is not new may be that of a write whose response was lost.
        for polled_at in self.checks.recorded_events(&event_ids).await?.values() {
            settle_recorded(delivery, *polled_at, state, run);
        }
        // If this fails, the relay sends it.
        if is_new && let Some(error) = self.recorder.enqueue(event, in_time(SEND_BUDGET_MS)).await {
            tracing::warn!(target: "auditor", event_id = event.key().event_id(), %error, "not enqueued");
        }
        Ok(())
    }
}

/// Settles a delivery whose event is recorded. If the auditor made the record, and no earlier run has reported that, this one does.
fn settle_recorded(
    delivery: &ListedDelivery,
    polled_at: Option<UnixMillis>,
    state: &mut DeliveryCheckItem,
    run: &mut CheckSummary,
) {
    let Some(reference) = delivery.reference() else { return };
    state.forget_absent(reference);
    if polled_at.is_some_and(|at| is_unreported(at, state))
        && let Some(reason) = MissedReason::of(delivery.status)
        && count_missed(delivery, reason, run)
    {
        run.recovered += 1;
        metrics::DELIVERY_RECOVERED.add(1);
    }
}

/// Returns `true` if what was found then may not have been reported.
fn is_unreported(found_at: UnixMillis, state: &DeliveryCheckItem) -> bool {
    state.unreported_since.is_some_and(|since| found_at >= since)
}

/// Counts a missed delivery. Returns `false` if this run did so before: a list that grows shows a delivery twice.
fn count_missed(delivery: &ListedDelivery, reason: MissedReason, run: &mut CheckSummary) -> bool {
    if !delivery.reference().is_some_and(|reference| run.counted.insert(reference.clone())) {
        return false;
    }
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
    true
}
