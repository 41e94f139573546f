//! The fault of each alarm, and the time in which the alarm notifies.

use std::collections::BTreeSet;

use inbox_core::delivery::Provider::{self, Fynapse, Rightfoot};

use super::aws_metrics::{dead_letter_metric, function_metric, queue_metric, route_metric};
use super::cloudwatch::State::{Alarm as On, Ok};
use super::cloudwatch::{EXTRA_PERIODS, alarms};
use super::series::{Minute, Series, once};
use super::weeks::Timeline;

/// Minute in which every fault begins. Until then, the system is healthy.
const BEGIN: usize = 600;
/// Minutes for which a fault lasts.
const LASTS: usize = 120;

/// A fault, as the values of metrics.
enum Fault {
    /// A recording, in these minutes after the fault has begun.
    Recorded(&'static str, &'static [usize]),
    /// A recording, again and again at this interval.
    Repeated(&'static str, usize),
    /// The heartbeat with this name ends.
    Silence(&'static str),
    /// Values of a metric that AWS reports or counts, by the minutes since the fault has begun.
    Stated(fn() -> String, fn(f64) -> f64),
    /// The same, only in the first minute.
    StatedOnce(fn() -> String, f64),
}
use Fault::{Recorded, Repeated, Silence, Stated, StatedOnce};

/// Alarm, fault, and the minutes within which the alarm notifies.
///
/// The minutes are those of the alarm's description, if it names a time. Otherwise they are its period times the datapoints that it needs,
/// or 1 if a single value suffices. To these comes the time in which the functions find the fault: the relay and the poller run every
/// minute; a batch is first polled after 10 minutes, and at last every 15; a submission is due after 15. CloudWatch's delay is not in it.
const FAULTS: [(&str, Fault, usize); 63] = [
    // The webhook routes.
    ("FynapseErrors", Repeated("dynamodb_down", 1), 10),
    ("RightfootErrors", Repeated("dynamodb_down", 1), 10),
    ("FynapseLatency", Stated(|| route_metric(Fynapse, "Latency"), |_| 3_500.0), 10),
    ("RightfootLatency", Stated(|| route_metric(Rightfoot, "Latency"), |_| 3_500.0), 10),
    ("TooLarge", StatedOnce(|| "gateway_413".to_owned(), 1.0), 1),
    ("FynapseTooManyRequests", Stated(|| "fynapse_429".to_owned(), |_| 1.0), 30),
    ("RightfootTooManyRequests", Stated(|| "rightfoot_429".to_owned(), |_| 1.0), 5),
    ("GatewayRefusals", Stated(|| "gateway_4xx".to_owned(), |_| 2.0), 5),
    ("Refused", Recorded("wrong_secret", &[0]), 1),
    // One event: the attempts of Fynapse after 0 and 0.5 minutes and 2, of Rightfoot after 0, 1 and 3.
    ("FynapseMismatch", Recorded("forgery", &[0, 0, 2]), 3),
    ("FynapseAddress", Recorded("foreign_address", &[0, 0, 2]), 3),
    ("RightfootMismatch", Recorded("forgery", &[0, 1, 3]), 4),
    ("RightfootAddress", Recorded("foreign_address", &[0, 1, 3]), 4),
    ("StaleButAuthentic", Recorded("stale", &[0]), 1),
    ("FynapsePayloadDiffers", Recorded("payload_differs", &[0]), 1),
    ("RightfootPayloadDiffers", Recorded("payload_differs", &[0]), 1),
    ("SecretFetchFailed", Repeated("secret_denied", 5), 15),
    ("Quarantined", Recorded("unreadable", &[0]), 1),
    // The queue.
    ("OldestDueAge", Recorded("sqs_denied", &[0]), 6),
    ("RelayStopped", Silence("oldest_due_age"), 5),
    ("DeadLetters", Stated(|| dead_letter_metric("ApproximateNumberOfMessagesVisible"), |_| 1.0), 1),
    (
        "OldestDeadLetterAge",
        Stated(|| dead_letter_metric("ApproximateAgeOfOldestMessage"), |minutes| 604_800.0 + 60.0 * minutes),
        2,
    ),
    (
        "OldestMessageAge",
        Stated(|| queue_metric("ApproximateAgeOfOldestMessage"), |minutes| 60.0 * minutes),
        17,
    ),
    // The worker.
    ("Returned", Recorded("worker_without_table", &[0]), 1),
    ("BusFailed", Recorded("bus_down", &[0]), 30),
    ("WorkFailed", Recorded("balances_denied", &[0]), 30),
    ("WorkTimedOut", Repeated("processing_timed_out", 15), 30),
    ("ClaimLost", Recorded("claim_lost", &[0]), 1),
    ("ThresholdDiffers", Recorded("threshold_differs", &[0]), 1),
    ("WorkOverdue", Recorded("processing_overdue", &[0]), 1),
    // The poller.
    ("KeyRefused", Recorded("api_key_refused", &[0]), 1),
    ("PollerStopped", Silence("oldest_poll_delay"), 5),
    ("OldestPollDelay", Recorded("rightfoot_pauses", &[0]), 17),
    ("PollFailed", Recorded("rightfoot_down", &[0]), 60),
    ("Overdue", Recorded("batch_overdue", &[0]), 16),
    ("OverdueUnanswered", Recorded("batch_overdue_unanswered", &[0]), 16),
    ("SubmissionUnknown", Recorded("submission_unknown", &[0]), 16),
    ("ScheduleAlarm", Recorded("schedule_stopped", &[0]), 11),
    ("ScheduleOvertaken", Repeated("schedule_overtaken", 5), 16),
    ("AlertFlood", Recorded("alert_flood", &[0]), 1),
    ("RowSkipped", Recorded("row_unreadable", &[0]), 1),
    ("RecordMended", Recorded("record_reopened", &[0]), 1),
    ("FoundByPoll", Recorded("rightfoot_lost_webhook", &[0]), 11),
    // The auditor.
    ("DeliveryLost", Recorded("delivery_lost", &[0]), 1),
    ("DeliveryMissed", Recorded("delivery_missed", &[0]), 1),
    ("CredentialsRefused", Recorded("credentials_refused", &[0]), 1),
    ("CredentialsExpiring", Recorded("credentials_expiring", &[0]), 1),
    ("DeliveryCheckFailed", Repeated("delivery_check_failed", 15), 60),
    ("DeliveryCheckAge", Stated(|| "delivery_check_age".to_owned(), |minutes| 21_600.0 + 60.0 * minutes), 2),
    ("AuditorStopped", Silence("delivery_check_age"), 60),
    ("FynapseAuditorErrors", Stated(|| function_metric("fynapse-auditor", "Errors"), |_| 1.0), 2),
    ("FynapseAuditorThrottles", StatedOnce(|| function_metric("fynapse-auditor", "Throttles"), 1.0), 1),
    // The functions.
    ("FynapseWebhookErrors", StatedOnce(|| function_metric("fynapse-webhook", "Errors"), 1.0), 1),
    ("RightfootWebhookErrors", StatedOnce(|| function_metric("rightfoot-webhook", "Errors"), 1.0), 1),
    ("EventRelayErrors", Stated(|| function_metric("event-relay", "Errors"), |_| 1.0), 10),
    ("RightfootPollerErrors", Stated(|| function_metric("rightfoot-poller", "Errors"), |_| 1.0), 10),
    ("EventWorkerErrors", StatedOnce(|| function_metric("event-worker", "Errors"), 1.0), 1),
    ("FynapseWebhookThrottles", StatedOnce(|| function_metric("fynapse-webhook", "Throttles"), 1.0), 1),
    ("RightfootWebhookThrottles", StatedOnce(|| function_metric("rightfoot-webhook", "Throttles"), 1.0), 1),
    ("EventRelayThrottles", StatedOnce(|| function_metric("event-relay", "Throttles"), 1.0), 1),
    ("RightfootPollerThrottles", StatedOnce(|| function_metric("rightfoot-poller", "Throttles"), 1.0), 1),
    ("RightfootRequestsThrottles", StatedOnce(|| function_metric("rightfoot-requests", "Throttles"), 1.0), 1),
    ("EventWorkerThrottles", StatedOnce(|| function_metric("event-worker", "Throttles"), 1.0), 1),
];

/// The usual traffic, and then the fault.
fn with_fault(fault: &Fault) -> Series {
    let mut timeline = Timeline::idle(BEGIN + LASTS).fynapse_traffic().rightfoot_traffic();
    match fault {
        Recorded(name, minutes) => minutes.iter().for_each(|at| timeline.play(BEGIN + at, name)),
        Repeated(name, interval) => timeline.play_every(*interval, BEGIN, name),
        Silence(heartbeat) => timeline.series.end(heartbeat, BEGIN),
        Stated(metric, value) => {
            let metric = metric();
            for minutes in 0..u8::try_from(LASTS).unwrap() {
                let value = once(value(f64::from(minutes)));
                timeline.series.add(BEGIN + usize::from(minutes), &Minute::from([(metric.clone(), value)]));
            }
        }
        StatedOnce(metric, value) => {
            timeline.series.add(BEGIN, &Minute::from([(metric(), once(*value))]));
        }
    }
    timeline.series
}

#[test]
fn every_alarm_notifies_of_its_fault_in_time() {
    let mut late = Vec::new();
    let alarms = alarms();
    for (id, fault, within) in &FAULTS {
        let (alarm, series) = (&alarms[*id], with_fault(fault));
        // For information only: infra/OPERATIONS.md, "Alarms".
        assert_eq!(alarm.notifies, *id != "FoundByPoll", "{id}");
        for extra in EXTRA_PERIODS {
            let on = alarm.changes(&series, 0, Ok, extra).into_iter().find(|(_, state)| *state == On);
            // Real data counts before missing data, as long as CloudWatch retrieves it.
            let waits = if alarm.evaluation.missing_is_breaching { extra * alarm.period_mins } else { 0 };
            let in_time = BEGIN..BEGIN + within + waits;
            if !on.is_some_and(|(at, _)| in_time.contains(&at)) {
                late.push((
                    *id,
                    extra,
                    on.map(|(at, _)| at.cast_signed() - BEGIN.cast_signed() + 1),
                    *within,
                ));
            }
        }
    }
    assert_eq!(
        late,
        [],
        "(alarm, further periods, minutes until it was on, minutes within which it shall be)"
    );
}

#[test]
fn every_alarm_has_a_fault() {
    let with_fault: BTreeSet<_> = FAULTS.iter().map(|(id, ..)| (*id).to_owned()).collect();
    assert_eq!(with_fault.len(), FAULTS.len(), "one each");
    assert_eq!(alarms().into_keys().collect::<BTreeSet<_>>(), with_fault);
}

/// Both providers' alarms are in the table.
#[test]
fn every_provider_has_the_alarms_of_its_route() {
    for provider in Provider::ALL.iter().copied() {
        for name in ["5xx", "Latency"] {
            let metric = route_metric(provider, name);
            assert_eq!(alarms().values().filter(|alarm| alarm.metric == metric).count(), 1, "{metric}");
        }
    }
}
