//! The simulated Rightfoot that the demo submits to, and the poller that asks it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inbox_core::limits::POLL_DEADLINE_SECS;
use inbox_core::poll::PollTiming;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::connector::{AwsCall, Fault, until_crash};
use crate::rightfoot_simulator::{
    Behaviour, CannedResponse, LoggedRequest, NoFailedAuthorizers, RightfootSimulator, ScriptedResponse,
    SimulatedBatch, SimulatedSchedule, SimulatedWebhook, WebhookLoss,
};
use crate::stack::{self, INVOCATION_TIMEOUT, Stack};

/// The key that the simulated Rightfoot takes.
pub(super) const API_KEY: &str = "demo-rightfoot-api-key";
/// The `type` of a completion.
pub(super) const COMPLETED_TYPE: &str = "BALANCE_BATCH_COMPLETED";
/// The `type` of an alert.
pub(super) const ALERT_TYPE: &str = "BALANCE_THRESHOLD_ALERT";
/// How many days the schedule lives: longer than the demo.
pub(super) const SCHEDULE_DAYS: u32 = 300;
/// So many runs of the schedule are looked at; it runs on until the demo ends, once a day.
pub(super) const CHECKED_RUNS: usize = 3;

/// A day of the schedule, in the demo's time: a run begins before the one before it is complete.
const SCHEDULE_DAY: Duration = Duration::from_secs(60);
/// How long a batch takes, in the demo's time.
const PROCESSING_TIME: Duration = Duration::from_secs(90);
/// For so long after the schedule was created, in the demo's time, whoever records an alert that came by webhook
/// dies: it comes with its fourth try, in the seventh minute after its run is complete. A poller without patience
/// would have found it by then.
pub(super) const ALERT_DELAY: Duration = Duration::from_secs(9 * 60);
/// How many of a hundred webhooks get lost.
const LOST_WEBHOOKS_PCT: u8 = 50;
/// Alerts in one webhook.
const ALERTS_PER_WEBHOOK: usize = 3;
/// Pause between two looks at which webhooks are due, in real time.
const WEBHOOK_TICK: Duration = Duration::from_millis(100);

/// When the poller asks, in the demo's time. The first question comes too early. The last try of a webhook comes in
/// the fifteenth minute, and the search for alerts after it, by a margin that a slow machine may use up.
pub(super) const POLL_TIMING: PollTiming = PollTiming {
    first: Duration::from_secs(30),
    interval: Duration::from_secs(60),
    grace: Duration::from_secs(17 * 60),
    deadline: Duration::from_secs(POLL_DEADLINE_SECS),
};

const _: () = {
    assert!(
        POLL_TIMING.first.as_secs() < PROCESSING_TIME.as_secs()
            && SCHEDULE_DAY.as_secs() < PROCESSING_TIME.as_secs()
    );
    assert!(POLL_TIMING.grace.as_secs() > 16 * 60);
};

/// How the simulated Rightfoot behaves at first. `event_uuid` stays the same at each attempt: under another one, an
/// alert whose first attempt died after it was recorded would be another event.
pub(super) fn configure(behaviour: &mut Behaviour) {
    behaviour.processing_time = PROCESSING_TIME;
    behaviour.schedule_day = SCHEDULE_DAY;
    behaviour.webhook_loss = WebhookLoss::Percent(LOST_WEBHOOKS_PCT);
    behaviour.max_alerts_per_webhook = Some(ALERTS_PER_WEBHOOK);
    behaviour.history_includes_on_demand = true;
    behaviour.no_failed_authorizers = NoFailedAuthorizers::Null;
    let scripted = |path: &str, answer, times| ScriptedResponse {
        path_contains: path.to_owned(),
        response: answer,
        remaining_uses: Some(times),
    };
    behaviour.scripted_responses = vec![
        scripted("/v1/balance_requests", CannedResponse::AppliedThen500, 2),
        scripted("/v1/balances", CannedResponse::Html, 4),
        scripted("/v1/balances", CannedResponse::Truncated, 2),
        scripted("/v1/balances", CannedResponse::Status(500), 8),
        scripted("/v1/balances", CannedResponse::RetryAfter { status: 429, secs: 1 }, 2),
        scripted("/history", CannedResponse::WrongShape, 1),
    ];
}

/// The simulated Rightfoot, at work until the set is dropped: its API, and its webhooks.
pub(super) fn spawn_simulator(simulator: &RightfootSimulator, listener: TcpListener) -> [JoinHandle<()>; 2] {
    let sender = simulator.clone();
    let sending = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(WEBHOOK_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deliveries = JoinSet::new();
        loop {
            ticks.tick().await;
            let sender = sender.clone();
            // An answer that is slow to come holds up no other webhook.
            deliveries.spawn(async move { sender.tick().await });
            while deliveries.try_join_next().is_some() {}
        }
    });
    [stack::spawn_server(listener, simulator.routes()), sending]
}

