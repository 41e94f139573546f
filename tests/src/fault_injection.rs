//! Faults in a world's AWS calls, and their traces in the call log.

use std::sync::atomic::{AtomicBool, Ordering};

use local::connector::{AwsCall, CallOutcome, Fault};

use crate::World;

impl World {
    /// Injects `fault` into every call of this operation from now on, and none into others.
    pub fn inject_fault(&self, operation: &'static str, fault: Fault) {
        self.stack.connector.set_fault_plan(move |call| (call.operation == operation).then_some(fault));
    }

    /// Injects `fault` into the next call for which `is_match` is true, and none into others.
    pub fn inject_fault_once(
        &self,
        fault: Fault,
        is_match: impl Fn(&AwsCall) -> bool + Send + Sync + 'static,
    ) {
        let is_done = AtomicBool::new(false);
        self.stack.connector.set_fault_plan(move |call| {
            (is_match(call) && !is_done.swap(true, Ordering::SeqCst)).then_some(fault)
        });
    }

    /// Loses the response to the next call for which `is_match` is true: AWS applies it, and the SDK repeats it.
    pub fn lose_response(&self, is_match: impl Fn(&AwsCall) -> bool + Send + Sync + 'static) {
        self.inject_fault_once(Fault::TimeoutAfter, is_match);
    }
}

/// Returns `true` if AWS applies the faulted call at once, and its caller cannot know it.
pub fn is_applied_unseen(fault: Fault) -> bool {
    matches!(fault, Fault::TimeoutAfter | Fault::MalformedResponse | Fault::CrashAfter)
}

/// Returns how often an event may be repeated on the queue (P3) after a process has made these calls: once for each
/// send that it cannot know of, and once more if it never marked the last one that it knows of.
pub fn allowed_repeats(log: &[(AwsCall, CallOutcome)], event_id: &str) -> usize {
    let calls: Vec<_> =
        log.iter().filter(|(call, _)| call.event_ids.iter().any(|id| id == event_id)).collect();
    let is_send = |call: &AwsCall| call.operation.starts_with("SendMessage");
    let unknown = calls.iter().filter(|(call, outcome)| is_send(call) && is_send_outcome_unknown(outcome));
    let known_at =
        calls.iter().rposition(|(call, outcome)| is_send(call) && *outcome == CallOutcome::Answered(200));
    // An update before the send is no mark, but the relay's claim; one after another put counts a duplicate.
    let is_unmarked = known_at.is_some_and(|at| {
        let mut until_next_put = calls[at..].iter().take_while(|(call, _)| call.operation != "PutItem");
        !until_next_put.any(|(call, outcome)| call.operation == "UpdateItem" && is_applied(outcome))
    });
    unknown.count() + usize::from(is_unmarked)
}

/// Number of publications in this log, known to their publisher or not.
pub fn count_publications(log: &[(AwsCall, CallOutcome)]) -> usize {
    let is_published =
        |outcome: &CallOutcome| *outcome == CallOutcome::Answered(200) || is_send_outcome_unknown(outcome);
    log.iter().filter(|(call, outcome)| call.operation == "PutEvents" && is_published(outcome)).count()
}

/// Returns `true` if a message or bus event has arrived, or will, and its sender cannot know it. A late one counts,
/// because no condition rejects it.
fn is_send_outcome_unknown(outcome: &CallOutcome) -> bool {
    *outcome == CallOutcome::Delayed || is_outcome_unknown(outcome)
}

/// Returns `true` if AWS has applied the call.
fn is_applied(outcome: &CallOutcome) -> bool {
    *outcome == CallOutcome::Answered(200) || is_outcome_unknown(outcome)
}

/// Returns `true` if AWS has applied the call, and its caller cannot know it.
fn is_outcome_unknown(outcome: &CallOutcome) -> bool {
    match outcome {
        CallOutcome::AppliedLate(status) => *status == 200,
        CallOutcome::Faulted(fault) => is_applied_unseen(*fault),
        CallOutcome::Pending | CallOutcome::Answered(_) | CallOutcome::Delayed => false,
    }
}
