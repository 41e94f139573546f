//! Events in words: the steps of their timelines, their status, and who takes the next step. The pages and
//! `inboxctl timeline` have the same words.

use inbox_aws::items::{AlertEffectItem, EventRecord, PastCycle, QuarantinedItem};
use inbox_core::audit::{AuditEntry, message_expiry};
use inbox_core::duplicates::DuplicateCount;
use inbox_core::event::EventKey;
use inbox_core::lifecycle::EventState;
use inbox_core::origin::Origin;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::EventStatus;

use crate::poll_problem_text::failure_meaning;
use crate::quarantine_text;
use crate::time_text::{pluralize, with_age};

/// A step of a timeline: its time, and what happens.
pub type Step = (UnixMillis, String);

/// Class of the mark of a state.
pub(crate) const fn state_class(state: EventState) -> &'static str {
    match state {
        EventState::Done => "good",
        EventState::Quarantined => "bad",
        EventState::Waiting => "warn",
        EventState::Recorded | EventState::Sent | EventState::Claimed => "busy",
    }
}

/// Steps of an event, the earliest first.
pub fn event_steps(event: &EventRecord) -> Vec<Step> {
    let first = match event.origin {
        // Quarantined when it was received, and recorded only by its replay.
        Origin::Replay => "is received and quarantined".to_owned(),
        Origin::Webhook | Origin::Poll => {
            format!("is received and recorded, by {}", event.origin.as_str())
        }
    };
    let present = event.current_cycle();
    let mut steps = vec![(event.received_at, first)];
    steps.extend(event.past_cycles.iter().chain([&present]).flat_map(|cycle| cycle_steps(event, cycle)));
    steps.extend(event.duplicates.last_at.map(|at| (at, duplicates_step(event.origin, event.duplicates))));
    steps.extend(event.audit_entries.iter().map(audit_step));
    steps.sort_by_key(|step| step.0);
    steps
}

fn cycle_steps(event: &EventRecord, cycle: &PastCycle) -> impl Iterator<Item = Step> + use<> {
    // A requeue takes the time of the sending before it out of the record.
    let sent = match cycle.requeues {
        0 => "is put on the queue".to_owned(),
        requeues => {
            let reason = cycle.retry_reason.as_ref().map(|reason| format!(", last because of {reason}"));
            let times = pluralize(requeues, "time", "times") + &reason.unwrap_or_default();
            format!("is put on the queue again: the worker had requeued it {times}")
        }
    };
    let times = [
        (cycle.sent_at, sent),
        (cycle.done_at, format!("is done: {}", effect_text(&event.key, cycle.published_count))),
        (cycle.quarantined_at, "is quarantined".to_owned()),
    ];
    times.into_iter().filter_map(|(at, step)| Some((at?, step)))
}

/// The effect of an event; `None` unless it is done.
pub fn done_effect_text(event: &EventRecord) -> Option<String> {
    event.lifecycle.done_at.map(|_| effect_text(&event.key, event.published_count))
}

/// Number of results that the worker found when it last requeued a completion, and since when.
pub fn results_found_text(event: &EventRecord, now: UnixMillis) -> Option<String> {
    let found = event.results_found?;
    Some(format!("{}, since {}", found.count, with_age(Some(found.since), now)))
}

/// What the effect of an event that is done was. `count` is the number of results or alerts, if its record has it.
fn effect_text(key: &EventKey, count: Option<u64>) -> String {
    match (key, count) {
        (EventKey::RightfootAlert { .. } | EventKey::RightfootPolledAlert { .. }, Some(0)) => {
            "nothing to publish, because it names no authorizer".to_owned()
        }
        (EventKey::RightfootAlert { .. } | EventKey::RightfootPolledAlert { .. }, Some(count)) => {
            format!("{} on the bus", pluralize(count, "alert is", "alerts are"))
        }
        (EventKey::RightfootCompletion { .. }, Some(count)) => {
            format!("the batch is on the bus, with {}", pluralize(count, "result", "results"))
        }
        (EventKey::Signed { .. }, _)
        | (
            EventKey::RightfootCompletion { .. }
            | EventKey::RightfootAlert { .. }
            | EventKey::RightfootPolledAlert { .. },
            None,
        ) => "its effect is on the bus".to_owned(),
    }
}

/// Step of the deliveries of an event after the recorded one, at the time of the last one.
fn duplicates_step(origin: Origin, duplicates: DuplicateCount) -> String {
    let what = match (origin, duplicates.total) {
        (Origin::Poll, ..=1) => "comes by webhook, after the poll".to_owned(),
        (Origin::Poll, total) => format!("comes by webhook, after the poll: the last of {total} times"),
        (Origin::Webhook | Origin::Replay, ..=1) => "comes again, as a duplicate".to_owned(),
        (Origin::Webhook | Origin::Replay, total) => format!("comes again: the last of {total} duplicates"),
    };
    match differing_text(duplicates) {
        Some(differing) => format!("{what}; {differing}"),
        None => what,
    }
}

/// Number of an event's duplicates and the time of the last one; `None` if there are none.
pub fn duplicates_text(duplicates: DuplicateCount, now: UnixMillis) -> Option<String> {
    let last_at = with_age(duplicates.last_at, now);
    let differing = differing_text(duplicates).map(|text| format!("; {text}"));
    (duplicates.total > 0)
        .then(|| format!("{}, the last {last_at}{}", duplicates.total, differing.unwrap_or_default()))
}

