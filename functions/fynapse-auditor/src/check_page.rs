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
use inbox_core::limits::{DELIVERY_COMPARABLE_SECS, RECORD_BUDGET_MS, SEND_BUDGET_MS};
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
        let now = self.recorder.clock().now();
        let comparable_before = state.comparable(now);
        let unmatched = self.settle_recorded_ones(&ended, state, run).await?;
        state.progress.must_read_again |= state.comparable(now) != comparable_before;
        if unmatched.is_empty() {
            return Ok(());
        }
        if here.since.is_none() {
            // Once in a run, and only if something has to be searched.
            let comparable = now.minus(Duration::from_secs(DELIVERY_COMPARABLE_SECS));
            *here = self.checks.events_since(since.map_or(comparable, |since| since.max(comparable))).await?;
        }
        for delivery in ended.iter().filter(|it| here.has_key_of(it)) {
            state.note_match(false, true, delivery.dated_at, now);
        }
        here.comparable = state.comparable(now);
        state.progress.must_read_again |= here.comparable != comparable_before;
        self.check_unmatched(&unmatched, state, here, run, stop_at).await
    }

    /// Settles the deliveries whose event is recorded by its id. Returns the others.
    async fn settle_recorded_ones<'a>(
        &self,
        deliveries: &[&'a ListedDelivery],
        state: &mut DeliveryCheckItem,
        run: &mut CheckSummary,
    ) -> Result<Vec<&'a ListedDelivery>, AwsError> {
        let event_ids: BTreeSet<_> = deliveries.iter().filter_map(|it| it.event_id.clone()).collect();
        let recorded = self.checks.recorded_events(&event_ids).await?;
        let now = self.recorder.clock().now();
        let mut unmatched = Vec::new();
        for delivery in deliveries {
            match delivery.event_id.as_ref().and_then(|id| recorded.get(id)) {
                // What the auditor has recorded itself does not show that the list has the ids of the webhooks.
                Some(Some(polled_at)) => settle_polled(delivery, *polled_at, state, run),
                Some(None) => {
                    state.note_match(true, false, delivery.dated_at, now);
                    delivery.reference().inspect(|reference| state.forget_absent(reference));
                }
                None => unmatched.push(*delivery),
            }
        }
        Ok(unmatched)
    }

    async fn check_unmatched(
        &self,
        unmatched: &[&ListedDelivery],
        state: &mut DeliveryCheckItem,
        here: &EventsHere,
        run: &mut CheckSummary,
        stop_at: Instant,
    ) -> Result<(), Problem> {
        let unmatched: Vec<_> = unmatched.iter().map(|it| (*it, here.presence_of(it))).collect();
        let not_here = unmatched.iter().filter(|(_, presence)| *presence != Presence::Here);
        let known = self.checks.known_missed(not_here.filter_map(|(it, _)| it.reference())).await?;
        for (delivery, presence) in unmatched {
            // The rest is judged by the next run, which reads the page again.
            if Instant::now() >= stop_at {
                return Err(Problem::TimedOut);
            }
            let Some(reference) = delivery.reference() else {
                // Nothing would recognise it the next time.
                run.not_comparable += 1;
                continue;
            };
            if known.get(reference).is_some_and(|at| !is_unreported(*at, state)) {
                continue;
            }
            let now = self.recorder.clock().now();
            match judge(delivery, presence, state.absent_since(reference), now) {
                Finding::Waits => {}
                Finding::Settled => state.forget_absent(reference),
                Finding::NotComparable => run.not_comparable += 1,
                Finding::Absent => {
                    let has_place = state.note_absent(reference, delivery.dated_at.unwrap_or(now), now);
                    state.progress.must_read_again |= !has_place;
                }
                Finding::Missed(reason) => {
                    if let Err(error) = self.report_missed(delivery, reason, state, run).await {
                        // It may be stored all the same. The next check tries again; others need not wait for it.
                        run.write_failed_at.get_or_insert(now);
                        state.progress.must_read_again = true;
                        run.note_problem(&Problem::Aws(error));
                    }
                }
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
            state.forget_absent(&missed.reference);
            if found_before.is_none_or(|at| is_unreported(at, state)) {
                count_missed(delivery, reason, state, run);
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
        for polled_at in self.checks.recorded_events(&event_ids).await?.into_values().flatten() {
            settle_polled(delivery, polled_at, state, run);
        }
        // If this fails, the relay sends it.
        if is_new && let Some(error) = self.recorder.enqueue(event, in_time(SEND_BUDGET_MS)).await {
            tracing::warn!(target: "auditor", event_id = event.key().event_id(), %error, "not enqueued");
        }
        Ok(())
    }
}

/// Settles a delivery whose event the auditor has recorded, and reports it unless an earlier run did.
fn settle_polled(
    delivery: &ListedDelivery,
    polled_at: UnixMillis,
    state: &mut DeliveryCheckItem,
    run: &mut CheckSummary,
) {
    delivery.reference().inspect(|reference| state.forget_absent(reference));
    if is_unreported(polled_at, state)
        && let Some(reason) = MissedReason::of(delivery.status)
        && count_missed(delivery, reason, state, run)
    {
        run.recovered += 1;
        metrics::DELIVERY_RECOVERED.add(1);
    }
}

/// Returns `true` if what was found then may not have been reported.
fn is_unreported(found_at: UnixMillis, state: &DeliveryCheckItem) -> bool {
    state.unreported_since.is_some_and(|since| found_at >= since)
}

/// Counts a missed delivery. Returns `false` if that was done: a list that grows shows a delivery twice.
fn count_missed(
    delivery: &ListedDelivery,
    reason: MissedReason,
    state: &mut DeliveryCheckItem,
    run: &mut CheckSummary,
) -> bool {
    if !delivery.reference().is_some_and(|reference| state.note_reported(reference)) {
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
