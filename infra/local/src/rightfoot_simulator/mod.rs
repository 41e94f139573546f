//! A simulated Rightfoot API, as its documents describe it (shared/providers/rightfoot.md, "Endpoints": E1 to E9, W1, W2).
//!
//! Nothing in it happens by itself: its state follows from the clock it is given. At every request and every
//! tick it first catches up: batches whose processing time is over are complete, and every schedule run that is
//! due exists. So it serves tests that control the time, and demos in which time is compressed.
//! Randomness comes from a seed.
//!
//! ```text
//!  a client ──HTTP──▶ api: log, scripted response, key ──▶ endpoints ─▶ SimulatorState ◀─ catch_up(now)
//!                                                                          │
//!  a receiver ◀──HTTP── tick: every webhook attempt that is due ◀──────────┘
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

mod api_reply;
mod batch_entry;
mod behaviour;
mod canned_response;
mod dns;
mod dollar_amount;
mod endpoints;
mod paging;
mod request_parsing;
mod routes;
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
    SimulatorSnapshot, WebhookAttempt,
};

pub(crate) use webhook_entry::{ALERT_TYPE, COMPLETED_TYPE};

use state::SimulatorState;
use webhook_entry::DueAttempt;

use crate::run_every::run_every;

/// Time limit for a receiver's response, in real time (not documented).
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of webhooks that are delivered at the same time.
const CONCURRENT_WEBHOOKS: usize = 16;

/// The simulated API and the webhooks it sends. Clones share its state.
#[derive(Clone)]
pub struct RightfootSimulator {
    clock: Clock,
    api_key: Arc<str>,
    client: reqwest::Client,
    state: Arc<Mutex<SimulatorState>>,
}

impl RightfootSimulator {
    /// Creates an API without batches that accepts this key.
    pub fn new(clock: Clock, api_key: &str, seed: u64) -> anyhow::Result<Self> {
        // It is not documented if Rightfoot follows redirects; here a redirect is a response other than 2xx.
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

    /// The API's routes, for the caller to serve.
    pub fn routes(&self) -> Router {
        routes::router(self.clone())
    }

    /// Changes its behaviour from now on. Earlier batches and webhooks keep the results of the old behaviour.
    pub fn configure(&self, change: impl FnOnce(&mut Behaviour)) {
        self.with_state(|state, _| change(&mut state.behaviour));
    }

    /// Adds a complete batch with these authorizers and balances (written as in [`Behaviour::balances`]), as if another
    /// client had submitted it. It sends no webhook. An existing batch of the same id is left as it is.
    pub fn add_completed_batch(&self, batch_id: &str, balances: &[(String, String)]) {
        self.with_state(|state, now| {
            if state.batches.iter().all(|batch| batch.id != batch_id) {
                state.batches.push(batch_entry::BatchEntry::completed(now, batch_id, balances));
            }
        });
    }

    /// Replaces any batch of this id by a complete one with these balances; see [`Self::add_completed_batch`].
    pub fn replace_completed_batch(&self, batch_id: &str, balances: &[(String, String)]) {
        self.with_state(|state, _| state.batches.retain(|batch| batch.id != batch_id));
        self.add_completed_batch(batch_id, balances);
    }

    /// Catches up and makes every webhook attempt that is due; returns the number of attempts.
    pub async fn tick(&self) -> usize {
        let (at, due) = self.with_state(|state, now| (now, state.take_due(now)));
        let attempts = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(CONCURRENT_WEBHOOKS, |outgoing| self.deliver(at, outgoing))
            .await;
        attempts
    }

    /// Ticks at this interval (real time) until the handle is aborted.
    pub fn run_every(&self, interval: Duration) -> JoinHandle<()> {
        let simulator = self.clone();
        run_every(interval, move || {
            let simulator = simulator.clone();
            async move {
                simulator.tick().await;
            }
        })
    }

    /// The requests since the last [`Self::clear_requests`], in order.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.with_state(|state, _| state.requests().cloned().collect())
    }

    /// Clears the log of requests.
    pub fn clear_requests(&self) {
        self.with_state(|state, _| state.clear_requests());
    }

    /// The bodies of all POSTs, in order, byte for byte, including those of failed requests.
    pub fn post_bodies(&self) -> Vec<Vec<u8>> {
        self.with_state(|state, _| state.post_bodies().iter().map(|body| body.to_vec()).collect())
    }

    /// The whole state at one time.
    pub fn snapshot(&self) -> SimulatorSnapshot {
        self.with_state(|state, _| state.snapshot())
    }

    /// All batches, in the order in which they began.
    pub fn batches(&self) -> Vec<SimulatedBatch> {
        self.snapshot().batches
    }

    /// All schedules, in the order of their creation.
    pub fn schedules(&self) -> Vec<SimulatedSchedule> {
        self.snapshot().schedules
    }

    /// All webhooks, sent, unsent and lost.
    pub fn webhooks(&self) -> Vec<SimulatedWebhook> {
        self.snapshot().webhooks
    }

    /// The alerts that must be sent; see [`SimulatorSnapshot::expected_alerts`].
    pub fn expected_alerts(&self) -> BTreeSet<(String, String)> {
        self.snapshot().expected_alerts
    }

    /// Catches up, then calls `f` with the state and the current time.
    fn with_state<T>(&self, f: impl FnOnce(&mut SimulatorState, UnixMillis) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        state.catch_up(now);
        f(&mut state, now)
    }

    async fn deliver(&self, at: UnixMillis, outgoing: DueAttempt) {
        let DueAttempt { index, url, body } = outgoing;
        // The state is not locked while the receiver responds, so that a slow one does not block the API.
        let request = self.client.post(url).header("content-type", "application/json").body(body);
        let status = request.send().await.ok().map(|answer| answer.status().as_u16());
        self.with_state(|state, _| state.record_attempt(index, WebhookAttempt { at, status }));
    }
}

impl fmt::Debug for RightfootSimulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RightfootSimulator")
    }
}
