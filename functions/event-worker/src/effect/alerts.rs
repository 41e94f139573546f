//! Thresholds were met: each alert that the API confirms is told, once for each authorizer in a batch (P5).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use inbox_aws::Fault;
use inbox_aws::bus::Published;
use inbox_aws::inbox::{AcquiredAlert, AlertClaim, Work};
use inbox_core::bus::{Announcement, Batch, threshold_met};
use inbox_core::effect::alert::{Alert, Met};
use inbox_core::event::Id;
use inbox_core::inbox::Reason;
use inbox_core::limits::{ALERTS_MAX, BUS_ENTRIES_MAX, POLL_EVERY_SECS};
use inbox_core::poll::batch::Thresholds;
use inbox_core::providers::alerts;
use inbox_core::rightfoot::Balance;

use super::not_published;
use crate::EventWorker;
use crate::work::{Later, Verdict};

const UNCONFIRMED: Verdict = Verdict::Never(Reason::Unconfirmed);

/// Of one event, what is still to be told.
struct Open {
    alerts: BTreeMap<Id, Vec<Alert>>,
    /// How many more there are that name nobody.
    unreadable: usize,
}

/// What publishing alerts came to, besides those that are on the bus.
#[derive(Default)]
struct Left {
    taken: usize,
    failed: usize,
    refused: usize,
    full: usize,
}

impl EventWorker {
    pub(super) async fn alerts(&self, work: &Work, batch_id: &Id) -> Result<Verdict, Fault> {
        let told = alerts(&self.inbox.work_payload(work).await?);
        // What cannot be read as alerts, or is more than any run brings, is not told.
        let Some(told) = told.filter(|told| told.alerts.len() <= ALERTS_MAX) else { return Ok(UNCONFIRMED) };
        let tracked = self.inbox.tracked_batch(batch_id).await?;
        if let Some(reason) = self.turned_away(work, tracked.as_ref()).await? {
            return Ok(Verdict::Never(reason));
        }
        let batch = Batch {
            batch_id,
            schedule_id: tracked
                .as_ref()
                .and_then(|it| it.schedule_id.as_ref())
                .or(told.schedule_id.as_ref()),
            subject: tracked.as_ref().and_then(|it| it.subject.as_ref()),
        };
        let mut open = Open::of(told.alerts, told.unreadable);
        if !self.verify_alerts {
            let left = self.tell(work, &batch, open.take_as_told(), false).await?;
            return Ok(left.verdict().unwrap_or_else(|| open.verdict()));
        }
        let Some(tracked) = &tracked else { return self.untracked(work, told.schedule_id.as_ref()).await };
        if work.subject().zip(batch.subject).is_some_and(|(its, ours)| its != ours) {
            return Ok(Verdict::Never(Reason::SubjectMismatch));
        }
        // A batch that was submitted by itself brings no alerts.
        let Some(schedule_id) = &tracked.schedule_id else { return Ok(UNCONFIRMED) };
        let asked = self.asked_for(schedule_id).await?;
        let mut met = Vec::new();
        let mut looking = self.look(batch_id, Some(tracked));
        while open.is_any()
            && let Some(rows) = looking.next().await
        {
            met.extend(rows.iter().filter_map(|row| open.confirm(row, asked.as_ref())));
        }
        let looked = looking.end();
        // Those that the API shows do not wait for the others.
        let left = self.tell(work, &batch, met, true).await?;
        Ok(match left.verdict() {
            Some(verdict) => verdict,
            None if !open.is_any() || looked.is_complete(Some(tracked), None) => open.verdict(),
            None => self.not_yet(work, Some(tracked), &looked, Reason::Unconfirmed),
        })
    }

    /// As long as it is not known which run a batch is, nobody can say which thresholds were asked for: a webhook is
    /// unsigned. The poller finds the run, at once if the alert names a schedule that is watched and came by its URL.
    async fn untracked(&self, work: &Work, schedule_id: Option<&Id>) -> Result<Verdict, Fault> {
        let now = self.clock.now();
        if now >= work.since.plus(self.deadline) {
            return Ok(UNCONFIRMED);
        }
        if let (0, Some(schedule_id)) = (work.works, schedule_id)
            && let Some(schedule) = self.inbox.schedule_story(schedule_id).await?
            && work.subject().zip(schedule.watched.subject.as_ref()).is_none_or(|(its, ours)| its == ours)
            && schedule.tracking.due_at.is_some_and(|due_at| due_at > now)
        {
            // Whoever holds its URL can ask for it: not more often than the poller would look by itself.
            self.inbox.expedite(schedule_id, Duration::from_secs(POLL_EVERY_SECS), now).await?;
        }
        Ok(Verdict::Later(Later::because("not_tracked")))
    }

