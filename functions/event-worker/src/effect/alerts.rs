//! Thresholds were met: each alert that the API confirms is told, once for each authorizer in a batch (P5).

use std::collections::BTreeMap;

use futures::future::join_all;

use inbox_aws::Fault;
use inbox_aws::bus::Published;
use inbox_aws::inbox::{AlertClaim, Work};
use inbox_core::bus::{Announcement, Batch, threshold_met};
use inbox_core::effect::alert::{Alert, Met};
use inbox_core::event::Id;
use inbox_core::inbox::Reason;
use inbox_core::limits::BUS_ENTRIES_MAX;
use inbox_core::poll::batch::{Thresholds, Tracked};
use inbox_core::providers::{Told, alerts};
use inbox_core::requests::submission::Kind;
use inbox_core::rightfoot::Balance;

use super::not_published;
use crate::EventWorker;
use crate::work::{Later, Verdict};

/// Of one event, what is still to be told.
struct Open(BTreeMap<Id, Vec<Alert>>);

/// What publishing alerts came to, besides those that are on the bus.
#[derive(Default)]
struct Left {
    taken: usize,
    failed: usize,
    refused: usize,
}

impl EventWorker {
    pub(super) async fn alerts(&self, work: &Work, batch_id: &Id) -> Result<Verdict, Fault> {
        let told = alerts(&self.inbox.work_payload(work).await?);
        let story = self.story_of(batch_id).await?;
        let tracked = story.as_ref().map(|story| &story.tracked);
        let batch = Batch {
            batch_id,
            schedule_id: tracked.and_then(|it| it.schedule_id.as_ref()).or(told.schedule_id.as_ref()),
            subject: tracked.and_then(|it| it.subject.as_ref()),
        };
        let mut open = Open::of(&told.alerts);
        if !self.verify_alerts {
            let met = open.take_as_told();
            let left = self.tell(work, &batch, met, false).await?;
            return Ok(left.verdict().unwrap_or_else(|| confirmed_or_not(&open, &told)));
        }
        let asked = self.asked_for(work, tracked, &told).await?;
        let mut met = Vec::new();
        if open.0.is_empty() {
            return Ok(confirmed_or_not(&open, &told));
        }
        let mut looking = self.look(batch_id, tracked);
        while !open.0.is_empty()
            && let Some(rows) = looking.next().await
        {
            met.extend(rows.iter().filter_map(|row| open.confirm(row, asked.as_ref())));
        }
        let looked = looking.end();
        // Those that the API shows do not wait for the others.
        let left = self.tell(work, &batch, met, true).await?;
        Ok(match left.verdict() {
            Some(verdict) => verdict,
            None if open.0.is_empty() || looked.is_complete(tracked, work.earlier.as_ref()) => {
                confirmed_or_not(&open, &told)
            }
            None => self.not_yet(work, tracked, &looked, Reason::Unconfirmed),
        })
    }

    /// The thresholds that were asked for, if they are known: by the schedule that the webhook's URL was minted for,
    /// or the one whose run the batch is known to be. A URL that was minted for a batch brings no alerts.
    async fn asked_for(
        &self,
        work: &Work,
        tracked: Option<&Tracked>,
        told: &Told,
    ) -> Result<Option<Thresholds>, Fault> {
        let submission = match work.subject() {
            Some(subject) => self.inbox.submission(subject).await?,
            None => None,
        };
        let schedule_id = match &submission {
            Some(submission) if submission.kind == Kind::Batch => return Ok(Some(Thresholds::default())),
            Some(submission) => submission.made(),
            None => None,
        };
        let of_run = tracked.and_then(|tracked| tracked.schedule_id.clone());
        let Some(schedule_id) = schedule_id.or(of_run).or(told.schedule_id.clone()) else { return Ok(None) };
        let Some(schedule) = self.inbox.schedule_story(&schedule_id).await? else { return Ok(None) };
        // One that is watched without any was not made by us: then what is told is all that is known.
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
                    AlertClaim::Ours => {
                        ours.push((&met.authorizer, threshold_met(&work.effect(), batch, met, confirmed)));
                    }
                    AlertClaim::Published => {}
                    AlertClaim::Taken => left.taken += 1,
                }
            }
            self.publish(work, ours, &mut left).await?;
        }
        Ok(left)
    }

    async fn publish(
        &self,
        work: &Work,
        ours: Vec<(&Id, Announcement)>,
        left: &mut Left,
    ) -> Result<(), Fault> {
        let (authorizers, announcements): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
        let outcomes = self.bus.publish(&announcements).await;
        let mut published = Vec::with_capacity(outcomes.len());
        for ((authorizer, announcement), outcome) in authorizers.into_iter().zip(&announcements).zip(outcomes)
        {
            match outcome {
                Published::Published => {
                    metrics::counter!("published", "type" => announcement.detail_type).increment(1);
                    published.push(authorizer);
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
        let marks = published.into_iter().map(|authorizer| self.inbox.alert_published(work, authorizer, now));
        let marks = join_all(marks).await;
        // Published and not marked: the event is not done either, and it is published again under the same id.
        marks.into_iter().try_for_each(|mark| mark.map(drop))
    }
}

impl Open {
    fn of(told: &[Alert]) -> Self {
        let mut open = BTreeMap::<Id, Vec<Alert>>::new();
        for alert in told {
            open.entry(alert.authorizer.clone()).or_default().push(alert.clone());
        }
        Self(open)
    }

    /// The alert that a row confirms: it is open no longer.
    fn confirm(&mut self, row: &Balance, asked: Option<&Thresholds>) -> Option<Met> {
        let met = self.0.get(&row.authorizer)?.iter().find_map(|alert| alert.confirmed_by(row, asked))?;
        self.0.remove(&row.authorizer);
        Some(met)
    }

    /// All that say all, as they are told.
    fn take_as_told(&mut self) -> Vec<Met> {
        let told: Vec<_> =
            self.0.values().filter_map(|alerts| alerts.iter().find_map(Alert::as_told)).collect();
        told.iter().for_each(|met| drop(self.0.remove(&met.authorizer)));
        told
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
        } else {
            None
        }
    }
}

/// Nothing more is to be known: what is still open, or names nobody, is not confirmed.
fn confirmed_or_not(open: &Open, told: &Told) -> Verdict {
    if open.0.is_empty() && told.unreadable == 0 {
        Verdict::Done
    } else {
        Verdict::Never(Reason::Unconfirmed)
    }
}
