//! Weeks of a healthy system, in which no alarm notifies.

use std::collections::BTreeSet;

use inbox_aws::telemetry::metrics::{METRICS, MetricKind};
use inbox_core::delivery::Provider;

use super::aws_metrics::{COLD_MS, WARM_MS, queue_metric, route_metric, with_aws_metrics};
use super::cloudwatch::State::{self, Alarm as On, InsufficientData, Ok};
use super::cloudwatch::{Alarm, EXTRA_PERIODS, alarms};
use super::extract_run::{EVENTS, RunMinute, run_minutes};
use super::recorded_runs::RUN_SAMPLE;
use super::recordings::{minute, recording};
use super::series::{Minute, Series, once, samples};

const HOUR: usize = 60;
const DAY: usize = 24 * HOUR;
const WEEK: usize = 7 * DAY;
/// Minutes between two runs of fynapse-auditor.
const AUDIT_EVERY: usize = 15;
/// Idle minutes before a week. The system runs already when the week begins.
const BEFORE: usize = HOUR;

/// The parts of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    fynapse: bool,
    rightfoot: bool,
    worker: bool,
    auditor: bool,
}

pub(super) const ALL_PARTS: Parts = Parts { fynapse: true, rightfoot: true, worker: true, auditor: true };
const FYNAPSE_ALONE: Parts = Parts { rightfoot: false, ..ALL_PARTS };
const RIGHTFOOT_ALONE: Parts = Parts { fynapse: false, auditor: false, ..ALL_PARTS };
const NO_AUDITOR: Parts = Parts { auditor: false, ..ALL_PARTS };
const NO_WORKER: Parts = Parts { worker: false, ..ALL_PARTS };

impl Parts {
    /// The alarms of such a stack.
    pub(super) fn alarms(self) -> impl Iterator<Item = (String, Alarm)> {
        alarms().into_iter().filter(move |(_, alarm)| match alarm.condition.as_deref() {
            None => true,
            Some("WithFynapse") => self.fynapse,
            Some("WithRightfoot") => self.rightfoot,
            Some("WithEventWorker") => self.worker,
            Some("WithFynapseAuditor") => self.auditor,
            Some(other) => panic!("the weeks do not know {other}"),
        })
    }
}

/// A span of time in the life of a stack.
pub(super) struct Timeline {
    pub(super) series: Series,
}

impl Timeline {
    /// An idle stack: relay and poller run every minute, and find nothing due; the auditor runs every 15 minutes.
    pub(super) fn idle(minutes: usize) -> Self {
        let mut idle = Self { series: Series::repeat(&with_aws_metrics(minute("idle"), WARM_MS), minutes) };
        idle.play_every(AUDIT_EVERY, 0, "auditor");
        idle
    }

    /// Plays a recording.
    pub(super) fn play(&mut self, at: usize, name: &str) {
        self.play_with_latency(at, name, WARM_MS);
    }

    fn play_with_latency(&mut self, at: usize, name: &str, latency_ms: f64) {
        for (after, minute) in recording(name).iter().enumerate() {
            self.series.add(at + after, &with_aws_metrics(minute, latency_ms));
        }
    }

    /// Plays a recording again and again, to the end.
    pub(super) fn play_every(&mut self, interval: usize, first: usize, name: &str) {
        for at in (first..self.series.minutes()).step_by(interval) {
            self.play(at, name);
        }
    }

    /// Usual traffic of Fynapse: an event every ten minutes, one in six of them twice, and small runs.
    pub(super) fn fynapse_traffic(mut self) -> Self {
        self.play_every(10, 3, "fynapse_event");
        self.play_every(HOUR, 33, "fynapse_event_twice");
        self.play_every(DAY / 2, 6 * HOUR, "fynapse_run");
        self
    }

    /// Usual traffic of Rightfoot: batches, and a schedule's daily run with an alert.
    pub(super) fn rightfoot_traffic(mut self) -> Self {
        self.play_every(2 * HOUR, 40, "rightfoot_batch");
        self.play_every(DAY, 9 * HOUR, "rightfoot_run");
        self
    }
}

