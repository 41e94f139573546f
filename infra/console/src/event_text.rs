//! Events in words: the steps of their timelines and their status, as `inboxctl timeline` has them.

use inbox_aws::items::{EventRecord, PastCycle};
use inbox_core::audit::AuditEntry;
use inbox_core::lifecycle::EventState;
use inbox_core::origin::Origin;
use inbox_core::quarantine::QuarantineId;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::EventStatus;

use crate::time_text::{pluralize, with_age};

/// A step of a timeline.
pub(crate) type Step = (UnixMillis, String);

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
pub(crate) fn event_steps(event: &EventRecord) -> Vec<Step> {
    let first = match event.origin {
        // Quarantined when it was received, and recorded only by its replay.
        Origin::Replay => "is received and quarantined".to_owned(),
        Origin::Webhook | Origin::Poll => {
            format!("is received and recorded, by {}", event.origin.as_str())
        }
    };
    let present = event.current_cycle();
    let mut steps = vec![(event.received_at, first)];
    steps.extend(event.past_cycles.iter().chain([&present]).flat_map(cycle_steps));
    steps.extend(event.audit_entries.iter().map(audit_step));
    steps.sort_by_key(|step| step.0);
    steps
}

fn cycle_steps(cycle: &PastCycle) -> impl Iterator<Item = Step> + use<> {
    let times = [
        (cycle.sent_at, "is put on the queue"),
        (cycle.done_at, "is done: its effect is on the bus"),
        (cycle.quarantined_at, "is quarantined"),
    ];
    times.into_iter().filter_map(|(at, step)| Some((at?, step.to_owned())))
}

/// Step of an operator's action.
pub(crate) fn audit_step(entry: &AuditEntry) -> Step {
    (entry.at, format!("— {} by {}: {}", entry.action.as_str(), entry.operator, entry.reason))
}

/// Status of an event, and who takes the next step. `item` is the quarantined item that holds its bytes.
pub(crate) fn status_text(event: &EventRecord, item: Option<&QuarantineId>, now: UnixMillis) -> String {
    let (lifecycle, time) = (&event.lifecycle, |at| with_age(at, now));
    match EventStatus::of(lifecycle, &event.audit_entries, now) {
        EventStatus::AwaitsRelay => format!(
            "recorded, not known to be on the queue: the relay sends it, due {}",
            time(lifecycle.due_at)
        ),
        EventStatus::AwaitsWorker => format!(
            "on the queue, sent {}: waits for the worker{}",
            time(lifecycle.sent_at),
            requeue_suffix(event)
        ),
        EventStatus::MessageExpired => format!(
            "sent {}, and expired from the queues: `events replay --lost` sends it again",
            time(lifecycle.sent_at)
        ),
        EventStatus::Claimed => format!(
            "a worker is processing it; its claim ends {}{}",
            time(lifecycle.claim_until),
            requeue_suffix(event)
        ),
        EventStatus::Requeued => format!("{}: due again {}", requeue_text(event), time(lifecycle.due_at)),
        EventStatus::Done => format!("done {}", time(lifecycle.done_at)),
        EventStatus::Quarantined => {
            let item = match item {
                Some(item) => format!("see `quarantine show {item}`"),
                None => "its item has expired".to_owned(),
            };
            format!("quarantined {}: {item}", time(lifecycle.quarantined_at))
        }
    }
}

/// Number of requeues and the reason of the last one.
fn requeue_text(event: &EventRecord) -> String {
    let times = pluralize(event.lifecycle.requeues, "time", "times");
    let reason = event.retry_reason.as_ref().map(|reason| format!(", last because of {reason}"));
    format!("requeued by the worker, {times} so far{}", reason.unwrap_or_default())
}

/// The same in parentheses; empty if it was never requeued.
fn requeue_suffix(event: &EventRecord) -> String {
    if event.lifecycle.requeues > 0 { format!(" ({})", requeue_text(event)) } else { String::new() }
}

/// Type of the events on the bus that result from an event.
pub(crate) fn bus_event_type(event: &EventRecord) -> &'static str {
    use inbox_core::event::EventKey;
    match event.key {
        EventKey::RightfootCompletion { .. } => "BalanceBatchCompleted",
        EventKey::RightfootAlert { .. } | EventKey::RightfootPolledAlert { .. } => "BalanceThresholdMet",
        EventKey::Signed { .. } => "BalanceExtracted",
    }
}