/// What Rightfoot knows of all batches and of the first [`RUNS`] runs of each schedule: what everything else is
/// held against.
#[derive(Clone, Debug, Default)]
pub(super) struct GroundTruth {
    /// Those that were submitted, and runs.
    pub(super) batches: Vec<SimulatedBatch>,
    /// The cast's.
    pub(super) other_batches: Vec<SimulatedBatch>,
    pub(super) schedules: Vec<SimulatedSchedule>,
    pub(super) webhooks: Vec<SimulatedWebhook>,
    /// Batch and authorizer, wherever a run's balance meets the threshold.
    pub(super) expected_alerts: BTreeSet<(String, String)>,
    /// What its API was asked.
    pub(super) requests: Vec<LoggedRequest>,
    /// The batches of the later runs, of which not all may be known yet.
    pub(super) unchecked_batches: BTreeSet<String>,
}

impl GroundTruth {
    /// As it is now.
    pub(super) fn of(simulator: &RightfootSimulator) -> Self {
        let unchecked = unchecked_batches(&simulator.schedules());
        let is_checked = |batch_id: &String| !unchecked.contains(batch_id);
        let (batches, others) = simulator.batches().into_iter().partition(|batch| is_uuid(&batch.batch_id));
        let mut truth = Self {
            batches,
            other_batches: others,
            schedules: simulator.schedules(),
            webhooks: simulator.webhooks(),
            expected_alerts: simulator.expected_alerts(),
            requests: simulator.requests(),
            unchecked_batches: BTreeSet::new(),
        };
        truth.batches.retain(|batch| is_checked(&batch.batch_id));
        truth.schedules.iter_mut().for_each(|schedule| schedule.runs.truncate(CHECKED_RUNS));
        truth.webhooks.retain(|webhook| is_checked(&webhook.batch_id));
        truth.expected_alerts.retain(|(batch_id, _)| is_checked(batch_id));
        Self { unchecked_batches: unchecked, ..truth }
    }

    /// The batch of this id.
    pub(super) fn batch(&self, batch_id: &str) -> Option<&SimulatedBatch> {
        self.batches.iter().find(|batch| batch.batch_id == batch_id)
    }

    /// The webhooks of one type.
    pub(super) fn webhooks_of(&self, event_type: &str) -> impl Iterator<Item = &SimulatedWebhook> {
        self.webhooks.iter().filter(move |webhook| webhook.event_type == event_type)
    }
}

/// Whether an event is about a batch that was submitted, or a run: Rightfoot's ids are UUIDs, the cast's are words.
pub(super) fn concerns_submitted_batch(event_id: &str) -> bool {
    event_id.split('/').nth(2).is_some_and(is_uuid)
}

/// Kills who is about to record an alert that came by webhook.
pub(super) fn crash_on_webhook_alert(call: &AwsCall) -> Option<Fault> {
    let is_webhook_alert =
        |id: &String| concerns_submitted_batch(id) && id.split('/').nth(4).is_some_and(is_uuid);
    (call.operation == "PutItem" && call.event_ids.iter().any(is_webhook_alert)).then_some(Fault::CrashBefore)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
}

/// The batches of all runs after the first [`RUNS`] of each schedule.
pub(super) fn unchecked_batches(schedules: &[SimulatedSchedule]) -> BTreeSet<String> {
    let runs = schedules.iter().flat_map(|schedule| schedule.runs.iter().skip(CHECKED_RUNS));
    runs.map(|run| run.batch_id.clone()).collect()
}

/// Whether calls fail because the demo wants it: an odd number while they do. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultWindow(Arc<AtomicUsize>);

impl FaultWindow {
    /// It changes.
    pub(super) fn toggle(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn current(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A run of the poller.
#[derive(Clone, Debug)]
pub(super) struct PollerRun {
    /// Whether nothing was broken while it ran.
    pub(super) is_fault_free: bool,
    /// Why it failed, if it did.
    pub(super) error: Option<String>,
}

/// What the poller's runs came to. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct PollerRuns(Arc<Mutex<Vec<PollerRun>>>);

impl PollerRuns {
    /// All so far.
    pub(super) fn all(&self) -> Vec<PollerRun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs the poller again and again, with this pause between two runs, until the handle is aborted.
    pub(super) fn run_poller_every(
        &self,
        pause: Duration,
        stack: &Stack,
        fault_window: &FaultWindow,
    ) -> JoinHandle<()> {
        let (runs, poller, fault_window) = (self.clone(), stack.poller.clone(), fault_window.clone());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let before = fault_window.current();
                let failed = match until_crash(poller.handle(INVOCATION_TIMEOUT)).await {
                    Some(Ok(_)) => None,
                    Some(Err(why)) => Some(format!("{}: {}", why.error_type, why.error_message)),
                    None => Some("died".to_owned()),
                };
                let in_calm = before.is_multiple_of(2) && fault_window.current() == before;
                runs.0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(PollerRun { is_fault_free: in_calm, error: failed });
            }
        })
    }
}
