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

use crate::rightfoot::{
    BatchSeen, Behaviour, Canned, Lose, NoneFailed, Request, ScheduleSeen, Scripted, Simulator, WebhookSeen,
};
use crate::stack::{self, INVOCATION_TIMEOUT, Stack};
use crate::connector::{AwsCall, Fault, until_crash};

/// The key that the simulated Rightfoot takes.
pub(super) const API_KEY: &str = "demo-rightfoot-api-key";
/// The `type` of a completion.
pub(super) const COMPLETED: &str = "BALANCE_BATCH_COMPLETED";
/// The `type` of an alert.
pub(super) const ALERT: &str = "BALANCE_THRESHOLD_ALERT";
/// How many days the schedule lives: longer than the demo.
pub(super) const SCHEDULE_DAYS: u32 = 300;
/// So many runs of the schedule are looked at; it runs on until the demo ends, once a day.
pub(super) const RUNS: usize = 3;

/// A day of the schedule, in the demo's time: a run begins before the one before it is complete.
const SCHEDULE_DAY: Duration = Duration::from_secs(60);
/// How long a batch takes, in the demo's time.
const PROCESSING: Duration = Duration::from_secs(90);
/// For so long after the schedule was created, in the demo's time, whoever records an alert that came by webhook
/// dies: it comes with its fourth try, in the seventh minute after its run is complete. A poller without patience
/// would have found it by then.
pub(super) const ALERTS_HELD_UP: Duration = Duration::from_secs(9 * 60);
/// How many of a hundred webhooks get lost.
const LOST_PCT: u8 = 50;
/// Alerts in one webhook.
const ALERTS_PER_WEBHOOK: usize = 3;
/// Pause between two looks at which webhooks are due, in real time.
const TICK: Duration = Duration::from_millis(100);

/// When the poller asks, in the demo's time. The first question comes too early. The last try of a webhook comes in
/// the fifteenth minute, and the search for alerts after it, by a margin that a slow machine may use up.
pub(super) const CADENCE: PollTiming = PollTiming {
    first: Duration::from_secs(30),
    interval: Duration::from_secs(60),
    grace: Duration::from_secs(17 * 60),
    deadline: Duration::from_secs(POLL_DEADLINE_SECS),
};

const _: () = {
    assert!(CADENCE.first.as_secs() < PROCESSING.as_secs() && SCHEDULE_DAY.as_secs() < PROCESSING.as_secs());
    assert!(CADENCE.grace.as_secs() > 16 * 60);
};

/// How the simulated Rightfoot behaves at first. `event_uuid` stays the same at each attempt: under another one, an
/// alert whose first attempt died after it was recorded would be another event.
pub(super) fn behave(behaviour: &mut Behaviour) {
    behaviour.processing = PROCESSING;
    behaviour.schedule_day = SCHEDULE_DAY;
    behaviour.lose_webhooks = Lose::Share(LOST_PCT);
    behaviour.split_alerts = Some(ALERTS_PER_WEBHOOK);
    behaviour.history_includes_on_demand = true;
    behaviour.none_failed = NoneFailed::Null;
    let scripted =
        |path: &str, answer, times| Scripted { path_contains: path.to_owned(), answer, times: Some(times) };
    behaviour.answers = vec![
        scripted("/v1/balance_requests", Canned::FailAfterApplying, 2),
        scripted("/v1/balances", Canned::Garbage, 4),
        scripted("/v1/balances", Canned::CutShort, 2),
        scripted("/v1/balances", Canned::Status(500), 8),
        scripted("/v1/balances", Canned::RetryAfter { status: 429, secs: 1 }, 2),
        scripted("/history", Canned::WrongShape, 1),
    ];
}

