//! How often an alarm notifies of what happens again within an hour.

use std::collections::BTreeSet;

use super::cloudwatch::State::{Alarm as On, Ok};
use super::cloudwatch::{Alarm, EXTRA_PERIODS, alarms};
use super::series::{Minute, Series, once};

/// Minute in which it begins.
const BEGIN: usize = 120;
/// The hour after that.
const MINUTES: usize = BEGIN + 60;

/// Alarms that may notify again within the hour: they need values in several periods, or a sum within a short one. The periods move on
/// by a minute each time, so what happened may lie in one of them or in two, and the alarm goes off and on again.
const MAY_REPEAT: [&str; 9] = [
    "EventRelayErrors",
    "FynapseLatency",
    "GatewayRefusals",
    "Refused",
    "Returned",
    "RightfootLatency",
    "RightfootPollerErrors",
    "SecretFetchFailed",
    "WorkTimedOut",
];

/// Values that just turn the alarm on, as (minutes since the beginning, value), spread over `spread` minutes.
fn just_enough(alarm: &Alarm, spread: usize) -> Vec<(usize, f64)> {
    let enough = alarm.smallest_breach();
    match alarm.evaluation.datapoints_to_alarm {
        1 if enough > 1.0 && alarm.adds_up() => vec![(0, enough / 2.0), (spread, enough / 2.0)],
        // The same again.
        1 => vec![(0, enough), (spread, enough)],
        several => (0..several).map(|n| (n * spread, enough)).collect(),
    }
}

/// The most notifications of one such alarm.
fn notifications(alarm: &Alarm) -> usize {
    let mut most = 0;
    for spread in 1..30 {
        let mut series = Series::repeat(&Minute::new(), MINUTES);
        for (after, value) in just_enough(alarm, spread) {
            series.add(BEGIN + after, &Minute::from([(alarm.metric.clone(), once(value))]));
        }
        for extra in EXTRA_PERIODS {
            let changes = alarm.changes(&series, 0, Ok, extra);
            most = most.max(changes.iter().filter(|(_, state)| *state == On).count());
        }
    }
    most
}

/// infra/OPERATIONS.md, "Monitoring".
#[test]
fn what_repeats_within_an_hour_notifies_once_but_for_nine_alarms() {
    let of_events = alarms().into_iter().filter(|(_, alarm)| !alarm.notifies_end);
    let counts: Vec<_> = of_events.map(|(id, alarm)| (id, notifications(&alarm))).collect();
    let never: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).collect();
    assert!(never.is_empty(), "{never:?}");
    let repeats: BTreeSet<_> = counts.iter().filter(|it| it.1 > 1).map(|it| it.0.as_str()).collect();
    assert_eq!(repeats, MAY_REPEAT.into(), "{counts:?}");
}
