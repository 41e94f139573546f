//! Thresholds were met: each alert that the API confirms is told, once for each authorizer in a batch (P5).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use inbox_aws::AwsError;
use inbox_aws::bus::PublishOutcome;
use inbox_aws::inbox::{AcquiredAlert, AlertClaim, ClaimedEvent, ScheduleProgress};
use inbox_core::bus::{BatchRef, BusEvent, threshold_met};
use inbox_core::effect::alert::{ReportedAlert, ThresholdCrossing, UntrackedAlertPolicy};
use inbox_core::event::Id;
use inbox_core::inbox::QuarantineReason;
use inbox_core::limits::{BUS_ENTRIES_MAX, POLL_INTERVAL_SECS, UNKNOWN_BATCH_DEADLINE_SECS};
use inbox_core::poll::batch::{Thresholds, TrackedBatch};
use inbox_core::providers::{AlertPayload, parse_alerts};
use inbox_core::rightfoot_api::Balance;

use super::log_not_published;
use crate::EventWorker;
use crate::process_message::{EffectOutcome, RequeueDetails};

const UNCONFIRMED: EffectOutcome = EffectOutcome::Quarantine(QuarantineReason::Unconfirmed);

/// Of one event, what is still to be told.
struct PendingAlerts {
    by_authorizer: BTreeMap<Id, Vec<ReportedAlert>>,
    /// How many more there are that name nobody.
    unparsable: usize,
}

/// What publishing alerts came to, besides those that are on the bus.
#[derive(Default)]
struct UnpublishedAlerts {
    held_by_other: usize,
    failed: usize,
    undeliverable: usize,
    replay_limit_reached: usize,
}

impl EventWorker {
    /// Whether the batch is tracked is read before the payload: what would be given up anyhow may be megabytes.
    pub(super) async fn process_alerts(
        &self,
        event: &ClaimedEvent,
        batch_id: &Id,
    ) -> Result<EffectOutcome, AwsError> {
        let tracked = self.inbox.tracked_batch(batch_id).await?;
        if let Some(reason) = self.check_admission(event, tracked.as_ref()).await? {
            // Made-up events that use up the room of a subject must not keep the poller from its runs.
            if reason == QuarantineReason::UntrackedLimit
                && event.requeues == 0
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
            schedule_id: tracked.and_then(|it| it.schedule_id.as_ref()).or(payload.schedule_id.as_ref()),
            subject: tracked.map_or(event.subject(), |tracked| tracked.subject.as_ref()),
        };
        let mut pending = PendingAlerts::new(payload.alerts, payload.unreadable_alerts);
        let unpublished = self.publish_alerts(event, &batch, pending.take_unverified(), false).await?;
        Ok(unpublished.outcome().unwrap_or_else(|| pending.final_outcome()))
    }

