//! The webhooks (shared/providers/rightfoot.md, "Webhooks" and "Retries"): what they say, which are lost, when they are tried.

use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::amount::Amount;
use super::batch::{Batch, Row};
use super::behaviour::{Behaviour, Lose};
use super::chance::Chance;
use super::reply::stamp;
use super::seen::{AttemptSeen, WebhookSeen};
use crate::senders::schedule::{RIGHTFOOT_WINDOW, Timeline, rightfoot_pause};

const COMPLETED: &str = "BALANCE_BATCH_COMPLETED";
const ALERT: &str = "BALANCE_THRESHOLD_ALERT";
const INSTITUTIONS: [&str; 3] = ["First National Bank", "Prairie Credit Union", "Harbor Savings"];

/// A webhook and its attempts.
#[derive(Debug)]
pub(super) struct Webhook {
    batch_id: String,
    /// Which of its batch it is.
    name: String,
    url: String,
    content: Content,
    event_uuids: Vec<String>,
    lost: bool,
    attempts: Vec<AttemptSeen>,
    /// `None` once it is over, and while an attempt is under way.
    next_at: Option<UnixMillis>,
}

/// An attempt that is due.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Which webhook it is.
    pub(super) index: usize,
    pub(super) url: String,
    pub(super) body: String,
}

#[derive(Debug)]
enum Content {
    Completed,
    Alert { schedule_id: String, alerts: Vec<Alert>, timestamp: String },
}

#[derive(Clone, Debug, Serialize)]
struct Alert {
    authorizer_unique_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    institution_name: Option<&'static str>,
    balance: Amount,
    threshold_amount: Amount,
}

#[derive(Serialize)]
struct CompletedBody<'a> {
    event_uuid: &'a str,
    r#type: &'a str,
    batch_id: &'a str,
}

#[derive(Serialize)]
struct AlertBody<'a> {
    event_uuid: &'a str,
    r#type: &'a str,
    schedule_id: &'a str,
    batch_id: &'a str,
    alerts: &'a [Alert],
    timestamp: &'a str,
}

impl Webhook {
    /// What tells that a batch is complete, if somebody is to be told.
    pub(super) fn of_completion(batch: &Batch, chance: Chance, behaviour: &mut Behaviour) -> Option<Self> {
        let url = batch.webhook.clone()?;
        let made = Self::new(batch, COMPLETED.to_owned(), url, Content::Completed, batch.ready_at);
        Some(made.by_chance(chance, behaviour))
    }

    /// What tells of a run's alerts, from `at` on.
    pub(super) fn of_alerts(
        batch: &Batch,
        at: UnixMillis,
        chance: Chance,
        behaviour: &mut Behaviour,
    ) -> Vec<Self> {
        let (Some(url), Some(schedule_id)) = (&batch.webhook, &batch.schedule_id) else {
            return Vec::new();
        };
        let with_name = behaviour.institution_name;
        let alerts: Vec<_> =
            batch.alerting().filter_map(|row| Alert::of(row, with_name.then_some(chance))).collect();
        let per_webhook = behaviour.split_alerts.unwrap_or(usize::MAX).max(1);
        let mut webhooks = Vec::new();
        for (number, alerts) in alerts.chunks(per_webhook).enumerate() {
            let content = Content::Alert {
                schedule_id: schedule_id.clone(),
                alerts: alerts.to_vec(),
                timestamp: stamp(at),
            };
            let made = Self::new(batch, format!("{ALERT} {number}"), url.clone(), content, at);
            webhooks.push(made.by_chance(chance, behaviour));
        }
        webhooks
    }

    fn new(batch: &Batch, name: String, url: String, content: Content, at: UnixMillis) -> Self {
        Self {
            batch_id: batch.id.clone(),
            name,
            url,
            content,
            event_uuids: Vec::new(),
            lost: false,
            attempts: Vec::new(),
            next_at: Some(at),
        }
    }

    fn by_chance(mut self, chance: Chance, behaviour: &mut Behaviour) -> Self {
        self.lost = match &mut behaviour.lose_webhooks {
            Lose::None => false,
            Lose::All => true,
            Lose::Share(percent) => {
                chance.below(100, &["lost", &self.batch_id, &self.name]) < u64::from(*percent)
            }
            Lose::First(left) => {
                let is_lost = *left > 0;
                *left = left.saturating_sub(1);
                is_lost
            }
        };
        self.event_uuids.push(self.draw_uuid(chance));
        self
    }

    fn draw_uuid(&self, chance: Chance) -> String {
        let number = self.event_uuids.len().to_string();
        chance.uuid(&["event", &self.batch_id, &self.name, &number])
    }

    /// The attempt that is due by now; it is under way from here on. What was not tried again within half an hour
    /// of the first attempt never is.
    pub(super) fn take_due(
        &mut self,
        index: usize,
        now: UnixMillis,
        chance: Chance,
        reissue: bool,
    ) -> Option<Outgoing> {
        self.next_at.filter(|at| *at <= now && !self.lost)?;
        self.next_at = None;
        if self.since_first(now) > RIGHTFOOT_WINDOW {
            return None;
        }
        if reissue && !self.attempts.is_empty() {
            self.event_uuids.push(self.draw_uuid(chance));
        }
        Some(Outgoing { index, url: self.url.clone(), body: self.body() })
    }

    /// Notes what became of an attempt. Any answer but a 2xx is tried again.
    pub(super) fn note(&mut self, attempt: AttemptSeen, timeline: Timeline) {
        self.attempts.push(attempt);
        if !self.is_delivered() {
            let made = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
            let pause = rightfoot_pause(timeline, made, self.since_first(attempt.at));
            self.next_at = pause.map(|pause| attempt.at.plus(pause));
        }
    }

    pub(super) fn seen(&self) -> WebhookSeen {
        WebhookSeen {
            batch_id: self.batch_id.clone(),
            event_type: self.event_type().to_owned(),
            url: self.url.clone(),
            event_uuids: self.event_uuids.clone(),
            lost: self.lost,
            attempts: self.attempts.clone(),
            delivered: self.is_delivered(),
            body: self.body(),
        }
    }

    fn since_first(&self, now: UnixMillis) -> std::time::Duration {
        self.attempts.first().map(|first| now.since(first.at)).unwrap_or_default()
    }

    fn is_delivered(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.status.is_some_and(|status| (200..300).contains(&status)))
    }

    fn event_type(&self) -> &'static str {
        match self.content {
            Content::Completed => COMPLETED,
            Content::Alert { .. } => ALERT,
        }
    }

    fn body(&self) -> String {
        let event_uuid = self.event_uuids.last().map(String::as_str).unwrap_or_default();
        let (r#type, batch_id) = (self.event_type(), self.batch_id.as_str());
        let written = match &self.content {
            Content::Completed => serde_json::to_string(&CompletedBody { event_uuid, r#type, batch_id }),
            Content::Alert { schedule_id, alerts, timestamp } => serde_json::to_string(&AlertBody {
                event_uuid,
                r#type,
                schedule_id,
                batch_id,
                alerts,
                timestamp,
            }),
        };
        written.unwrap_or_default()
    }
}

impl Alert {
    fn of(row: &Row, name_by: Option<Chance>) -> Option<Self> {
        let name = |chance: Chance| chance.pick(&INSTITUTIONS, &["institution", &row.authorizer]);
        Some(Self {
            authorizer_unique_id: row.authorizer.clone(),
            institution_name: name_by.and_then(name),
            balance: row.balance.clone()?,
            threshold_amount: row.threshold.clone()?,
        })
    }
}