fn idle_week() -> Timeline {
    Timeline::idle(BEFORE + WEEK)
}

/// The usual traffic of both providers.
fn usual_week() -> Timeline {
    idle_week().fynapse_traffic().rightfoot_traffic()
}

/// The changes that send a message, as (alarm, minute, state), for any number of periods that CloudWatch retrieves.
fn messages(parts: Parts, series: &Series) -> BTreeSet<(String, usize, bool)> {
    let mut sent = BTreeSet::new();
    for (id, alarm) in parts.alarms() {
        for extra in EXTRA_PERIODS {
            let changes = alarm.changes(series, BEFORE, Ok, extra).into_iter();
            let changes = changes.filter(|(_, state)| alarm.sends(*state));
            sent.extend(changes.map(|(at, state)| (id.clone(), at, state == On)));
        }
    }
    sent
}

#[track_caller]
fn assert_quiet(parts: Parts, week: &Timeline) {
    assert_eq!(messages(parts, &week.series), BTreeSet::new(), "{parts:?}");
}

#[test]
fn an_idle_week_is_quiet() {
    let week = idle_week();
    assert_eq!(week.series.of("oldest_due_age").len(), 10_140);
    for parts in [ALL_PARTS, FYNAPSE_ALONE, RIGHTFOOT_ALONE, NO_WORKER, NO_AUDITOR] {
        assert_quiet(parts, &week);
    }
}

#[test]
fn a_week_of_fynapse_alone_is_quiet() {
    let week = idle_week().fynapse_traffic();
    // 1,014 events, 169 of them that came twice, and 14 runs of 100.
    assert_eq!(week.series.sum("received provider=fynapse"), 1_014.0 + 2.0 * 169.0 + 1_400.0);
    assert_quiet(FYNAPSE_ALONE, &week);
}

#[test]
fn a_week_of_rightfoot_alone_is_quiet() {
    let week = idle_week().rightfoot_traffic();
    // 85 batches with one webhook, and 7 runs with a completion and an alert.
    assert_eq!(week.series.sum("received provider=rightfoot"), 85.0 + 14.0);
    assert_quiet(RIGHTFOOT_ALONE, &week);
}

#[test]
fn a_week_of_both_providers_is_quiet() {
    let week = usual_week();
    for parts in [ALL_PARTS, NO_WORKER] {
        assert_quiet(parts, &week);
    }
}

/// A minute of the run: the recorded one with as many deliveries, and what the gateway and the queue make of them.
fn minute_of_run(run: RunMinute) -> Minute {
    let number = |count: u64| f64::from(u32::try_from(count).unwrap());
    let is_counter = |metric: &str| {
        let name = metric.split(' ').next().unwrap();
        METRICS.iter().any(|it| it.name == name && it.kind == MetricKind::Counter)
    };
    let mut ours = minute("fynapse_run").clone();
    for (_, samples) in ours.iter_mut().filter(|(metric, _)| is_counter(metric)) {
        samples.iter_mut().for_each(|it| it.value *= number(run.passed) / f64::from(RUN_SAMPLE));
    }
    let mut minute = with_aws_metrics(&ours, WARM_MS);
    minute.insert(queue_metric("ApproximateAgeOfOldestMessage"), once(number(run.oldest_message_secs)));
    if run.throttled > 0 {
        minute.insert("fynapse_429".to_owned(), once(number(run.throttled)));
        let answered = minute.entry(route_metric(Provider::Fynapse, "5xx")).or_default();
        answered.extend(samples(0.0, number(run.throttled)));
    }
    minute
}

#[test]
fn a_run_of_100_000_events_at_full_speed_is_quiet() {
    let mut week = usual_week();
    let before = week.series.sum("received provider=fynapse");
    for (after, run) in run_minutes().into_iter().enumerate() {
        week.series.add(2 * DAY + after, &minute_of_run(run));
    }
    let received = week.series.sum("received provider=fynapse") - before;
    assert!((received - f64::from(u32::try_from(EVENTS).unwrap())).abs() < 0.5, "{received}");
    assert!(week.series.sum("fynapse_429") > 0.0);
    assert_quiet(ALL_PARTS, &week);
}

