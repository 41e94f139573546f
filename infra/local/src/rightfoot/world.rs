//! All there is, and how it catches up with the time.

use std::collections::HashMap;

use axum::body::Bytes;
use inbox_core::time::UnixMillis;

use super::batch::{Batch, Order};
use super::behaviour::{Behaviour, Canned};
use super::chance::Chance;
use super::reply::Reply;
use super::schedule::Schedule;
use super::seen::{AttemptSeen, Request};
use super::webhook::{Outgoing, Webhook};

/// The state behind the API.
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) behaviour: Behaviour,
    pub(super) batches: Vec<Batch>,
    pub(super) schedules: Vec<Schedule>,
    pub(super) webhooks: Vec<Webhook>,
    /// E1's answers by the body's SHA-256.
    pub(super) answered: HashMap<[u8; 32], (UnixMillis, Reply)>,
    requests: Vec<(u64, Request)>,
    last_request: u64,
    bodies: Vec<Bytes>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            behaviour: Behaviour::default(),
            batches: Vec::new(),
            schedules: Vec::new(),
            webhooks: Vec::new(),
            answered: HashMap::new(),
            requests: Vec::new(),
            last_request: 0,
            bodies: Vec::new(),
        }
    }

    /// Lets everything happen whose time has come.
    pub(super) fn catch_up(&mut self, now: UnixMillis) {
        while self.begin_run(now) {}
        for batch in &mut self.batches {
            tell(batch, now, self.chance, &mut self.behaviour, &mut self.webhooks);
        }
    }

    /// Begins the earliest run that is due.
    fn begin_run(&mut self, now: UnixMillis) -> bool {
        let next = self.schedules.iter_mut().filter(|schedule| schedule.next_run_at.is_some());
        let Some(schedule) = next.min_by_key(|schedule| schedule.next_run_at) else {
            return false;
        };
        let Some(run) = schedule.begin_run(now, self.chance) else {
            return false;
        };
        let order = Order {
            id: run.batch_id,
            schedule_id: Some(schedule.id.clone()),
            webhook: schedule.webhook.clone(),
            wanted: schedule.wanted.clone(),
            failed: Vec::new(),
        };
        self.batches.push(Batch::begin(self.chance, &self.behaviour, run.run_at, order));
        true
    }

    /// Every webhook attempt that is due; each is under way from here on.
    pub(super) fn take_due(&mut self, now: UnixMillis) -> Vec<Outgoing> {
        let (chance, reissue) = (self.chance, self.behaviour.reissue_event_uuid);
        let due = |(index, webhook): (usize, &mut Webhook)| webhook.take_due(index, now, chance, reissue);
        self.webhooks.iter_mut().enumerate().filter_map(due).collect()
    }

    pub(super) fn note_attempt(&mut self, index: usize, attempt: AttemptSeen) {
        if let Some(webhook) = self.webhooks.get_mut(index) {
            webhook.note(attempt, self.behaviour.timeline);
        }
    }

    /// Notes a request that has come, under a number that is its own.
    pub(super) fn note_request(&mut self, request: Request) -> u64 {
        self.last_request += 1;
        self.requests.push((self.last_request, request));
        self.last_request
    }

    pub(super) fn note_status(&mut self, number: u64, status: u16) {
        if let Some((_, request)) = self.requests.iter_mut().find(|(its, _)| *its == number) {
            request.status = Some(status);
        }
    }

    pub(super) fn note_body(&mut self, body: Bytes) {
        self.bodies.push(body);
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().map(|(_, request)| request)
    }

    pub(super) fn bodies(&self) -> &[Bytes] {
        &self.bodies
    }

    pub(super) fn clear_requests(&mut self) {
        self.requests.clear();
    }

    /// The scripted answer for this path and query, which is used up by it.
    pub(super) fn scripted(&mut self, path_and_query: &str) -> Option<Canned> {
        let matching = self.behaviour.answers.iter_mut();
        let scripted = matching
            .filter(|scripted| scripted.times != Some(0))
            .find(|scripted| path_and_query.contains(&scripted.path_contains))?;
        scripted.times = scripted.times.map(|times| times.saturating_sub(1));
        Some(scripted.answer)
    }
}

/// Makes the webhooks that a batch owes by now.
fn tell(
    batch: &mut Batch,
    now: UnixMillis,
    chance: Chance,
    behaviour: &mut Behaviour,
    webhooks: &mut Vec<Webhook>,
) {
    let alerts_at = if behaviour.alerts_before_completion { batch.half_ready_at() } else { batch.ready_at };
    if !batch.completion_told && batch.is_ready(now) {
        batch.completion_told = true;
        webhooks.extend(Webhook::of_completion(batch, chance, behaviour));
    }
    if !batch.alerts_told && alerts_at <= now {
        batch.alerts_told = true;
        webhooks.extend(Webhook::of_alerts(batch, alerts_at, chance, behaviour));
    }
}
