//! Rightfoot's webhooks (shared/providers/rightfoot.md, "Webhooks" and "Retries"): their bodies, losses and attempts.

use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::api_reply::timestamp_secs;
use super::batch_entry::{BalanceCheck, BatchEntry};
use super::behaviour::{Behaviour, WebhookLoss};
use super::dollar_amount::DollarAmount;
use super::seeded_rng::SeededRng;
use super::snapshot::{SimulatedWebhook, WebhookAttempt};
use crate::senders::retry_policy::{RIGHTFOOT_RETRY_WINDOW, RetrySpacing, rightfoot_backoff};

/// The `type` of a completion webhook.
pub(crate) const COMPLETED_TYPE: &str = "BALANCE_BATCH_COMPLETED";
/// The `type` of an alert webhook.
pub(crate) const ALERT_TYPE: &str = "BALANCE_THRESHOLD_ALERT";
const INSTITUTIONS: [&str; 3] = ["First National Bank", "Prairie Credit Union", "Harbor Savings"];

/// A webhook and its attempts.
#[derive(Debug)]
pub(super) struct WebhookEntry {
    batch_id: String,
    /// Distinguishes the webhooks of one batch; part of the labels of random values.
    kind: String,
    url: String,
    content: WebhookContent,
    event_uuids: Vec<String>,
    is_lost: bool,
    attempts: Vec<WebhookAttempt>,
    /// `None` after the last attempt, and while an attempt is under way.
    next_attempt_at: Option<UnixMillis>,
}

/// An attempt that is due.
#[derive(Debug)]
pub(super) struct DueAttempt {
    /// Index of the webhook in the simulator's state.
    pub(super) index: usize,
    pub(super) url: String,
    pub(super) body: String,
}

#[derive(Debug)]
enum WebhookContent {
    Completed,
    Alert { schedule_id: String, alerts: Vec<AlertJson>, timestamp: String },
}

#[derive(Clone, Debug, Serialize)]
struct AlertJson {
    authorizer_unique_id: String,
    // Only the new version of the documents has it (shared/providers/rightfoot.md, "Webhooks").
    #[serde(skip_serializing_if = "Option::is_none")]
    institution_name: Option<&'static str>,
    balance: DollarAmount,
    threshold_amount: DollarAmount,
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
    alerts: &'a [AlertJson],
    timestamp: &'a str,
}

impl WebhookEntry {
    /// Creates the completion webhook of a batch; `None` if the batch has no webhook URL.
    pub(super) fn for_completion(
        batch: &BatchEntry,
        rng: SeededRng,
        behaviour: &mut Behaviour,
    ) -> Option<Self> {
        let url = batch.webhook_url.clone()?;
        let webhook =
            Self::new(batch, COMPLETED_TYPE.to_owned(), url, WebhookContent::Completed, batch.completes_at);
        Some(webhook.with_random_loss(rng, behaviour))
    }

    /// Creates the webhooks of a run's alerts, to be sent from `at` on; none for an on-demand batch.
    pub(super) fn for_alerts(
        batch: &BatchEntry,
        at: UnixMillis,
        rng: SeededRng,
        behaviour: &mut Behaviour,
    ) -> Vec<Self> {
        let (Some(url), Some(schedule_id)) = (&batch.webhook_url, &batch.schedule_id) else {
            return Vec::new();
        };
        let with_name = behaviour.includes_institution_name;
        let alerts: Vec<_> = batch
            .rows_over_threshold()
            .filter_map(|row| AlertJson::from_row(row, with_name.then_some(rng)))
            .collect();
        let per_webhook = behaviour.max_alerts_per_webhook.unwrap_or(usize::MAX).max(1);
        let mut webhooks = Vec::new();
        // Without any alert there is no webhook; whether Rightfoot sends one is not documented.
        for (number, alerts) in alerts.chunks(per_webhook).enumerate() {
            let content = WebhookContent::Alert {
                schedule_id: schedule_id.clone(),
                alerts: alerts.to_vec(),
                timestamp: timestamp_secs(at),
            };
            let webhook = Self::new(batch, format!("{ALERT_TYPE} {number}"), url.clone(), content, at);
            webhooks.push(webhook.with_random_loss(rng, behaviour));
        }
        webhooks
    }