    /// Alerts of a run: the schedule says which thresholds were asked for.
    async fn process_tracked(
        &self,
        event: &ClaimedEvent,
        tracked: &TrackedBatch,
    ) -> Result<EffectOutcome, AwsError> {
        let subject = tracked.subject.as_ref();
        if event.subject().zip(subject).is_some_and(|(its, ours)| its != ours) {
            return Ok(EffectOutcome::Quarantine(QuarantineReason::SubjectMismatch));
        }
        // A batch that was submitted by itself brings no alerts.
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

    /// Alerts of a batch that nobody tracks. Who calls a minted URL has shown that he holds its secret, so what the API shows is
    /// published, by the threshold that the webhook names. But where more is known than the webhook says, because something is
    /// tracked that it belongs to, that decides: then the batch has to be tracked first.
    async fn process_untracked(
        &self,
        event: &ClaimedEvent,
        batch_id: &Id,
    ) -> Result<EffectOutcome, AwsError> {
        let requires_tracking = self.untracked_alerts == UntrackedAlertPolicy::Quarantine
            || match event.subject() {
                Some(subject) => self.inbox.is_subject_bound(subject).await?,
                None => true,
            };
        // What it tells is needed once to hurry its schedule, and otherwise to be compared.
        if requires_tracking && event.requeues > 0 {
            return Ok(self.wait_for_tracking(event, batch_id).await);
        }
        let Some(payload) = self.read_alert_payload(event).await? else { return Ok(UNCONFIRMED) };
        let schedule = self.expedite_named_schedule(event, &payload).await?;
        if requires_tracking || schedule.is_some() {
            return Ok(self.wait_for_tracking(event, batch_id).await);
        }
        let batch =
            BatchRef { batch_id, schedule_id: payload.schedule_id.as_ref(), subject: event.subject() };
        self.confirm_and_publish(
            event,
            &batch,
            None,
            None,
            PendingAlerts::new(payload.alerts, payload.unreadable_alerts),
        )
        .await
    }

    /// As long as it is not known which run a batch is, nobody can say which thresholds were asked for: a webhook is
    /// unsigned. The poller finds the run. It is given up like any other: only after an answer, and after two hours if that
    /// knows nothing of the batch.
    async fn wait_for_tracking(&self, event: &ClaimedEvent, batch_id: &Id) -> EffectOutcome {
        let waited = self.clock.now().since(event.processing_since);
        if waited < self.poll_deadline.min(Duration::from_secs(UNKNOWN_BATCH_DEADLINE_SECS)) {
            return EffectOutcome::Requeue(RequeueDetails::with_reason("not_tracked"));
        }
        self.final_check(batch_id, waited < self.poll_deadline).await
    }

    /// The tracked schedule that an event names, if it names one. It is hurried.
    async fn expedite_named_schedule(
        &self,
        event: &ClaimedEvent,
        payload: &AlertPayload,
    ) -> Result<Option<ScheduleProgress>, AwsError> {
        let Some(schedule_id) = &payload.schedule_id else { return Ok(None) };
        let schedule = self.inbox.schedule_progress(schedule_id).await?;
        if let Some(schedule) = &schedule {
            self.expedite_schedule(event, schedule).await?;
        }
        Ok(schedule)
    }

    /// Sends the poller to find a run at once, the first time that an alert names its schedule, and if it came by its URL.
    async fn expedite_schedule(
        &self,
        event: &ClaimedEvent,
        schedule: &ScheduleProgress,
    ) -> Result<(), AwsError> {
        let now = self.clock.now();
        if event.requeues == 0
            && event.subject().zip(schedule.schedule.subject.as_ref()).is_none_or(|(its, ours)| its == ours)
            && schedule.tracking.due_at.is_some_and(|due_at| due_at > now)
        {
            // Whoever holds its URL can ask for it: not more often than the poller would look by itself.
            self.inbox
                .expedite_schedule(
                    &schedule.schedule.schedule_id,
                    Duration::from_secs(POLL_INTERVAL_SECS),
                    now,
                )
                .await?;
        }
        Ok(())
    }

    /// What an event tells; `None` if it cannot be read as alerts.
    async fn read_alert_payload(&self, event: &ClaimedEvent) -> Result<Option<AlertPayload>, AwsError> {
        Ok(parse_alerts(&self.inbox.claimed_payload(event).await?))
    }

    /// Publishes what the API confirms. `asked` are the thresholds that were asked for, if that is known.
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
        while pending.has_pending()
            && let Some(rows) = reader.next_page().await
        {
            crossings.extend(rows.iter().filter_map(|row| pending.take_confirmed(row, thresholds)));
        }
        let read = reader.finish();
        // Those that the API shows do not wait for the others.
        let unpublished = self.publish_alerts(event, batch, crossings, true).await?;
        let earlier = event.previous_snapshot.as_ref().filter(|earlier| read.is_long_after(earlier));
        Ok(match unpublished.outcome() {
            Some(outcome) => outcome,
            None if !pending.has_pending() || read.is_complete(tracked, earlier) => pending.final_outcome(),
            None => self.incomplete_outcome(event, tracked, &read, QuarantineReason::Unconfirmed),
        })
    }

    /// The thresholds of a schedule. One that is watched without any was not made by us: then what is told is all that
    /// is known.
    async fn schedule_thresholds(&self, schedule_id: &Id) -> Result<Option<Thresholds>, AwsError> {
        // A schedule outlives its runs.
        let schedule = self
            .inbox
            .schedule_progress(schedule_id)
            .await?
            .ok_or(AwsError::unreadable_item("dynamodb:GetItem"))?;
        Ok(Some(self.inbox.thresholds(&schedule).await?).filter(|thresholds| !thresholds.is_empty()))
    }

