//! Threshold alerts: publishes each alert that the API confirms, once for each authorizer of a batch (P5).

use std::time::Duration;

use futures::future::join_all;

use inbox_aws::AwsError;
use inbox_aws::bus::PublishOutcome;
use inbox_aws::items::ScheduleItem;
use inbox_aws::stores::{AcquiredAlert, AlertClaim, ClaimedEvent};
use inbox_aws::telemetry::metrics;
use inbox_core::bus::{BatchRef, BusEvent, threshold_met};
use inbox_core::effect::alert::{ThresholdCrossing, UntrackedAlertPolicy};
use inbox_core::effect::pending_alerts::{PendingAlerts, UnpublishedAlerts};
use inbox_core::effect::tracking_wait::{TrackingWait, may_expedite_schedule};
use inbox_core::effect::{EffectOutcome, RequeueDetails};
use inbox_core::id::Id;
use inbox_core::limits::{BUS_ENTRIES_MAX, POLL_INTERVAL_SECS};
use inbox_core::poll::batch::TrackedBatch;
use inbox_core::providers::{AlertPayload, parse_alerts};
use inbox_core::quarantine::QuarantineReason;
use inbox_core::thresholds::Thresholds;

use super::log_not_published;
use crate::EventWorker;

const UNCONFIRMED: EffectOutcome = EffectOutcome::Quarantine(QuarantineReason::Unconfirmed);

impl EventWorker {
    /// Publishes the alerts of an event, unless it is not admitted.
    pub(super) async fn process_alerts(
        &self,
        event: &ClaimedEvent,
        batch_id: &Id,
    ) -> Result<EffectOutcome, AwsError> {
        let tracked = self.tracking.tracked_batch(batch_id).await?;
        // Before the payload is read, which may be a megabyte, so that a flood costs little.
        if let Some(reason) = self.check_admission(event, tracked.as_ref()).await? {
            // Forged events that use up the limit of a subject
            // must not delay the poller's search for genuine runs.
            if reason == QuarantineReason::UntrackedLimit
                && event.requeues() == 0
                && let Some(payload) = self.read_alert_payload(event).await?
            {
                self.expedite_named_schedule(event, &payload).await?;
            }
            return Ok(EffectOutcome::Quarantine(reason));
        }
        if !self.verify_alerts {
            return self.publish_unverified(event, batch_id, tracked.as_ref()).await;
        }
        match &tracked {
            Some(tracked) => self.process_tracked(event, tracked).await,
            None => self.process_untracked(event, batch_id).await,
        }
    }

    async fn publish_unverified(
        &self,
        event: &ClaimedEvent,
        batch_id: &Id,
        tracked: Option<&TrackedBatch>,
    ) -> Result<EffectOutcome, AwsError> {
        let Some(payload) = self.read_alert_payload(event).await? else { return Ok(UNCONFIRMED) };
        let batch = BatchRef {
            batch_id,
            // What is tracked takes precedence: a webhook is unsigned.
            schedule_id: tracked.and_then(|it| it.schedule_id.as_ref()).or(payload.schedule_id.as_ref()),
            subject: tracked.map_or(event.subject.as_ref(), |tracked| tracked.subject.as_ref()),
        };
        let mut pending = PendingAlerts::new(payload.alerts, payload.unreadable_alerts);
        let crossings = pending.take_unverified();
        let unpublished = self.publish_alerts(event, &batch, &crossings, false).await?;
        Ok(unpublished.outcome().unwrap_or_else(|| pending.final_outcome(crossings.len())))
    }

    /// Processes alerts of a tracked batch. The thresholds come from its schedule.
    async fn process_tracked(
        &self,
        event: &ClaimedEvent,
        tracked: &TrackedBatch,
    ) -> Result<EffectOutcome, AwsError> {
        let subject = tracked.subject.as_ref();
        // The webhook function could not compare them if the batch was not tracked yet.
        if event.subject.as_ref().zip(subject).is_some_and(|(its, ours)| its != ours) {
            return Ok(EffectOutcome::Quarantine(QuarantineReason::SubjectMismatch));
        }
        // Only runs of a schedule have alerts; a batch that was submitted directly has none.
        let Some(schedule_id) = &tracked.schedule_id else { return Ok(UNCONFIRMED) };
        let Some(payload) = self.read_alert_payload(event).await? else { return Ok(UNCONFIRMED) };
        let batch = BatchRef { batch_id: &tracked.batch_id, schedule_id: Some(schedule_id), subject };
        let thresholds = self.schedule_thresholds(schedule_id).await?;
        self.confirm_and_publish(
            event,
            &batch,
            Some(tracked),
            thresholds.as_ref(),
            PendingAlerts::new(payload.alerts, payload.unreadable_alerts),
        )
        .await
    }