    fn new(batch: &BatchEntry, kind: String, url: String, content: WebhookContent, at: UnixMillis) -> Self {
        Self {
            batch_id: batch.id.clone(),
            kind,
            url,
            content,
            event_uuids: Vec::new(),
            is_lost: false,
            attempts: Vec::new(),
            next_attempt_at: Some(at),
        }
    }

    fn with_random_loss(mut self, rng: SeededRng, behaviour: &mut Behaviour) -> Self {
        self.is_lost = match &mut behaviour.webhook_loss {
            WebhookLoss::None => false,
            WebhookLoss::All => true,
            WebhookLoss::Percent(percent) => {
                rng.below(100, &["lost", &self.batch_id, &self.kind]) < u64::from(*percent)
            }
            WebhookLoss::First(remaining) => {
                let is_lost = *remaining > 0;
                *remaining = remaining.saturating_sub(1);
                is_lost
            }
        };
        self.event_uuids.push(self.draw_uuid(rng));
        self
    }

    fn draw_uuid(&self, rng: SeededRng) -> String {
        let number = self.event_uuids.len().to_string();
        rng.uuid(&["event", &self.batch_id, &self.kind, &number])
    }

    /// Takes the attempt that is due by `now`, which is under way until [`Self::record_attempt`]. Nothing is attempted later
    /// than half an hour after the first attempt.
    pub(super) fn take_due(
        &mut self,
        index: usize,
        now: UnixMillis,
        rng: SeededRng,
        new_uuid: bool,
    ) -> Option<DueAttempt> {
        self.next_attempt_at.filter(|at| *at <= now && !self.is_lost)?;
        // Cleared while the attempt is under way, so that a concurrent tick does not make it again.
        self.next_attempt_at = None;
        // The attempt was planned within the half hour, but this tick may come late.
        if self.since_first(now) > RIGHTFOOT_RETRY_WINDOW {
            return None;
        }
        // The first attempt has the uuid that was drawn with the webhook.
        if new_uuid && !self.attempts.is_empty() {
            self.event_uuids.push(self.draw_uuid(rng));
        }
        Some(DueAttempt { index, url: self.url.clone(), body: self.body() })
    }

    /// Records the outcome of an attempt. Any response but a 2xx is retried.
    pub(super) fn record_attempt(&mut self, attempt: WebhookAttempt, retry_spacing: RetrySpacing) {
        self.attempts.push(attempt);
        if !self.is_delivered() {
            let attempts_made = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
            let pause = rightfoot_backoff(retry_spacing, attempts_made, self.since_first(attempt.at));
            self.next_attempt_at = pause.map(|pause| attempt.at.plus(pause));
        }
    }

    pub(super) fn snapshot(&self) -> SimulatedWebhook {
        SimulatedWebhook {
            batch_id: self.batch_id.clone(),
            event_type: self.event_type().to_owned(),
            url: self.url.clone(),
            event_uuids: self.event_uuids.clone(),
            is_lost: self.is_lost,
            attempts: self.attempts.clone(),
            is_delivered: self.is_delivered(),
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
            WebhookContent::Completed => COMPLETED_TYPE,
            WebhookContent::Alert { .. } => ALERT_TYPE,
        }
    }

    fn body(&self) -> String {
        let event_uuid = self.event_uuids.last().map(String::as_str).unwrap_or_default();
        let (r#type, batch_id) = (self.event_type(), self.batch_id.as_str());
        let body = match &self.content {
            WebhookContent::Completed => {
                serde_json::to_string(&CompletedBody { event_uuid, r#type, batch_id })
            }
            WebhookContent::Alert { schedule_id, alerts, timestamp } => serde_json::to_string(&AlertBody {
                event_uuid,
                r#type,
                schedule_id,
                batch_id,
                alerts,
                timestamp,
            }),
        };
        body.unwrap_or_default()
    }
}

impl AlertJson {
    fn from_row(row: &BalanceCheck, name_rng: Option<SeededRng>) -> Option<Self> {
        let name = |rng: SeededRng| rng.pick(&INSTITUTIONS, &["institution", &row.authorizer]);
        Some(Self {
            authorizer_unique_id: row.authorizer.clone(),
            institution_name: name_rng.and_then(name),
            balance: row.balance.clone()?,
            threshold_amount: row.threshold.clone()?,
        })
    }
}