    /// Publishes alerts, each after a claim of its own: another event may tell the same.
    async fn publish_alerts(
        &self,
        event: &ClaimedEvent,
        batch: &BatchRef<'_>,
        crossings: Vec<ThresholdCrossing>,
        confirmed: bool,
    ) -> Result<UnpublishedAlerts, AwsError> {
        let mut unpublished = UnpublishedAlerts::default();
        for chunk in crossings.chunks(BUS_ENTRIES_MAX) {
            let now = self.clock.now();
            let claims = chunk.iter().map(|crossing| self.inbox.claim_alert(event, crossing, now));
            let claims = join_all(claims).await;
            let mut claimed = Vec::with_capacity(claims.len());
            for (crossing, claim) in chunk.iter().zip(claims) {
                match claim? {
                    AlertClaim::Acquired(alert) => {
                        claimed.push((alert, threshold_met(&event.event_meta(), batch, crossing, confirmed)));
                    }
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
                    metrics::counter!("published", "type" => announcement.detail_type).increment(1);
                    published.push(alert);
                }
                PublishOutcome::Undeliverable(fault) => {
                    log_not_published(announcement, &fault);
                    unpublished.undeliverable += 1;
                }
                PublishOutcome::Failed(fault) => {
                    log_not_published(announcement, &fault);
                    unpublished.failed += 1;
                }
            }
        }
        let now = self.clock.now();
        let marks = published.into_iter().map(|alert| self.inbox.mark_alert_published(event, alert, now));
        let marks = join_all(marks).await;
        // Published and not marked: the event is not done either, and it is published again under the same id.
        marks.into_iter().collect()
    }
}

impl PendingAlerts {
    fn new(received: Vec<ReportedAlert>, unparsable: usize) -> Self {
        let mut by_authorizer = BTreeMap::<Id, Vec<ReportedAlert>>::new();
        for alert in received {
            by_authorizer.entry(alert.authorizer.clone()).or_default().push(alert);
        }
        Self { by_authorizer, unparsable }
    }

    fn has_pending(&self) -> bool {
        !self.by_authorizer.is_empty()
    }

    /// The alert that a row confirms: it is open no longer.
    fn take_confirmed(
        &mut self,
        row: &Balance,
        thresholds: Option<&Thresholds>,
    ) -> Option<ThresholdCrossing> {
        let alerts = self.by_authorizer.get(&row.authorizer)?;
        let crossing = alerts.iter().find_map(|alert| alert.confirmed_by(row, thresholds))?;
        self.by_authorizer.remove(&row.authorizer);
        Some(crossing)
    }

    /// All that say all, as they are told.
    fn take_unverified(&mut self) -> Vec<ThresholdCrossing> {
        let crossings: Vec<_> = self
            .by_authorizer
            .values()
            .filter_map(|alerts| alerts.iter().find_map(ReportedAlert::to_unconfirmed))
            .collect();
        crossings.iter().for_each(|crossing| drop(self.by_authorizer.remove(&crossing.authorizer)));
        crossings
    }

    /// Nothing more is to be known: what is still open, or names nobody, is not confirmed.
    fn final_outcome(&self) -> EffectOutcome {
        if self.has_pending() || self.unparsable > 0 { UNCONFIRMED } else { EffectOutcome::Done }
    }
}

impl UnpublishedAlerts {
    /// What becomes of the event on account of those that are not on the bus.
    fn outcome(&self) -> Option<EffectOutcome> {
        if self.failed > 0 {
            Some(EffectOutcome::Requeue(RequeueDetails::with_reason("bus")))
        } else if self.held_by_other > 0 {
            Some(EffectOutcome::Requeue(RequeueDetails::with_reason("alert_taken")))
        } else if self.undeliverable > 0 {
            Some(EffectOutcome::Quarantine(QuarantineReason::BusRefused))
        } else if self.replay_limit_reached > 0 {
            Some(EffectOutcome::Quarantine(QuarantineReason::ReplayLimit))
        } else {
            None
        }
    }
}

/// One authorizer's alert in one batch has one effect, whoever names which threshold. The second one may be the genuine one.
fn report_threshold_differs(event: &ClaimedEvent) {
    metrics::counter!("threshold_differs").increment(1);
    let event_id = event.key().event_id();
    tracing::warn!(target: "work", event_id, "published before, by another threshold");
}