/// The simulated Rightfoot, at work until the set is dropped: its API, and its webhooks.
pub(super) fn at_work(simulator: &Simulator, listener: TcpListener) -> [JoinHandle<()>; 2] {
    let sender = simulator.clone();
    let sending = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(TICK);
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
pub(super) struct Truth {
    /// Those that were submitted, and runs.
    pub(super) batches: Vec<BatchSeen>,
    /// The cast's.
    pub(super) others: Vec<BatchSeen>,
    pub(super) schedules: Vec<ScheduleSeen>,
    pub(super) webhooks: Vec<WebhookSeen>,
    /// Batch and authorizer, wherever a run's balance meets the threshold.
    pub(super) due_alerts: BTreeSet<(String, String)>,
    /// What its API was asked.
    pub(super) requests: Vec<Request>,
    /// The batches of the later runs, of which not all may be known yet.
    pub(super) later: BTreeSet<String>,
}

impl Truth {
    /// As it is now.
    pub(super) fn of(simulator: &Simulator) -> Self {
        let later = later(&simulator.schedules());
        let counts = |batch_id: &String| !later.contains(batch_id);
        let (batches, others) = simulator.batches().into_iter().partition(|batch| is_uuid(&batch.batch_id));
        let mut truth = Self {
            batches,
            others,
            schedules: simulator.schedules(),
            webhooks: simulator.webhooks(),
            due_alerts: simulator.due_alerts(),
            requests: simulator.requests(),
            later: BTreeSet::new(),
        };
        truth.batches.retain(|batch| counts(&batch.batch_id));
        truth.schedules.iter_mut().for_each(|schedule| schedule.runs.truncate(RUNS));
        truth.webhooks.retain(|webhook| counts(&webhook.batch_id));
        truth.due_alerts.retain(|(batch_id, _)| counts(batch_id));
        Self { later, ..truth }
    }

    /// The batch of this id.
    pub(super) fn batch(&self, batch_id: &str) -> Option<&BatchSeen> {
        self.batches.iter().find(|batch| batch.batch_id == batch_id)
    }

    /// The webhooks of one type.
    pub(super) fn webhooks_of(&self, event_type: &str) -> impl Iterator<Item = &WebhookSeen> {
        self.webhooks.iter().filter(move |webhook| webhook.event_type == event_type)
    }
}

/// Whether an event is about a batch that was submitted, or a run: Rightfoot's ids are UUIDs, the cast's are words.
pub(super) fn is_about_submitted(event_id: &str) -> bool {
    event_id.split('/').nth(2).is_some_and(is_uuid)
}

/// Kills who is about to record an alert that came by webhook.
pub(super) fn kill_alert(call: &AwsCall) -> Option<Fault> {
    let is_one = |id: &String| is_about_submitted(id) && id.split('/').nth(4).is_some_and(is_uuid);
    (call.operation == "PutItem" && call.event_ids.iter().any(is_one)).then_some(Fault::CrashBefore)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
}

/// The batches of all runs after the first [`RUNS`] of each schedule.
pub(super) fn later(schedules: &[ScheduleSeen]) -> BTreeSet<String> {
    let runs = schedules.iter().flat_map(|schedule| schedule.runs.iter().skip(RUNS));
    runs.map(|run| run.batch_id.clone()).collect()
}

/// Whether calls fail because the demo wants it: an odd number while they do. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Weather(Arc<AtomicUsize>);

impl Weather {
    /// It changes.
    pub(super) fn turns(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn reading(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A run of the poller.
#[derive(Clone, Debug)]
pub(super) struct PollerRun {
    /// Whether nothing was broken while it ran.
    pub(super) in_calm: bool,
    /// Why it failed, if it did.
    pub(super) failed: Option<String>,
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
    pub(super) fn note_every(&self, pause: Duration, system: &Stack, weather: &Weather) -> JoinHandle<()> {
        let (runs, poller, weather) = (self.clone(), system.poller.clone(), weather.clone());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let before = weather.reading();
                let failed = match until_crash(poller.handle(INVOCATION_TIMEOUT)).await {
                    Some(Ok(_)) => None,
                    Some(Err(why)) => Some(format!("{}: {}", why.error_type, why.error_message)),
                    None => Some("died".to_owned()),
                };
                let in_calm = before.is_multiple_of(2) && weather.reading() == before;
                runs.0.lock().unwrap_or_else(PoisonError::into_inner).push(PollerRun { in_calm, failed });
            }
        })
    }
}