/// Every function starts new instances, the first deliveries wait for them, and their secrets are fetched again.
#[test]
fn a_week_with_a_deployment_is_quiet() {
    let mut week = usual_week();
    for day in [1, 4] {
        for at in day * DAY..day * DAY + 3 {
            week.play_with_latency(at, "deploy", COLD_MS);
        }
    }
    assert_quiet(ALL_PARTS, &week);
}

#[test]
fn a_week_with_a_rotation_of_both_secrets_is_quiet() {
    let mut week = usual_week();
    week.play(2 * DAY, "fynapse_rotation");
    week.play(3 * DAY, "rightfoot_rotation");
    assert_quiet(ALL_PARTS, &week);
}

/// What comes from the internet without anybody's intent. This level is an assumption: the webhook routes are linked nowhere, and
/// requests for other paths count in no metric of ours. For each route: two deliveries an hour without a credential, one an hour with a
/// well-formed but wrong one, one an hour that the gateway itself rejects, and once eight within a minute.
#[test]
fn a_week_of_scanners_and_forgeries_is_quiet() {
    let mut week = usual_week();
    week.play_every(30, 7, "scanner");
    week.play_every(HOUR, 19, "forgery");
    (0..8).for_each(|_| week.play(3 * DAY + 17, "scanner"));
    let rejected_by_gateway = Minute::from([("gateway_4xx".to_owned(), once(2.0))]);
    (0..WEEK).step_by(HOUR).for_each(|at| week.series.add(at, &rejected_by_gateway));
    assert_eq!(week.series.sum("rejected"), 2.0 * (338.0 + 169.0 + 8.0));
    assert_quiet(ALL_PARTS, &week);
}

/// With an allow-list, every delivery from another address is rejected for its address, whatever its credential is.
#[test]
fn a_week_of_scanners_outside_the_allow_lists_is_quiet() {
    let mut week = usual_week();
    week.play_every(30, 7, "foreign_address");
    assert_eq!(week.series.sum("rejected provider=fynapse reason=address"), 338.0);
    assert_quiet(ALL_PARTS, &week);
}

#[test]
fn a_week_with_a_lost_webhook_is_quiet_though_one_alarm_is_on() {
    let mut week = usual_week();
    week.play(2 * DAY, "rightfoot_lost_webhook");
    assert_eq!(week.series.sum("found_by_poll"), 1.0);
    assert_quiet(ALL_PARTS, &week);
    let changes = alarms()["FoundByPoll"].changes(&week.series, BEFORE, Ok, 0);
    assert_eq!(changes.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [On, Ok]);
}

/// infra/OPERATIONS.md, "Monitoring".
#[test]
fn a_first_deployment_sends_fourteen_messages_and_two_more_with_the_auditor() {
    let mut week = idle_week();
    for (heartbeat, first_run) in
        [("oldest_due_age", 2), ("oldest_poll_delay", 2), ("delivery_check_age", 15)]
    {
        week.series.begin(heartbeat, first_run);
    }
    for (parts, expected, stopped) in [
        (NO_AUDITOR, 14, vec!["PollerStopped", "RelayStopped"]),
        (ALL_PARTS, 16, vec!["AuditorStopped", "PollerStopped", "RelayStopped"]),
    ] {
        for extra in EXTRA_PERIODS {
            let mut sent: Vec<(String, State)> = Vec::new();
            for (id, alarm) in parts.alarms() {
                let changes = alarm.changes(&week.series, 0, InsufficientData, extra).into_iter();
                let changes = changes.filter(|(_, state)| alarm.sends(*state));
                sent.extend(changes.map(|(_, state)| (id.clone(), state)));
            }
            let on: Vec<_> = sent.iter().filter(|it| it.1 == On).map(|it| it.0.as_str()).collect();
            assert_eq!((sent.len(), on), (expected, stopped.clone()), "{extra}");
        }
    }
}