    /// Processes alerts of an untracked batch. A caller of a minted URL has shown that it holds its secret, so an alert that the API
    /// confirms is published with the threshold in the webhook. But if something is tracked under its subject or schedule, the
    /// thresholds of that count, and the alert waits until its batch is tracked.
    async fn process_untracked(
        &self,
        event: &ClaimedEvent,
        batch_id: &Id,
    ) -> Result<EffectOutcome, AwsError> {
        // If anything is tracked under the subject, its thresholds count, not those of an unsigned webhook.
        let requires_tracking = self.untracked_alerts == UntrackedAlertPolicy::Quarantine
            || match event.subject.as_ref() {
                Some(subject) => self.tracking.is_subject_bound(subject).await?,
                None => true,
            };
        // While it waits, the payload is needed only once, to expedite its schedule.
        if requires_tracking && event.requeues() > 0 {
            return Ok(self.wait_for_tracking(event, batch_id).await);
        }
        let Some(payload) = self.read_alert_payload(event).await? else { return Ok(UNCONFIRMED) };
        let schedule = self.expedite_named_schedule(event, &payload).await?;
        if requires_tracking || schedule.is_some() {
            return Ok(self.wait_for_tracking(event, batch_id).await);
        }
        let batch =
            BatchRef { batch_id, schedule_id: payload.schedule_id.as_ref(), subject: event.subject.as_ref() };
        self.confirm_and_publish(
            event,
            &batch,
            None,
            None,
            PendingAlerts::new(payload.alerts, payload.unreadable_alerts),
        )
        .await
    }

    /// Requeues an alert until the poller has found the run of its batch. It is quarantined only after an answer of the API: see
    /// [`TrackingWait`].
    async fn wait_for_tracking(&self, event: &ClaimedEvent, batch_id: &Id) -> EffectOutcome {
        let waited = self.clock.now().since(event.processing_since());
        match TrackingWait::after(waited, self.poll_deadline) {
            TrackingWait::Continue => EffectOutcome::Requeue(RequeueDetails::with_reason("not_tracked")),
            TrackingWait::EndIfUnknown => self.final_check(batch_id, true).await,
            TrackingWait::End => self.final_check(batch_id, false).await,
        }
    }

    /// Returns the tracked schedule that an event names, if any, and expedites it.
    async fn expedite_named_schedule(
        &self,
        event: &ClaimedEvent,
        payload: &AlertPayload,
    ) -> Result<Option<ScheduleItem>, AwsError> {
        let Some(schedule_id) = &payload.schedule_id else { return Ok(None) };
        let schedule = self.tracking.tracked_schedule(schedule_id).await?;
        if let Some(schedule) = &schedule {
            self.expedite_schedule(event, schedule).await?;
        }
        Ok(schedule)
    }

    /// Makes a schedule due now, so that the poller finds the run.
    async fn expedite_schedule(&self, event: &ClaimedEvent, schedule: &ScheduleItem) -> Result<(), AwsError> {
        let now = self.clock.now();
        let ScheduleItem { schedule, tracking, .. } = schedule;
        let (its, ours) = (event.subject.as_ref(), schedule.subject.as_ref());
        if may_expedite_schedule(event.requeues(), its, ours, tracking.due_at, now) {
            // Anybody who holds the URL can cause this, so limit it to the poller's own interval.
            let interval = Duration::from_secs(POLL_INTERVAL_SECS);
            self.tracking.expedite_schedule(&schedule.schedule_id, interval, now).await?;
        }
        Ok(())
    }

    /// Reads and parses the payload; `None` if it is not a list of alerts.
    async fn read_alert_payload(&self, event: &ClaimedEvent) -> Result<Option<AlertPayload>, AwsError> {
        Ok(parse_alerts(&self.processing.claimed_payload(event).await?))
    }

    /// Publishes the alerts that the API confirms. `thresholds` are those of the schedule, if known; otherwise those of the
    /// webhook count.
    async fn confirm_and_publish(
        &self,
        event: &ClaimedEvent,
        batch: &BatchRef<'_>,
        tracked: Option<&TrackedBatch>,
        thresholds: Option<&Thresholds>,
        mut pending: PendingAlerts,
    ) -> Result<EffectOutcome, AwsError> {
        let mut crossings = Vec::new();
        let mut reader = self.balance_reader(batch.batch_id, tracked);
        // Once every alert is confirmed, the other pages do not matter.
        while pending.has_pending()
            && let Some(rows) = reader.next_page().await
        {
            crossings.extend(rows.iter().filter_map(|row| pending.take_confirmed(row, thresholds)));
        }
        let read = reader.finish();
        // Confirmed alerts do not wait for the others.
        let unpublished = self.publish_alerts(event, batch, &crossings, true).await?;
        // Unlike a completion, an alert does not say that its batch is complete: rows may still be missing.
        let earlier = event.previous_snapshot.as_ref().filter(|earlier| read.is_long_after(earlier));
        Ok(match unpublished.outcome() {
            Some(outcome) => outcome,
            None if !pending.has_pending() || read.is_complete(tracked, earlier) => {
                pending.final_outcome(crossings.len())
            }
            None => self.incomplete_outcome(event, tracked, &read, QuarantineReason::Unconfirmed),
        })
    }