fn differing_text(duplicates: DuplicateCount) -> Option<String> {
    let times = pluralize(duplicates.differing, "time", "times");
    (duplicates.differing > 0).then(|| format!("another payload came {times}, and the first one counts"))
}

/// Step of an operator's action.
pub fn audit_step(entry: &AuditEntry) -> Step {
    (entry.at, format!("— {} by {}: {}", entry.action.as_str(), entry.operator, entry.reason))
}

/// Step of an alert that is on the bus; `None` if it is only claimed.
pub fn alert_step(alert: &AlertEffectItem) -> Option<Step> {
    let replay = if alert.replay > 0 { format!(", replay {}", alert.replay) } else { String::new() };
    Some((alert.published_at?, format!("alert of {} is on the bus{replay}", alert.authorizer.as_str())))
}

/// Status of an alert that is claimed and not on the bus; `None` if it is.
pub fn claimed_alert_text(alert: &AlertEffectItem) -> Option<String> {
    alert
        .published_at
        .is_none()
        .then(|| format!("alert of {}: claimed, not published", alert.authorizer.as_str()))
}

/// Status of an event, who takes the next step and when, and why it was not taken yet. `item` is the quarantined item that
/// holds its bytes.
pub fn status_text(event: &EventRecord, item: Option<&QuarantinedItem>, now: UnixMillis) -> String {
    let (lifecycle, time) = (&event.lifecycle, |at| with_age(at, now));
    match EventStatus::of(lifecycle, &event.audit_entries, now) {
        EventStatus::AwaitsRelay => format!(
            "recorded, not known to be on the queue: the relay sends it, due {}{}",
            time(lifecycle.due_at),
            relay_suffix(event)
        ),
        EventStatus::AwaitsWorker => {
            let expires_at = lifecycle.sent_at.map(|at| message_expiry(at, &event.audit_entries));
            format!(
                "on the queue, sent {}: waits for the worker, until its message expires {}{}",
                time(lifecycle.sent_at),
                time(expires_at),
                requeue_suffix(event)
            )
        }
        EventStatus::MessageExpired => format!(
            "sent {}, and expired from the queues: `events replay --lost` sends it again",
            time(lifecycle.sent_at)
        ),
        EventStatus::Claimed => format!(
            "a worker is processing it; its claim ends {}{}",
            time(lifecycle.claim_until),
            requeue_suffix(event)
        ),
        EventStatus::Requeued => format!(
            "{}: the relay sends it again, due {}{}",
            requeues_text(lifecycle.requeues, event.retry_reason.as_deref()).unwrap_or_default(),
            time(lifecycle.due_at),
            relay_suffix(event)
        ),
        EventStatus::Done => {
            format!("done {}: {}", time(lifecycle.done_at), effect_text(&event.key, event.published_count))
        }
        EventStatus::Quarantined => {
            let item = match item {
                Some(item) => format!(
                    " ({}): {}; an operator decides, see `quarantine show {}`",
                    item.reason.as_str(),
                    quarantine_text::meaning_in_sentence(item.reason),
                    item.id
                ),
                None => ": its item has expired".to_owned(),
            };
            format!("quarantined {}{item}", time(lifecycle.quarantined_at))
        }
    }
}

/// Attempts of the relay that did not reach the queue, in parentheses; empty if there were none.
fn relay_suffix(event: &EventRecord) -> String {
    let rejected = pluralize(event.undeliverable_count, "time", "times");
    match (event.attempts, event.undeliverable_count) {
        (0, 0) => String::new(),
        (attempts, 0) => format!(" ({} so far)", pluralize(attempts, "try", "tries")),
        (attempts, _) => {
            format!(" ({} so far; SQS rejected the message {rejected})", pluralize(attempts, "try", "tries"))
        }
    }
}

/// Number of requeues and the reason of the last one; `None` if there were none.
fn requeues_text(requeues: u64, reason: Option<&str>) -> Option<String> {
    let reason = reason.map(|reason| match retry_meaning(reason) {
        Some(meaning) => format!(", last because of {reason} ({meaning})"),
        None => format!(", last because of {reason}"),
    });
    (requeues > 0).then(|| {
        let times = pluralize(requeues, "time", "times");
        format!("requeued by the worker, {times} so far{}", reason.unwrap_or_default())
    })
}

/// The same at the end of a sentence; empty if it was never requeued.
fn requeue_suffix(event: &EventRecord) -> String {
    let requeues = requeues_text(event.lifecycle.requeues, event.retry_reason.as_deref());
    requeues.map(|requeues| format!("; {requeues}")).unwrap_or_default()
}

/// Meaning of the reason of a requeue; `None` for one that this version does not know.
fn retry_meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "not_ready" => "Rightfoot has not finished the batch, or does not know it",
        "not_complete" => "results are missing, or an untracked batch was read only once",
        "row_skipped" => "a row of the batch cannot be read",
        "not_tracked" => "its batch is not tracked yet",
        "alert_held_by_other" => "another event is publishing the same alert",
        "bus_failed" => "EventBridge has failed",
        "timed_out" => "its processing took too long",
        other => return failure_meaning(other),
    })
}

/// Type of the events on the bus that result from an event.
pub(crate) fn bus_event_type(event: &EventRecord) -> &'static str {
    match event.key {
        EventKey::RightfootCompletion { .. } => "BalanceBatchCompleted",
        EventKey::RightfootAlert { .. } | EventKey::RightfootPolledAlert { .. } => "BalanceThresholdMet",
        EventKey::Signed { .. } => "BalanceExtracted",
    }
}