    /// The thresholds of a schedule. One that is watched without any was not made by us: then what is told is all that
    /// is known.
    async fn asked_for(&self, schedule_id: &Id) -> Result<Option<Thresholds>, Fault> {
        // A schedule outlives its runs.
        let schedule =
            self.inbox.schedule_story(schedule_id).await?.ok_or(Fault::item("dynamodb:GetItem"))?;
        Ok(Some(self.inbox.thresholds(&schedule).await?).filter(|thresholds| !thresholds.is_empty()))
    }

    /// Publishes alerts, each after a claim of its own: another event may tell the same.
    async fn tell(
        &self,
        work: &Work,
        batch: &Batch<'_>,
        met: Vec<Met>,
        confirmed: bool,
    ) -> Result<Left, Fault> {
        let mut left = Left::default();
        for some in met.chunks(BUS_ENTRIES_MAX) {
            let now = self.clock.now();
            let claims = some.iter().map(|met| self.inbox.claim_alert(work, &met.authorizer, now));
            let claims = join_all(claims).await;
            let mut ours = Vec::with_capacity(claims.len());
            for (met, claim) in some.iter().zip(claims) {
                match claim? {
                    AlertClaim::Acquired(alert) => {
                        ours.push((alert, threshold_met(&work.effect(), batch, met, confirmed)));
                    }
                    AlertClaim::Published => {}
                    AlertClaim::HeldByOther => left.taken += 1,
                    AlertClaim::Full => left.full += 1,
                }
            }
            self.publish(work, ours, &mut left).await?;
        }
        Ok(left)
    }

    async fn publish(
        &self,
        work: &Work,
        ours: Vec<(AcquiredAlert, Announcement)>,
        left: &mut Left,
    ) -> Result<(), Fault> {
        let (acquired, announcements): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
        let outcomes = self.bus.publish(&announcements).await;
        let mut published = Vec::with_capacity(outcomes.len());
        for ((alert, announcement), outcome) in acquired.iter().zip(&announcements).zip(outcomes) {
            match outcome {
                Published::Published => {
                    metrics::counter!("published", "type" => announcement.detail_type).increment(1);
                    published.push(alert);
                }
                Published::Refused(fault) => {
                    not_published(announcement, &fault);
                    left.refused += 1;
                }
                Published::Failed(fault) => {
                    not_published(announcement, &fault);
                    left.failed += 1;
                }
            }
        }
        let now = self.clock.now();
        let marks = published.into_iter().map(|alert| self.inbox.alert_published(work, alert, now));
        let marks = join_all(marks).await;
        // Published and not marked: the event is not done either, and it is published again under the same id.
        marks.into_iter().collect()
    }
}

impl Open {
    fn of(told: Vec<Alert>, unreadable: usize) -> Self {
        let mut alerts = BTreeMap::<Id, Vec<Alert>>::new();
        for alert in told {
            alerts.entry(alert.authorizer.clone()).or_default().push(alert);
        }
        Self { alerts, unreadable }
    }

    fn is_any(&self) -> bool {
        !self.alerts.is_empty()
    }

    /// The alert that a row confirms: it is open no longer.
    fn confirm(&mut self, row: &Balance, asked: Option<&Thresholds>) -> Option<Met> {
        let alerts = self.alerts.get(&row.authorizer)?;
        let met = alerts.iter().find_map(|alert| alert.confirmed_by(row, asked))?;
        self.alerts.remove(&row.authorizer);
        Some(met)
    }

    /// All that say all, as they are told.
    fn take_as_told(&mut self) -> Vec<Met> {
        let told: Vec<_> =
            self.alerts.values().filter_map(|alerts| alerts.iter().find_map(Alert::as_told)).collect();
        told.iter().for_each(|met| drop(self.alerts.remove(&met.authorizer)));
        told
    }

    /// Nothing more is to be known: what is still open, or names nobody, is not confirmed.
    fn verdict(&self) -> Verdict {
        if self.is_any() || self.unreadable > 0 { UNCONFIRMED } else { Verdict::Done }
    }
}

impl Left {
    /// What becomes of the event on account of those that are not on the bus.
    fn verdict(&self) -> Option<Verdict> {
        if self.failed > 0 {
            Some(Verdict::Later(Later::because("bus")))
        } else if self.taken > 0 {
            Some(Verdict::Later(Later::because("alert_taken")))
        } else if self.refused > 0 {
            Some(Verdict::Never(Reason::BusRefused))
        } else if self.full > 0 {
            Some(Verdict::Never(Reason::ReplayLimit))
        } else {
            None
        }
    }
}
