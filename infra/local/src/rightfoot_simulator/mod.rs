//! A simulated Rightfoot API, as its documents describe it (shared/providers/rightfoot.md, "Endpoints": E1 to E9, W1, W2).
//!
//! Nothing in it happens by itself: its state follows from the clock it is given. At every request and every
//! tick it first catches up: batches whose processing time is over are complete, and every schedule run whose
//! time has come exists. So it serves tests that hold time in their hands, and a demo in which time is short.
//! Chance comes from a seed.
//!
//! ```text
//!  a client ──HTTP──▶ api: log, scripted answer, key ──▶ endpoints ─▶ World ◀─ catch_up(now)
//!                                                                       │
//!  a receiver ◀──HTTP── tick: every webhook attempt that is due ◀───────┘
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use futures::StreamExt;
use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use tokio::task::JoinHandle;

mod api;
mod api_reply;
mod batch_entry;
mod behaviour;
mod canned_response;
mod dns;
mod dollar_amount;
mod endpoints;
mod paging;
mod request_parsing;
mod schedule_entry;
mod seeded_rng;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod webhook_entry;

pub use behaviour::{
    Behaviour, CannedResponse, IncompleteBatchResponse, NoFailedAuthorizers, PageTokenParam,
    ScriptedResponse, WebhookLoss,
};
pub use snapshot::{
    LoggedRequest, SimulatedBalance, SimulatedBatch, SimulatedRun, SimulatedSchedule, SimulatedWebhook,
    WebhookAttempt,
};

use state::SimulatorState;
use webhook_entry::DueAttempt;

/// How long it waits for a receiver's answer, in real time (not documented).
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How many webhooks it delivers at the same time.
const CONCURRENT_WEBHOOKS: usize = 16;

/// The simulated API and the webhooks it sends. Clones share it.
#[derive(Clone)]
pub struct RightfootSimulator {
    clock: Clock,
    api_key: Arc<str>,
    client: reqwest::Client,
    state: Arc<Mutex<SimulatorState>>,
}

impl RightfootSimulator {
    /// An API without any batch, that takes this key.
    pub fn new(clock: Clock, api_key: &str, seed: u64) -> anyhow::Result<Self> {
        // Whether it would follow a redirect is not documented; here it is one more answer that is no 2xx.
        let client = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Arc::new(dns::LocalhostResolver))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(WEBHOOK_TIMEOUT)
            .build();
        Ok(Self {
            clock,
            api_key: api_key.into(),
            client: client.context("no HTTP client")?,
            state: Arc::new(Mutex::new(SimulatorState::new(seed))),
        })
    }

    /// The API's routes, to be served by the caller.
    pub fn routes(&self) -> Router {
        api::routes(self.clone())
    }

    /// Changes how it behaves from now on. What has happened until now, has happened by the old rules.
    pub fn configure(&self, change: impl FnOnce(&mut Behaviour)) {
        self.with_state(|state, _| change(&mut state.behaviour));
    }

    /// From now on there is a complete batch of this id that somebody else has submitted, with these authorizers and
    /// their balances as in [`Behaviour::balances`]; unless there is one already. It sends no webhook of its own.
    pub fn add_completed_batch(&self, batch_id: &str, balances: &[(String, String)]) {
        self.with_state(|state, now| {
            if state.batches.iter().all(|batch| batch.id != batch_id) {
                state.batches.push(batch_entry::BatchEntry::completed(now, batch_id, balances));
            }
        });
    }

    /// From now on a complete batch of this id shows these balances instead, as in [`Behaviour::balances`].
    pub fn replace_completed_batch(&self, batch_id: &str, balances: &[(String, String)]) {
        self.with_state(|state, _| state.batches.retain(|batch| batch.id != batch_id));
        self.add_completed_batch(batch_id, balances);
    }

    /// Catches up, makes every webhook attempt that is due, and says how many these were.
    pub async fn tick(&self) -> usize {
        let (at, due) = self.with_state(|state, now| (now, state.take_due(now)));
        let attempts = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(CONCURRENT_WEBHOOKS, |outgoing| self.deliver(at, outgoing))
            .await;
        attempts
    }

    /// Ticks again and again, with this pause (in real time) between two ticks, until the handle is aborted.
    pub fn run_every(&self, pause: Duration) -> JoinHandle<()> {
        let sim = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                sim.tick().await;
            }
        })
    }

    /// The requests that came, in order, since the last [`Self::clear_requests`].
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.with_state(|state, _| state.requests().cloned().collect())
    }

    /// Forgets the requests that came.
    pub fn clear_requests(&self) {
        self.with_state(|state, _| state.clear_requests());
    }

    /// The bodies of all POSTs, in order, byte for byte, whatever they were answered.
    pub fn post_bodies(&self) -> Vec<Vec<u8>> {
        self.with_state(|state, _| state.post_bodies().iter().map(|body| body.to_vec()).collect())
    }

    /// All batches, in the order in which they began.
    pub fn batches(&self) -> Vec<SimulatedBatch> {
        self.with_state(|state, _| state.batches.iter().map(batch_entry::BatchEntry::snapshot).collect())
    }

    /// All schedules, in the order of their creation.
    pub fn schedules(&self) -> Vec<SimulatedSchedule> {
        self.with_state(|state, _| {
            state.schedules.iter().map(schedule_entry::ScheduleEntry::snapshot).collect()
        })
    }

    /// All webhooks, sent, unsent and lost.
    pub fn webhooks(&self) -> Vec<SimulatedWebhook> {
        self.with_state(|state, _| state.webhooks.iter().map(webhook_entry::WebhookEntry::snapshot).collect())
    }

    /// What an alert is owed for: batch and authorizer, wherever a run's balance meets the threshold. The truth,
    /// whatever was sent, and also of runs that are not complete yet.
    pub fn expected_alerts(&self) -> BTreeSet<(String, String)> {
        let batch_alerts = |batch: &batch_entry::BatchEntry| {
            let due = batch.rows_over_threshold().map(|row| (batch.id.clone(), row.authorizer.clone()));
            due.collect::<Vec<_>>()
        };
        self.with_state(|state, _| state.batches.iter().flat_map(batch_alerts).collect())
    }

    /// Catches up, and acts on what there is now.
    fn with_state<T>(&self, f: impl FnOnce(&mut SimulatorState, UnixMillis) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        state.catch_up(now);
        f(&mut state, now)
    }

    async fn deliver(&self, at: UnixMillis, outgoing: DueAttempt) {
        let DueAttempt { index, url, body } = outgoing;
        let request = self.client.post(url).header("content-type", "application/json").body(body);
        let status = request.send().await.ok().map(|answer| answer.status().as_u16());
        self.with_state(|state, _| state.record_attempt(index, WebhookAttempt { at, status }));
    }
}

impl fmt::Debug for RightfootSimulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulator")
    }
}
