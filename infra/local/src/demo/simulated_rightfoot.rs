//! The demo's simulated Rightfoot: its configuration, and the names of what it makes.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_core::limits::POLL_DEADLINE_SECS;
use inbox_core::poll::PollTiming;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::connector::{AwsCall, Fault};
use crate::rightfoot_simulator::{
    Behaviour, CannedResponse, NoFailedAuthorizers, RightfootSimulator, ScriptedResponse, SimulatedSchedule,
    WebhookLoss,
};
use crate::run_every::run_every;
use crate::stack;

/// The API key that the simulated Rightfoot accepts.
pub(super) const API_KEY: &str = "demo-rightfoot-api-key";
/// The schedule's expiry in days: longer than the demo.
pub(super) const SCHEDULE_DAYS: u32 = 300;
/// Number of runs of each schedule that are checked. The schedule runs on until the demo ends, once a simulated day.
pub(super) const CHECKED_RUNS: usize = 3;

/// Length of a day of the schedule, in simulated time: a run begins before its predecessor is complete.
const SCHEDULE_DAY: Duration = Duration::from_secs(60);
/// Processing time of a batch, in simulated time.
const PROCESSING_TIME: Duration = Duration::from_secs(90);
/// Time after the schedule's creation, in simulated time, in which functions that record a webhook alert crash. The
/// alert gets through with its fourth attempt, in the seventh minute after its run is complete; a poller without a grace
/// period would have found it by then.
pub(super) const ALERT_DELAY: Duration = Duration::from_secs(9 * 60);
/// Percentage of webhooks that are lost.
const LOST_WEBHOOKS_PCT: u8 = 50;
/// Maximum number of alerts in one webhook.
const ALERTS_PER_WEBHOOK: usize = 3;
/// Interval at which due webhook attempts are made, in real time.
const WEBHOOK_TICK: Duration = Duration::from_millis(100);

/// The poller's timing, in simulated time. The first poll comes before a batch is complete. The last attempt of a webhook
/// comes in the fifteenth minute; the search for alerts starts after it, with a margin for slow machines.
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

/// Configures the simulated Rightfoot for the start of the demo.
///
/// `event_uuid` stays the same at each attempt: under another one, an alert whose first attempt crashed after it was
/// recorded would be another event.
pub(super) fn configure(behaviour: &mut Behaviour) {
    behaviour.processing_time = PROCESSING_TIME;
    behaviour.schedule_day = SCHEDULE_DAY;
    behaviour.webhook_loss = WebhookLoss::Percent(LOST_WEBHOOKS_PCT);
    behaviour.max_alerts_per_webhook = Some(ALERTS_PER_WEBHOOK);
    // The documents leave this open. Here the poller must tell runs from batches of the same people.
    behaviour.history_includes_on_demand = true;
    behaviour.no_failed_authorizers = NoFailedAuthorizers::Null;
    let scripted = |path: &str, answer, times| ScriptedResponse {
        path_contains: path.to_owned(),
        response: answer,
        remaining_uses: Some(times),
    };
    // Few of each, so that every client recovers after some retries.
    behaviour.scripted_responses = vec![
        scripted("/v1/balance_requests", CannedResponse::AppliedThen500, 2),
        scripted("/v1/balances", CannedResponse::Html, 4),
        scripted("/v1/balances", CannedResponse::Truncated, 2),
        scripted("/v1/balances", CannedResponse::Status(500), 8),
        scripted("/v1/balances", CannedResponse::RetryAfter { status: 429, secs: 1 }, 2),
        scripted("/history", CannedResponse::WrongShape, 1),
    ];
}

/// Serves the simulator's API and sends its webhooks, until the handles are aborted.
pub(super) fn spawn_simulator(simulator: &RightfootSimulator, listener: TcpListener) -> [JoinHandle<()>; 2] {
    let (sender, mut deliveries) = (simulator.clone(), JoinSet::new());
    let sending = run_every(WEBHOOK_TICK, move || {
        let sender = sender.clone();
        // Not awaited: a slow response must not delay other webhooks.
        deliveries.spawn(async move { sender.tick().await });
        // A `JoinSet` keeps each finished task until it is joined.
        while deliveries.try_join_next().is_some() {}
        std::future::ready(())
    });
    [stack::spawn_server(listener, simulator.routes()), sending]
}

/// Returns `true` for the id of an event about a submitted batch or a run. The simulator's batch ids are UUIDs, those of
/// the demo's own senders are words.
pub(super) fn concerns_submitted_batch(event_id: &str) -> bool {
    event_id.split('/').nth(2).is_some_and(is_uuid)
}

/// The crash for a call that would record a webhook alert; `None` for any other call.
pub(super) fn crash_on_webhook_alert(call: &AwsCall) -> Option<Fault> {
    // An alert that the poller found has `poll-` and a digest there, not a UUID.
    let is_webhook_alert =
        |id: &String| concerns_submitted_batch(id) && id.split('/').nth(4).is_some_and(is_uuid);
    (call.operation == "PutItem" && call.event_ids.iter().any(is_webhook_alert)).then_some(Fault::CrashBefore)
}

fn is_uuid(text: &str) -> bool {
    // The length is enough: the ids of the demo's own senders are shorter or much longer.
    text.len() == 36
}

/// Batch ids of all runs after the first [`CHECKED_RUNS`] of each schedule.
pub(super) fn unchecked_batches(schedules: &[SimulatedSchedule]) -> BTreeSet<String> {
    let runs = schedules.iter().flat_map(|schedule| schedule.runs.iter().skip(CHECKED_RUNS));
    runs.map(|run| run.batch_id.clone()).collect()
}
