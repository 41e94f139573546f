//! Compares the deliveries of a page with the recorded events.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use inbox_aws::AwsError;
use inbox_aws::items::MissedDeliveryItem;
use inbox_aws::telemetry::metrics;
use inbox_core::duplicates::RecordOutcome;
use inbox_core::fynapse_api::delivery_page::DeliveryPage;
use inbox_core::fynapse_api::finding::{EventsHere, Finding, MissedReason, judge};
use inbox_core::fynapse_api::listed_delivery::{DeliveryStatus, ListedDelivery};
use inbox_core::fynapse_api::polled_event;
use inbox_core::limits::{DELIVERY_COMPARABLE_DAYS, RECORD_BUDGET_MS, SEND_BUDGET_MS};
use inbox_core::time::UnixMillis;

use crate::FynapseAuditor;
use crate::check_run::CheckSummary;

impl FynapseAuditor {
    /// Judges each delivery of a page, and reports those that were missed. `here` is what the run has searched so far.
    pub(crate) async fn check_page(
        &self,
        page: &DeliveryPage,
        since: Option<UnixMillis>,
        here: &mut EventsHere,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let ended: Vec<_> =
            page.deliveries.iter().filter(|it| it.status != DeliveryStatus::Pending).collect();
        let event_ids: BTreeSet<_> = ended.iter().filter_map(|it| it.event_id.clone()).collect();
        let recorded = self.checks.recorded_events(&event_ids).await?;
        here.are_ids_comparable |= !recorded.is_empty();
        let is_recorded = |it: &&ListedDelivery| it.event_id.as_ref().is_some_and(|id| recorded.contains(id));
        let unmatched: Vec<_> = ended.into_iter().filter(|it| !is_recorded(it)).collect();
        if unmatched.is_empty() {
            return Ok(());
        }
        let now = self.recorder.clock().now();
        if here.since.is_none() {
            // Once in a run, and only if something has to be searched.
            let comparable = now.minus(Duration::from_secs(DELIVERY_COMPARABLE_DAYS * 86_400));
            let searched =
                self.checks.events_since(since.map_or(comparable, |since| since.max(comparable))).await?;
            *here = EventsHere { are_ids_comparable: here.are_ids_comparable, ..searched };
        }
        for delivery in unmatched {
            match judge(delivery, here.presence_of(delivery), now) {
                Finding::Waits | Finding::Settled => {}
                Finding::NotComparable => run.not_comparable += 1,
                Finding::Missed(reason) => self.report_missed(delivery, reason, now, run).await?,
            }
        }
        Ok(())
    }

    /// Records the event if the list holds its payload, and otherwise saves what is known of it; reports it the first time.
    async fn report_missed(
        &self,
        delivery: &ListedDelivery,
        reason: MissedReason,
        now: UnixMillis,
        run: &mut CheckSummary,
    ) -> Result<(), AwsError> {
        let is_new = if let Some(event) = polled_event(delivery, now) {
            let in_time = |budget_ms| Instant::now() + Duration::from_millis(budget_ms);
            let outcome = self.recorder.record(&event, in_time(RECORD_BUDGET_MS)).await?;
            if outcome == RecordOutcome::New {
                run.recovered += 1;
                metrics::DELIVERY_RECOVERED.add(1);
                // If this fails, the relay sends it.
                if let Some(error) = self.recorder.enqueue(&event, in_time(SEND_BUDGET_MS)).await {
                    tracing::warn!(target: "auditor", event_id = event.key().event_id(), %error, "not enqueued");
                }
            }
            outcome == RecordOutcome::New
        } else if let Some(missed) = MissedDeliveryItem::new(delivery, reason, now) {
            self.checks.save_missed(&missed).await?
        } else {
            // Nothing would recognise it the next time.
            run.not_comparable += 1;
            false
        };
        if is_new {
            count_missed(delivery, reason, run);
        }
        Ok(())
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
