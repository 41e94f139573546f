//! The simulator's state, and how it catches up with the clock.

use std::collections::HashMap;

use axum::body::Bytes;
use inbox_core::time::UnixMillis;

use super::api_reply::ApiReply;
use super::batch_entry::{BatchEntry, NewBatch};
use super::behaviour::{Behaviour, CannedResponse};
use super::schedule_entry::ScheduleEntry;
use super::seeded_rng::SeededRng;
use super::snapshot::{LoggedRequest, SimulatorSnapshot, WebhookAttempt};
use super::webhook_entry::{DueAttempt, WebhookEntry};

/// Batches, schedules, webhooks and logs of the simulator.
pub(super) struct SimulatorState {
    pub(super) rng: SeededRng,
    pub(super) behaviour: Behaviour,
    pub(super) batches: Vec<BatchEntry>,
    pub(super) schedules: Vec<ScheduleEntry>,
    pub(super) webhooks: Vec<WebhookEntry>,
    /// E1's responses by the body's SHA-256, with the time of the first request.
    pub(super) cached_submissions: HashMap<[u8; 32], (UnixMillis, ApiReply)>,
    requests: Vec<(u64, LoggedRequest)>,
    last_request_number: u64,
    post_bodies: Vec<Bytes>,
}

impl SimulatorState {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: SeededRng::new(seed),
            behaviour: Behaviour::default(),
            batches: Vec::new(),
            schedules: Vec::new(),
            webhooks: Vec::new(),
            cached_submissions: HashMap::new(),
            requests: Vec::new(),
            last_request_number: 0,
            post_bodies: Vec::new(),
        }
    }

    /// Starts all runs and creates all webhooks that are due by `now`.
    pub(super) fn catch_up(&mut self, now: UnixMillis) {
        // Runs first: a run that starts late may be complete by `now`, so its webhooks are due as well.
        while self.start_due_run(now) {}
        for batch in &mut self.batches {
            create_due_webhooks(batch, now, self.rng, &mut self.behaviour, &mut self.webhooks);
        }
    }

    /// Starts the earliest run that is due; returns `false` if none is.
    fn start_due_run(&mut self, now: UnixMillis) -> bool {
        // The earliest of all schedules, so that batches are created in the order of their starts.
        let next = self.schedules.iter_mut().filter(|schedule| schedule.next_run_at.is_some());
        let Some(schedule) = next.min_by_key(|schedule| schedule.next_run_at) else {
            return false;
        };
        let Some(run) = schedule.start_due_run(now, self.rng) else {
            return false;
        };
        let new_batch = NewBatch {
            id: run.batch_id,
            schedule_id: Some(schedule.id.clone()),
            webhook_url: schedule.webhook_url.clone(),
            authorizers: schedule.authorizers.clone(),
            failed_authorizers: Vec::new(),
        };
        self.batches.push(BatchEntry::start(self.rng, &self.behaviour, run.run_at, new_batch));
        true
    }

    /// Takes every webhook attempt that is due; the caller must make each and record its outcome.
    pub(super) fn take_due(&mut self, now: UnixMillis) -> Vec<DueAttempt> {
        let (rng, new_uuid) = (self.rng, self.behaviour.new_event_uuid_per_attempt);
        let due = |(index, webhook): (usize, &mut WebhookEntry)| webhook.take_due(index, now, rng, new_uuid);
        self.webhooks.iter_mut().enumerate().filter_map(due).collect()
    }

    pub(super) fn record_attempt(&mut self, index: usize, attempt: WebhookAttempt) {
        if let Some(webhook) = self.webhooks.get_mut(index) {
            webhook.record_attempt(attempt, self.behaviour.retry_spacing);
        }
    }

    /// Logs a request; returns its unique number.
    pub(super) fn record_request(&mut self, request: LoggedRequest) -> u64 {
        self.last_request_number += 1;
        self.requests.push((self.last_request_number, request));
        self.last_request_number
    }

    pub(super) fn record_status(&mut self, number: u64, status: u16) {
        // By number, not by position: the log may have been cleared since the request came.
        if let Some((_, request)) = self.requests.iter_mut().find(|(its, _)| *its == number) {
            request.status = Some(status);
        }
    }

    pub(super) fn record_body(&mut self, body: Bytes) {
        self.post_bodies.push(body);
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = &LoggedRequest> {
        self.requests.iter().map(|(_, request)| request)
    }

    pub(super) fn post_bodies(&self) -> &[Bytes] {
        &self.post_bodies
    }

    pub(super) fn clear_requests(&mut self) {
        self.requests.clear();
    }

    pub(super) fn snapshot(&self) -> SimulatorSnapshot {
        let alerts_of = |batch: &BatchEntry| -> Vec<_> {
            batch.rows_over_threshold().map(|row| (batch.id.clone(), row.authorizer.clone())).collect()
        };
        SimulatorSnapshot {
            batches: self.batches.iter().map(BatchEntry::snapshot).collect(),
            schedules: self.schedules.iter().map(ScheduleEntry::snapshot).collect(),
            webhooks: self.webhooks.iter().map(WebhookEntry::snapshot).collect(),
            expected_alerts: self.batches.iter().flat_map(alerts_of).collect(),
            requests: self.requests().cloned().collect(),
        }
    }

    /// Takes the scripted response for this path and query, if any, and counts its use.
    pub(super) fn take_scripted_response(&mut self, path_and_query: &str) -> Option<CannedResponse> {
        let matching = self.behaviour.scripted_responses.iter_mut();
        let scripted = matching
            .filter(|scripted| scripted.remaining_uses != Some(0))
            .find(|scripted| path_and_query.contains(&scripted.path_contains))?;
        scripted.remaining_uses = scripted.remaining_uses.map(|times| times.saturating_sub(1));
        Some(scripted.response)
    }
}

/// Creates the webhooks of a batch that are due by `now`.
fn create_due_webhooks(
    batch: &mut BatchEntry,
    now: UnixMillis,
    rng: SeededRng,
    behaviour: &mut Behaviour,
    webhooks: &mut Vec<WebhookEntry>,
) {
    let alerts_at =
        if behaviour.alerts_before_completion { batch.half_processed_at() } else { batch.completes_at };
    if !batch.has_completion_webhook && batch.is_complete(now) {
        batch.has_completion_webhook = true;
        webhooks.extend(WebhookEntry::for_completion(batch, rng, behaviour));
    }
    if !batch.has_alert_webhooks && alerts_at <= now {
        batch.has_alert_webhooks = true;
        webhooks.extend(WebhookEntry::for_alerts(batch, alerts_at, rng, behaviour));
    }
}