    /// The thresholds of a schedule; `None` if it is tracked without any.
    async fn schedule_thresholds(&self, schedule_id: &Id) -> Result<Option<Thresholds>, AwsError> {
        // A schedule's item outlives those of its runs, so a missing one is an error.
        let schedule = self
            .tracking
            .tracked_schedule(schedule_id)
            .await?
            .ok_or(AwsError::unreadable_item("dynamodb:GetItem"))?;
        // A schedule without any was not created by us, and only the webhook says its thresholds.
        Ok(Some(self.tracking.thresholds(&schedule).await?).filter(|thresholds| !thresholds.is_empty()))
    }

    /// Publishes alerts, each after a claim of its own: another event may contain the same alert.
    async fn publish_alerts(
        &self,
        event: &ClaimedEvent,
        batch: &BatchRef<'_>,
        crossings: &[ThresholdCrossing],
        confirmed: bool,
    ) -> Result<UnpublishedAlerts, AwsError> {
        let mut unpublished = UnpublishedAlerts::default();
        // A claim keeps other workers from publishing, so no more is claimed than one request takes.
        for chunk in crossings.chunks(BUS_ENTRIES_MAX) {
            let now = self.clock.now();
            let claims = chunk.iter().map(|crossing| self.processing.claim_alert(event, crossing, now));
            let claims = join_all(claims).await;
            let mut claimed = Vec::with_capacity(claims.len());
            for (crossing, claim) in chunk.iter().zip(claims) {
                // After an error the event is requeued, and may claim the same alerts again.
                match claim? {
                    AlertClaim::Acquired(alert) => {
                        claimed.push((alert, threshold_met(&event.event_meta(), batch, crossing, confirmed)));
                    }
                    // One authorizer in one batch has one alert effect, whichever event publishes it (P5).
                    AlertClaim::Published { threshold } => {
                        if threshold.is_some_and(|threshold| threshold != crossing.threshold) {
                            report_threshold_differs(event);
                        }
                    }
                    AlertClaim::HeldByOther => unpublished.held_by_other += 1,
                    AlertClaim::ReplayLimitReached => unpublished.replay_limit_reached += 1,
                }
            }
            self.publish_claimed(event, claimed, &mut unpublished).await?;
        }
        Ok(unpublished)
    }

    async fn publish_claimed(
        &self,
        event: &ClaimedEvent,
        claimed: Vec<(AcquiredAlert, BusEvent)>,
        unpublished: &mut UnpublishedAlerts,
    ) -> Result<(), AwsError> {
        let (acquired, announcements): (Vec<_>, Vec<_>) = claimed.into_iter().unzip();
        let outcomes = self.bus.publish(&announcements).await;
        let mut published = Vec::with_capacity(outcomes.len());
        for ((alert, announcement), outcome) in acquired.iter().zip(&announcements).zip(outcomes) {
            match outcome {
                PublishOutcome::Published => {
                    metrics::PUBLISHED.add(announcement.detail_type, 1);
                    published.push(alert);
                }
                PublishOutcome::Undeliverable(error) => {
                    log_not_published(announcement, &error);
                    unpublished.undeliverable += 1;
                }
                PublishOutcome::Failed(error) => {
                    log_not_published(announcement, &error);
                    unpublished.failed += 1;
                }
            }
        }
        let now = self.clock.now();
        let marks =
            published.into_iter().map(|alert| self.processing.mark_alert_published(event, alert, now));
        let marks = join_all(marks).await;
        // Published but not marked: the event is not done either,
        // and the alert is published again with the same id.
        marks.into_iter().collect()
    }
}

/// Reports an alert that was published before with another threshold. It is not published again (P5), though the second may be
/// the genuine one.
fn report_threshold_differs(event: &ClaimedEvent) {
    metrics::THRESHOLD_DIFFERS.add(1);
    let event_id = event.key.event_id();
    tracing::warn!(target: "worker", event_id, "published before with another threshold");
}
