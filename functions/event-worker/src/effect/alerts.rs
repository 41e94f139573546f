//! Thresholds were met: each alert that the API confirms is told, once for each authorizer in a batch (P5).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use inbox_aws::Fault;
use inbox_aws::bus::Published;
use inbox_aws::inbox::{AcquiredAlert, AlertClaim, ScheduleStory, Work};
use inbox_core::bus::{Announcement, Batch, threshold_met};
use inbox_core::effect::alert::{Alert, Met, UntrackedAlerts};
use inbox_core::event::Id;
use inbox_core::inbox::Reason;
use inbox_core::limits::{BUS_ENTRIES_MAX, POLL_EVERY_SECS, UNKNOWN_BATCH_DEADLINE_SECS};
use inbox_core::poll::batch::{Thresholds, Tracked};
use inbox_core::providers::{Told, alerts};
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
    /// Whether the batch is tracked is read before the payload: what would be given up anyhow may be megabytes.
    pub(super) async fn alerts(&self, work: &Work, batch_id: &Id) -> Result<Verdict, Fault> {
        let tracked = self.inbox.tracked_batch(batch_id).await?;
        if let Some(reason) = self.turned_away(work, tracked.as_ref()).await? {
            // Made-up events that use up the room of a subject must not keep the poller from its runs.
            if reason == Reason::UntrackedLimit
                && work.works == 0
                && let Some(told) = self.told_by(work).await?
            {
                self.schedule_named(work, &told).await?;
            }
            return Ok(Verdict::Never(reason));
        }
        if !self.verify_alerts {
            return self.unverified(work, batch_id, tracked.as_ref()).await;
        }
        match &tracked {
            Some(tracked) => self.tracked(work, tracked).await,
            None => self.untracked(work, batch_id).await,
        }
    }

    async fn unverified(
        &self,
        work: &Work,
        batch_id: &Id,
        tracked: Option<&Tracked>,
    ) -> Result<Verdict, Fault> {
        let Some(told) = self.told_by(work).await? else { return Ok(UNCONFIRMED) };
        let batch = Batch {
            batch_id,
            schedule_id: tracked.and_then(|it| it.schedule_id.as_ref()).or(told.schedule_id.as_ref()),
            subject: tracked.map_or(work.subject(), |tracked| tracked.subject.as_ref()),
        };
        let mut open = Open::of(told.alerts, told.unreadable);
        let left = self.tell(work, &batch, open.take_as_told(), false).await?;
        Ok(left.verdict().unwrap_or_else(|| open.verdict()))
    }

    /// Alerts of a run: the schedule says which thresholds were asked for.
    async fn tracked(&self, work: &Work, tracked: &Tracked) -> Result<Verdict, Fault> {
        let subject = tracked.subject.as_ref();
        if work.subject().zip(subject).is_some_and(|(its, ours)| its != ours) {
            return Ok(Verdict::Never(Reason::SubjectMismatch));
        }
        // A batch that was submitted by itself brings no alerts.
        let Some(schedule_id) = &tracked.schedule_id else { return Ok(UNCONFIRMED) };
        let Some(told) = self.told_by(work).await? else { return Ok(UNCONFIRMED) };
        let batch = Batch { batch_id: &tracked.batch_id, schedule_id: Some(schedule_id), subject };
        let asked = self.asked_for(schedule_id).await?;
        self.confirm(work, &batch, Some(tracked), asked.as_ref(), Open::of(told.alerts, told.unreadable))
            .await
    }

    /// Alerts of a batch that nobody tracks. Who calls a minted URL has shown that he holds its secret, so what the API shows is
    /// published, by the threshold that the webhook names. But where more is known than the webhook says, because something is
    /// tracked that it belongs to, that decides: then the batch has to be tracked first.
    async fn untracked(&self, work: &Work, batch_id: &Id) -> Result<Verdict, Fault> {
        let has_to_be_tracked = self.untracked_alerts == UntrackedAlerts::Quarantine
            || match work.subject() {
                Some(subject) => self.inbox.is_bound(subject).await?,
                None => true,
            };
        // What it tells is needed once to hurry its schedule, and otherwise to be compared.
        if has_to_be_tracked && work.works > 0 {
            return Ok(self.not_tracked(work, batch_id).await);
        }
        let Some(told) = self.told_by(work).await? else { return Ok(UNCONFIRMED) };
        let schedule = self.schedule_named(work, &told).await?;
        if has_to_be_tracked || schedule.is_some() {
            return Ok(self.not_tracked(work, batch_id).await);
        }
        let batch = Batch { batch_id, schedule_id: told.schedule_id.as_ref(), subject: work.subject() };
        self.confirm(work, &batch, None, None, Open::of(told.alerts, told.unreadable)).await
    }

    /// As long as it is not known which run a batch is, nobody can say which thresholds were asked for: a webhook is
    /// unsigned. The poller finds the run. It is given up like any other: only after an answer, and after two hours if that
    /// knows nothing of the batch.
    async fn not_tracked(&self, work: &Work, batch_id: &Id) -> Verdict {
        let waited = self.clock.now().since(work.since);
        if waited < self.deadline.min(Duration::from_secs(UNKNOWN_BATCH_DEADLINE_SECS)) {
            return Verdict::Later(Later::because("not_tracked"));
        }
        self.last_look(batch_id, waited < self.deadline).await
    }

    /// The tracked schedule that an event names, if it names one. It is hurried.
    async fn schedule_named(&self, work: &Work, told: &Told) -> Result<Option<ScheduleStory>, Fault> {
        let Some(schedule_id) = &told.schedule_id else { return Ok(None) };
        let schedule = self.inbox.schedule_story(schedule_id).await?;
        if let Some(schedule) = &schedule {
            self.hurry(work, schedule).await?;
        }
        Ok(schedule)
    }

    /// Sends the poller to find a run at once, the first time that an alert names its schedule, and if it came by its URL.
    async fn hurry(&self, work: &Work, schedule: &ScheduleStory) -> Result<(), Fault> {
        let now = self.clock.now();
        if work.works == 0
            && work.subject().zip(schedule.watched.subject.as_ref()).is_none_or(|(its, ours)| its == ours)
            && schedule.tracking.due_at.is_some_and(|due_at| due_at > now)
        {
            // Whoever holds its URL can ask for it: not more often than the poller would look by itself.
            self.inbox
                .expedite(&schedule.watched.schedule_id, Duration::from_secs(POLL_EVERY_SECS), now)
                .await?;
        }
        Ok(())
    }

    /// What an event tells; `None` if it cannot be read as alerts.
    async fn told_by(&self, work: &Work) -> Result<Option<Told>, Fault> {
        Ok(alerts(&self.inbox.work_payload(work).await?))
    }

    /// Publishes what the API confirms. `asked` are the thresholds that were asked for, if that is known.
    async fn confirm(
        &self,
        work: &Work,
        batch: &Batch<'_>,
        tracked: Option<&Tracked>,
        asked: Option<&Thresholds>,
        mut open: Open,
    ) -> Result<Verdict, Fault> {
        let mut met = Vec::new();
        let mut looking = self.look(batch.batch_id, tracked);
        while open.is_any()
            && let Some(rows) = looking.next().await
        {
            met.extend(rows.iter().filter_map(|row| open.confirm(row, asked)));
        }
        let looked = looking.end();
        // Those that the API shows do not wait for the others.
        let left = self.tell(work, batch, met, true).await?;
        let earlier = work.earlier.as_ref().filter(|earlier| looked.is_long_after(earlier));
        Ok(match left.verdict() {
            Some(verdict) => verdict,
            None if !open.is_any() || looked.is_complete(tracked, earlier) => open.verdict(),
            None => self.not_yet(work, tracked, &looked, Reason::Unconfirmed),
        })
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
            let claims = some.iter().map(|met| self.inbox.claim_alert(work, met, now));
            let claims = join_all(claims).await;
            let mut ours = Vec::with_capacity(claims.len());
            for (met, claim) in some.iter().zip(claims) {
                match claim? {
                    AlertClaim::Acquired(alert) => {
                        ours.push((alert, threshold_met(&work.effect(), batch, met, confirmed)));
                    }
                    AlertClaim::Published { threshold } => {
                        if threshold.is_some_and(|threshold| threshold != met.threshold) {
                            threshold_differs(work);
                        }
                    }
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

/// One authorizer's alert in one batch has one effect, whoever names which threshold. The second one may be the genuine one.
fn threshold_differs(work: &Work) {
    metrics::counter!("threshold_differs").increment(1);
    let event_id = work.key().event_id();
    tracing::warn!(target: "work", event_id, "published before, by another threshold");
}
