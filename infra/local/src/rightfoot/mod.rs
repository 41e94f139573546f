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

mod amount;
mod api;
mod batch;
mod behaviour;
mod canned;
mod chance;
mod endpoints;
mod intake;
mod names;
mod paging;
mod reply;
mod schedule;
mod seen;
#[cfg(test)]
mod tests;
mod webhook;
mod world;

pub use behaviour::{BeforeCompletion, Behaviour, Canned, Lose, NoneFailed, Scripted, TokenParam};
pub use seen::{AttemptSeen, BatchSeen, Request, RowSeen, RunSeen, ScheduleSeen, WebhookSeen};

use webhook::Outgoing;
use world::World;

/// How long it waits for a receiver's answer, in real time (not documented).
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many webhooks it delivers at the same time.
const AT_ONCE: usize = 16;

/// The simulated API and the webhooks it sends. Clones share it.
#[derive(Clone)]
pub struct Simulator {
    clock: Clock,
    api_key: Arc<str>,
    client: reqwest::Client,
    world: Arc<Mutex<World>>,
}

impl Simulator {
    /// An API without any batch, that takes this key.
    pub fn new(clock: Clock, api_key: &str, seed: u64) -> anyhow::Result<Self> {
        // Whether it would follow a redirect is not documented; here it is one more answer that is no 2xx.
        let client = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Arc::new(names::Names))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(CLIENT_TIMEOUT)
            .build();
        Ok(Self {
            clock,
            api_key: api_key.into(),
            client: client.context("no HTTP client")?,
            world: Arc::new(Mutex::new(World::new(seed))),
        })
    }

    /// The API's routes, to be served by the caller.
    pub fn routes(&self) -> Router {
        api::routes(self.clone())
    }

    /// Changes how it behaves from now on. What has happened until now, has happened by the old rules.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        self.now(|world, _| change(&mut world.behaviour));
    }

    /// From now on there is a complete batch of this id that somebody else has submitted, with these authorizers and
    /// their balances as in [`Behaviour::balances`]; unless there is one already. It sends no webhook of its own.
    pub fn know(&self, batch_id: &str, balances: &[(String, String)]) {
        self.now(|world, now| {
            if world.batches.iter().all(|batch| batch.id != batch_id) {
                world.batches.push(batch::Batch::known(now, batch_id, balances));
            }
        });
    }

    /// From now on a complete batch of this id shows these balances instead, as in [`Behaviour::balances`].
    pub fn correct(&self, batch_id: &str, balances: &[(String, String)]) {
        self.now(|world, _| world.batches.retain(|batch| batch.id != batch_id));
        self.know(batch_id, balances);
    }

    /// Catches up, makes every webhook attempt that is due, and says how many these were.
    pub async fn tick(&self) -> usize {
        let (at, due) = self.now(|world, now| (now, world.take_due(now)));
        let attempts = due.len();
        futures::stream::iter(due).for_each_concurrent(AT_ONCE, |outgoing| self.deliver(at, outgoing)).await;
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
    pub fn requests(&self) -> Vec<Request> {
        self.now(|world, _| world.requests().cloned().collect())
    }

    /// Forgets the requests that came.
    pub fn clear_requests(&self) {
        self.now(|world, _| world.clear_requests());
    }

    /// The bodies of all POSTs, in order, byte for byte, whatever they were answered.
    pub fn seen_bodies(&self) -> Vec<Vec<u8>> {
        self.now(|world, _| world.bodies().iter().map(|body| body.to_vec()).collect())
    }

    /// All batches, in the order in which they began.
    pub fn batches(&self) -> Vec<BatchSeen> {
        self.now(|world, _| world.batches.iter().map(batch::Batch::seen).collect())
    }

    /// All schedules, in the order of their creation.
    pub fn schedules(&self) -> Vec<ScheduleSeen> {
        self.now(|world, _| world.schedules.iter().map(schedule::Schedule::seen).collect())
    }

    /// All webhooks, sent, unsent and lost.
    pub fn webhooks(&self) -> Vec<WebhookSeen> {
        self.now(|world, _| world.webhooks.iter().map(webhook::Webhook::seen).collect())
    }

    /// What an alert is owed for: batch and authorizer, wherever a run's balance meets the threshold. The truth,
    /// whatever was sent, and also of runs that are not complete yet.
    pub fn due_alerts(&self) -> BTreeSet<(String, String)> {
        let of = |batch: &batch::Batch| {
            let due = batch.alerting().map(|row| (batch.id.clone(), row.authorizer.clone()));
            due.collect::<Vec<_>>()
        };
        self.now(|world, _| world.batches.iter().flat_map(of).collect())
    }

    /// Catches up, and acts on what there is now.
    fn now<T>(&self, act: impl FnOnce(&mut World, UnixMillis) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        world.catch_up(now);
        act(&mut world, now)
    }

    async fn deliver(&self, at: UnixMillis, outgoing: Outgoing) {
        let Outgoing { index, url, body } = outgoing;
        let request = self.client.post(url).header("content-type", "application/json").body(body);
        let status = request.send().await.ok().map(|answer| answer.status().as_u16());
        self.now(|world, _| world.note_attempt(index, AttemptSeen { at, status }));
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulator")
    }
}
